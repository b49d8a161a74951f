"""Words that settings of runs are chosen from.

The module is separate and has no further imports, because the command line reads it at each start.
"""

from __future__ import annotations

from typing import Literal

Select = Literal["last", "val", "test"]
"""Weights of the result: the last, or the best on held-out training data or on the test split."""
Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
"""Precision of the computation, as Lightning Fabric names it."""
Motion = Literal["pooled", "contrastive", "both"]
"""Vector of a sequence from the network: activations before the classifier, the unit vector that
the contrastive losses compare, or both joined, as unit vectors."""
Embedding = Literal[Motion, "shape", "shape+pooled", "shape+contrastive", "shape+both"]
"""Embedding of a sequence: the network's vector, the shape of the body, or both joined, as unit
vectors."""
Metric = Literal["cosine", "euclidean"]
"""Metric that compares embeddings."""


def uses_shape(embedding: Embedding) -> bool:
    """Returns whether an embedding includes the shape of the body."""
    return embedding.startswith("shape")


def motion_of(embedding: Embedding) -> Motion | None:
    """The network's part of an embedding; None if it is the shape of the body alone."""
    found = embedding.removeprefix("shape").removeprefix("+")
    return found or None  # type: ignore[return-value]
