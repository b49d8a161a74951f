"""Which classes the model confuses, and the families of similar motions that follow from it.

Counts of confusions are ranked into each class's nearest neighbours (its *direct* set); classes
that share many neighbours are similar too (*indirect*). Both make the affinity, and the classes
of some affinity make the family, whose size sets the temperature of the inter-class loss.

Two settings: "default", which ranks by rates and takes nothing for a confusion that hardly
happened, and "official", which reproduces the released code of ACLNet to the last count.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

_OFFICIAL_NEIGHBOURS = 10
_OFFICIAL_OVERLAP = 5
_COLDEST, _MIDDLE, _HOTTEST = 0.1, 0.5, 1.0

Fraction = Annotated[float, Field(ge=0, le=1)]


class FamilySettings(BaseModel):
    """How confusions become families.

    `decay`, `min_count` and `min_share` belong to the default mode: the official one never
    forgets a count and takes classes without any confusion for neighbours.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["default", "official"] = "default"
    source: Literal["train", "val"] = "train"
    """Whose confusions are counted."""
    start: Fraction = 0.2
    """Fraction of the epochs after which counting starts."""
    neighbours: Annotated[int, Field(ge=1)] | None = None
    """k, the size of a direct set; None: a sixth of the classes, 3 to 10 (official: 10)."""
    overlap: Annotated[int, Field(ge=1)] | None = None
    """Shared neighbours that relate two classes; None: half of k, at least 2 (official: 5)."""
    decay: Fraction = 0.9
    """What is left of the counts from one epoch to the next."""
    min_count: Annotated[float, Field(ge=0)] = 2
    """Confusions, both ways together, below which a pair does not qualify."""
    min_share: Fraction = 0.01
    """Likewise as a share of the samples of the rarer of the two classes."""
    temperature: Literal["linear", "steps"] | Annotated[float, Field(gt=0)] = "linear"
    """Growth with the size of the family from k on, or one temperature for all."""
    affinity_threshold: Annotated[float, Field(ge=0)] = 0
    """A family is the classes of an affinity above this."""
    weight_by_affinity: bool = False
    """Whether a family's members count in the loss by their affinity, and not alike."""

    def start_epoch(self, epochs: int) -> int:
        """First epoch, from 1, whose confusions are counted."""
        # rounded, so that 0.07 of 100 epochs is 7 and not one more by the 15th decimal
        return max(1, math.ceil(round(self.start * epochs, 6)))

    def num_neighbours(self, num_classes: int) -> int:
        """k for so many classes."""
        if self.mode == "official":
            return min(self.neighbours or _OFFICIAL_NEIGHBOURS, num_classes)
        k = self.neighbours or min(max(round(num_classes / 6), 3), 10)
        return min(k, num_classes - 1)

    def min_overlap(self, num_classes: int) -> int:
        """How many members two direct sets must share to relate their classes."""
        if self.mode == "official":
            return self.overlap or _OFFICIAL_OVERLAP
        return self.overlap or max(2, math.ceil(self.num_neighbours(num_classes) / 2))


class ConfusionCounter(nn.Module):
    """Running counts of confusions. All state is in buffers: float32, whole until decayed."""

    counts: Tensor
    """(C, C): samples of class a that were taken for class b; diagonal 0."""
    samples: Tensor
    """(C,): samples of each class that were looked at."""

    def __init__(self, num_classes: int, settings: FamilySettings) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("counts", torch.zeros(num_classes, num_classes))
        self.register_buffer("samples", torch.zeros(num_classes))

    @torch.no_grad()
    def add(self, predicted: Tensor, labels: Tensor) -> None:
        """Count one batch: `predicted` and `labels` (B,) int64."""
        C = len(self.samples)
        wrong = (predicted != labels).to(self.counts)
        in_batch = torch.zeros_like(self.samples).index_add_(0, labels, torch.ones_like(wrong))
        confused = torch.zeros_like(self.counts).view(-1)
        confused = confused.index_add_(0, labels * C + predicted, wrong).view(C, C)
        self.samples += in_batch
        self.counts += confused
        if self.settings.mode == "official":
            # the released code also counts, for every sample of class a in the batch, each
            # other sample of the batch that was taken for a
            self.counts += in_batch[:, None] * confused.T

    @torch.no_grad()
    def decay(self) -> None:
        """Forget a little, at the start of an epoch, so that the counts follow the model."""
        if self.settings.mode == "default":
            self.counts *= self.settings.decay
            self.samples *= self.settings.decay


class Families(nn.Module):
    """The families in force; all state is in buffers. Empty until the first rebuild."""

    member: Tensor
    """(C, C) bool: whether class b is in the family of class a."""
    affinity: Tensor
    """(C, C) float32."""
    temperature: Tensor
    """(C,) float32: of each class's inter-class loss."""

    def __init__(self, num_classes: int, settings: FamilySettings) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("member", torch.zeros(num_classes, num_classes, dtype=torch.bool))
        self.register_buffer("affinity", torch.zeros(num_classes, num_classes))
        self.register_buffer("temperature", torch.full((num_classes,), _COLDEST))

    @torch.no_grad()
    def rebuild(self, counter: ConfusionCounter) -> None:
        """Take the families that the counts now tell of."""
        related = relate(counter.counts, counter.samples, self.settings)
        self.member.copy_(related.member)
        self.affinity.copy_(related.affinity)
        size = related.member.sum(1)
        k = self.settings.num_neighbours(len(size))
        self.temperature.copy_(family_temperature(size, k, self.settings))


class Related(NamedTuple):
    """What `relate` finds."""

    affinity: Tensor
    """(C, C) float: 0.5 for a direct neighbour, plus the share of neighbours in common."""
    member: Tensor
    """(C, C) bool"""


def relate(counts: Tensor, samples: Tensor, settings: FamilySettings) -> Related:
    """Affinity and families of `counts` (C, C) and `samples` (C,), float or integer."""
    C = len(samples)
    counts, samples = counts.float(), samples.float()
    direct = _direct_official if settings.mode == "official" else _direct_default
    neighbour = direct(counts, samples, settings).float()
    own = torch.eye(C, dtype=torch.bool, device=counts.device)
    shared = neighbour @ neighbour.T
    indirect = (shared >= settings.min_overlap(C)) & ~own
    share = shared / neighbour.sum(1, keepdim=True).clamp(min=1)
    affinity = 0.5 * neighbour + indirect * share
    member = affinity > settings.affinity_threshold
    if settings.mode == "default":
        member = member | member.T
    return Related(affinity, member)


def _direct_default(counts: Tensor, samples: Tensor, settings: FamilySettings) -> Tensor:
    """(C, C) bool: the k classes of the highest rate of confusion among those that qualify."""
    # rates, so that big classes are no hubs
    rate = counts / samples.clamp(min=1)[:, None]
    both = counts + counts.T
    rarer = torch.minimum(samples[:, None], samples)
    qualifies = (both >= settings.min_count) & (both >= settings.min_share * rarer)
    qualifies.fill_diagonal_(False)
    # a pair without any confusion is none, however low the bars are set
    qualifies &= both > 0
    score = (rate + rate.T).masked_fill(~qualifies, -1)
    return _highest(score, settings.num_neighbours(len(samples))) & qualifies


def _direct_official(counts: Tensor, samples: Tensor, settings: FamilySettings) -> Tensor:
    """(C, C) bool: the k highest counts; none at all, and the own class, may fill it."""
    return _highest(counts, settings.num_neighbours(len(samples)))


def _highest(score: Tensor, k: int) -> Tensor:
    """(C, C) bool: the k highest of each row, the lower index first among equals."""
    # topk does not promise an order among equals
    order = score.argsort(dim=1, descending=True, stable=True)[:, :k]
    return torch.zeros_like(score, dtype=torch.bool).scatter_(1, order, True)


def family_temperature(size: Tensor, k: int, settings: FamilySettings) -> Tensor:
    """(C,) float32 temperatures of families of `size` (C,): the larger, the softer.

    "steps" is the schedule of the released code, where k = 10; "linear" goes from the same
    lowest to the same highest value, so that a class at an edge does not jump.
    """
    if settings.temperature == "linear":
        grown = ((size - k) / max(2 * k, 1)).clamp(0, 1)
        return _COLDEST + (_HOTTEST - _COLDEST) * grown
    if settings.temperature == "steps":
        grown = torch.where(size > k, _MIDDLE, _COLDEST)
        return torch.where(size > 2 * k, _HOTTEST, grown)
    return torch.full_like(size, settings.temperature, dtype=torch.float32)
