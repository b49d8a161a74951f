"""MSR-Action3D: `aXX_sYY_eZZ_skeleton3D.txt`, 20 lines per frame of x, y, z in metres, confidence.

The archive of `_skeleton.txt` files has the same recordings in pixels of the depth image; they are
not read.

The dataset has its own order of joints. The bones are certain: everybody who draws them joins
20-3-4-7 (head to hips), 3-1-8-10-12 and 3-2-9-11-13 (arms), 7-5-14-16-18 and 7-6-15-17-19 (legs),
counted from 1. Two of three public readers (Vemulapalli's among them) take the chain of joint 1 for
the left arm, the third for the right arm.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from aclnet.datasets.readers.items import FileSource, items_by_path, known_numbers
from aclnet.datasets.readers.joints import presence
from aclnet.datasets.readers.rows import parse_rows
from aclnet.datasets.spec import DamageError, Rejection, SkeletonSequence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aclnet.datasets.spec import Item

NUM_JOINTS = 20
NUM_CLASSES = 20
NUM_SUBJECTS = 10
ORDER = (6, 3, 2, 19, 0, 7, 9, 11, 1, 8, 10, 12, 4, 13, 15, 17, 5, 14, 16, 18)
"""Line in a frame, from 0, of each joint of layout `kinect_v1`."""
_ID = re.compile(r"a(\d\d)_s(\d\d)_e(\d\d)", re.ASCII)
_FILE = re.compile(rf"({_ID.pattern})_skeleton3D\.txt", re.ASCII)
_MOST = (NUM_CLASSES, NUM_SUBJECTS, 99)  # numbers of actions, subjects, repetitions


@dataclass(frozen=True, slots=True)
class MsrAction3dSource(FileSource):
    """A folder or archive of the dataset's files in space, at any depth."""

    max_bytes = 2**22  # a recording of a hundred frames takes 100 kB

    def scan(self) -> tuple[list[Item], list[Rejection]]:
        expected = "MSR-Action3D in 3-D (aXX_sYY_eZZ_skeleton3D.txt)"
        return items_by_path(self.root, _name_of, ".txt", expected)

    def parse(self, item: Item, data: bytes) -> SkeletonSequence:
        numbers = known_numbers(_ID, item.sample_id, _MOST)
        if numbers is None:
            raise DamageError("the id is not of the form aXX_sYY_eZZ")
        action, subject, replication = numbers
        joints = _joints(data)
        keypoint = np.ascontiguousarray(joints[..., :3])
        present = presence(keypoint)
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
    return match[1] if match and known_numbers(_ID, match[1], _MOST) else None


def _joints(data: bytes) -> NDArray[np.float32]:
    """(1, T, V, 4) x, y, z and confidence, in the order of the layout."""
    rows = parse_rows(data, 4)
    if len(rows) % NUM_JOINTS:
        reason = f"the last frame has {len(rows) % NUM_JOINTS} joints of {NUM_JOINTS} (truncated?)"
        raise DamageError(reason, len(rows))
    frames = rows.astype(np.float32).reshape(1, -1, NUM_JOINTS, 4)
    return frames[:, :, list(ORDER)]
