"""Tables of joints, with commas: a line per frame of one person, or a line per joint.

If a header names the coordinates of joints (`LeftHand_x`, `x12`), these columns are used, in any
order. Otherwise the columns must hold the coordinates of one joint after another.
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
"""Limit of a line in characters: a thousand joints of four numbers take 80,000."""
MAX_CELLS = 2**23
"""Limit of a table in cells: 20 minutes of 100 columns at 60 frames per second have 7 million."""
_MAX_FRAME = 2**31 - 1
_LONGEST_NUMBER = 9
"""Most digits of a joint's number."""
_AXIS = "x|y|z|visibility|confidence|likelihood|score|state|vis|conf|v|c"
"""Names of a joint's columns; all but x, y and z are its confidence."""
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
"""Names of the person's column in tables with a line per joint."""


class Table(NamedTuple):
    """The joints in a table."""

    values: NDArray[np.float64]
    """(M, T, V, C) coordinates and perhaps confidence; NaN if a cell is empty."""
    frames: NDArray[np.int32]
    """(T,) numbers of the frames."""
    first_line: int | None
    """Line of the first frame; None if a frame has several lines."""
    identities: tuple[str, ...] = ()
    """(M,) identities, if a column has them."""
    named: bool = False
    """True if the header names the axes."""


class UnknownJointsError(DamageError):
    """An error for columns without names whose layout is not known."""

    def __init__(self, columns: int, line: int) -> None:
        super().__init__(f"{columns} columns, and the layout of the joints is not known", line)
        counts = {n / size for n in (columns, columns - 1) for size in (2, 3, 4)}
        self.joints = sorted(int(count) for count in counts if count % 1 == 0 and count > 0)
        """Possible numbers of joints, with and without a column of frames."""


class Lines(NamedTuple):
    """Cells of a table."""

    header: list[str]
    """Names of the columns; empty if there is no header."""
    rows: list[list[str]]
    first: int
    """Line of the first row, from 1."""

    def floats(self, columns: Sequence[int]) -> NDArray[np.float64]:
        """(N, columns) numbers, NaN for empty cells; DamageError with line and cell."""
        cells = [[row[k] for k in columns] for row in self.rows]
        try:
            return np.array([list(map(float, row)) for row in cells])
        except ValueError:  # empty cells, or an invalid cell to be found
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
    """The joints of a recording; raises DamageError with the line if they are invalid.

    columns: the columns that are coordinates, if known. Without a layout, the header must name the
    joints. dimensions: 2 or 3; there may be an additional confidence.
    """
    lines = _lines(data, columns)
    if columns is None and lines.header:
        if _is_long(lines.header):
            return _long(lines, layout, dimensions)
        named = _named(lines.header, layout, dimensions)
        if named is not None:
            frames = _frames(lines, others_than=named.ravel().tolist())
            values = lines.floats(named.ravel().tolist())
            values = values.reshape(1, len(values), *named.shape)
            return Table(values, frames, lines.first, named=True)
    return _positional(lines, columns, layout, dimensions)


def read_lines(data: bytes) -> list[str]:
    """The lines of a table, at least one.

    Raises DamageError if there are more or longer lines than in any recording, because cells take
    much more memory than their text.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DamageError(f"not text: {error.reason}") from None
    lines = text.rstrip().splitlines()
    if not lines:
        raise DamageError("the file is empty")
    for number, line in enumerate(lines, start=1):
        if len(line) > MAX_LINE:
            raise DamageError(
                f"{len(line):,} characters; at most {MAX_LINE:,} are possible", number
            )
    if text.count(",") > MAX_CELLS:
        raise DamageError(f"more than {MAX_CELLS:,} cells, the limit for a recording")
    return lines


def _lines(data: bytes, columns: slice | None) -> Lines:
    lines = read_lines(data)
    start = lines[0].strip()
    for sign, what in _SEPARATORS.items():
        if sign in start and (sign == ";" or "," not in start):  # the comma may be the decimal one
            raise DamageError(f"the cells are separated by {what}; commas are expected", 1)
    cells = [line.split(",") for line in lines]
    header = _header(cells[0], columns)
    first = 1 if header else 0
    if first == len(lines):
        raise DamageError("there are no lines after the header")
    rows = cells[first:]
    for number, row in enumerate(rows, start=first + 1):
        if len(row) != len(rows[0]):
            reason = f"{len(row)} values, but line {first + 1} has {len(rows[0])}"
            raise DamageError(reason, number)
    if all(not row[-1].strip() for row in rows):  # lines that end with a comma
        rows = [row[:-1] for row in rows]
    if len(header) != len(rows[0]):
        header = header[: len(rows[0])] if len(header) > len(rows[0]) else []
    return Lines(header, rows, first + 1)


_NO_Z = (
    'the header names x and y, but no z; write units = "px" into dataset.toml if they are pixels'
)
_SEPARATORS = {";": "semicolons", "\t": "tabs", " ": "blanks"}


def _header(cells: list[str], columns: slice | None) -> list[str]:
    """Names of columns, from the first line; empty if it has numbers.

    Raises DamageError if the line has both numbers and names in the columns that count. A header
    has no number, and a frame with a damaged cell must not be taken for a header.
    """
    counting = [cell.strip() for cell in (cells[columns] if columns else cells)]
    wrong = [cell for cell in counting if _number(cell) is None]
    if not wrong:
        return []
    if any(cell and _number(cell) is not None for cell in counting):
        raise DamageError(f"{short(wrong[0])!r} is not a number, but a header has no numbers", 1)
    return [cell.strip().strip('"') for cell in cells]


def _number(cell: str) -> float | None:
    """Number in a cell: NaN for an empty cell, None for text."""
    try:
        return float(cell.strip() or "nan")
    except ValueError:
        return None


def _named(header: list[str], layout: Layout | None, dimensions: int) -> NDArray[np.int64] | None:
    """(V, C) columns of each joint's coordinates and confidence; None if names do not tell them.

    With a layout, the joints are those of its names, or as many as it has, in the table's order.
    """
    joints: dict[str, dict[str, int]] = {}
    for k, name in enumerate(header):
        match = next((m for pattern in _NAMES if (m := pattern.fullmatch(name))), None)
        if match:
            axis = match["axis"].lower()
            joint = joints.setdefault(plain(match["joint"]), {})
            if joint.setdefault(axis if axis in tuple("xyz") else "confidence", k) != k:
                return None
    axes = tuple("xyz"[:dimensions])
    flat = [found for found in joints.values() if {"x", "y"} <= found.keys()]
    joints = {name: found for name, found in joints.items() if {*axes} <= found.keys()}
    if not joints and flat and (layout is None or len(flat) >= layout.num_joints):
        raise DamageError(_NO_Z, 1)
    if layout is not None:
        by_name = [plain(name) for name in layout.joints]
        if {*by_name} <= joints.keys():
            joints = {name: joints[name] for name in by_name}
        elif len(joints) != layout.num_joints:
            return None
    sure = all("confidence" in found for found in joints.values())
    keys = (*axes, "confidence") if sure else axes
    rows = [[found[key] for key in keys] for found in joints.values()]
    return np.array(rows) if rows else None


def plain(name: str) -> str:
    """A name without differences of spelling: `Left_Hand ` and `leftHand` become equal."""
    return re.sub(r"[^0-9a-z]", "", name.lower())


def _positional(
    lines: Lines, columns: slice | None, layout: Layout | None, dimensions: int
) -> Table:
    width = len(lines.rows[0])
    counting = list(range(width))
    if columns is not None:
        if columns.stop > width:
            raise DamageError(
                f"{width} columns, but `columns` goes up to {columns.stop}", lines.first
            )
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
            else "if there are other columns, select with `columns` in dataset.toml"
        )
        raise DamageError(
            f"{len(counting)} columns; {' or '.join(map(str, known))} are expected for layout "
            f"{layout.name}; {remedy}",
            lines.first,
        )
    values = lines.floats(counting)
    shape = (1, len(values), joints, known[len(counting)])
    return Table(values.reshape(shape), frames, lines.first)


def _frames(lines: Lines, others_than: list[int]) -> NDArray[np.int32]:
    """Numbers of the frames, from a column with a known name, or from the order of the lines."""
    for k, name in enumerate(lines.header):
        if k not in others_than and (_FRAME.fullmatch(name) or _TIME.fullmatch(name)):
            return _frame_numbers(lines, k)
    return np.arange(len(lines.rows), dtype=np.int32)


def _frame_numbers(lines: Lines, column: int) -> NDArray[np.int32]:
    """A column of increasing whole numbers; if its name means times, frames count from 0."""
    values = lines.floats([column])[:, 0]
    rising = np.concatenate([[True], values[1:] > values[:-1]]) & np.isfinite(values)
    is_time = bool(lines.header and _TIME.fullmatch(lines.header[column]))
    whole = (values >= 0) & (values <= _MAX_FRAME) & (values == np.floor(values))
    sound = rising & (is_time | whole)
    if not sound.all():
        what = "the first column" if column == 0 else f"column {column + 1}"
        raise DamageError(
            f"{what} is not an increasing frame number; if it is something else, select the "
            "columns of the coordinates with `columns` in dataset.toml",
            lines.first + int(np.argmin(sound)),
        )
    return np.arange(len(values), dtype=np.int32) if is_time else values.astype(np.int32)


def _is_long(header: list[str]) -> bool:
    """True if the names of the columns mean a line per joint."""
    names = [name.lower() for name in header]
    return {"x", "y"} <= {*names} and any(map(_JOINT.fullmatch, names))


def _long(lines: Lines, layout: Layout | None, dimensions: int) -> Table:
    """A table with a line per joint: frame, joint, x, y and perhaps z, confidence, person."""
    names = [name.lower() for name in lines.header]
    joint = next(k for k, name in enumerate(names) if _JOINT.fullmatch(name))
    found = [k for k, n in enumerate(names) if n and (_FRAME.fullmatch(n) or _TIME.fullmatch(n))]
    if not found:
        raise DamageError("each line is one joint, but there is no column with the frame", 1)
    person = next((k for k, name in enumerate(names) if _PERSON.fullmatch(name)), None)
    if dimensions == 3 and "z" not in names:
        raise DamageError(_NO_Z, 1)
    axes = [names.index(axis) for axis in "xyz"[:dimensions]]
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
        raise DamageError("the joint of a person occurs twice in a frame", line)
    values = np.full((*shape, len(axes)), np.nan)
    values[m, t, v] = lines.floats(axes)
    if frames is None:
        frames = np.arange(len(times), dtype=np.int32)
    return Table(values, frames, None, identities if len(identities) > 1 else (), named=True)


def _joint_places(cells: list[str], layout: Layout | None) -> tuple[NDArray[np.int64], int]:
    """(N,) joint index of each line, and the number of joints.

    Joints are identified by the names of the layout; else by numbers, in their order, which may
    begin with 1; else by names, in the table's order.
    """
    named = [plain(cell) for cell in cells]
    different = dict.fromkeys(named)
    if all(name.isdecimal() and len(name) <= _LONGEST_NUMBER for name in different):
        order = sorted(different, key=int)
        lowest, highest = int(order[0]), int(order[-1])
        joints = layout.num_joints if layout else len(order)
        start = 1 if lowest == 1 and highest == joints else 0
        if highest - start >= joints:
            raise DamageError(f"a joint has the number {highest}, but there are {joints} joints")
        return np.array([int(name) - start for name in named]), joints
    known = [plain(name) for name in layout.joints] if layout else [*different]
    if not {*different} <= {*known}:
        known = [*different]
    places = {name: v for v, name in enumerate(known)}
    return np.array([places[name] for name in named]), len(known)
