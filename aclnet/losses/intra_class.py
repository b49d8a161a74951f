"""The intra-class term: attracts sequences of one class, hard positives with a margin."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_LOG_GUARD = 1e-6


def intra_class_loss(
    cosine: Tensor, same_class: Tensor, positive: Tensor, temperature: float, omega: float
) -> Tensor:
    """(B,) loss of every anchor over a memory of embeddings; 0 if it has no positive.

    Barbano et al., "Unbiased Supervised Contrastive Learning" (ICLR 2023), epsilon-SupInfoNCE with
    the sum over positives outside the logarithm.

    Args:
        cosine: (B, rows) float between anchors and entries of the memory.
        same_class: (B, rows) bool.
        positive: (B, rows) bool: entries of the same class that attract the anchor.
        temperature: temperature of the similarities.
        omega: exp(-margin), the margin in units of a logit.
    """
    similarity = cosine / temperature
    similarity = similarity - similarity.detach().amax(1, keepdim=True)
    exponential = similarity.exp()
    negatives = (exponential * ~same_class).sum(1, keepdim=True)
    loss = (omega * exponential + negatives + _LOG_GUARD).log() - similarity
    return (loss * positive).sum(1) / positive.sum(1).clamp(min=1)
