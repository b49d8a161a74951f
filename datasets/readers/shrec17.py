"""SHREC'17: `gesture_G/finger_F/subject_S/essai_E/skeletons_world.txt`, one line per frame.

A line has x, y, z of 22 joints in metres; `skeletons_image.txt` has x and y of the same joints in
pixels of the depth image, which is 640 x 480. Gestures of finger 1 are made with one finger, those
of finger 2 with the whole hand.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aclnet.datasets.readers.items import FileSource, items_by_path, known_numbers
from aclnet.datasets.readers.joints import presence
from aclnet.datasets.readers.rows import parse_rows
from aclnet.datasets.spec import DamageError, Rejection, SkeletonSequence

if TYPE_CHECKING:
    from aclnet.datasets.spec import Item

NUM_JOINTS = 22
FILES = {"m": "skeletons_world.txt", "px": "skeletons_image.txt"}
"""Name of a recording's file by the units of its coordinates."""
FINGERS = ("one finger", "whole hand")
_IMAGE = 640, 480
_PATH = re.compile(
    r"(?:.*/)?gesture_(\d{1,2})/finger_(\d)/subject_(\d{1,2})/essai_(\d{1,2})/[^/]+", re.ASCII
)
_ID = re.compile(r"g(\d\d)_f(\d)_s(\d\d)_e(\d\d)", re.ASCII)
_MOST = (14, len(FINGERS), 28, 99)  # gestures, fingers, subjects, trials


@dataclass(frozen=True, slots=True)
class Shrec17Source(FileSource):
    """A folder or archive of the original tree; the dataset's units determine the files to read."""

    max_bytes = 2**22  # the longest recording takes 120 kB

    def scan(self) -> tuple[list[Item], list[Rejection]]:
        file = FILES[self.spec.units]
        expected = f"SHREC'17 (gesture_G/finger_F/subject_S/essai_E/{file})"
        return items_by_path(self.root, self._name_of, file, expected)

    def _name_of(self, path: str) -> str | None:
        numbers = known_numbers(_PATH, path, _MOST)
        if numbers is None or not path.endswith(f"/{FILES[self.spec.units]}"):
            return None
        return "g{:02}_f{}_s{:02}_e{:02}".format(*numbers)

    def parse(self, item: Item, data: bytes) -> SkeletonSequence:
        numbers = known_numbers(_ID, item.sample_id, _MOST)
        if numbers is None:
            raise DamageError("the id is not of the form gGG_fF_sSS_eEE")
        gesture, finger, subject, replication = numbers
        label = gesture - 1
        if self.spec.name == "shrec17-28":
            label = len(FINGERS) * label + finger - 1
        rows = parse_rows(data, NUM_JOINTS * self.spec.dimensions)
        keypoint = rows.astype(np.float32).reshape(1, len(rows), NUM_JOINTS, -1)
        width, height = _IMAGE if self.spec.units == "px" else (0, 0)
        return SkeletonSequence(
            sample_id=item.sample_id,
            keypoint=keypoint,
            label=label,
            present=presence(keypoint),
            frame_index=np.arange(len(rows), dtype=np.int32),
            subject=subject,
            replication=replication,
            condition=FINGERS[finger - 1],
            width=width,
            height=height,
            source=item.path,
        )
