"""Tables of joints, with commas: a line a frame of one person, or a line a joint.

Where a header names the coordinates of joints (`LeftHand_x`, `x12`), these columns count, in
whatever order; otherwise the coordinates of joint after joint are expected.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from aclnet.datasets.readers.image_names import short
from aclnet.datasets.spec import DamageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aclnet.datasets.spec.layouts import Layout

MAX_LINE = 2**17
"""Characters: a thousand joints of four numbers in full precision take 80,000."""
MAX_CELLS = 2**23
"""Largest table in cells: 20 minutes of 100 columns at 60 frames a second have 7 million."""
_MAX_FRAME = 2**31 - 1
_LONGEST_NUMBER = 9
"""Digits of the number of a joint."""
_AXIS = "x|y|z|visibility|confidence|likelihood|score|state|vis|conf|v|c"
"""Names of the columns of a joint; all but x, y and z are its confidence."""
_NAMES = (
    re.compile(rf"(?P<joint>.*\d|.+[ _.\-])(?P<axis>{_AXIS})", re.IGNORECASE),
    re.compile(r"(?P<joint>.*[a-z])(?P<axis>[XYZ])"),
    re.compile(rf"(?P<axis>{_AXIS})[ _.\-]?(?P<joint>\d+)", re.IGNORECASE),
)
"""Names of columns of joints: LeftHand_x or 12x; LeftHandX; x12."""
_TIME = re.compile(r"t|time.*|.*(seconds|timestamp).*|m?secs?|ms|usec", re.IGNORECASE)
_FRAME = re.compile(r"frame.*|image.*|index|idx|", re.IGNORECASE)
_JOINT = re.compile(r"(landmark|joint|keypoint|bodypart)[ _]?(id|index|name)?|name|id")
_PERSON = re.compile(r"(person|body|track)[ _]?(id)?")
"""Names of columns of tables that have a line a joint."""


class Table(NamedTuple):
    """The joints in a table."""

    values: NDArray[np.float64]
    """(M, T, V, C) coordinates and perhaps confidence; NaN where a cell is empty."""
    frames: NDArray[np.int32]
    """(T,)"""
    first_line: int | None
    """Line of the first frame; None where a frame has several lines."""
    identities: tuple[str, ...] = ()
    """(M,) where a column tells them."""


class UnknownJointsError(DamageError):
    """Columns without names, of a layout that is not known."""

    def __init__(self, columns: int, line: int) -> None:
        super().__init__(f"{columns} columns, and nothing says which joints they are of", line)
        counts = {n / size for n in (columns, columns - 1) for size in (2, 3, 4)}
        self.joints = sorted(int(count) for count in counts if count % 1 == 0 and count > 0)
        """Numbers of joints that it may have, with a column of frames or without."""


class _Lines(NamedTuple):
    header: list[str]
    """Names of the columns, empty where there is no header."""
    rows: list[list[str]]
    first: int
    """Line of the first row, from 1."""

    def floats(self, columns: Sequence[int]) -> NDArray[np.float64]:
        """(N, columns) numbers, NaN for empty cells; DamageError with line and cell."""
        cells = [[row[k] for k in columns] for row in self.rows]
        try:
            return np.array([list(map(float, row)) for row in cells])
        except ValueError:  # empty cells, or a mistake to be found
            values = np.empty((len(cells), len(columns)))
        for t, row in enumerate(cells):
            for k, cell in enumerate(row):
                number = _number(cell)
                if number is None:
                    reason = f"{short(cell.strip())!r} is not a number"
                    raise DamageError(reason, self.first + t)
                values[t, k] = number
        return values


def parse(data: bytes, columns: slice | None, layout: Layout | None, dimensions: int) -> Table:
    """The joints of a recording; DamageError with the line where they cannot be understood.

    columns: those of a line that are coordinates, where they are told. Without a layout only tables
    whose header names joints can be understood. dimensions: 2 or 3; there may be a confidence more.
    """
    lines = _lines(data, columns)
    if columns is None and lines.header:
        if _is_long(lines.header):
            return _long(lines, layout, dimensions)
        named = _named(lines.header, layout, dimensions)
        if named is not None:
            frames = _frames(lines, others_than=named.ravel().tolist())
            values = lines.floats(named.ravel().tolist())
            return Table(values.reshape(1, len(values), *named.shape), frames, lines.first)
    return _positional(lines, columns, layout, dimensions)


def _lines(data: bytes, columns: slice | None) -> _Lines:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DamageError(f"not text: {error.reason}") from None
    lines = text.rstrip().splitlines()
    if not lines:
        raise DamageError("the file is empty")
    _check_extent(text, lines)
    if "," not in lines[0]:
        found = next((what for sign, what in _SEPARATORS.items() if sign in lines[0].strip()), "")
        if found:
            raise DamageError(f"cells separated by {found}; commas are expected", 1)
    cells = [line.split(",") for line in lines]
    header = _header(cells[0], columns)
    first = 1 if header else 0
    if first == len(lines):
        raise DamageError("there is no line but the header")
    rows = cells[first:]
    for number, row in enumerate(rows, start=first + 1):
        if len(row) != len(rows[0]):
            reason = f"{len(row)} values, {len(rows[0])} in line {first + 1}"
            raise DamageError(reason, number)
    if all(not row[-1].strip() for row in rows):  # lines that end with a comma
        rows = [row[:-1] for row in rows]
    if len(header) != len(rows[0]):
        header = header[: len(rows[0])] if len(header) > len(rows[0]) else []
    return _Lines(header, rows, first + 1)


_SEPARATORS = {";": "semicolons", "\t": "tabs", " ": "blanks"}


def _check_extent(text: str, lines: list[str]) -> None:
    """DamageError before a table is cut into cells that take many times its memory."""
    for number, line in enumerate(lines, start=1):
        if len(line) > MAX_LINE:
            raise DamageError(f"{len(line):,} characters, at most {MAX_LINE:,} are real", number)
    if text.count(",") > MAX_CELLS:
        raise DamageError(f"more than {MAX_CELLS:,} cells, no recording has so many")


def _header(cells: list[str], columns: slice | None) -> list[str]:
    """Names of columns, of the first line; empty where it has numbers.

    DamageError where it has both, as far as its cells count: a header has no number, and a frame
    with a damaged cell must not be taken for one.
    """
    counting = [cell.strip() for cell in (cells[columns] if columns else cells)]
    wrong = [cell for cell in counting if _number(cell) is None]
    if not wrong:
        return []
    if any(cell and _number(cell) is not None for cell in counting):
        raise DamageError(f"{short(wrong[0])!r} is not a number, and a header has none", 1)
    return [cell.strip().strip('"') for cell in cells]


def _number(cell: str) -> float | None:
    """Number in a cell: NaN for an empty cell, None for text."""
    try:
        return float(cell.strip() or "nan")
    except ValueError:
        return None


def _named(header: list[str], layout: Layout | None, dimensions: int) -> NDArray[np.int64] | None:
    """(V, C) columns of each joint's coordinates and confidence; None where names do not tell.

    With a layout, the joints are those of its names, or as many as it has, in the table's order.
    """
    joints: dict[str, dict[str, int]] = {}
    for k, name in enumerate(header):
        match = next((m for pattern in _NAMES if (m := pattern.fullmatch(name))), None)
        if match:
            axis = match["axis"].lower()
            joint = joints.setdefault(_plain(match["joint"]), {})
            if joint.setdefault(axis if axis in tuple("xyz") else "confidence", k) != k:
                return None
    axes = tuple("xyz"[:dimensions])
    joints = {name: found for name, found in joints.items() if {*axes} <= found.keys()}
    if layout is not None:
        by_name = [_plain(name) for name in layout.joints]
        if {*by_name} <= joints.keys():
            joints = {name: joints[name] for name in by_name}
        elif len(joints) != layout.num_joints:
            return None
    sure = all("confidence" in found for found in joints.values())
    keys = (*axes, "confidence") if sure else axes
    rows = [[found[key] for key in keys] for found in joints.values()]
    return np.array(rows) if rows else None


def _plain(name: str) -> str:
    """A name without what spellings differ in: `Left_Hand ` and `leftHand` are one."""
    return re.sub(r"[^0-9a-z]", "", name.lower())


def _positional(
    lines: _Lines, columns: slice | None, layout: Layout | None, dimensions: int
) -> Table:
    width = len(lines.rows[0])
    counting = list(range(width))
    if columns is not None:
        if columns.stop > width:
            raise DamageError(f"{width} columns, {columns.stop} are named", lines.first)
        counting = counting[columns]
    if layout is None:
        raise UnknownJointsError(len(counting), lines.first)
    joints = layout.num_joints
    known = {joints * dimensions: dimensions, joints * (dimensions + 1): dimensions + 1}
    frames = np.arange(len(lines.rows), dtype=np.int32)
    if columns is None and len(counting) - 1 in known:
        frames = _frame_numbers(lines, 0)
        counting = counting[1:]
    if len(counting) not in known:
        in_plane = dimensions == 3 and len(counting) == 2 * joints
        remedy = (
            'write units = "px" into dataset.toml if they are x and y in pixels'
            if in_plane
            else "where there are others, `columns` in dataset.toml tells which count"
        )
        raise DamageError(
            f"{len(counting)} columns, {' or '.join(map(str, known))} are expected of "
            f"{layout.name}; {remedy}",
            lines.first,
        )
    values = lines.floats(counting)
    shape = (1, len(values), joints, known[len(counting)])
    return Table(values.reshape(shape), frames, lines.first)


def _frames(lines: _Lines, others_than: list[int]) -> NDArray[np.int32]:
    """Numbers of the frames, by a column whose name tells it, or the lines in their order."""
    for k, name in enumerate(lines.header):
        if k not in others_than and (_FRAME.fullmatch(name) or _TIME.fullmatch(name)):
            return _frame_numbers(lines, k)
    return np.arange(len(lines.rows), dtype=np.int32)


def _frame_numbers(lines: _Lines, column: int) -> NDArray[np.int32]:
    """A column of whole numbers that rise; times, by the column's name, are counted from 0."""
    values = lines.floats([column])[:, 0]
    rising = np.concatenate([[True], values[1:] > values[:-1]]) & np.isfinite(values)
    is_time = bool(lines.header and _TIME.fullmatch(lines.header[column]))
    whole = (values >= 0) & (values <= _MAX_FRAME) & (values == np.floor(values))
    sound = rising & (is_time | whole)
    if not sound.all():
        what = "the first column" if column == 0 else f"column {column + 1}"
        raise DamageError(
            f"{what} is not a rising number of the frame; where it is something else, `columns` in "
            "dataset.toml tells which columns are coordinates",
            lines.first + int(np.argmin(sound)),
        )
    return np.arange(len(values), dtype=np.int32) if is_time else values.astype(np.int32)


def _is_long(header: list[str]) -> bool:
    """Is a line one joint, by the names of the columns?"""
    names = [name.lower() for name in header]
    return {"x", "y"} <= {*names} and any(map(_JOINT.fullmatch, names))


def _long(lines: _Lines, layout: Layout | None, dimensions: int) -> Table:
    """A line a joint: frame, joint, x, y and perhaps z, confidence, person."""
    names = [name.lower() for name in lines.header]
    joint = next(k for k, name in enumerate(names) if _JOINT.fullmatch(name))
    found = [k for k, n in enumerate(names) if n and (_FRAME.fullmatch(n) or _TIME.fullmatch(n))]
    if not found:
        raise DamageError("no column tells the frame, and each line is one joint", 1)
    person = next((k for k, name in enumerate(names) if _PERSON.fullmatch(name)), None)
    axes = [names.index(axis) for axis in "xyz"[:dimensions] if axis in names]
    axes += [k for k, n in enumerate(names) if n not in tuple("xyz") and n in _AXIS.split("|")][:1]
    moments = lines.floats(found[:1])[:, 0]
    if not np.isfinite(moments).all():
        raise DamageError("a line has no frame", lines.first + int(np.argmin(np.isfinite(moments))))
    times, t = np.unique(moments, return_inverse=True)
    whole = (times % 1 == 0).all() and times[0] >= 0 and times[-1] <= _MAX_FRAME
    frames = times.astype(np.int32) if whole and not _TIME.fullmatch(names[found[0]]) else None
    v, joints = _joint_places([row[joint] for row in lines.rows], layout)
    who = [row[person].strip() if person is not None else "" for row in lines.rows]
    identities = tuple(dict.fromkeys(who))
    places = {one: m for m, one in enumerate(identities)}
    m = np.array([places[one] for one in who])
    shape = (len(identities), len(times), joints)
    if math.prod(shape) * len(axes) > MAX_CELLS * 4:
        raise DamageError(f"{len(identities)} persons in {len(times)} frames are too many")
    place = np.ravel_multi_index((m, t, v), shape)
    _, first, counts = np.unique(place, return_index=True, return_counts=True)
    if (counts > 1).any():
        line = lines.first + int(np.flatnonzero(place == place[first[counts > 1][0]])[1])
        raise DamageError("the joint of a person is there twice in a frame", line)
    values = np.full((*shape, len(axes)), np.nan)
    values[m, t, v] = lines.floats(axes)
    if frames is None:
        frames = np.arange(len(times), dtype=np.int32)
    return Table(values, frames, None, identities if len(identities) > 1 else ())


def _joint_places(cells: list[str], layout: Layout | None) -> tuple[NDArray[np.int64], int]:
    """(N,) place of the joint of each line, and how many joints there are.

    By the names of the layout; else numbers, which may begin with 1, in their order, or names in
    that of the table.
    """
    named = [_plain(cell) for cell in cells]
    different = dict.fromkeys(named)
    if all(name.isdecimal() and len(name) <= _LONGEST_NUMBER for name in different):
        order = sorted(different, key=int)
        lowest, highest = int(order[0]), int(order[-1])
        joints = layout.num_joints if layout else len(order)
        start = 1 if lowest == 1 and highest == joints else 0
        if highest - start >= joints:
            raise DamageError(f"a joint has the number {highest}, and there are {joints}")
        return np.array([int(name) - start for name in named]), joints
    known = [_plain(name) for name in layout.joints] if layout else [*different]
    if not {*different} <= {*known}:
        known = [*different]
    places = {name: v for v, name in enumerate(known)}
    return np.array([places[name] for name in named]), len(known)
