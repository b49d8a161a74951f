"""Tables of DeepLabCut, and of tools that write the same form.

The first lines are `scorer`, optionally `individuals`, `bodyparts` and `coords`: the individual,
joint and axis of each column. Each further line is a frame. Its first cell is the frame's number,
or its first cells are the path of the image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aclnet.datasets.readers.image_names import frame_numbers, short
from aclnet.datasets.readers.pose_table import Lines, plain, read_lines
from aclnet.datasets.readers.poses import MAX_NUMBERS, Poses
from aclnet.datasets.spec import DamageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aclnet.datasets.readers.poses import Asked
    from aclnet.datasets.spec.layouts import Layout

_HEADER = ("scorer", "individuals", "bodyparts", "coords")
_AXES = ("x", "y", "likelihood")
_LONGEST_NUMBER = 9


def is_table(data: bytes) -> bool:
    """True if a file begins like DeepLabCut's tables."""
    return data.removeprefix(b"\xef\xbb\xbf").startswith(f"{_HEADER[0]},".encode())


def parse(data: bytes, layout: Layout | None, asked: Asked) -> Poses:
    """The individuals of a recording in pixels, each with the joints of the layout, or all joints.

    Raises DamageError with the line if the table does not have DeepLabCut's form.
    """
    cells = [line.split(",") for line in read_lines(data)]
    header = {row[0].strip(): row for row in cells[: len(_HEADER)] if row[0].strip() in _HEADER}
    if not {"bodyparts", "coords"} <= header.keys():
        raise DamageError("the lines `bodyparts` and `coords` must follow `scorer`", 2)
    for line, row in enumerate(cells, start=1):
        if len(row) != len(cells[0]):
            raise DamageError(f"{len(row)} values, but line 1 has {len(cells[0])}", line)
    axes = [cell.strip() for cell in header["coords"]]
    start = next((k for k, axis in enumerate(axes) if k and axis), len(axes))
    strange = {*axes[start:]} - {*_AXES}
    if strange or len(header) == len(cells):
        found = short(min(strange)) if strange else "there are no frames after it"
        raise DamageError(f"`coords` is {found}; {', '.join(_AXES)} are expected", len(header))
    lines = Lines([], cells[len(header) :], len(header) + 1)
    people = [cell.strip() for cell in header.get("individuals", [""] * len(axes))]
    parts = [plain(cell) for cell in header["bodyparts"]]
    columns = [*zip(people[start:], parts[start:], axes[start:], strict=True)]
    values, individuals = _arranged(lines.floats(range(start, len(axes))), columns, layout)
    return Poses(
        "DeepLabCut",
        values[..., :2],
        values[..., 2] if "likelihood" in axes else None,
        _numbers(["/".join(row[:start]) for row in lines.rows], lines.first),
        individuals if len(individuals) > 1 and asked.identities else (),
    )


def _arranged(
    values: NDArray[np.float64], columns: list[tuple[str, str, str]], layout: Layout | None
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """(M, T, V, 3) from (T, columns), NaN if there is no value, and the M individuals.

    columns: individual, joint and axis of each.
    """
    joints = [*dict.fromkeys(joint for _, joint, _ in columns)]
    wanted = [plain(joint) for joint in layout.joints] if layout else joints
    joints = wanted if {*wanted} <= {*joints} else joints
    people = tuple(dict.fromkeys(who for who, joint, _ in columns if joint in joints))
    shape = (len(people), len(values), len(joints), len(_AXES))
    if np.prod(shape, dtype=float) > MAX_NUMBERS:
        raise DamageError(f"{len(people)} individuals of {len(joints)} joints are too many")
    places = {
        (people.index(who), joints.index(joint), _AXES.index(axis)): k
        for k, (who, joint, axis) in enumerate(columns)
        if joint in joints
    }
    arranged = np.full(shape, np.nan)
    for (m, v, c), k in places.items():
        arranged[m, :, v, c] = values[:, k]
    return arranged, people


def _numbers(names: list[str], first: int) -> NDArray[np.int32]:
    """(T,) numbers of the frames; raises DamageError with the line if they do not increase."""
    if all(name.isdecimal() and len(name) <= _LONGEST_NUMBER for name in names):
        numbers = np.array([*map(int, names)], np.int32)
    else:
        known = frame_numbers([name.replace("\\", "/") for name in names])
        numbers = np.array([known[name.replace("\\", "/")] for name in names])
    falls = np.flatnonzero(np.diff(numbers) <= 0)
    if len(falls):
        raise DamageError("the frame number does not increase", first + int(falls[0]) + 1)
    return numbers.astype(np.int32)
