"""CASIA-B's poses as pose estimators write them, a JSON file a recording.

Files are called `sss-cc-nn-vvv.json`, or lie in folders `sss-cc-nn-vvv/` or `sss/cc-nn/vvv/`. Each
is a list of what was found, as AlphaPose writes it and as results of COCO's keypoint task are
written: `{"image_id": "000001.jpg", "keypoints": [x, y, confidence, ...], "score": 2.9, ...}`. Of
several persons in one frame the one of the highest score counts: the walker is alone there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aclnet.datasets.formats.files import read_file
from aclnet.datasets.readers.casia_b import NUM_JOINTS, parse_id, to_sequence
from aclnet.datasets.readers.items import items_by_path
from aclnet.datasets.readers.keypoint_json import load
from aclnet.datasets.spec.sequence import DamageError, Rejection, SkeletonSequence
from aclnet.datasets.spec.source import Item, Source

if TYPE_CHECKING:
    from numpy.typing import NDArray

NUM_VALUES = 3 * NUM_JOINTS
_PATH = re.compile(r"(?:.*/)?(\d{3})[-/](\w\w-\d\d)[-/](\d{3})(?:/[^/]+)?\.json", re.ASCII)
_IMAGE = re.compile(r"(?:.*\D)?(\d{1,9})(?:\.[a-z]+)?", re.ASCII | re.DOTALL | re.IGNORECASE)
_LAST_FRAME = 10**9 - 1
_MAX_BYTES = 2**25  # a person takes 1 to 3 kB


@dataclass(frozen=True, slots=True)
class PoseJsonSource(Source):
    """A folder or archive of the files, at any depth."""

    def scan(self) -> tuple[list[Item], list[Rejection]]:
        return items_by_path(self.root, name_of, ".json", "CASIA-B (sss-cc-nn-vvv)")

    def read(self, item: Item) -> SkeletonSequence | Rejection:
        try:
            frames, poses = _poses(read_file(self.root, item.path, _MAX_BYTES))
            return to_sequence(item, poses, frames)
        except DamageError as damage:
            return damage.at(item.path)


def name_of(path: str) -> str | None:
    """`sss-cc-nn-vvv` of a path, None where the dataset has no such recording."""
    match = _PATH.fullmatch(path)
    name = "-".join(match.groups()) if match else ""
    return name if parse_id(name) else None


def _poses(data: bytes) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Numbers of the frames (T,), ascending, and (T, 17, 3)."""
    content = load(data)
    if not isinstance(content, list):
        raise DamageError(f"holds a {type(content).__name__}, a list of persons is expected")
    if not content:
        raise DamageError("no person in any frame", kind="no person")
    best: dict[int, dict[str, Any]] = {}
    for place, person in enumerate(content):
        frame = _check(person, place)
        if frame not in best or person["score"] > best[frame]["score"]:
            best[frame] = person
    frames = sorted(best)
    try:
        values = np.array([best[frame]["keypoints"] for frame in frames], np.float64)
    except OverflowError:
        raise DamageError("`keypoints` has a number out of range") from None
    return np.array(frames, np.int32), values.reshape(-1, NUM_JOINTS, 3)


def _check(person: object, place: int) -> int:
    """The frame of an entry; DamageError where it is not sound."""
    if not isinstance(person, dict):
        raise DamageError(f"entry {place} is not an object")
    image, score, keypoints = (person.get(key) for key in ("image_id", "score", "keypoints"))
    frame = _frame(image)
    if frame is None:
        raise DamageError(f"entry {place}: `image_id` does not end in the number of a frame")
    if type(score) not in (int, float) or score != score:
        raise DamageError(f"entry {place}: `score` is missing or not a number")
    if not isinstance(keypoints, list) or not {*map(type, keypoints)} <= {int, float}:
        raise DamageError(f"entry {place}: `keypoints` is missing or not a list of numbers")
    if len(keypoints) != NUM_VALUES:
        reason = f"`keypoints` has {len(keypoints)} numbers, {NUM_VALUES} are expected"
        raise DamageError(f"entry {place}: {reason}")
    return frame


def _frame(image: object) -> int | None:
    """Its number, of an image's number or name."""
    if type(image) is int and 0 <= image <= _LAST_FRAME:
        return image
    match = _IMAGE.fullmatch(image) if isinstance(image, str) else None
    return int(match[1]) if match else None
