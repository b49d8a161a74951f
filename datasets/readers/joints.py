"""Arrays of joints as readers make them: finite numbers, and who is there in which frame."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from aclnet.datasets.spec import DamageError, NobodyError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aclnet.datasets.spec import SkeletonSequence


def as_float32(values: NDArray[Any], what: str) -> NDArray[np.float32]:
    """The numbers as float32; DamageError where `what` has some that are not finite then."""
    with np.errstate(over="ignore"):
        converted: NDArray[np.float32] = values.astype(np.float32)
    if not np.isfinite(converted).all():
        raise DamageError(f"{what} has values that are not finite")
    return converted


def without_filling(sequence: SkeletonSequence) -> SkeletonSequence:
    """Without the frames in which nobody is: arrays of one length are filled with them."""
    kept = np.flatnonzero(sequence.present.any(axis=0))
    return replace(
        sequence,
        keypoint=sequence.keypoint[:, kept],
        present=sequence.present[:, kept],
        frame_index=sequence.frame_index[kept],
        score=None if sequence.score is None else sequence.score[:, kept],
    )


def presence(
    keypoint: NDArray[Any], *, where: str = "", line: int | None = None
) -> NDArray[np.bool_]:
    """(M, T) of (M, T, V, C): persons are there in the frames in which not all of them is zero.

    NobodyError, with the place, where nobody ever is.
    """
    present = np.asarray(keypoint.any(axis=(2, 3)))
    if not present.any():
        raise NobodyError(where, line)
    return present
