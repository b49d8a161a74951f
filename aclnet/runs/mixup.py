"""Mixup: training samples that are weighted means of two, with the classes of both.

Zhang et al., "mixup: Beyond empirical risk minimization" (ICLR 2018), with two differences: each
sample of a batch has a weight of its own, and only some samples are mixed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aclnet.datasets.store.keyed_random import fold, uniform

if TYPE_CHECKING:
    from collections.abc import Callable

    from aclnet.runs.inputs import Inputs

_MIXUP = 4  # folded into the keys, so that no other module draws the same numbers
# Draw numbers: runs are reproducible as long as they keep their values.
_HAPPENS, _SHARE, _ORDER = 0, 1, 2
_LARGEST_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Mixture:
    """The samples that those of a batch were mixed with."""

    share: Tensor
    """(B,) float32 in [0, 0.5]: weight of the other sample; 0 for a sample that is not mixed."""
    label: Tensor
    """(B,) int64 classes of the other samples."""

    def __getitem__(self, samples: slice) -> Mixture:
        """The part of some samples of the batch."""
        return Mixture(self.share[samples], self.label[samples])

    def loss(self, of: Callable[[Tensor], Tensor], label: Tensor) -> Tensor:
        """(B,) mean of the losses for both classes by their weights.

        `of` computes the losses (B,) for classes (B,), and `label` (B,) are the samples' own.
        """
        return torch.lerp(of(label), of(self.label), self.share)

    def judged(self, logits: Tensor, label: Tensor) -> Tensor:
        """(B, C) scores that count as a prediction of `label` (B,), which has the larger weight.

        The class of the other sample is in the input, so it is no mistake: its score is -inf.
        """
        elsewhere = (self.share > 0) & (self.label != label)
        hidden = torch.zeros_like(logits, dtype=torch.bool)
        hidden.scatter_(1, self.label[:, None], elsewhere[:, None])
        return logits.masked_fill(hidden, -torch.inf)


def mix_up(inputs: Inputs, keys: Tensor, probability: float) -> Inputs:
    """Mixes the input of a share `probability` of the samples with that of another sample.

    The other sample is drawn from the batch, and its weight is uniform between 0 and 0.5. A person
    is mixed with the person at the same position of the other sample, in turn if that sample has
    fewer persons. `keys` (B,) int64 are the keys of `Batch.key`, which the draws depend on; the
    other sample also depends on the rest of the batch. Expects one clip for each sample.
    """
    keys = fold(keys, _MIXUP)
    share = uniform(keys, _SHARE) * _LARGEST_SHARE * (uniform(keys, _HAPPENS) < probability)
    share = share.to(inputs.tracks.dtype)
    other = _others(keys)
    first = torch.from_numpy(inputs.first_track).to(other.device, non_blocking=True)
    mixed = torch.lerp(
        inputs.tracks,
        inputs.tracks[_tracks_of(other, inputs.owner, first)],
        share[inputs.owner][:, None, None, None],
    )
    return replace(inputs, tracks=mixed, mixture=Mixture(share, inputs.label[other]))


def _others(keys: Tensor) -> Tensor:
    """(B,) int64: another sample of the batch for each one, in a random ring of all samples."""
    ring = uniform(keys, _ORDER).argsort()
    other = torch.empty_like(ring)
    other[ring] = ring.roll(1)
    return other


def _tracks_of(other: Tensor, owner: Tensor, first: Tensor) -> Tensor:
    """(P,) int64: a track of the sample `other` (B,) for each track, whose owners are `owner`.

    `first` (B + 1,) are the first tracks of the samples, and the number of all.
    """
    position = torch.arange(len(owner), device=owner.device) - first[owner]
    wanted = other[owner]
    persons = first[wanted + 1] - first[wanted]
    return first[wanted] + position % persons
