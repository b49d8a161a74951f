"""Limits of coordinates: a single impossible value would damage a whole store.

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
"""Limit of pixels as a multiple of the image's larger side, if known. Joints that pose estimators
guess outside the image are within one side of it."""
_UNITS: dict[Units, str] = {"m": "metres", "px": "pixels"}
_REMARKS: dict[Units, str] = {"m": "; these may be millimetres", "px": "."}
_REMEDIES: dict[Units, str] = {
    "m": 'For data of your own, set units = "mm" or "cm" in dataset.toml. ',
    "px": "",
}


def check_plausible(
    sequence: SkeletonSequence, spec: DatasetSpec, max_coordinate: float | None = None
) -> None:
    """Raises DamageError if a coordinate of raw joints is not a number or exceeds the limit.

    Args:
        sequence: joints in the layout of the raw data, before any step.
        spec: its unit and names of joints are used.
        max_coordinate: limit that the user set, in the unit; None: the default of the unit.
    """
    limit = largest_plausible(sequence, spec.units) if max_coordinate is None else max_coordinate
    keypoint = sequence.keypoint
    if not keypoint.size or -limit <= keypoint.min() <= keypoint.max() <= limit:  # quick; not NaN
        return
    m, t, v, c = np.argwhere(~(np.abs(keypoint) <= limit))[0]
    raise DamageError(
        f"{sequence.sample_id}, frame {sequence.frame_index[t]}, joint "
        f"{get_layout(spec.source_layout).joints[v]}: {'xyz'[c]} is {keypoint[m, t, v, c]:.6g} "
        f"{_UNITS[spec.units]}, at most {limit:g} is plausible{_REMARKS[spec.units]} "
        f"{_REMEDIES[spec.units]}Correct the file, or allow more with --max-coordinate",
        kind="size",
    )


def largest_plausible(sequence: SkeletonSequence, units: Units) -> float:
    """The largest coordinate that joints of a sequence may have, in absolute value."""
    if units == "m":
        return MAX_METRES
    side = max(sequence.width, sequence.height)
    return MAX_IMAGES * side if side > 0 else MAX_PIXELS
