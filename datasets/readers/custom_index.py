"""The table of a folder of one's own data, `index.csv`, and what lies beside it.

`dataset.toml` may tell title, layout, units and columns; `classes.txt` names the classes, a line
each.
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
from aclnet.datasets.readers.custom_pattern import table_of_paths
from aclnet.datasets.readers.custom_row import NUMBERS, WHOLE, Part, Row, parse_row
from aclnet.datasets.spec import UNLABELLED, AclnetError, DamageError, Rejection, first_of, shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aclnet.datasets.spec import Kind, Units

INDEX, FACTS, CLASSES = "index.csv", "dataset.toml", "classes.txt"
INDEXES = (INDEX, "index.xlsx")
"""Names of the table; the first counts where both are there."""
REQUIRED = ("id", "file", "label")
COLUMNS = (*REQUIRED, *NUMBERS, "condition", "split", "images", "start", "end", "person", "fps")
_UNKNOWN = UNLABELLED - 1
SUFFIXES = (".npy", ".npz", ".csv", ".json", ".skeleton", ".bvh", ".c3d")
"""Of recordings."""
FRAME_FILES = ("_keypoints.json", ".json", ".txt")
"""Ends of the names of frames' files in a folder, which has those of the first that is there:
OpenPose's `clip_000000000012_keypoints.json`, a JSON file an image, Ultralytics' labels."""
_DRIVE = re.compile(r"[A-Za-z]:")
_MAX_BYTES = 2**28
_MAX_COLUMNS = 1000
_MAX_LINE = 100_000
"""Characters of a row; the parser refuses cells of 131,072."""


class Facts(BaseModel):
    """What `dataset.toml` may say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str = ""
    layout: str = ""
    """Of the registry, or a `.json` file beside `dataset.toml`."""
    units: Literal["m", "cm", "mm", "px"] | None = None
    columns: str = ""
    """Of `.csv` recordings, those that are coordinates, as a slice: `0:54`."""
    identities: bool = Field(default=True, repr=False)
    """Take who is who from files that say it; in the stamp where they are ignored."""
    pattern: str = Field(default="", repr=False)
    """Pattern of the paths, if there is no index, see `table_of_paths`; the table that is
    made of it is in the stamp."""


METRES = {"m": 1.0, "cm": 0.01, "mm": 0.001}
"""Length of each unit of joints in space."""


def stored(units: str | None) -> Units | None:
    """Units of sequences: lengths are stored in metres."""
    return "m" if units in METRES else "px" if units else None


@dataclass(frozen=True, slots=True)
class Folder:
    """What lies under a raw root, apart from the recordings' content."""

    rows: dict[str, Row]
    """By sample id; their files are there."""
    sizes: dict[str, int]
    """Bytes of each row's file, or of the files in its folder."""
    frame_files: dict[str, list[str]]
    """Paths of the frames' files in each folder that a row names, sorted."""
    rejections: list[Rejection]
    class_names: tuple[str, ...]
    facts: Facts
    place: str
    """Of the index, relative as the files are; with a slash at its end where it is not empty."""
    stamp: str
    """Hash of the index, of what lies beside it, and of the recordings' names and sizes."""


def load_folder(root: Path, pattern: str = "") -> Folder:
    """Everything under a raw root but the recordings' content.

    pattern: of the paths of recordings, in the place of an index (`table_of_paths`).

    AclnetError where there is no index, and where it or what lies beside it cannot be understood.
    """
    files = dict(walk_files(root))
    index = _find_index(root, files)
    top = "" if root.is_dir() else f"{root.name}/"
    place = index[: index.rfind("/") + 1] if index else top
    facts = _facts(root, place, files)
    pattern = pattern or facts.pattern
    strange: list[str] = []
    if index or not pattern:
        table = _written(root, index, pattern, files)
    else:
        paths = _recordings(set(files) - {place + facts.layout})
        table, strange = table_of_paths(pattern, paths, place)
    rejections: list[Rejection] = []
    named: set[str] = set()
    labelled = list(_rows(root, index, table, named, rejections))
    names = _class_names(root, place, files, {label for _, label in labelled} - {""})
    places = {name: number for number, name in enumerate(names)}
    rows = [row._replace(label=_label(label, places)) for row, label in labelled]
    frame_files = _frame_files(files, named)
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
        stamp.update(b"parts")  # stores of the time when these columns were ignored are others
    if not facts.identities:
        stamp.update(b"identities ignored")
    if facts.layout.endswith(".json"):
        stamp.update(_text(root, place + facts.layout).encode())
    return Folder(sound, sizes, frame_files, rejections, names, facts, place, stamp.hexdigest())


def _find_index(root: Path, files: dict[str, int]) -> str:
    """Path of the index that lies least deep; in a folder, at its top; empty where none is."""
    found = sorted(
        (path for path in files if PurePosixPath(path).name in INDEXES),
        key=lambda path: (path.count("/"), path),
    )
    if found and (found[0] in INDEXES or not root.is_dir()):
        return found[0]
    return ""


def _written(root: Path, index: str, pattern: str, files: dict[str, int]) -> str:
    """Text of the index; AclnetError where there is none, or a pattern as well."""
    if index and pattern:
        raise AclnetError(
            f"{root} has {INDEX}, and the pattern {pattern!r} stands for one; "
            "leave the pattern out, or move the index away"
        )
    if index.endswith(INDEXES[1]):
        return _sheet(root, index)
    if index:
        return _text(root, index)
    example = next((p for p in sorted(files) if p.lower().endswith(SUFFIXES)), "walk_01.npy")
    raise AclnetError(
        f"{root} has no {INDEX}, the table that says what each recording shows; write one with the "
        f"columns {', '.join(REQUIRED)} and, as far as you know them, "
        f"{', '.join(COLUMNS[3:])}; or give --pattern where paths tell all of it, as "
        "{split}/{label}/{id}. An example of an index:\n"
        f"id,file,label,subject,split\n{PurePosixPath(example).stem},{example},walk,1,train"
    )


def _recordings(files: set[str]) -> list[str]:
    """Files of recordings, and the folders of OpenPose's frames."""
    found: set[str] = set()
    for path in files:
        folder, _, name = path.rpartition("/")
        if folder and name.endswith(FRAME_FILES[0]):
            found.add(folder)
        elif path.lower().endswith(SUFFIXES):
            found.add(path)
    return sorted(found)


def _rejection(index: str, line: int, file: str, reason: str, kind: Kind = "damaged") -> Rejection:
    """The rejection of a row: of its file, where there is no index that has lines."""
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
    path = place + FACTS
    if path not in files:
        return Facts()
    try:
        facts = Facts.model_validate(tomllib.loads(_text(root, path)))
        columns_of(facts.columns)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise AclnetError(
            f"{folder_of(root) / path}: {key}: {first['msg']}; "
            f"it may say {', '.join(Facts.model_fields)}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise AclnetError(f"{folder_of(root) / path}: {shown(error, 300)}") from None
    if facts.layout.endswith(".json") and place + facts.layout not in files:
        raise AclnetError(
            f"{folder_of(root) / path}: layout {facts.layout} is not beside it; "
            "put it there, or name a layout that DATA.md lists"
        )
    return facts


def _rows(
    root: Path, index: str, table: str, named: set[str], rejections: list[Rejection]
) -> Iterator[tuple[Row, str]]:
    """Rows of the index and their labels; those wrong in themselves go to `rejections`.

    The files of all of them go to `named`.
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
                    raise DamageError(f"{len(cells)} cells, the header has {len(header)} columns")
                yield parse_row(reader.line_num, file, values), values["label"]
            except DamageError as damage:
                rejections.append(_rejection(index, reader.line_num, file, damage.reason))
    except csv.Error as error:
        raise AclnetError(f"{where}:{reader.line_num}: not a table with commas: {error}") from None


def _path(root: Path, index: str, text: str) -> str:
    """Path of a row's file as `walk_files` has it; one that leads outside begins with .. or /."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(index), text.replace("\\", "/")))
    folder = folder_of(root).as_posix()
    return path.removeprefix(f"{folder}/")


def _is_outside(path: str) -> bool:
    return path == ".." or path.startswith(("../", "/")) or _DRIVE.match(path) is not None


def _lines(index: str, table: str, rejections: list[Rejection]) -> Iterator[str]:
    """The lines of the index; those that are too long go to `rejections` and come out empty."""
    for number, line in enumerate(io.StringIO(table, newline=""), start=1):
        if len(line) <= _MAX_LINE:
            yield line
        else:
            reason = f"{len(line):,} characters, at most {_MAX_LINE:,} are read"
            rejections.append(Rejection(index, number, reason))
            yield "\n"


def _check_header(where: Path, header: list[str]) -> None:
    missing = [name for name in REQUIRED if name not in header]
    if missing:
        found = first_of([shown(name, 30) for name in header], 20) or "none"
        raise AclnetError(
            f"{where}:1: no column {', '.join(missing)}; its columns, separated by commas, are "
            f"{found}. The first line names them, for example id,file,label,subject,split"
        )
    if len(header) > _MAX_COLUMNS:
        raise AclnetError(
            f"{where}:1: {len(header):,} columns, at most {_MAX_COLUMNS} are read; keep "
            f"{', '.join(COLUMNS)}"
        )
    for name in header:
        if name and header.count(name) > 1:
            raise AclnetError(f"{where}:1: column {shown(name)} is there twice; remove one")
        close = difflib.get_close_matches(name, COLUMNS, 1, cutoff=0.8)
        if close and name not in COLUMNS:
            raise AclnetError(f"{where}:1: column {name!r}: {close[0]!r} is meant? Rename it")


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
    """Place of a class by its name, or by its line in `classes.txt` from 0."""
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
    """Reason and kind where a row cannot be used.

    By id and by part, the sound rows before; naming: lines of all rows that name its file.
    """
    if row.sample_id in sound:
        other = sound[row.sample_id]
        place = f"line {other.line}" if index else other.file
        return f"id {shown(row.sample_id)!r} is that of {place}", "there twice"
    file = shown(row.file, 300)
    if len(naming) > 1 and row.part == Part() and row.file.lower().endswith(".json"):
        reason = (
            f"lines {', '.join(map(str, naming))} name {file}; a column `images` must say "
            "which of its images each recording has: how their names begin, or numbers as 1000:2000"
        )
        return reason, "damaged"
    if (row.file, row.part) in parts:
        line = parts[row.file, row.part].line
        return (
            f"{file} is the recording of line {line}; columns `start`, `end` and `person` "
            "tell parts of one file apart"
        ), "there twice"
    if row.file not in sizes and _is_outside(row.file):
        return (
            f"{file} lies outside the folder; paths are relative to {INDEX}, so copy or link "
            "the recordings into its folder"
        ), "damaged"
    if row.file not in sizes:
        return (
            f"{file} is not there; a file, or a folder of frames, is expected, by its path "
            f"relative to {INDEX}"
        ), "damaged"
    if row.label == _UNKNOWN:
        return f"the label is not in {CLASSES}", "damaged"
    return None


def _frame_files(files: dict[str, int], named: set[str]) -> dict[str, list[str]]:
    """Files of frames in the folders that are named."""
    inside: dict[str, list[str]] = {}
    for path in sorted(files):
        folder = path.rpartition("/")[0]
        if folder in named:
            inside.setdefault(folder, []).append(path)
    found = {}
    for folder, paths in inside.items():
        ends = (end for end in FRAME_FILES if any(path.endswith(end) for path in paths))
        end = next(ends, None)
        if end:
            found[folder] = [path for path in paths if path.endswith(end)]
    return found


def columns_of(text: str) -> slice | None:
    """`0:54` as a slice, None for none; ValueError where it is no range."""
    if not text:
        return None
    match = re.fullmatch(r"\s*(\d{1,5})\s*:\s*(\d{1,5})\s*", text, re.ASCII)
    if match is None or int(match[1]) >= int(match[2]):
        raise ValueError(f'columns = "{text}" is not a range such as "0:54", its end left out')
    return slice(int(match[1]), int(match[2]))
