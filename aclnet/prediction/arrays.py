"""Sequences from plain arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aclnet.datasets.spec import UNLABELLED, AclnetError, SkeletonSequence

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray


def sequence_of(joints: NDArray[Any], scored: bool) -> SkeletonSequence:
    """A sequence from an array (T, V, C) or (M, T, V, C); persons are identified by their row.

    NaN and zeros are missing joints; with `scored`, the last coordinate is the confidence. Raises
    AclnetError for another shape, for infinite values, and if no person is present.
    """
    array = np.array(joints, np.float32)
    array = array[None] if array.ndim == 3 else array
    if array.ndim != 4 or 0 in array.shape:
        raise AclnetError(
            f"the array has the shape {np.shape(joints)}; (T, V, C) or (M, T, V, C) is expected: "
            "persons, frames, joints, coordinates"
        )
    coordinates = array.shape[-1] - scored
    keypoint = array[..., :coordinates]
    array[np.isnan(keypoint).all(axis=-1)] = 0
    if not np.isfinite(array).all():
        raise AclnetError("the array has infinite values, or joints with some NaN values")
    present = (keypoint != 0).any(axis=(2, 3))
    persons = present.any(axis=1)
    if not persons.any():
        raise AclnetError("the array shows no person: all joints are NaN or zero")
    return SkeletonSequence(
        sample_id="array",
        keypoint=keypoint[persons],
        label=UNLABELLED,
        present=present[persons],
        frame_index=np.arange(array.shape[1], dtype=np.int32),
        score=array[persons][..., -1] if scored else None,
    )
