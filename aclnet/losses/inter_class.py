"""The inter-class term: separates a class from the classes of its family by their prototypes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def inter_class_loss(
    anchors: Tensor, prototypes: Tensor, temperature: Tensor, labels: Tensor, weight: Tensor
) -> Tensor:
    """(B,) loss of every anchor; 0 if its class has no family.

    Args:
        anchors: (B, D) float, of any length.
        prototypes: (C, D) float, of any length.
        temperature: (C,) temperature of each class.
        labels: (B,) int64 classes of the anchors.
        weight: (B, C) weight of every class in each anchor's denominator, 0 outside its family.
    """
    prototypes, anchors = F.normalize(prototypes, dim=1), F.normalize(anchors, dim=1)
    logits = anchors @ prototypes.T / temperature[labels][:, None]
    positive = logits.gather(1, labels[:, None])
    family = logits + weight.log()
    return torch.cat([positive, family], 1).logsumexp(1) - positive.squeeze(1)


def move_prototypes(
    prototypes: Tensor, z: Tensor, predicted: Tensor, labels: Tensor, momentum: float
) -> Tensor:
    """Moves `prototypes` (C, D), in place, to the mean of each class's true positives in a batch.

    `z` (B, D) are the batch's projections, `predicted` and `labels` (B,) int64 its classes. A class
    without a true positive stays. Returns (B, C): the weight of each row in the new prototypes.
    """
    classes = torch.arange(len(prototypes), device=labels.device)
    correct = (labels[:, None] == classes) & (predicted == labels)[:, None]
    found = correct.sum(0)
    weight = (1 - momentum) * correct.to(z) / found.clamp(min=1)
    kept = 1 - (1 - momentum) * (found > 0).to(z)[:, None]
    prototypes.copy_(prototypes * kept + weight.T @ z)
    return weight
