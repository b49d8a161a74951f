"""From the tracks of single persons to samples: one mean over the persons of each sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from aclnet.models.choices import Persons

    PerTrack = Callable[[Tensor], tuple[Tensor, ...]]
    """Several features (P, n) from tracks (P, T, V, C)."""

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
    """Features (B, n) of B = `num_samples` samples: the means over the tracks of their persons.

    Args:
        per_track: computes the features of tracks.
        tracks: (P, T, V, C) float32.
        owner: (P,) int64, sorted: the sample, 0 to B - 1, of each track.
        num_samples: B.
        persons: "present" takes only present persons. "padded" follows the released code: every
            sample has two persons, and an absent person is zeros. Absent persons then enter the
            mean and, in training, the batch statistics; further tracks of a sample are ignored.
        interacting: whether the features of a track depend on other tracks, through batch
            statistics or the place in the sample. `per_track` then also gets absent persons.
    """
    if persons == "present":
        return _mean_of_present(per_track, tracks, owner, num_samples)
    # pairs cost the same if nearly all persons are present, which the shape shows without waiting
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
    """Every sample as two tracks."""
    found = per_track(pairs_of(tracks, owner, B)[0])
    return tuple(value.view(B, PADDED_PERSONS, -1).mean(1) for value in found)


def pairs_of(tracks: Tensor, owner: Tensor, num_samples: int) -> tuple[Tensor, Tensor]:
    """Tracks (2 B, T, V, C), two of each of B = `num_samples` samples, and their owners (2 B,).

    Absent persons are zeros; tracks after the second one of a sample are left out.
    """
    rank = _rank_in_sample(owner)
    rows = num_samples * PADDED_PERSONS
    # unused tracks go to an extra row, because a mask would wait for its count
    slot = torch.where(rank < PADDED_PERSONS, owner * PADDED_PERSONS + rank, rows)
    padded = tracks.new_zeros(rows + 1, *tracks.shape[1:]).index_copy_(0, slot, tracks)
    return padded[:-1], torch.arange(rows, device=owner.device) // PADDED_PERSONS


def _mean_with_constant(
    per_track: PerTrack, tracks: Tensor, owner: Tensor, B: int
) -> tuple[Tensor, ...]:
    """Same as `_mean_of_pairs`, for tracks that do not interact: samples share one zero track."""
    used = _rank_in_sample(owner) < PADDED_PERSONS
    present = owner.new_zeros(B).index_add_(0, owner, used.long())
    absent = (PADDED_PERSONS - present)[:, None]
    found = per_track(torch.cat([tracks, tracks.new_zeros(1, *tracks.shape[1:])]))
    return tuple(
        (_sum_by(owner, value[:-1] * used[:, None], B) + absent * value[-1]) / PADDED_PERSONS
        for value in found
    )


def _rank_in_sample(owner: Tensor) -> Tensor:
    """(P,) int64: number of earlier tracks of the same sample; `owner` is sorted."""
    return torch.arange(len(owner), device=owner.device) - torch.searchsorted(owner, owner)


def _sum_by(owner: Tensor, value: Tensor, B: int) -> Tensor:
    """(B, n) sums of the rows of `value` (P, n) that have the same owner."""
    return value.new_zeros(B, value.shape[1]).index_add_(0, owner, value)
