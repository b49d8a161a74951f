"""What other software writes and reads: released checkpoints, score files, exports."""
