"""Persons of a recording from lists of the persons in each frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from aclnet.datasets.readers.image_names import short
from aclnet.datasets.spec import DamageError, NobodyError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aclnet.datasets.spec import Units

MAX_PERSONS = 100
"""Most persons in a frame; a file with more is damaged."""
MAX_NUMBERS = 2**27
"""Limit of a recording's coordinates: half a gigabyte."""
_MAX_FRAME = 2**31 - 1
_LARGEST_SCORE = 1e6
LAYOUTS = {
    "COCO results": {17: "coco", 26: "halpe26", 133: "coco_wholebody", 136: "halpe136"},
    "COCO annotations": {17: "coco", 26: "halpe26", 133: "coco_wholebody", 136: "halpe136"},
    "MMPose": {17: "coco", 26: "halpe26", 133: "coco_wholebody", 136: "halpe136", 21: "hand21"},
    "AlphaPose": {17: "coco", 26: "halpe26", 133: "coco_wholebody", 136: "halpe136"},
    "AlphaPose by image": {18: "openpose"},
    "OpenPose": {18: "openpose", 25: "openpose25", 67: "openpose67", 137: "openpose137"},
    "MediaPipe": {21: "hand21", 33: "mediapipe", 75: "mediapipe_holistic"},
    "Ultralytics YOLO": {17: "coco"},
    "ST-GCN": {18: "openpose", 17: "coco"},
    "Azure Kinect": {32: "azure_kinect"},
    "Kinect": {20: "kinect_v1", 25: "nturgb+d"},
}
"""Layouts of each tool by the number of joints."""
_NUMBERS = ("frame", "frame_id", "frame_index", "frame_number")
"""Keys of frame numbers."""
_IDENTITIES = ("idx", "track_id", "tracking_id", "person_id", "body_id")
"""Keys of identities in files of AlphaPose, MMPose, COCO's videos, Kinect and others."""


class Person(NamedTuple):
    """A person in one frame."""

    joints: NDArray[np.float64]
    """(V, C + 1) coordinates and confidence; NaN if a joint is missing."""
    identity: str = ""
    """Identity in the words of the file; empty if the file has none."""
    box_score: float = np.nan
    """Score of the detection; NaN if there is none."""


Frames = dict[int, list[Person]]
"""Persons by number of the frame."""


class Poses(NamedTuple):
    """The persons of a recording; NaN if a person is not in a frame."""

    tool: str
    keypoint: NDArray[np.float64]
    """(M, T, V, C) in `units`, or in fractions of the image's width and height."""
    score: NDArray[np.float64] | None
    """(M, T, V) confidences, if the tool has them."""
    frames: NDArray[np.int32]
    """(T,) numbers of the frames in the file; from 0 if they exceed 2^31, as database numbers of
    images do."""
    identities: tuple[str, ...] = ()
    """(M,) identities if the file has them; empty: person m is the m-th in each frame's list."""
    layout: str = ""
    """Layout that the tool writes with so many joints; empty if it is not known."""
    box_score: NDArray[np.float64] | None = None
    """(M, T) score of each detection, if the tool writes one for every person."""
    units: Units = "px"
    image: tuple[int, int] | None = None
    """Size of the image that coordinates are fractions of, if no other size is known; or zeros."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Settings of a folder for files that can be read in several ways."""

    units: Units | None = None
    joints: int | None = None
    """Number of joints in the folder's layout, which may include the hands and the face."""
    identities: bool = True
    """True if identities in the file are used."""
    images: str = ""
    """Beginning of the names of a recording's images, or their numbers as `1000:2000`."""

    def wants(self, image: int | str) -> bool:
        """True if an image, by its name or number, belongs to the recording."""
        first, colon, end = self.images.partition(":")
        if colon and first.isdecimal() and end.isdecimal() and isinstance(image, int):
            return int(first) <= image < int(end)
        return str(image).startswith(self.images)


def to_poses(tool: str, frames: Frames, asked: Asked) -> Poses:
    """Arrays of the persons; raises DamageError if they are not alike, too many, or none.

    If identities distinguish persons, each has a row of its own, the most confident first.
    """
    most = max(map(len, frames.values()), default=0)
    if not most:
        raise NobodyError
    if most > MAX_PERSONS:
        raise DamageError(f"{most} persons in a frame; at most {MAX_PERSONS} are possible")
    numbers = sorted(frames)
    if numbers[-1] - numbers[0] > _MAX_FRAME:
        raise DamageError(
            f"frames {numbers[0]} and {numbers[-1]} are too far apart for one recording"
        )
    shape = _shape(numbers, frames)
    identities = _by_confidence(frames) if asked.identities and _tell_apart(frames) else ()
    rows = len(identities) or most
    if rows * len(frames) * shape[0] * shape[1] > MAX_NUMBERS:
        raise DamageError(f"{rows} persons in {len(frames)} frames are too many")
    row_of = {identity: m for m, identity in enumerate(identities)}
    joints = np.full((rows, len(frames), *shape), np.nan)
    boxes = np.full((rows, len(frames)), np.inf)
    for t, number in enumerate(numbers):
        for place, person in enumerate(frames[number]):
            m = row_of.get(person.identity) if identities else place
            if m is not None:
                joints[m, t] = person.joints
                boxes[m, t] = person.box_score
    first = numbers[0] if numbers[-1] > _MAX_FRAME else 0
    kept = np.array([number - first for number in numbers], np.int32)
    layout = LAYOUTS.get(tool, {}).get(shape[0], "")
    told = None if np.isnan(boxes).any() else boxes
    return Poses(tool, joints[..., :-1], joints[..., -1], kept, identities, layout, told)


def _shape(numbers: list[int], frames: Frames) -> tuple[int, int]:
    """(V, C + 1) of all persons."""
    shape: tuple[int, ...] = ()
    for number in numbers:
        for person in frames[number]:
            shape = shape or person.joints.shape
            if person.joints.shape != shape:
                counts = f"{len(person.joints)} joints, another {shape[0]}"
                raise DamageError(f"frame {number}: a person has {counts}")
    joints, columns = shape
    return joints, columns


def _tell_apart(frames: Frames) -> bool:
    """True if identities name every person, nobody twice in a frame, and somebody in several.

    Disabled trackers write one number for everybody; counters write a new number each time.
    """
    listed = [[person.identity for person in people] for people in frames.values()]
    named = {identity for people in listed for identity in people}
    return (
        "" not in named
        and 1 < len(named) < sum(map(len, listed))
        and all(len(set(people)) == len(people) for people in listed)
    )


def _by_confidence(frames: Frames) -> tuple[str, ...]:
    """Identities by the sum of their confidences, the highest first, at most MAX_PERSONS."""
    total: dict[str, float] = {}
    for people in frames.values():
        for person in people:
            confidence = float(np.nansum(person.joints[:, -1]))
            total[person.identity] = total.get(person.identity, 0.0) + confidence
    return tuple(sorted(total, key=lambda identity: -total[identity])[:MAX_PERSONS])


def numbered_frames(content: list[Any] | dict[str, Any]) -> list[tuple[int, Any]]:
    """Frames of a recording with their numbers, from their keys or their order.

    content: a list of frames, perhaps under `frames`; an object of frames by number; or one frame.
    """
    if isinstance(content, dict):
        listed = content.get("frames", content.get("Frames"))
        if isinstance(listed, list):
            content = listed
        elif content and all(key.isascii() and key.isdigit() for key in content):
            return [(int(key[:18]), frame) for key, frame in content.items()]
        else:
            content = [content]
    return [(_number(frame, place), frame) for place, frame in enumerate(content)]


def _number(frame: object, place: int) -> int:
    if isinstance(frame, dict):
        told = next((frame[key] for key in _NUMBERS if type(frame.get(key)) is int), place)
        return int(told)
    return place


def identity_of(entry: dict[str, Any]) -> str:
    """Identity of a person, from any of the tools' keys; empty if there is none."""
    value = next((entry[key] for key in _IDENTITIES if entry.get(key) is not None), None)
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, str):
        return value
    if type(value) is int and 0 <= value < 2**64:  # Kinect's have up to 57 bits
        return str(value)
    if not isinstance(value, float) or not 0 <= value < 2**53:
        return ""  # not tracked: -1 or NaN
    return f"{value:.15g}"


def score_of(value: object) -> float:
    """Score of a detection, NaN if it has no valid score."""
    return value if isinstance(value, int | float) and abs(value) < _LARGEST_SCORE else np.nan


def value_of(entry: object, key: str, where: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    """The value of a key; raises DamageError if the object does not have the key."""
    if not isinstance(entry, dict) or key not in entry:
        raise DamageError(f"{short(where)}: `{key}` is missing")
    return entry[key]


def list_of(entry: object, key: str, where: str) -> list[Any]:
    """A list under a key; raises DamageError if there is none."""
    found = value_of(entry, key, where)
    if not isinstance(found, list):
        raise DamageError(f"{short(where)}: `{key}` is not a list")
    return found


def numbers_of(values: object, where: str) -> NDArray[np.float64]:
    """(N,) numbers of a list, NaN for null; raises DamageError for anything else."""
    if not isinstance(values, list) or not {*map(type, values)} <= {int, float, type(None)}:
        raise DamageError(f"{short(where)}: a list of numbers is expected")
    try:
        return np.array(values, np.float64)
    except OverflowError:
        raise DamageError(f"{short(where)}: a number is out of range") from None


def joints_of(values: object, columns: int, where: str) -> NDArray[np.float64] | None:
    """(V, columns) from a flat list of numbers, joint after joint; None if the list is empty.

    A joint with a null is missing as a whole.
    """
    numbers = numbers_of([] if values is None else values, where)
    if not len(numbers):
        return None
    if len(numbers) % columns:
        raise DamageError(
            f"{short(where)}: {len(numbers)} numbers; {columns} per joint are expected"
        )
    joints = numbers.reshape(-1, columns)
    if isinstance(values, list) and None in values:
        nulls = np.array([value is None for value in values]).reshape(joints.shape)
        joints[nulls.any(axis=1)] = np.nan
    return joints
