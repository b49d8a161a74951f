"""Words that settings of runs are chosen from.

A module of its own without further imports: the command line reads it whenever it starts.
"""

from __future__ import annotations

from typing import Literal

Select = Literal["last", "val", "test"]
"""Which weights are the result: the last, or the best on held-out training data or on test."""
Embedding = Literal["pooled", "contrastive", "both"]
"""What stands for a sequence: activations before the classifier, the unit vector that the
contrastive losses compare, or both joined, as unit vectors."""
Metric = Literal["cosine", "euclidean"]
"""Metric that compares embeddings."""
