"""Conversion of recordings with several frame rates to one, by linear interpolation."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from aclnet.datasets.spec import DamageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aclnet.datasets.spec import SkeletonSequence

GAP = 2
"""Step between frames, relative to the usual step, from which frames count as missing."""
_ROUNDING = 1e-6
"""Tolerance in frames between a time and its own frame."""


def resample(sequence: SkeletonSequence, fps: float) -> SkeletonSequence:
    """The sequence at `fps` frames per second; `frame_index` counts by the new rate.

    Each joint of a new frame is interpolated linearly between two frames of the recording. A person
    or joint that is missing in one of the two is missing. Gaps stay gaps. Raises DamageError if the
    recording's frame rate is not known.
    """
    if not sequence.fps:
        raise DamageError(
            "its frame rate is not known; give it in the column `fps` of index.csv, or leave out "
            "--fps"
        )
    numbers, before, share = _between(sequence.frame_index, fps / sequence.fps)
    after = np.minimum(before + (share > 0), len(sequence.frame_index) - 1)
    weight = share[:, None, None].astype(np.float32)
    first, second = sequence.keypoint[:, before], sequence.keypoint[:, after]
    seen = (first != 0).any(axis=-1) & (second != 0).any(axis=-1)
    present = sequence.present[:, before] & sequence.present[:, after]
    seen &= present[..., None]
    score = sequence.score
    if score is not None:
        blended = score[:, before] * (1 - weight[..., 0]) + score[:, after] * weight[..., 0]
        score = np.where(seen, blended, 0).astype(np.float32)
    return replace(
        sequence,
        keypoint=np.where(seen[..., None], first + (second - first) * weight, 0),
        present=present,
        frame_index=numbers.astype(np.int32),
        score=score,
        fps=fps,
    )


def _between(
    index: NDArray[np.int32], ratio: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Number of each new frame, the old frame before, and its fraction of the way to the next."""
    times = index * ratio
    numbers = np.arange(np.ceil(times[0] - _ROUNDING), np.floor(times[-1] + _ROUNDING) + 1)
    before = np.searchsorted(times, numbers + _ROUNDING, side="right") - 1
    before = np.clip(before, 0, len(index) - 1)
    steps = np.append(np.diff(index), 1)
    share = (numbers - times[before]) / (steps[before] * ratio)
    share[np.abs(share) * steps[before] * ratio <= _ROUNDING] = 0
    usual = np.median(steps[:-1]) if len(index) > 1 else 1
    kept = (share <= 0) | (steps[before] < GAP * usual)
    return numbers[kept].astype(np.int64), before[kept], share[kept]
