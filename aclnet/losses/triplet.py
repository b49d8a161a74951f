"""The triplet term, for identities, whose batches hold several samples of each."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def triplet_loss(
    unit: Tensor, positive: Tensor, negative: Tensor, margin: float
) -> tuple[Tensor, Tensor]:
    """(B,) loss of every anchor, and (B,) bool whether it has a positive and a negative.

    Hermans et al., "In Defense of the Triplet Loss for Person Re-Identification" (2017), batch hard
    with a margin: the farthest positive and the nearest negative of the batch.

    Args:
        unit: (B, D) float unit vectors.
        positive: (B, B) bool: rows of the batch that attract an anchor.
        negative: (B, B) bool: rows of other classes.
        margin: Euclidean distance, which is 2 at most.
    """
    cosine = (unit @ unit.T).detach()  # for unit vectors, a smaller cosine is a larger distance
    farthest = cosine.masked_fill(~positive, torch.inf).argmin(1)
    nearest = cosine.masked_fill(~negative, -torch.inf).argmax(1)
    # unlike a square root, the norm has a gradient at 0, which is 0
    distances = [torch.linalg.vector_norm(unit - unit[i], dim=1) for i in (farthest, nearest)]
    counted = positive.any(1) & negative.any(1)
    return F.relu(distances[0] - distances[1] + margin) * counted, counted
