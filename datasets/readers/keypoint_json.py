"""What pose estimators write as JSON: COCO results, MMPose, AlphaPose, OpenPose, MediaPipe.

Each tool has a function; `parse` tells by the content which one wrote a file. Persons are listed
frame by frame: person m of a result is the m-th that a frame lists, not one identity.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from aclnet.datasets.formats.json_text import parse_json
from aclnet.datasets.spec import DamageError, NobodyError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from aclnet.datasets.spec import Units

MAX_PERSONS = 100
"""In a frame; a file with more is taken to be damaged."""
MAX_NUMBERS = 2**27
"""Coordinates of a recording: half a gigabyte."""

_LANDMARKS = {"m": "pose_world_landmarks", "px": "pose_landmarks"}
_PERSON = {"bodies": "joints", "people": "pose_keypoints_2d"}
"""Keys of the joints in AlphaPose's lists of persons."""
_FRAME = re.compile(r"(?:.*\D)?(\d{1,18})(?:\.\w+)?", re.ASCII | re.DOTALL)
_MAX_FRAME = 2**31 - 1
_LARGEST_SCORE = 1e6


class Poses(NamedTuple):
    """The persons of a recording; one who is not there in a frame is NaN."""

    tool: str
    keypoint: NDArray[np.float64]
    """(M, T, V, C) in pixels; MediaPipe: metres, or shares of the image's width and height."""
    score: NDArray[np.float64]
    """(M, T, V)"""
    frames: NDArray[np.int32]
    """(T,) numbers of the frames as the file has them; from 0 where they exceed 2^31, as the
    numbers of images in a database do."""
    box_score: NDArray[np.float64] | None = None
    """(M, T) score of each detection, where the tool writes one for every person."""


Frames = dict[int, list["NDArray[np.float64]"]]
"""Number of a frame -> (V, C + 1) joints of its persons, each with its confidence."""
Boxes = dict[int, list[float]]
"""Number of a frame -> scores of its persons' detections, NaN where one has none."""

LAYOUTS = {
    "COCO results": {17: "coco"},
    "MMPose": {17: "coco", 26: "halpe26"},
    "AlphaPose": {17: "coco", 26: "halpe26"},
    "AlphaPose by image": {18: "openpose"},
    "OpenPose": {18: "openpose", 25: "openpose25"},
    "MediaPipe": {33: "mediapipe"},
}
"""Layouts of each tool by the number of joints."""


def parse(data: bytes, units: Units | None = None) -> Poses:
    """The persons in a file of any of the tools but OpenPose, which writes a file a frame.

    units: of MediaPipe's landmarks, metres if not told. Raises DamageError where the file is none
    of theirs, or holds something that they do not write.
    """
    content = parse_json(data)
    if isinstance(content, dict):
        if "instance_info" in content:
            return mmpose(content["instance_info"])
        if "people" in content:
            raise DamageError("one frame of OpenPose; the index names the folder of a recording")
        if content and all(isinstance(v, dict) and v.keys() & {*_PERSON} for v in content.values()):
            return alphapose_by_image(content)
    elif isinstance(content, list):
        first = next((frame for frame in content if frame), None)
        if first is None:
            raise NobodyError
        if isinstance(first, list) or (
            isinstance(first, dict) and first.keys() & {*_LANDMARKS.values()}
        ):
            return mediapipe(content, units or "m")
        if isinstance(first, dict) and "instances" in first:
            return mmpose(content)
        if isinstance(first, dict) and "image_id" in first:
            of_coco = isinstance(first["image_id"], int)
            return coco_results(content) if of_coco else alphapose(content)
    raise DamageError(f"not as {', '.join(LAYOUTS)} are written")


def coco_results(entries: list[Any]) -> Poses:
    """Results of COCO's keypoint task: `image_id` a number, `keypoints` x, y, confidence, ..."""
    return _entries("COCO results", entries, int)


def alphapose(entries: list[Any]) -> Poses:
    """AlphaPose's own form: as COCO's results, `image_id` the name of an image with a number."""
    return _entries("AlphaPose", entries, str)


def alphapose_by_image(content: dict[str, Any]) -> Poses:
    """AlphaPose with `--format cmu` or `open`: an object of images, each with its persons."""
    frames: Frames = {}
    for image, entry in content.items():
        key = next((key for key in _PERSON if key in entry), "")
        if not isinstance(entry.get(key), list):
            raise DamageError(f"{_short(image)} has no list of persons")
        number = _frame_of(image)
        if number in frames:
            raise DamageError(f"{_short(image)}: there is another frame {number}")
        frames[number] = [_triples(_value(p, _PERSON[key], image), image) for p in entry[key]]
    return _poses("AlphaPose by image", frames)


def openpose(contents: Iterable[tuple[int, bytes]]) -> Poses:
    """OpenPose: number and content of each frame's file, whose `people` have `pose_keypoints_2d`.

    DamageError names the frame.
    """
    frames: Frames = {}
    for number, data in contents:
        where = f"frame {number}"
        try:
            people = _value(parse_json(data), "people", where)
        except DamageError as damage:
            raise DamageError(f"{where}: {damage.reason}") from None
        if not isinstance(people, list):
            raise DamageError(f"{where}: `people` is not a list")
        frames[number] = [_triples(_value(p, "pose_keypoints_2d", where), where) for p in people]
    return _poses("OpenPose", frames)


def mmpose(entries: object) -> Poses:
    """MMPose's predictions of a video: `frame_id` and `instances` with keypoints and scores."""
    if not isinstance(entries, list):
        raise DamageError("`instance_info` is not a list")
    frames: Frames = {}
    boxes: Boxes = {}
    for place, entry in enumerate(entries):
        where = f"entry {place}"
        number = _value(entry, "frame_id", where)
        if type(number) is not int or number in frames:
            raise DamageError(f"{where}: `frame_id` is no number of a frame of its own")
        instances = _value(entry, "instances", where)
        if not isinstance(instances, list):
            raise DamageError(f"{where}: `instances` is not a list")
        frames[number] = [_instance(instance, where) for instance in instances]
        boxes[number] = [_score(instance.get("bbox_score")) for instance in instances]
    return _poses("MMPose", frames, boxes)


def mediapipe(content: list[Any], units: Units) -> Poses:
    """MediaPipe: a list of frames, each the landmarks of a person, of several, or none.

    A frame may also be an object with `pose_world_landmarks`, which are taken for metres, and
    `pose_landmarks`, taken for pixels. A landmark has x, y, z and visibility; in pixels z is left
    out.
    """
    frames: Frames = {}
    for number, frame in enumerate(content):
        where = f"frame {number}"
        persons = _value(frame, _LANDMARKS[units], where) if isinstance(frame, dict) else frame
        persons = persons or []
        if not isinstance(persons, list):
            raise DamageError(f"{where} is not a list of landmarks")
        if persons and isinstance(persons[0], dict):
            persons = [persons]
        keys = ("x", "y", "z", "visibility") if units == "m" else ("x", "y", "visibility")
        frames[number] = [_landmarks(person, keys, where) for person in persons if person]
    return _poses("MediaPipe", frames)


def _entries(tool: str, entries: list[Any], kind: type) -> Poses:
    frames: Frames = {}
    boxes: Boxes = {}
    for place, entry in enumerate(entries):
        where = f"entry {place}"
        image: int | str = _value(entry, "image_id", where)
        if type(image) is not kind:
            raise DamageError(f"{where}: `image_id` is of another kind than the first")
        number = _frame_of(image) if isinstance(image, str) else int(image)
        joints = _triples(_value(entry, "keypoints", where), where)
        frames.setdefault(number, []).append(joints)
        boxes.setdefault(number, []).append(_score(entry.get("score")))
    return _poses(tool, frames, boxes)


def _value(entry: object, key: str, where: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    if not isinstance(entry, dict) or key not in entry:
        raise DamageError(f"{_short(where)}: `{key}` is missing")
    return entry[key]


def _frame_of(image: str) -> int:
    """Number at the end of an image's name."""
    match = _FRAME.fullmatch(image)
    if match is None:
        raise DamageError(f"{_short(image)} does not end in the number of a frame")
    return int(match[1])


def _triples(values: object, where: str) -> NDArray[np.float64]:
    """(V, 3) x, y and confidence."""
    numbers = _numbers(values, where)
    if not len(numbers) or len(numbers) % 3:
        raise DamageError(f"{_short(where)}: {len(numbers)} numbers, x, y, confidence are expected")
    return numbers.reshape(-1, 3)


def _instance(instance: object, where: str) -> NDArray[np.float64]:
    keypoints = _value(instance, "keypoints", where)
    scores = _numbers(_value(instance, "keypoint_scores", where), where)
    if not isinstance(keypoints, list) or len(keypoints) != len(scores) or not keypoints:
        raise DamageError(f"{where}: {len(scores)} scores do not fit its `keypoints`")
    rows = [_numbers(row, where) for row in keypoints]
    if {len(row) for row in rows} not in ({2}, {3}):
        raise DamageError(f"{where}: a keypoint has not two coordinates, or three as all others")
    return np.column_stack([np.stack(rows), scores])


def _landmarks(person: object, keys: Sequence[str], where: str) -> NDArray[np.float64]:
    if not isinstance(person, list):
        raise DamageError(f"{where}: a person is not a list of landmarks")
    rows = [[_value(landmark, key, where) for key in keys] for landmark in person]
    return _numbers([value for row in rows for value in row], where).reshape(-1, len(keys))


def _score(value: object) -> float:
    """Score of a detection, NaN where there is none that makes sense."""
    return value if isinstance(value, int | float) and abs(value) < _LARGEST_SCORE else np.nan


def _numbers(values: object, where: str) -> NDArray[np.float64]:
    if not isinstance(values, list) or not {*map(type, values)} <= {int, float}:
        raise DamageError(f"{_short(where)}: a list of numbers is expected")
    try:
        return np.array(values, np.float64)
    except OverflowError:
        raise DamageError(f"{_short(where)}: a number is out of range") from None


def _poses(tool: str, frames: Frames, boxes: Boxes | None = None) -> Poses:
    """Arrays of the persons; DamageError where they are not alike, too many, or none."""
    persons = max(map(len, frames.values()), default=0)
    if not persons:
        raise NobodyError
    if persons > MAX_PERSONS:
        raise DamageError(f"{persons} persons in a frame, {MAX_PERSONS} at most are real")
    shape = next(people[0].shape for people in frames.values() if people)
    if persons * len(frames) * shape[0] * shape[1] > MAX_NUMBERS:
        raise DamageError(f"{persons} persons in {len(frames)} frames are too many")
    joints = np.full((persons, len(frames), *shape), np.nan)
    box_score = np.full((persons, len(frames)), np.inf)
    numbers = sorted(frames)
    if numbers[-1] - numbers[0] > _MAX_FRAME:
        raise DamageError(f"frames {numbers[0]} and {numbers[-1]} are not of one recording")
    for t, number in enumerate(numbers):
        for m, person in enumerate(frames[number]):
            if person.shape != shape:
                counts = f"{len(person)} joints, another {shape[0]}"
                raise DamageError(f"frame {number}: a person has {counts}")
            joints[m, t] = person
        if boxes:
            box_score[: len(boxes[number]), t] = boxes[number]
    first = numbers[0] if numbers[-1] > _MAX_FRAME else 0
    kept = np.array([number - first for number in numbers], np.int32)
    told = boxes and not np.isnan(box_score).any()
    return Poses(tool, joints[..., :-1], joints[..., -1], kept, box_score if told else None)


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
