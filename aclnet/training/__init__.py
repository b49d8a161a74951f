"""Training of runs: the trainer, its figures, and sets of runs."""
