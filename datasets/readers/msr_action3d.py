"""MSR-Action3D: `aXX_sYY_eZZ_skeleton3D.txt`, 20 lines a frame of x, y, z in metres and confidence.

The archive of `_skeleton.txt` files has the same recordings in pixels of the depth image; they are
not read.

Joints come in an order of the dataset's own. How they hang together is certain: everybody who
draws them joins 20-3-4-7 (head to hips), 3-1-8-10-12 and 3-2-9-11-13 (arms), 7-5-14-16-18 and
7-6-15-17-19 (legs), counted from 1. That the chain of joint 1 is the left arm is what two of three
public readers say (Vemulapalli's among them), the third calls it the right one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from aclnet.datasets.formats.files import read_file
from aclnet.datasets.readers.items import items_by_path
from aclnet.datasets.readers.rows import parse_rows
from aclnet.datasets.spec.sequence import DamageError, Rejection, SkeletonSequence
from aclnet.datasets.spec.source import Item, Source

if TYPE_CHECKING:
    from numpy.typing import NDArray

NUM_JOINTS = 20
NUM_CLASSES = 20
NUM_SUBJECTS = 10
ORDER = (6, 3, 2, 19, 0, 7, 9, 11, 1, 8, 10, 12, 4, 13, 15, 17, 5, 14, 16, 18)
"""The line of a frame, from 0, that holds each joint of layout `kinect_v1`."""
_ID = re.compile(r"a(\d\d)_s(\d\d)_e(\d\d)", re.ASCII)
_FILE = re.compile(rf"({_ID.pattern})_skeleton3D\.txt", re.ASCII)
_MAX_BYTES = 2**22  # a recording of a hundred frames takes 100 kB


@dataclass(frozen=True, slots=True)
class MsrAction3dSource(Source):
    """A folder or archive of the dataset's files in space, at any depth."""

    def scan(self) -> tuple[list[Item], list[Rejection]]:
        expected = "MSR-Action3D in space (aXX_sYY_eZZ_skeleton3D.txt)"
        return items_by_path(self.root, _name_of, ".txt", expected)

    def read(self, item: Item) -> SkeletonSequence | Rejection:
        numbers = _numbers(item.sample_id)
        if numbers is None:
            return Rejection(item.path, None, "the id is not of the form aXX_sYY_eZZ")
        action, subject, replication = numbers
        try:
            joints = _joints(read_file(self.root, item.path, _MAX_BYTES))
        except DamageError as damage:
            return damage.at(item.path)
        keypoint = np.ascontiguousarray(joints[..., :3])
        present = np.asarray(keypoint.any(axis=(2, 3)))
        if not present.any():
            return Rejection(item.path, None, "no person in any frame", "no person")
        return SkeletonSequence(
            sample_id=item.sample_id,
            keypoint=keypoint,
            label=action - 1,
            present=present,
            frame_index=np.arange(keypoint.shape[1], dtype=np.int32),
            score=np.where(present[..., None], joints[..., 3], 0),
            subject=subject,
            replication=replication,
            source=item.path,
        )


def _name_of(path: str) -> str | None:
    match = _FILE.fullmatch(PurePosixPath(path).name)
    return match[1] if match and _numbers(match[1]) else None


def _numbers(sample_id: str) -> tuple[int, int, int] | None:
    """Action, subject and repetition, from 1; None where the dataset has no such recording."""
    match = _ID.fullmatch(sample_id)
    if match is None:
        return None
    action, subject, replication = (int(digits) for digits in match.groups())
    known = 1 <= action <= NUM_CLASSES and 1 <= subject <= NUM_SUBJECTS and replication >= 1
    return (action, subject, replication) if known else None


def _joints(data: bytes) -> NDArray[np.float32]:
    """(1, T, V, 4) x, y, z and confidence, in the order of the layout."""
    rows = parse_rows(data, 4)
    if len(rows) % NUM_JOINTS:
        reason = f"the last frame has {len(rows) % NUM_JOINTS} joints of {NUM_JOINTS} (truncated?)"
        raise DamageError(reason, len(rows))
    frames = rows.astype(np.float32).reshape(1, -1, NUM_JOINTS, 4)
    return frames[:, :, list(ORDER)]
