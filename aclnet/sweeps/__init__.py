"""Sweeps: settings with several seeds, trained by one command, and the tables of results."""
