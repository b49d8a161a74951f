"""Landmarks of MediaPipe, in the ways in which its results are saved as JSON.

A recording is a list of frames, possibly under `frames` or by number. A frame is null, the
landmarks of a person, a list of several persons' landmarks, or an object. An object holds these
under the names of the Python or JavaScript interfaces, old (`pose_landmarks.landmark`) or new
(`worldLandmarks`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from aclnet.datasets.readers.poses import Person, joints_of, numbered_frames, to_poses, value_of
from aclnet.datasets.spec import DamageError

if TYPE_CHECKING:
    from aclnet.datasets.readers.poses import Asked, Frames, Poses

_IMAGE = ("pose_landmarks", "hand_landmarks", "multi_hand_landmarks", "landmarks")
_WORLD = (
    "pose_world_landmarks",
    "hand_world_landmarks",
    "multi_hand_world_landmarks",
    "world_landmarks",
)
_HANDS = ("left_hand_landmarks", "right_hand_landmarks")
_LISTS = ("landmark", "landmarks")
"""Keys of the inner list in the older interfaces."""
_HOLISTIC, _BODY, _HAND = 75, 33, 21
"""Numbers of joints of the body with both hands, of the body, of a hand."""
_DEEPEST = 4
"""Most levels of lists in lists of landmarks."""
_HUMP = re.compile(r"(?<=[a-z])([A-Z])")
"""Start of a word inside a name of JavaScript."""

_Landmarks = list[Any]


def is_frame(frame: object) -> bool:
    """True if a frame, if not empty, looks like MediaPipe's."""
    if isinstance(frame, dict):
        return bool(_snake(frame).keys() & {*_IMAGE, *_WORLD, *_HANDS})
    inner = _first(frame)
    return _is_landmark(inner) or _is_landmark(_first(inner))


def is_recording(content: dict[str, Any]) -> bool:
    """True if an object looks like a recording of MediaPipe's."""
    return is_frame(next((frame for _, frame in numbered_frames(content) if frame), None))


def parse(content: list[Any] | dict[str, Any], asked: Asked) -> Poses:
    """The persons of a recording.

    World landmarks are metres; they are read unless `asked` wants pixels. Image landmarks are
    fractions of the image's width and height; for pixels they are multiplied by its size, and z is
    left out. If there are no world landmarks and the units are unknown, all three coordinates are
    read unchanged. Joints without `visibility` are missing, unless every visibility is 0, as for
    hands.
    """
    listed = numbered_frames(content)
    if len({number for number, _ in listed}) < len(listed):
        raise DamageError("two frames have the same number")
    pixels, holistic = asked.units == "px", asked.joints == _HOLISTIC
    has_image, has_world = (
        any(_has(frame, keys) for _, frame in listed) for keys in (_IMAGE, _WORLD)
    )
    only_image = has_image and not has_world and asked.units is None
    keys = _IMAGE if pixels or holistic or only_image else _WORLD
    frames = {number: _people(frame, keys, f"frame {number}") for number, frame in listed}
    sure = any(_is_sure(one) for people in frames.values() for person in people for one in person)
    axes = ("x", "y") if pixels else ("x", "y", "z")
    found: Frames = {}
    for number, frame in listed:
        where = f"frame {number}"
        people = [_values(person, axes, where, sure=sure) for person in frames[number]]
        if holistic:
            people = _with_hands(people, frame, axes, where)
        joints = (joints_of(values, len(axes) + 1, where) for values in people)
        found[number] = [Person(one) for one in joints if one is not None]
    poses = to_poses("MediaPipe", found, asked)
    poses = poses._replace(units="px" if pixels else "m", image=(0, 0) if pixels else None)
    if keys is _IMAGE and not pixels:
        poses = poses._replace(tool="MediaPipe's image landmarks")
    return poses if sure else poses._replace(score=None)


def _has(frame: object, keys: tuple[str, ...]) -> bool:
    return isinstance(frame, dict) and bool(_snake(frame).keys() & {*keys})


def _people(frame: object, keys: tuple[str, ...], where: str) -> list[_Landmarks]:
    """The persons of a frame, from the first of `keys` that it has."""
    if isinstance(frame, dict):
        known = _snake(frame)
        key = next((key for key in keys if key in known), None)
        if key is None and known.keys() & {*_IMAGE, *_WORLD}:
            raise DamageError(f"{where}: `{keys[0]}` is missing")
        frame = known.get(key) if key else None
    return _unpacked(frame, where)


def _unpacked(value: object, where: str, depth: int = 0) -> list[_Landmarks]:
    """The lists of landmarks inside lists and objects."""
    if isinstance(value, dict):
        value = next((value[key] for key in _LISTS if key in value), None)
    if not value:
        return []
    if not isinstance(value, list) or depth > _DEEPEST:
        raise DamageError(f"{where} is not a list of landmarks")
    if _is_landmark(_first(value)):
        return [value]
    return [person for inner in value for person in _unpacked(inner, where, depth + 1)]


def _values(
    landmarks: _Landmarks, axes: tuple[str, ...], where: str, *, sure: bool
) -> list[float | None]:
    """Coordinates and confidence of each landmark in turn; null if a landmark is missing."""
    values: list[float | None] = []
    for landmark in landmarks:
        if landmark is None:
            values += [None] * (len(axes) + 1)
            continue
        values += [value_of(landmark, axis, where) for axis in axes]
        values.append(landmark.get("visibility") if sure else 1.0)
    return values


def _with_hands(
    people: list[list[float | None]], frame: object, axes: tuple[str, ...], where: str
) -> list[list[float | None]]:
    """One person's body and both hands; missing joints are null."""
    known = _snake(frame) if isinstance(frame, dict) else {}
    hands = [_unpacked(known.get(key), where) for key in _HANDS]
    if not people and not any(hands):
        return []
    blocks = [people[0] if people else []]
    blocks += [_values(hand[0], axes, where, sure=False) if hand else [] for hand in hands]
    columns = len(axes) + 1
    sizes = [columns * joints for joints in (_BODY, _HAND, _HAND)]
    for block, size in zip(blocks, sizes, strict=True):
        if len(block) not in (0, size):
            raise DamageError(f"{where}: {len(block) // columns} landmarks, not {size // columns}")
    absent: list[list[float | None]] = [[None] * size for size in sizes]
    return [[v for block, none in zip(blocks, absent, strict=True) for v in block or none]]


def _is_sure(landmark: object) -> bool:
    return isinstance(landmark, dict) and bool(landmark.get("visibility"))


def _is_landmark(value: object) -> bool:
    return isinstance(value, dict) and {"x", "y"} <= value.keys()


def _first(value: object) -> object:
    """The first entry of a list that is not empty or null."""
    return next((entry for entry in value if entry), None) if isinstance(value, list) else None


def _snake(frame: dict[str, Any]) -> dict[str, Any]:
    """The frame with keys in Python's form: poseWorldLandmarks becomes pose_world_landmarks."""
    return {_HUMP.sub(r"_\1", key).lower(): value for key, value in frame.items()}
