"""From the tracks of single persons to samples: one mean over the persons of each sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from aclnet.models.choices import Persons

    PerTrack = Callable[[Tensor], tuple[Tensor, ...]]
    """Features (P, n), several of them, from tracks (P, T, V, C)."""

PADDED_PERSONS = 2


def mean_over_persons(
    per_track: PerTrack,
    tracks: Tensor,
    owner: Tensor,
    num_samples: int,
    persons: Persons,
    *,
    interacting: bool,
) -> tuple[Tensor, ...]:
    """Features (B, n) of B = `num_samples` samples, means of those of their persons' tracks.

    `tracks` (P, T, V, C) float32; `owner` (P,) int64, sorted: the sample, 0 to B - 1, that each
    track belongs to. `persons`: "present" takes only persons who are there. "padded" computes what
    released code does, where every sample has two persons and an absent one is zeros: it counts in
    the mean and, in training, in batch statistics; tracks after a sample's second are ignored.
    `interacting`: what a track gives depends on others, be it by batch statistics or by its place
    in the sample; `per_track` then gets the absent persons of each sample as well.
    """
    if persons == "present":
        return _mean_of_present(per_track, tracks, owner, num_samples)
    # pairs are as cheap where nearly all persons are there, which the shape tells without waiting
    pairs = interacting or len(tracks) >= PADDED_PERSONS * num_samples - 1
    mean = _mean_of_pairs if pairs else _mean_with_constant
    return mean(per_track, tracks, owner, num_samples)


def _mean_of_present(
    per_track: PerTrack, tracks: Tensor, owner: Tensor, B: int
) -> tuple[Tensor, ...]:
    count = owner.new_zeros(B).index_add_(0, owner, torch.ones_like(owner)).clamp_(min=1)
    return tuple(_sum_by(owner, value, B) / count[:, None] for value in per_track(tracks))


def _mean_of_pairs(
    per_track: PerTrack, tracks: Tensor, owner: Tensor, B: int
) -> tuple[Tensor, ...]:
    """Every sample as two tracks, zeros where there is none."""
    rank = _rank_in_sample(owner)
    # tracks that are not wanted go to one extra row: a mask would have to wait for its count
    slot = torch.where(rank < PADDED_PERSONS, owner * PADDED_PERSONS + rank, B * PADDED_PERSONS)
    padded = tracks.new_zeros(B * PADDED_PERSONS + 1, *tracks.shape[1:])
    found = per_track(padded.index_copy_(0, slot, tracks)[:-1])
    return tuple(value.view(B, PADDED_PERSONS, -1).mean(1) for value in found)


def _mean_with_constant(
    per_track: PerTrack, tracks: Tensor, owner: Tensor, B: int
) -> tuple[Tensor, ...]:
    """As `_mean_of_pairs` where tracks do not interact: one zero track serves all samples."""
    used = _rank_in_sample(owner) < PADDED_PERSONS
    present = owner.new_zeros(B).index_add_(0, owner, used.long())
    absent = (PADDED_PERSONS - present)[:, None]
    found = per_track(torch.cat([tracks, tracks.new_zeros(1, *tracks.shape[1:])]))
    return tuple(
        (_sum_by(owner, value[:-1] * used[:, None], B) + absent * value[-1]) / PADDED_PERSONS
        for value in found
    )


def _rank_in_sample(owner: Tensor) -> Tensor:
    """(P,) int64: how many tracks of the same sample stand before each; `owner` is sorted."""
    return torch.arange(len(owner), device=owner.device) - torch.searchsorted(owner, owner)


def _sum_by(owner: Tensor, value: Tensor, B: int) -> Tensor:
    """(B, n) sums of the rows of `value` (P, n) that have the same owner."""
    return value.new_zeros(B, value.shape[1]).index_add_(0, owner, value)
