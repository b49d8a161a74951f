"""CASIA-B as GaitGraph's authors release it (Teepe et al., ICIP 2021): `casia-b_pose_*.csv`.

A table has a header, then a row for each frame: `image_name`, which is
`./sss-cc-nn-vvv/ffffff.jpg`, and x and y in pixels and a confidence for each of COCO's 17 joints.
The whole set is one table of hundreds of megabytes; some tables hold only part of the subjects. A
table is read once to find the rows of each sequence; a sequence is then read from these places.
"""

from __future__ import annotations

import math
import re
from array import array
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from aclnet.datasets.formats import unreadable
from aclnet.datasets.formats.files import folder_of, walk_files
from aclnet.datasets.readers.casia_b import NUM_JOINTS, parse_id, to_sequence
from aclnet.datasets.readers.items import ListedSource, unique_items
from aclnet.datasets.readers.rows import parse_rows
from aclnet.datasets.spec import DamageError, Item, Rejection, SkeletonSequence

if TYPE_CHECKING:
    from pathlib import Path

NUM_VALUES = 3 * NUM_JOINTS
_IMAGE = re.compile(rb"(?:\./)?([^/]+)/(\d{1,9})\.(?:jpg|png)")
_MAX_LINE = 8192  # bytes; rows of full double precision take 1100
_MAX_SEQUENCE = 2**24  # bytes; a frame takes 1 kB, and the longest recordings have about 300 frames
_MOST_TOLD = 1000  # limit of reported rows of one table


@dataclass(frozen=True, slots=True)
class CasiaCsvSource(ListedSource):
    """One table, or a folder of several tables at any depth."""

    def scan(self) -> tuple[list[Item], list[Rejection]]:
        found: list[Item] = []
        rejections: list[Rejection] = []
        for path, table in _tables(self.root, self.opened).items():
            found += [Item(name, path, sum(runs[1::3])) for name, runs in table.sequences.items()]
            rejections += table.rejections
        items, doubles = unique_items(found)
        return items, rejections + doubles

    def read(self, item: Item) -> SkeletonSequence | Rejection:
        table = _tables(self.root, self.opened).get(item.path)
        runs = table.sequences.get(item.sample_id) if table else None
        if runs is None:
            return Rejection(item.path, None, f"the table has no sequence {item.sample_id}")
        try:
            return _sequence(folder_of(self.root) / item.path, item, runs)
        except DamageError as damage:
            reason = f"sequence {item.sample_id}: {damage.reason}"
            return Rejection(item.path, damage.line, reason, damage.kind)


class _Table(NamedTuple):
    """Index of one file."""

    sequences: dict[str, array[int]]
    """Valid rows of each sequence: position, bytes and first line of each block."""
    rejections: list[Rejection]


@lru_cache(maxsize=1)
def _tables(root: Path, opened: int) -> dict[str, _Table]:
    """The tables below `root` by their paths; `opened` identifies an opening."""
    tables = {}
    for path in sorted(path for path, _ in walk_files(root) if path.lower().endswith(".csv")):
        file = folder_of(root) / path
        if file.is_file():
            tables[path] = _go_through(file, path)
        else:
            reason = "is in an archive: unpack the archive, because the table is not read in order"
            tables[path] = _Table({}, [Rejection(path, None, reason)])
    return tables


def _go_through(file: Path, path: str) -> _Table:
    sequences: dict[str, array[int]] = {}
    rejections: list[Rejection] = []
    untold = 0
    last, end = "", -1
    try:
        with file.open("rb") as stream:
            _check_header(stream.readline(_MAX_LINE))
            place, number = stream.tell(), 2
            while line := stream.readline(_MAX_LINE):
                begin, place = place, place + len(line)
                try:
                    name = _check_row(line)
                except DamageError as damage:
                    if len(rejections) < _MOST_TOLD:
                        rejections.append(Rejection(path, number, damage.reason, damage.kind))
                    else:
                        untold += 1
                    name = ""
                if name and name == last and begin == end:
                    sequences[name][-2] += len(line)
                elif name:
                    sequences.setdefault(name, array("q")).extend((begin, len(line), number))
                last, end = name, place
                number += line.endswith(b"\n")
    except OSError as error:
        return _Table({}, [unreadable.damage(error).at(path)])
    except DamageError as damage:
        return _Table({}, [Rejection(path, 1, damage.reason, damage.kind)])
    if untold:
        rejections.append(Rejection(path, None, f"{untold:,} more rows are damaged"))
    return _Table(sequences, rejections)


def _check_header(line: bytes) -> None:
    names = line.split(b",")
    if names[0].strip() != b"image_name" or len(names) != 1 + NUM_VALUES:
        reason = f"the header is not image_name and {NUM_VALUES} more columns"
        raise DamageError(reason, kind="unknown name")


def _check_row(line: bytes) -> str:
    """The sequence that a row belongs to; empty for a blank line.

    Raises DamageError for an invalid row. The check is fast: a complete set has over a million
    rows.
    """
    cells = line.split(b",")
    image = _IMAGE.fullmatch(cells[0])
    name = _known(image[1]) if image else ""
    if not name:
        if not line.strip():
            return ""
        raise DamageError("image_name is not ./sss-cc-nn-vvv/ffffff.jpg", kind="unknown name")
    if len(cells) != 1 + NUM_VALUES:
        raise DamageError(f"{len(cells) - 1} values; {NUM_VALUES} are expected")
    try:
        total = math.nan if b"_" in line else sum(map(float, cells[1:]))  # only Python accepts 1_0
    except ValueError:
        raise DamageError(f"the values are not {NUM_VALUES} numbers") from None
    if not math.isfinite(total):
        raise DamageError("a value is not finite")
    return name


@lru_cache(maxsize=1024)
def _known(name: bytes) -> str:
    """The name as text; empty if the dataset has no such recording."""
    text = name.decode("ascii", "replace")
    return text if parse_id(text) else ""


def _sequence(file: Path, item: Item, runs: array[int]) -> SkeletonSequence:
    if sum(runs[1::3]) > _MAX_SEQUENCE:
        raise DamageError(f"more than {_MAX_SEQUENCE:,} bytes, the limit for a recording", runs[2])
    rows, lines = _rows(file, runs)
    cells = [row.partition(b",") for row in rows]
    images = [_IMAGE.fullmatch(image) for image, _, _ in cells]
    try:
        values = parse_rows(b"\n".join(rest for _, _, rest in cells), NUM_VALUES, ",")
    except DamageError as damage:
        raise DamageError(damage.reason, damage.line and lines[damage.line - 1]) from None
    frames = np.array(
        [int(i[2]) if i and _known(i[1]) == item.sample_id else -1 for i in images], np.int32
    )
    if len(values) != len(frames) or (frames < 0).any():
        raise DamageError("the table has changed since it was listed", runs[2])
    order = np.argsort(frames, kind="stable")
    double = np.flatnonzero(np.diff(frames[order]) == 0)
    if len(double):
        row = order[double[0] + 1]
        raise DamageError(f"frame {frames[row]} occurs twice", lines[row])
    return to_sequence(item, values[order].reshape(-1, NUM_JOINTS, 3), frames[order])


def _rows(file: Path, runs: array[int]) -> tuple[list[bytes], list[int]]:
    """The rows of a sequence and their line numbers."""
    rows: list[bytes] = []
    lines: list[int] = []
    try:
        with file.open("rb") as stream:
            for place, size, line in zip(runs[::3], runs[1::3], runs[2::3], strict=True):
                stream.seek(place)
                found = stream.read(size).splitlines()
                rows += found
                lines += range(line, line + len(found))
    except OSError as error:
        raise unreadable.damage(error) from None
    return rows, lines
