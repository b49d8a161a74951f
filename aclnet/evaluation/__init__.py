"""What is measured of trained runs: scores, ensembles, comparisons, families and occlusion."""
