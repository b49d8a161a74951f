"""Custom recordings: the reader of each file, and checks of the joints."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from aclnet.datasets.formats.files import read_file
from aclnet.datasets.formats.npy import parse_npy, parse_npz
from aclnet.datasets.readers import bvh, c3d, deeplabcut, keypoint_json, ntu_text, pose_table
from aclnet.datasets.readers.custom_index import FACTS, METRES, columns_of, stored
from aclnet.datasets.readers.custom_recordings import SUFFIXES, read_frames
from aclnet.datasets.readers.poses import MAX_NUMBERS, MAX_PERSONS, Asked
from aclnet.datasets.spec import DamageError
from aclnet.datasets.spec.layouts import layouts_of

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from aclnet.datasets.readers.custom_index import Folder
    from aclnet.datasets.readers.custom_row import Part
    from aclnet.datasets.readers.poses import Poses
    from aclnet.datasets.spec import Units
    from aclnet.datasets.spec.layouts import Layout

_MAX_BYTES = 2**28
_FLAT = 10
"""Limit of a person's width or height, as a multiple of the depth or distance."""


class Recording(NamedTuple):
    """Content of a file, not checked yet."""

    keypoint: NDArray[Any]
    """(M, T, V, C) coordinates; NaN if a joint is missing."""
    frames: NDArray[np.int32]
    """(T,) numbers of the frames."""
    score: NDArray[Any] | None = None
    """(M, T, V) confidences."""
    present: NDArray[np.bool_] | None = None
    """(M, T) whether a person is in a frame, if the file contains this."""
    identities: tuple[str, ...] = ()
    """(M,) identities of the persons, if the file contains them."""
    first_line: int | None = None
    """Line of the first frame in a text file."""
    tool: str = ""
    """Tool that wrote the file, if its content shows it. Its layout and units apply, and its
    persons are listed frame by frame unless there are identities."""
    layout: str = ""
    units: Units | None = None
    named: bool = False
    """True if the file has names and parents of its joints, as motion capture has."""
    image: tuple[int, int] | None = None
    """Size of the image that coordinates are fractions of, if the index has none; or zeros."""
    box_score: NDArray[np.float64] | None = None
    """(M, T) score of each detection, if a pose estimator's file has scores."""


def read_recording(
    root: Path,
    folder: Folder,
    file: str,
    layout: Layout | None,
    units: Units | None,
    images: str = "",
) -> Recording:
    """Reads a recording's file. Raises DamageError if the content does not fit the name.

    layout, units: as far as known. A tool's files are read with the folder's settings, so that all
    of them are read in the same way. images: the recording to take if the file holds several, see
    `Part`.
    """
    facts = folder.facts
    joints = layout.num_joints if layout else None
    asked = Asked(stored(facts.units), joints, identities=facts.identities, images=images)
    frames = folder.frame_files.get(file)
    if frames:
        return _of_tool(read_frames(root, frames, asked))
    data = read_file(root, file, _MAX_BYTES)
    if not data:
        raise DamageError("the file is empty")
    suffix = PurePosixPath(file).suffix.lower()
    if suffix == ".json":
        return _of_tool(keypoint_json.parse(data, asked))
    if suffix == ".npy":
        return _of_units(_arrays({"keypoint": parse_npy(data)}), layout, units)
    if suffix == ".npz":
        arrays = parse_npz(data, ("keypoint", "score", "present"), _MAX_BYTES)
        return _of_units(_arrays(arrays), layout, units)
    if suffix == ".csv" and deeplabcut.is_table(data):
        return _of_tool(deeplabcut.parse(data, layout, asked))
    if suffix == ".csv":
        dimensions = 2 if units == "px" else 3
        table = pose_table.parse(data, columns_of(facts.columns), layout, dimensions)
        who = table.identities if facts.identities else ()
        found = Recording(table.values, table.frames, identities=who, first_line=table.first_line)
        return found if table.named else _of_units(found, layout, units)
    if suffix == ".skeleton":
        return _bodies(data)
    if suffix == ".c3d":
        return _markers(data, layout, facts.units)
    if suffix == ".bvh":
        return _motion(data, layout, scaled=facts.units is None)
    if suffix == ".h5":
        raise DamageError(
            "DeepLabCut's .h5 cannot be read; write the .csv: analyze_videos(..., save_as_csv=True)"
        )
    raise DamageError(f"recordings are {', '.join(SUFFIXES)}, or folders of frames")


class UnknownUnitsError(DamageError):
    """Three numbers per joint with unknown units; the third may be a confidence."""


def _of_units(recording: Recording, layout: Layout | None, units: Units | None) -> Recording:
    """The recording; raises UnknownUnitsError if x, y, z may be x, y and a confidence.

    A confidence is from 0 to 1, or small compared with a person in pixels, because bodies are not
    flat. If the layout is unknown too, the user is asked for the layout first.
    """
    keypoint = recording.keypoint
    told = units is not None or recording.score is not None or layout is None
    if told or keypoint.shape[-1] != 3:
        return recording
    finite = np.where(np.isfinite(keypoint), keypoint, np.nan)
    third = finite[..., 2]
    extents = np.fmax.reduce(finite, axis=2) - np.fmin.reduce(finite, axis=2)
    low, high = np.fmin.reduce(third, axis=None), np.fmax.reduce(third, axis=None)
    largest = np.fmax.reduce(extents[..., :2], axis=None)
    if 0 <= low <= high <= 1 or largest > _FLAT * max(abs(low), abs(high)):
        raise UnknownUnitsError(
            f"three numbers for each joint, the third from {low:.3g} to {high:.3g}: it is unclear "
            "whether the third is z or a confidence"
        )
    return recording


def take_part(recording: Recording, part: Part) -> Recording:
    """The frames and the person that a row of the index names.

    Raises DamageError if there are none.
    """
    frames = recording.frames
    first, last = int(frames[0]), int(frames[-1])
    start = first if part.start is None else part.start
    end = last if part.end is None else part.end
    # A pose estimator's file may lack frames without persons at its end.
    if start > last or end < first or (end > last and not recording.tool):
        raise DamageError(
            f"the index asks for frames {start} to {end}, but the recording has {first} to {last}"
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
    if recording.tool and not recording.identities:
        raise DamageError(
            "`person` is given, but the file lists persons frame by frame without identities; "
            "leave `person` empty and use --track"
        )
    if person >= persons:
        raise DamageError(f"`person` is {person}, but the recording has 0 to {persons - 1}")
    chosen = slice(person, person + 1)
    return recording._replace(
        keypoint=recording.keypoint[chosen],
        score=None if recording.score is None else recording.score[chosen],
        present=None if recording.present is None else recording.present[chosen],
        box_score=None if recording.box_score is None else recording.box_score[chosen],
        identities=recording.identities[chosen],
    )


def _along(array: NDArray[Any] | None, frames: slice) -> NDArray[Any] | None:
    return None if array is None else array[:, frames]


def _bodies(data: bytes) -> Recording:
    """A `.skeleton` file of a Kinect; the person with the most frames comes first."""
    bodies = ntu_text.parse_bodies(data)
    order = np.argsort(-bodies.present.sum(axis=1), kind="stable")
    return Recording(
        bodies.keypoint[order],
        bodies.frame_index,
        present=bodies.present[order],
        identities=tuple(bodies.ids[m] for m in order),
        layout="nturgb+d",
        units="m",
    )


def _motion(data: bytes, layout: Layout | None, *, scaled: bool) -> Recording:
    """Motion capture: the joints that the layout names, or all of them.

    scaled: convert to metres, with centimetres as the file's unit; else keep the values.
    """
    motion = bvh.parse(data)
    chosen = _chosen(motion.hierarchy.joints, layout)
    return Recording(
        motion.positions[None][:, :, chosen] * (bvh.METRES if scaled else 1),
        np.arange(len(motion.positions), dtype=np.int32),
        units="m" if scaled else None,
        named=True,
    )


def _markers(data: bytes, layout: Layout | None, units: str | None) -> Recording:
    """Markers of motion capture, in metres if only the file gives the unit."""
    found = c3d.parse(data)
    scale = METRES.get(found.units) if units is None else None
    chosen = _chosen(found.labels, layout)
    return Recording(
        found.positions[None][:, :, chosen] * (scale or 1),
        np.arange(len(found.positions), dtype=np.int32),
        units="m" if scale else None,
    )


def _chosen(names: list[str], layout: Layout | None) -> list[int]:
    """Indices of the joints that the layout names, if all of them exist; else of all joints."""
    if layout is not None and {*layout.joints} <= {*names}:
        return [names.index(joint) for joint in layout.joints]
    return [*range(len(names))]


def _of_tool(poses: Poses) -> Recording:
    return Recording(**poses._asdict())


def _arrays(arrays: dict[str, NDArray[Any]]) -> Recording:
    if "keypoint" not in arrays:
        raise DamageError("the array `keypoint` is missing")
    keypoint = arrays["keypoint"]
    if keypoint.ndim == 3:
        keypoint = keypoint[None]
    if keypoint.ndim != 4 or 0 in keypoint.shape:
        shape = arrays["keypoint"].shape
        raise DamageError(f"an array {shape}; (T, V, C) or (M, T, V, C) is expected")
    score, present = arrays.get("score"), arrays.get("present")
    if score is not None:
        score = _fitting(score, keypoint.shape[:3], "score")
    if present is not None:
        present = _fitting(present, keypoint.shape[:2], "present")
        if not ((present == 0) | (present == 1)).all():
            raise DamageError("`present` has values other than 0 and 1")
        present = present.astype(np.bool_)
    frames = np.arange(keypoint.shape[1], dtype=np.int32)
    return Recording(keypoint, frames, score, present)


def _fitting(array: NDArray[Any], shape: tuple[int, ...], name: str) -> NDArray[Any]:
    if array.shape == shape[1:] and shape[0] == 1:
        array = array[None]
    if array.shape != shape:
        raise DamageError(f"`{name}` is {array.shape}; {shape} is expected")
    return array


def sound_joints(
    recording: Recording, layout: Layout, dimensions: int
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """(M, T, V, C) coordinates and (M, T, V) confidences, all finite, missing joints zero.

    A joint is missing if all its coordinates are NaN. Raises DamageError for other shapes and for
    values that are not finite, with the frame's line if the file has lines.
    """
    keypoint, score = split_score(recording, dimensions)
    persons, _, joints, coordinates = keypoint.shape
    if persons > MAX_PERSONS or keypoint.size > MAX_NUMBERS:
        raise DamageError(f"an array {keypoint.shape} is too large for one recording")
    if joints != layout.num_joints:
        others = layouts_of(joints)
        fitting = f"; layouts with {joints} joints: {', '.join(others)}" if others else ""
        raise DamageError(
            f"{joints} joints, but layout {layout.name} has {layout.num_joints}{fitting}"
        )
    if coordinates != dimensions:
        raise DamageError(
            f"{coordinates} coordinates; {dimensions} are expected, or {dimensions + 1} with the "
            f"confidence; set `units` in {FACTS}: m for metres (3) or px for pixels (2)"
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
    """Coordinates and confidences; the confidence may be an additional last coordinate."""
    keypoint, score = recording.keypoint, recording.score
    if score is None and keypoint.shape[-1] == dimensions + 1:
        return keypoint[..., :-1], keypoint[..., -1]
    return keypoint, score
