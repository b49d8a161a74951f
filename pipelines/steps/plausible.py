"""Coordinates that no camera can have recorded: one of them would spoil a whole store.

The step of `int16` follows from the largest coordinate of a store, and sums of squares overflow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aclnet.datasets.spec import DamageError
from aclnet.datasets.spec.layouts import get_layout

if TYPE_CHECKING:
    from aclnet.datasets.spec import DatasetSpec, SkeletonSequence, Units

MAX_METRES = 100.0
"""Depth sensors reach 8 metres and motion capture halls are 30 metres wide. A body in millimetres
exceeds 100 within a hand's width."""
MAX_PIXELS = 100_000.0
"""The widest images of cameras have some 20,000 pixels."""
MAX_IMAGES = 10.0
"""Pixels may be so many times the larger side of the image, where that is known. Joints that pose
estimators guess outside the image lie within one side of it."""
_UNITS: dict[Units, str] = {"m": "metres", "px": "pixels"}
_REMARKS: dict[Units, str] = {"m": "; are these millimetres?", "px": "."}
_REMEDIES: dict[Units, str] = {
    "m": 'Data of one\'s own take units = "mm" or "cm" in dataset.toml. ',
    "px": "",
}


def check_plausible(
    sequence: SkeletonSequence, spec: DatasetSpec, max_coordinate: float | None = None
) -> None:
    """DamageError where a coordinate of raw joints is no number or larger than the limit.

    Args:
        sequence: joints in the layout of the raw data, before any step.
        spec: tells the unit and the joints' names.
        max_coordinate: limit that the user set, in the unit; None: the one of the unit.
    """
    limit = largest_plausible(sequence, spec.units) if max_coordinate is None else max_coordinate
    keypoint = sequence.keypoint
    if not keypoint.size or -limit <= keypoint.min() <= keypoint.max() <= limit:  # quick; not NaN
        return
    m, t, v, c = np.argwhere(~(np.abs(keypoint) <= limit))[0]
    raise DamageError(
        f"{sequence.sample_id}, frame {sequence.frame_index[t]}, joint "
        f"{get_layout(spec.source_layout).joints[v]}: {'xyz'[c]} is {keypoint[m, t, v, c]:.6g} "
        f"{_UNITS[spec.units]}, at most {limit:g} are plausible{_REMARKS[spec.units]} "
        f"{_REMEDIES[spec.units]}Correct the file, or allow more with --max-coordinate",
        kind="size",
    )


def largest_plausible(sequence: SkeletonSequence, units: Units) -> float:
    """The largest coordinate that joints of a sequence may have, in absolute value."""
    if units == "m":
        return MAX_METRES
    side = max(sequence.width, sequence.height)
    return MAX_IMAGES * side if side > 0 else MAX_PIXELS
