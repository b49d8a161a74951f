"""Labels of Ultralytics' pose networks: a text file per image, a line per person.

A line is `class x y width height`, then x, y and optionally the confidence of each joint, in
fractions of the image; `save_conf` and tracking add the confidence of the box and the number of the
person. An image without persons has no file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aclnet.datasets.readers.poses import Asked, Frames, Person, to_poses
from aclnet.datasets.spec import DamageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aclnet.datasets.readers.poses import Poses

_BOX = 5
_MOST_EXTRAS = 2
_LONGEST_LINE = 2**16
_JOINTS = 17
"""Number of joints of the published networks, if no other number is given."""


def frames_of_files(contents: Iterable[tuple[int, bytes]], asked: Asked | None = None) -> Poses:
    """The recording from the number and content of each frame's file.

    Raises DamageError that names the frame and the line.
    """
    asked = asked or Asked()
    frames: Frames = {}
    for number, data in contents:
        lines = data.decode("ascii", "replace").splitlines()
        frames[number] = [
            _person(line, asked.joints or _JOINTS, f"frame {number}, line {place}")
            for place, line in enumerate(lines, start=1)
            if line.strip()
        ]
    return to_poses("Ultralytics YOLO", frames, asked)._replace(image=(0, 0))


def is_frame(data: bytes) -> bool | None:
    """True if a file holds persons, as far as its first line tells; None for an empty file."""
    line = data[:_LONGEST_LINE].decode("ascii", "replace").strip().partition("\n")[0]
    try:
        numbers = [float(field) for field in line.split()]
    except ValueError:
        return False
    return len(numbers) > _BOX + _MOST_EXTRAS if numbers else None


def _person(line: str, joints: int, where: str) -> Person:
    try:
        values = np.array([float(field) for field in line.split()])
    except ValueError:
        raise DamageError(f"{where}: not a line of numbers") from None
    for columns in (3, 2):
        extras = len(values) - _BOX - joints * columns
        if 0 <= extras <= _MOST_EXTRAS:
            break
    else:
        raise DamageError(
            f"{where}: {len(values)} numbers; a class, a box and {joints} joints of 2 or 3 numbers "
            f"are expected, in all {_BOX + 2 * joints} or {_BOX + 3 * joints}"
        )
    found = values[_BOX : _BOX + joints * columns].reshape(joints, columns)
    if columns == 2:
        found = np.column_stack([found, np.ones(joints)])
    found[(found[:, :2] == 0).all(axis=1)] = np.nan
    return Person(found, f"{values[-1]:g}" if extras == _MOST_EXTRAS else "")
