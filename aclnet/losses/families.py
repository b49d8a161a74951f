"""Confusions between classes, and the families of similar motions that follow from them.

Counts of confusions are ranked into each class's nearest neighbours (its *direct* set); classes
that share many neighbours are similar too (*indirect*). Both make the affinity. The classes with
some affinity make the family, whose size sets the temperature of the inter-class loss.

There are two settings. "default" ranks by rates and ignores rare confusions; "official" reproduces
the released code of ACLNet exactly.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, NamedTuple, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

_OFFICIAL_NEIGHBOURS = 10
_OFFICIAL_OVERLAP = 5
_COLDEST, _MIDDLE, _HOTTEST = 0.1, 0.5, 1.0

Fraction = Annotated[float, Field(ge=0, le=1)]


class FamilySettings(BaseModel):
    """Computation of motion families from confusions.

    `decay`, `min_count` and `min_share` belong to the default mode: the official mode never reduces
    a count and accepts classes without any confusion as neighbours.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    mode: Literal["default", "official"] = "default"
    """Default: rank by rates and ignore rare confusions. Official: as the released code does."""
    source: Literal["train", "val"] = "train"
    """Split whose confusions are counted."""
    confusions: Literal["predicted", "probability"] = "predicted"
    """Confusions of a sample: its predicted class, if it is wrong, or the probabilities of all
    wrong classes, which remain when nearly all samples are right. Default mode only."""
    start: Fraction = 0.2
    """Fraction of the epochs after which counting starts."""
    neighbours: Annotated[int, Field(ge=1)] | None = None
    """Number k of nearest classes in a direct set. Not set: a sixth of the classes, 3 to 10
    (official: 10)."""
    overlap: Annotated[int, Field(ge=1)] | None = None
    """Number of shared neighbours that relate two classes. Not set: half of k, at least 2
    (official: 5)."""
    decay: Fraction = 0.9
    """Factor of the counts from one epoch to the next. With 1, the families remain when nearly all
    training samples are right. The accuracy on UTD-MHAD did not rise
    (docs/results/affinity-loss.md)."""
    min_count: Annotated[float, Field(ge=0)] = 2
    """Smallest number of confusions, in both directions together, of two neighbours."""
    min_share: Fraction = 0.01
    """The limit `min_count` as a share of the samples of the rarer of the two classes."""
    temperature: Literal["linear", "steps"] | Annotated[float, Field(gt=0)] = "linear"
    """Growth of the temperature with the size of the family, or one temperature for all classes."""
    affinity_threshold: Annotated[float, Field(ge=0)] = 0
    """Affinity above which a class belongs to the family."""
    weight_by_affinity: bool = False
    """Weight the members of a family by their affinity in the loss, instead of equally."""

    @model_validator(mode="after")
    def _official_counts_predictions(self) -> Self:
        if self.mode == "official" and self.confusions == "probability":
            raise ValueError("confusions=probability is for families.mode=default")
        return self

    def start_epoch(self, epochs: int) -> int:
        """First epoch, from 1, whose confusions are counted."""
        # rounded, so that 0.07 of 100 epochs is 7, not 8 because of the 15th decimal
        return max(1, math.ceil(round(self.start * epochs, 6)))

    def num_neighbours(self, num_classes: int) -> int:
        """k for this number of classes."""
        if self.mode == "official":
            return min(self.neighbours or _OFFICIAL_NEIGHBOURS, num_classes)
        k = self.neighbours or min(max(round(num_classes / 6), 3), 10)
        return min(k, num_classes - 1)

    def min_overlap(self, num_classes: int) -> int:
        """Number of shared members of two direct sets that relates their classes."""
        if self.mode == "official":
            return self.overlap or _OFFICIAL_OVERLAP
        return self.overlap or max(2, math.ceil(self.num_neighbours(num_classes) / 2))


class ConfusionCounter(nn.Module):
    """Running counts of confusions. All state is in float32 buffers.

    Counts of predicted classes are whole until decayed.
    """

    counts: Tensor
    """(C, C) samples of class a that were classified as class b, or the sum of their probabilities
    of class b; diagonal 0."""
    samples: Tensor
    """(C,) counted samples of each class."""

    def __init__(self, num_classes: int, settings: FamilySettings) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("counts", torch.zeros(num_classes, num_classes))
        self.register_buffer("samples", torch.zeros(num_classes))

    @torch.no_grad()
    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Counts a batch: `logits` (B, C) float or logarithms of probabilities, `labels` (B,)."""
        in_batch = torch.zeros_like(self.samples)
        in_batch.index_add_(0, labels, torch.ones_like(labels, dtype=in_batch.dtype))
        confused = torch.zeros_like(self.counts).index_add_(0, labels, self._classified(logits))
        confused.fill_diagonal_(0)
        self.samples += in_batch
        self.counts += confused
        if self.settings.mode == "official":
            # The released code also counts, for every sample of class a in the batch, each other
            # sample of the batch that was classified as a.
            self.counts += in_batch[:, None] * confused.T

    def _classified(self, logits: Tensor) -> Tensor:
        """(B, C) share of each sample that is counted for each class."""
        if self.settings.confusions == "probability":
            return logits.to(self.counts).softmax(1)
        classes = torch.arange(len(self.samples), device=logits.device)
        return (logits.argmax(1, keepdim=True) == classes).to(self.counts)

    @torch.no_grad()
    def decay(self) -> None:
        """Multiplies the counts by `decay`, at the start of an epoch, to follow the model."""
        if self.settings.mode == "default":
            self.counts *= self.settings.decay
            self.samples *= self.settings.decay


class Families(nn.Module):
    """The current families; all state is in buffers. Empty until the first rebuild."""

    member: Tensor
    """(C, C) bool, whether class b is in the family of class a."""
    affinity: Tensor
    """(C, C) float32 affinities."""
    temperature: Tensor
    """(C,) float32 temperature of each class's inter-class loss."""

    def __init__(self, num_classes: int, settings: FamilySettings) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("member", torch.zeros(num_classes, num_classes, dtype=torch.bool))
        self.register_buffer("affinity", torch.zeros(num_classes, num_classes))
        self.register_buffer("temperature", torch.full((num_classes,), _COLDEST))

    @torch.no_grad()
    def rebuild(self, counter: ConfusionCounter) -> None:
        """Replaces the families by those of the present counts."""
        related = relate(counter.counts, counter.samples, self.settings)
        self.member.copy_(related.member)
        self.affinity.copy_(related.affinity)
        size = related.member.sum(1)
        k = self.settings.num_neighbours(len(size))
        self.temperature.copy_(family_temperature(size, k, self.settings))


class Related(NamedTuple):
    """Result of `relate`."""

    affinity: Tensor
    """(C, C) float: 0.5 for a direct neighbour, plus the share of common neighbours."""
    member: Tensor
    """(C, C) bool, whether class b is in the family of class a."""


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
    """(C, C) bool: the k classes with the highest rate of confusion among those that qualify."""
    # rates, so that large classes do not dominate
    rate = counts / samples.clamp(min=1)[:, None]
    both = counts + counts.T
    rarer = torch.minimum(samples[:, None], samples)
    qualifies = (both >= settings.min_count) & (both >= settings.min_share * rarer)
    qualifies.fill_diagonal_(False)
    # a pair without any confusion never qualifies, however low the limits are
    qualifies &= both > 0
    score = (rate + rate.T).masked_fill(~qualifies, -1)
    return _highest(score, settings.num_neighbours(len(samples))) & qualifies


def _direct_official(counts: Tensor, samples: Tensor, settings: FamilySettings) -> Tensor:
    """(C, C) bool: the k highest counts, which may be zero or the class's own."""
    return _highest(counts, settings.num_neighbours(len(samples)))


def _highest(score: Tensor, k: int) -> Tensor:
    """(C, C) bool: the k highest of each row, the lower index first among equals."""
    # topk does not define the order of equal values
    order = score.argsort(dim=1, descending=True, stable=True)[:, :k]
    return torch.zeros_like(score, dtype=torch.bool).scatter_(1, order, True)


def family_temperature(size: Tensor, k: int, settings: FamilySettings) -> Tensor:
    """(C,) float32 temperatures of families of `size` (C,), higher for larger families.

    "steps" is the schedule of the released code, where k = 10; "linear" goes from the same lowest
    to the same highest value without steps.
    """
    if settings.temperature == "linear":
        grown = ((size - k) / max(2 * k, 1)).clamp(0, 1)
        return _COLDEST + (_HOTTEST - _COLDEST) * grown
    if settings.temperature == "steps":
        grown = torch.where(size > k, _MIDDLE, _COLDEST)
        return torch.where(size > 2 * k, _HOTTEST, grown)
    return torch.full_like(size, settings.temperature, dtype=torch.float32)
