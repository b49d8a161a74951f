"""Names of CASIA-B's recordings, and conversion of its poses to sequences, for all its forms."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from aclnet.datasets.readers.joints import presence
from aclnet.datasets.spec import DamageError, SkeletonSequence

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from aclnet.datasets.spec import Item

NUM_JOINTS = 17
NUM_SUBJECTS = 124
WIDTH, HEIGHT = 320, 240
"""Size of the videos in pixels (Yu, Tan and Tan, ICPR 2006)."""
_TAKES = {"nm": 6, "bg": 2, "cl": 2}
_VIEWS = range(0, 181, 18)
_ID = re.compile(r"(\d{3})-(nm|bg|cl)-(\d\d)-(\d{3})", re.ASCII)
_FARTHEST = 10_000.0  # pixels; an estimator may place a joint somewhat outside the image
_MOST_SURE = 10.0  # a heat map's peak may exceed 1, or be slightly below 0


class Recording(NamedTuple):
    """Numbers and condition in a name `sss-cc-nn-vvv`."""

    subject: int
    """Number of the person, from 1."""
    condition: str
    """nm: normal, bg: with a bag, cl: in a coat."""
    take: int
    """Number of the recording, from 1."""
    view: int
    """View in degrees, 0 to 180."""


def parse_id(sample_id: str) -> Recording | None:
    """The recording that an id names; None if the dataset has no such recording."""
    match = _ID.fullmatch(sample_id)
    if match is None:
        return None
    found = Recording(int(match[1]), match[2], int(match[3]), int(match[4]))
    known = 1 <= found.subject <= NUM_SUBJECTS and 1 <= found.take <= _TAKES[found.condition]
    return found if known and found.view in _VIEWS else None


def name_in(path: str, pattern: re.Pattern[str]) -> str | None:
    """`sss-cc-nn-vvv`, from the groups of a path; None if the dataset has no such recording."""
    match = pattern.fullmatch(path)
    name = "-".join(match.groups()) if match else ""
    return name if parse_id(name) else None


def to_sequence(
    item: Item, poses: NDArray[Any], frame_index: NDArray[np.int32]
) -> SkeletonSequence:
    """The sequence of one person from (T, 17, 3) x and y in pixels and confidence.

    The person is absent in frames in which all x and y are zero. Raises DamageError for numbers out
    of range, for an id of no recording, and if the person is in no frame.
    """
    recording = parse_id(item.sample_id)
    if recording is None:
        raise DamageError("the id is not one of CASIA-B (sss-cc-nn-vvv)", kind="unknown name")
    in_range = np.abs(poses) <= (_FARTHEST, _FARTHEST, _MOST_SURE)  # false for NaN too
    if not in_range.all():
        frame = int(frame_index[np.argmin(in_range.all(axis=(1, 2)))])
        raise DamageError(f"frame {frame} has a value that is not finite or out of range")
    joints = poses.astype(np.float32)[None]
    present = presence(joints[..., :2])
    return SkeletonSequence(
        sample_id=item.sample_id,
        keypoint=np.ascontiguousarray(joints[..., :2]),
        label=recording.subject - 1,
        present=present,
        frame_index=frame_index,
        score=np.where(present[..., None], joints[..., 2], np.float32(0)),
        subject=recording.subject,
        camera=recording.view,
        replication=recording.take,
        condition=recording.condition,
        width=WIDTH,
        height=HEIGHT,
        source=item.path,
    )
