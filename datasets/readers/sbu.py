"""SBU Kinect Interaction, clean version: `sXXsYY/CC/NNN/skeleton_pos.txt`.

Subjects XX and YY, category CC, take NNN. Each line is a frame of 91 numbers with commas: the
frame's number, then 2 persons x 15 joints x (x, y, z). The numbers are normalised; the dataset's
README gives the inverse, which is applied here:

    X = 1280 - 2560 x,  Y = 960 - 1920 y,  Z = 10000 z / 7.8125

in millimetres (the README does not name the unit; the size of bodies does), y upwards, z away.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aclnet.datasets.readers.items import FileSource, items_by_path
from aclnet.datasets.readers.joints import presence
from aclnet.datasets.readers.rows import parse_rows
from aclnet.datasets.spec import DamageError, Rejection, SkeletonSequence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aclnet.datasets.spec import Item

NUM_PERSONS = 2
NUM_JOINTS = 15
SCALE = np.array([-2.56, -1.92, 10 / 7.8125])
OFFSET = np.array([1.28, 0.96, 0.0])
"""Metres = OFFSET + SCALE * value in the file."""
_FILE_NAME = "skeleton_pos.txt"
_PATH = re.compile(rf"(?:.*/)?(s\d\ds\d\d)/(\d\d)/(\d\d\d)/{re.escape(_FILE_NAME)}", re.ASCII)
_ID = re.compile(r"(s(\d\d)s\d\d)-(\d\d)-(\d\d\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class SbuSource(FileSource):
    """A folder of the sets of recordings, or of their zips."""

    max_bytes = 2**22  # a recording of a hundred frames takes 100 kB

    def scan(self) -> tuple[list[Item], list[Rejection]]:
        expected = f"SBU (sXXsYY/CC/NNN/{_FILE_NAME})"
        return items_by_path(self.root, self._name_of, _FILE_NAME, expected)

    def _name_of(self, path: str) -> str | None:
        match = _PATH.fullmatch(path)
        known = match and 1 <= int(match[2]) <= len(self.spec.class_names)
        return "-".join(match.groups()) if match and known else None

    def parse(self, item: Item, data: bytes) -> SkeletonSequence:
        match = _ID.fullmatch(item.sample_id)
        if match is None or not 1 <= int(match[3]) <= len(self.spec.class_names):
            raise DamageError("the id is not of the form sXXsYY-CC-NNN")
        keypoint = _keypoint(data)
        return SkeletonSequence(
            sample_id=item.sample_id,
            keypoint=keypoint,
            label=int(match[3]) - 1,
            present=presence(keypoint),
            frame_index=np.arange(keypoint.shape[1], dtype=np.int32),
            subject=int(match[2]),
            replication=int(match[4]),
            condition=match[1],
            source=item.path,
        )


def _keypoint(data: bytes) -> NDArray[np.float32]:
    """(M, T, V, 3) in metres; missing joints, which are all zero in the file, stay zero."""
    rows = parse_rows(data, 1 + NUM_PERSONS * NUM_JOINTS * 3, ",")
    normalised = rows[:, 1:].reshape(-1, NUM_PERSONS, NUM_JOINTS, 3).swapaxes(0, 1)
    there = normalised.any(axis=-1, keepdims=True)
    with np.errstate(over="ignore"):
        keypoint = np.where(there, OFFSET + SCALE * normalised, 0).astype(np.float32)
    if not np.isfinite(keypoint).all():
        raise DamageError("values are too large")
    return keypoint
