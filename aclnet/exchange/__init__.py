"""Exchange with other software: released checkpoints, score files and exports."""
