"""Arrays of joints: checks for finite numbers, and the presence of persons."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from aclnet.datasets.spec import DamageError, NobodyError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aclnet.datasets.spec import SkeletonSequence


def as_float32(values: NDArray[Any], what: str) -> NDArray[np.float32]:
    """The numbers as float32; raises DamageError if some of `what` are not finite then."""
    with np.errstate(over="ignore"):
        converted: NDArray[np.float32] = values.astype(np.float32)
    if not np.isfinite(converted).all():
        raise DamageError(f"{what} has values that are not finite")
    return converted


def without_filling(sequence: SkeletonSequence) -> SkeletonSequence:
    """The sequence without the frames that fill an array, in which no person is present."""
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
    """(M, T) presence from (M, T, V, C): a person is in a frame if not all values are zero.

    Raises NobodyError, with the place, if nobody is in any frame.
    """
    present = np.asarray(keypoint.any(axis=(2, 3)))
    if not present.any():
        raise NobodyError(where, line)
    return present
