"""The table of custom data, `index.csv`, and the files beside it.

`dataset.toml` may give title, layout, units and columns; `classes.txt` has the class names, one per
line.
"""

from __future__ import annotations

import csv
import difflib
import hashlib
import io
import posixpath
import re
import tomllib
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aclnet.datasets.formats.files import folder_of, read_file, walk_files
from aclnet.datasets.formats.sheet import sheet_to_csv
from aclnet.datasets.readers.custom_pattern import EVERY, table_of_paths
from aclnet.datasets.readers.custom_recordings import SUFFIXES, files_of_frames, find_recordings
from aclnet.datasets.readers.custom_row import NUMBERS, WHOLE, Part, Row, parse_row
from aclnet.datasets.spec import UNLABELLED, AclnetError, DamageError, Rejection, first_of, shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aclnet.datasets.spec import Kind, Units

INDEX, FACTS, CLASSES = "index.csv", "dataset.toml", "classes.txt"
INDEXES = (INDEX, "index.xlsx")
"""Names of the table; the first is used if both exist."""
REQUIRED = ("id", "file", "label")
COLUMNS = (*REQUIRED, *NUMBERS, "condition", "split", "images", "start", "end", "person", "fps")
_UNKNOWN = UNLABELLED - 1
_DRIVE = re.compile(r"[A-Za-z]:")
_MAX_BYTES = 2**28
_MAX_COLUMNS = 1000
_MAX_LINE = 100_000
"""Limit of a row in characters; the parser refuses cells of 131,072."""


class Facts(BaseModel):
    """Settings in `dataset.toml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str = ""
    layout: str = ""
    """Name of a shipped layout, or of a `.json` file beside `dataset.toml`."""
    units: Literal["m", "cm", "mm", "px"] | None = None
    columns: str = ""
    """Columns of `.csv` recordings that are coordinates, as a slice: `0:54`."""
    identities: bool = Field(default=True, repr=False)
    """True if identities in files are used; the stamp tells if they are ignored."""
    pattern: str = Field(default="", repr=False)
    """Pattern of the paths, if there is no index, see `table_of_paths`. The stamp has the table
    made from it instead."""
    width: int = Field(default=0, ge=0, repr=False)
    height: int = Field(default=0, ge=0, repr=False)
    """Height of the videos in pixels, if the index has none; in the stamp if set."""


METRES = {"m": 1.0, "cm": 0.01, "mm": 0.001}
"""Metres in each unit of joints in space."""


def stored(units: str | None) -> Units | None:
    """Units of sequences: lengths are stored in metres."""
    return "m" if units in METRES else "px" if units else None


@dataclass(frozen=True, slots=True)
class Folder:
    """Contents of a raw root, except the recordings' content."""

    rows: dict[str, Row]
    """Rows by sample id; their files exist."""
    sizes: dict[str, int]
    """Bytes of each row's file, or of the files in its folder."""
    frame_files: dict[str, list[str]]
    """Paths of the frames' files in each folder that a row names, sorted."""
    rejections: list[Rejection]
    class_names: tuple[str, ...]
    facts: Facts
    place: str
    """Folder of the index, relative as the files are; ends with a slash unless empty."""
    stamp: str
    """Hash of the index, of the files beside it, and of the recordings' names and sizes."""


def load_folder(root: Path, pattern: str = "", units: Units | None = None) -> Folder:
    """The contents of a raw root, except the recordings' content.

    root: a folder, an archive, or one recording with its `dataset.toml` beside it.
    pattern: pattern of the paths of recordings, instead of an index (`table_of_paths`). `EVERY` is
        ignored if there is an index.
    units: units of the recordings if `dataset.toml` does not give them.

    Raises AclnetError if there is no index, or if the index or a file beside it is invalid.
    """
    files = dict(walk_files(root))
    index = _find_index(root, files)
    single = root.name in files and not root.is_dir()
    top = "" if root.is_dir() or single else f"{root.name}/"
    place = index[: index.rfind("/") + 1] if index else top
    facts = _facts(root, place, files)
    if units and facts.units is None:
        facts = facts.model_copy(update={"units": units})
    pattern = ("" if index and pattern == EVERY else pattern) or facts.pattern
    strange: list[str] = []
    if index or not pattern:
        table = _written(root, index, pattern, files)
    else:
        others = {path: size for path, size in files.items() if path != place + facts.layout}
        table, strange = table_of_paths(pattern, find_recordings(root, others), place)
    rejections: list[Rejection] = []
    named: set[str] = set()
    labelled = list(_rows(root, index, table, named, rejections))
    names = _class_names(root, place, files, {label for _, label in labelled} - {""})
    places = {name: number for number, name in enumerate(names)}
    size = {name: value for name in ("width", "height") if (value := getattr(facts, name))}
    rows = [
        row._replace(
            label=_label(label, places),
            numbers=row.numbers | {k: v for k, v in size.items() if row.numbers[k] < 0},
        )
        for row, label in labelled
    ]
    frame_files = files_of_frames(files, named)
    sizes = {row.file: files[row.file] for row in rows if row.file in files}
    for folder, frames in frame_files.items():
        sizes[folder] = sum(files[path] for path in frames)
    sound: dict[str, Row] = {}
    parts: dict[tuple[str, Part], Row] = {}
    naming: dict[str, list[int]] = {}
    for row in rows:
        naming.setdefault(row.file, []).append(row.line)
    for row in rows:
        why = _why_not(row, sizes, sound, parts, naming[row.file], index)
        if why is None:
            sound[row.sample_id] = parts[row.file, row.part] = row
        else:
            rejections.append(_rejection(index, row.line, row.file, *why))
    known = {index, place + FACTS, place + CLASSES, place + facts.layout}
    used = {*named, *(path for frames in frame_files.values() for path in frames)}
    unnamed = sorted(set(files) - used - known) if index else strange
    why_unnamed = f"no row of {INDEX} names it" if index else f"it does not match {pattern}"
    rejections += [
        Rejection(path, None, why_unnamed, "unknown name")
        for path in unnamed
        if path.startswith(place) and (path.lower().endswith(SUFFIXES) or not index)
    ]
    stamp = hashlib.sha256(repr((table, facts, names, sorted(sizes.items()))).encode())
    if any(row.part != Part() for row in sound.values()):
        stamp.update(b"parts")  # makes older stores differ, which ignored these columns
    if not facts.identities:
        stamp.update(b"identities ignored")
    if size:
        stamp.update(repr(size).encode())
    if facts.layout.endswith(".json"):
        stamp.update(_text(root, place + facts.layout).encode())
    return Folder(sound, sizes, frame_files, rejections, names, facts, place, stamp.hexdigest())


def _find_index(root: Path, files: dict[str, int]) -> str:
    """Path of the index that is least deep; in a folder, at its top; empty if there is none."""
    found = sorted(
        (path for path in files if PurePosixPath(path).name in INDEXES),
        key=lambda path: (path.count("/"), path),
    )
    if found and (found[0] in INDEXES or not root.is_dir()):
        return found[0]
    return ""


def _written(root: Path, index: str, pattern: str, files: dict[str, int]) -> str:
    """Text of the index; raises AclnetError if there is none, or if there is a pattern as well."""
    if index and pattern:
        raise AclnetError(
            f"{root} has both {INDEX} and the pattern {pattern!r}; leave the pattern out, or move "
            "the index to another folder"
        )
    if index.endswith(INDEXES[1]):
        return _sheet(root, index)
    if index:
        return _text(root, index)
    example = next((p for p in sorted(files) if p.lower().endswith(SUFFIXES)), "walk_01.npy")
    raise AclnetError(
        f"{root} has no {INDEX}, the table of the recordings; write this table with the "
        f"columns {', '.join(REQUIRED)} and, if you know them, "
        f"{', '.join(COLUMNS[3:])}. If the paths contain this information, give --pattern instead, "
        "for example {split}/{label}/{id}. An example of an index:\n"
        f"id,file,label,subject,split\n{PurePosixPath(example).stem},{example},walk,1,train"
    )


def _rejection(index: str, line: int, file: str, reason: str, kind: Kind = "damaged") -> Rejection:
    """The rejection of a row, or of its file if there is no index that has lines."""
    return Rejection(index, line, reason, kind) if index else Rejection(file, None, reason, kind)


def _text(root: Path, path: str) -> str:
    try:
        return read_file(root, path, _MAX_BYTES).decode("utf-8-sig")
    except DamageError as damage:
        raise AclnetError(f"{folder_of(root) / path} {damage.reason}") from None
    except UnicodeDecodeError as error:
        raise AclnetError(f"{folder_of(root) / path} is not UTF-8 text: {error}") from None


def _sheet(root: Path, path: str) -> str:
    """Text of an index that is an Excel file."""
    try:
        return sheet_to_csv(read_file(root, path, _MAX_BYTES))
    except (DamageError, AclnetError) as error:
        raise AclnetError(f"{folder_of(root) / path}: {error}") from None


def _facts(root: Path, place: str, files: dict[str, int]) -> Facts:
    def is_there(path: str) -> bool:
        beside = not root.is_dir() and (root.parent / path).is_file()
        return path in files or beside

    path = place + FACTS
    if not is_there(path):
        return Facts()
    try:
        facts = Facts.model_validate(tomllib.loads(_text(root, path)))
        columns_of(facts.columns)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise AclnetError(
            f"{folder_of(root) / path}: {key}: {first['msg']}; the possible keys are "
            f"{', '.join(Facts.model_fields)}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise AclnetError(f"{folder_of(root) / path}: {shown(error, 300)}") from None
    if facts.layout.endswith(".json") and not is_there(place + facts.layout):
        raise AclnetError(
            f"{folder_of(root) / path}: layout {facts.layout} is not in the same folder; put it "
            "there, or name a layout that DATA.md lists"
        )
    return facts


def _rows(
    root: Path, index: str, table: str, named: set[str], rejections: list[Rejection]
) -> Iterator[tuple[Row, str]]:
    """Rows of the index and their labels; invalid rows go to `rejections`.

    The files of all rows go to `named`.
    """
    where = folder_of(root) / index
    reader = csv.reader(_lines(index, table, rejections), strict=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        _check_header(where, header)
        for cells in reader:
            values = dict(zip(header, map(str.strip, cells), strict=False))
            if not any(values.values()):
                continue
            file = _path(root, index, values.get("file", ""))
            named.add(file)
            try:
                if len(cells) != len(header):
                    raise DamageError(
                        f"{len(cells)} cells, but the header has {len(header)} columns"
                    )
                yield parse_row(reader.line_num, file, values), values["label"]
            except DamageError as damage:
                rejections.append(_rejection(index, reader.line_num, file, damage.reason))
    except csv.Error as error:
        raise AclnetError(f"{where}:{reader.line_num}: not a table with commas: {error}") from None


def _path(root: Path, index: str, text: str) -> str:
    """Path of a row's file in the form of `walk_files`; a path outside begins with .. or /."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(index), text.replace("\\", "/")))
    folder = folder_of(root).as_posix()
    return path.removeprefix(f"{folder}/")


def _is_outside(path: str) -> bool:
    return path == ".." or path.startswith(("../", "/")) or _DRIVE.match(path) is not None


def _lines(index: str, table: str, rejections: list[Rejection]) -> Iterator[str]:
    """The lines of the index; those that are too long go to `rejections` and become empty."""
    for number, line in enumerate(io.StringIO(table, newline=""), start=1):
        if len(line) <= _MAX_LINE:
            yield line
        else:
            reason = f"{len(line):,} characters; at most {_MAX_LINE:,} are possible"
            rejections.append(Rejection(index, number, reason))
            yield "\n"


def _check_header(where: Path, header: list[str]) -> None:
    missing = [name for name in REQUIRED if name not in header]
    if missing:
        found = first_of([shown(name, 30) for name in header], 20) or "none"
        raise AclnetError(
            f"{where}:1: there is no column {', '.join(missing)}; the columns, separated by "
            f"commas, are {found}. The first line must name the columns, for example "
            "id,file,label,subject,split"
        )
    if len(header) > _MAX_COLUMNS:
        raise AclnetError(
            f"{where}:1: {len(header):,} columns; at most {_MAX_COLUMNS} are possible; keep "
            f"{', '.join(COLUMNS)}"
        )
    for name in header:
        if name and header.count(name) > 1:
            raise AclnetError(f"{where}:1: column {shown(name)} occurs twice; remove one")
        close = difflib.get_close_matches(name, COLUMNS, 1, cutoff=0.8)
        if close and name not in COLUMNS:
            raise AclnetError(
                f"{where}:1: unknown column {name!r}; if you mean {close[0]!r}, rename it"
            )


def _class_names(
    root: Path, place: str, files: dict[str, int], labels: set[str]
) -> tuple[str, ...]:
    """Lines of `classes.txt`; or the labels in the index, sorted, numbers by their value."""
    path = place + CLASSES
    if path in files:
        names = tuple(line.strip() for line in _text(root, path).splitlines() if line.strip())
        if len(set(names)) < len(names):
            raise AclnetError(f"{folder_of(root) / path} names a class twice")
        return names
    if all(WHOLE.fullmatch(label) for label in labels):
        return tuple(sorted(labels, key=lambda label: (int(label), label)))
    return tuple(sorted(labels))


def _label(text: str, places: dict[str, int]) -> int:
    """Index of a class from its name, or from its line in `classes.txt` from 0."""
    if not text:
        return UNLABELLED
    if text in places:
        return places[text]
    return int(text) if WHOLE.fullmatch(text) and int(text) < len(places) else _UNKNOWN


def _why_not(
    row: Row,
    sizes: dict[str, int],
    sound: dict[str, Row],
    parts: dict[tuple[str, Part], Row],
    naming: list[int],
    index: str,
) -> tuple[str, Kind] | None:
    """Reason and kind if a row cannot be used, else None.

    sound and parts hold the earlier sound rows; naming: lines of all rows that name the same file.
    """
    if row.sample_id in sound:
        other = sound[row.sample_id]
        place = f"line {other.line}" if index else other.file
        return f"id {shown(row.sample_id)!r} is also the id of {place}", "there twice"
    file = shown(row.file, 300)
    if len(naming) > 1 and row.part == Part() and row.file.lower().endswith(".json"):
        reason = (
            f"lines {', '.join(map(str, naming))} name {file}; a column `images` must select the "
            "images of each recording: the beginning of their names, or numbers such as 1000:2000"
        )
        return reason, "damaged"
    if (row.file, row.part) in parts:
        line = parts[row.file, row.part].line
        return (
            f"{file} is already the recording of line {line}; use the columns `start`, `end` and "
            "`person` to select different parts of one file"
        ), "there twice"
    if row.file not in sizes and _is_outside(row.file):
        return (
            f"{file} lies outside the folder; paths are relative to {INDEX}, so copy or link "
            "the recordings into its folder"
        ), "damaged"
    if row.file not in sizes:
        return (
            f"{file} does not exist; give the path of a file or of a folder of frames, relative to "
            f"{INDEX}"
        ), "damaged"
    if row.label == _UNKNOWN:
        return f"the label is not in {CLASSES}", "damaged"
    return None


def columns_of(text: str) -> slice | None:
    """`0:54` as a slice, None for an empty text; raises ValueError if it is not a range."""
    if not text:
        return None
    match = re.fullmatch(r"\s*(\d{1,5})\s*:\s*(\d{1,5})\s*", text, re.ASCII)
    if match is None or int(match[1]) >= int(match[2]):
        raise ValueError(f'columns = "{text}" is not a range such as "0:54" (end excluded)')
    return slice(int(match[1]), int(match[2]))
