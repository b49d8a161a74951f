"""How a run is trained: the trainer, its figures, and sets of runs."""
