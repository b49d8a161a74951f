"""Measurements of trained runs: scores, ensembles, comparisons, families and occlusion bench."""
