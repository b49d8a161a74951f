"""Recordings of one's own: arrays, tables, and what pose estimators write."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from aclnet.datasets.formats.files import read_file
from aclnet.datasets.formats.npy import parse_npy, parse_npz
from aclnet.datasets.readers import keypoint_json
from aclnet.datasets.readers.custom_index import FACTS, SUFFIXES, columns_of
from aclnet.datasets.spec import DamageError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from aclnet.datasets.readers.custom_index import Folder, Part
    from aclnet.datasets.spec import Units
    from aclnet.datasets.spec.layouts import Layout

_MAX_BYTES = 2**28
_MAX_FRAME_BYTES = 2**22
_MAX_LINE = 2**17
"""Characters: a thousand joints of four numbers in full precision take 80,000."""
_MAX_CELLS = 2**23
"""Largest table in cells: 20 minutes of 100 columns at 60 frames a second have 7 million."""


class Recording(NamedTuple):
    """What a file holds, not checked yet."""

    keypoint: NDArray[Any]
    """(M, T, V, C) with NaN where a joint is missing."""
    score: NDArray[Any] | None
    """(M, T, V)"""
    present: NDArray[np.bool_] | None
    """(M, T), where the file tells it."""
    frames: NDArray[np.int32]
    """(T,)"""
    tool: str = ""
    """Who wrote it, of pose estimators."""
    first_line: int | None = None
    """Line of the first frame in a text file."""
    box_score: NDArray[np.float64] | None = None
    """(M, T) score of each detection, where a pose estimator's file tells it."""


def read_recording(
    root: Path, folder: Folder, file: str, layout: Layout | None, units: Units | None
) -> Recording:
    """What a recording's file holds; DamageError where it is not as its name says."""
    frames = folder.frame_files.get(file)
    if frames:
        numbers = [number for number, _ in frames]
        if len(set(numbers)) < len(numbers):
            raise DamageError("two files of one frame")
        contents = ((n, read_file(root, path, _MAX_FRAME_BYTES)) for n, path in frames)
        return _of_tool(keypoint_json.openpose(contents))
    data = read_file(root, file, _MAX_BYTES)
    suffix = PurePosixPath(file).suffix.lower()
    if suffix == ".json":
        return _of_tool(keypoint_json.parse(data, units))
    if suffix == ".npy":
        return _arrays({"keypoint": parse_npy(data)})
    if suffix == ".npz":
        return _arrays(parse_npz(data, ("keypoint", "score", "present"), _MAX_BYTES))
    if suffix == ".csv":
        if layout is None:
            raise DamageError("the layout is not known")
        return _table(data, columns_of(folder.facts.columns), layout, 2 if units == "px" else 3)
    raise DamageError(f"recordings are {', '.join(SUFFIXES)}, or folders of OpenPose")


def take_part(recording: Recording, part: Part) -> Recording:
    """The frames and the person that a row of the index names; DamageError where there are none."""
    frames = recording.frames
    first, last = int(frames[0]), int(frames[-1])
    start = first if part.start is None else part.start
    end = last if part.end is None else part.end
    # of a pose estimator's file, frames without anybody may be left out at the end
    if start > last or end < first or (end > last and not recording.tool):
        raise DamageError(
            f"frames {start} to {end} are asked for, and the recording has {first} to {last}"
        )
    if part.person is not None:
        recording = _person(recording, part.person)
    kept = slice(*np.searchsorted(frames, [start, end + 1]).tolist())
    line = recording.first_line
    return recording._replace(
        keypoint=recording.keypoint[:, kept],
        score=_along(recording.score, kept),
        present=_along(recording.present, kept),
        box_score=_along(recording.box_score, kept),
        frames=frames[kept],
        first_line=None if line is None else line + kept.start,
    )


def _person(recording: Recording, person: int) -> Recording:
    persons = len(recording.keypoint)
    if recording.tool:
        raise DamageError(
            "`person` is given, but the file lists persons frame by frame and does not tell who is "
            "who; leave `person` empty and use --track"
        )
    if person >= persons:
        raise DamageError(f"`person` is {person}, and the recording has 0 to {persons - 1}")
    chosen = slice(person, person + 1)
    return recording._replace(
        keypoint=recording.keypoint[chosen],
        score=None if recording.score is None else recording.score[chosen],
        present=None if recording.present is None else recording.present[chosen],
    )


def _along(array: NDArray[Any] | None, frames: slice) -> NDArray[Any] | None:
    return None if array is None else array[:, frames]


def _of_tool(poses: keypoint_json.Poses) -> Recording:
    return Recording(
        poses.keypoint,
        poses.score,
        None,
        poses.frames,
        poses.tool,
        box_score=poses.box_score,
    )


def _arrays(arrays: dict[str, NDArray[Any]]) -> Recording:
    if "keypoint" not in arrays:
        raise DamageError("the array `keypoint` is missing")
    keypoint = arrays["keypoint"]
    if keypoint.ndim == 3:
        keypoint = keypoint[None]
    if keypoint.ndim != 4 or 0 in keypoint.shape:
        shape = arrays["keypoint"].shape
        raise DamageError(f"an array {shape}, (T, V, C) or (M, T, V, C) is expected")
    score, present = arrays.get("score"), arrays.get("present")
    if score is not None:
        score = _fitting(score, keypoint.shape[:3], "score")
    if present is not None:
        present = _fitting(present, keypoint.shape[:2], "present")
        if not ((present == 0) | (present == 1)).all():
            raise DamageError("`present` has values other than 0 and 1")
        present = present.astype(np.bool_)
    frames = np.arange(keypoint.shape[1], dtype=np.int32)
    return Recording(keypoint, score, present, frames)


def _fitting(array: NDArray[Any], shape: tuple[int, ...], name: str) -> NDArray[Any]:
    if array.shape == shape[1:] and shape[0] == 1:
        array = array[None]
    if array.shape != shape:
        raise DamageError(f"`{name}` is {array.shape}, {shape} is expected")
    return array


def _table(data: bytes, columns: slice | None, layout: Layout, dimensions: int) -> Recording:
    """A line a frame, of one person; an empty cell is no number, as nan is none.

    A line has the coordinates of each joint, or these and its confidence. `columns` tells which
    they are; without, there may be one column before them, with the numbers of the frames.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DamageError(f"not text: {error.reason}") from None
    lines = text.rstrip().splitlines()
    if not lines:
        raise DamageError("the file is empty")
    first = 0 if len(lines[0]) <= _MAX_LINE and _is_row(lines[0]) else 1
    if first == len(lines):
        raise DamageError("there is no line but the header")
    _check_extent(text, lines)
    rows = [line.split(",") for line in lines[first:]]
    for number, cells in enumerate(rows, start=first + 1):
        if len(cells) != len(rows[0]):
            reason = f"{len(cells)} values, {len(rows[0])} in line {first + 1}"
            raise DamageError(reason, number)
    if columns is not None:
        if columns.stop > len(rows[0]):
            raise DamageError(f"{len(rows[0])} columns, {columns.stop} are named", first + 1)
        rows = [cells[columns] for cells in rows]
    values = _floats(rows, first + 1)
    frames = np.arange(len(values), dtype=np.int32)
    joints = layout.num_joints
    known = {joints * dimensions: dimensions, joints * (dimensions + 1): dimensions + 1}
    width = values.shape[1]
    if columns is None and width - 1 in known:
        frames, values = _frame_numbers(values[:, 0], first + 1), values[:, 1:]
        width -= 1
    if width not in known:
        raise DamageError(
            f"{width} columns, {' or '.join(map(str, known))} are expected of {layout.name}; "
            f"where there are others, `columns` in {FACTS} tells which count",
            first + 1,
        )
    keypoint = values.reshape(1, len(values), joints, known[width])
    return Recording(keypoint, None, None, frames, first_line=first + 1)


def _check_extent(text: str, lines: list[str]) -> None:
    """DamageError before a table is cut into cells that take many times its memory."""
    for number, line in enumerate(lines, start=1):
        if len(line) > _MAX_LINE:
            raise DamageError(f"{len(line):,} characters, at most {_MAX_LINE:,} are real", number)
    if text.count(",") > _MAX_CELLS:
        raise DamageError(f"more than {_MAX_CELLS:,} cells, no recording has so many")


def _frame_numbers(values: NDArray[np.float64], first_line: int) -> NDArray[np.int32]:
    """The first column: whole numbers that rise."""
    sound = (values >= 0) & (values < 2**31) & (values % 1 == 0)
    sound[1:] &= np.diff(values) > 0
    if not sound.all():
        line = first_line + int(np.argmin(sound))
        raise DamageError("the first column is not a rising number of the frame", line)
    return values.astype(np.int32)


def _is_row(line: str) -> bool:
    """Is a line numbers and empty cells alone?"""
    try:
        _floats([line.split(",")], 1)
    except DamageError:
        return False
    return True


def _floats(rows: list[list[str]], first_line: int) -> NDArray[np.float64]:
    try:
        return np.array([list(map(float, cells)) for cells in rows])
    except ValueError:  # empty cells, or a mistake to be found
        values = np.empty((len(rows), len(rows[0])))
    for t, cells in enumerate(rows):
        for column, cell in enumerate(cells):
            try:
                values[t, column] = float(cell.strip() or "nan")
            except ValueError:
                raise DamageError(
                    f"{cell.strip()[:40]!r} is not a number", first_line + t
                ) from None
    return values


def sound_joints(
    recording: Recording, layout: Layout, dimensions: int
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """(M, T, V, C) coordinates and (M, T, V) confidences, all finite, missing joints zero.

    A joint is missing where all its coordinates are NaN. DamageError for other shapes and for
    values that are not finite, with the frame's line where the file has lines.
    """
    keypoint, score = split_score(recording, dimensions)
    persons, _, joints, coordinates = keypoint.shape
    if persons > keypoint_json.MAX_PERSONS or keypoint.size > keypoint_json.MAX_NUMBERS:
        raise DamageError(f"an array {keypoint.shape} is too large for one recording")
    if joints != layout.num_joints:
        raise DamageError(f"{joints} joints, layout {layout.name} has {layout.num_joints}")
    if coordinates != dimensions:
        raise DamageError(
            f"{coordinates} coordinates, {dimensions} are expected, or {dimensions + 1} with the "
            f"confidence; `units` in {FACTS} tells metres (m, 3) from pixels (px, 2)"
        )
    with np.errstate(over="ignore"):
        keypoint = np.array(keypoint, np.float32)
        score = None if score is None else np.array(score, np.float32)
    missing = np.isnan(keypoint).all(axis=-1)
    keypoint[missing] = 0
    _check_finite(np.isfinite(keypoint).all(axis=-1), recording, layout, "a coordinate")
    if score is not None:
        score[missing] = 0
        _check_finite(np.isfinite(score), recording, layout, "the confidence")
    return keypoint, score


def _check_finite(
    finite: NDArray[np.bool_], recording: Recording, layout: Layout, what: str
) -> None:
    if not finite.all():
        m, t, v = (int(n) for n in np.unravel_index(np.argmin(finite), finite.shape))
        who = f"person {m}, " if len(finite) > 1 else ""
        line = None if recording.first_line is None else recording.first_line + t
        raise DamageError(f"{who}frame {t}, {layout.joints[v]}: {what} is not finite", line)


def split_score(recording: Recording, dimensions: int) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Coordinates and confidences; these may be one coordinate more."""
    keypoint, score = recording.keypoint, recording.score
    if score is None and keypoint.shape[-1] == dimensions + 1:
        return keypoint[..., :-1], keypoint[..., -1]
    return keypoint, score
