"""CASIA-B's poses as pose estimators write them, one JSON file per recording.

Files are called `sss-cc-nn-vvv.json`, or are in folders `sss-cc-nn-vvv/` or `sss/cc-nn/vvv/`. Each
is a list of persons in the form of AlphaPose and of COCO's keypoint results: `{"image_id":
"000001.jpg", "keypoints": [x, y, confidence, ...], "score": 2.9, ...}`. If a frame has several
persons, the highest score is kept, because the walker is alone there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aclnet.datasets.formats.json_text import parse_json
from aclnet.datasets.readers.casia_b import NUM_JOINTS, name_in, to_sequence
from aclnet.datasets.readers.image_names import frame_numbers
from aclnet.datasets.readers.items import FileSource, items_by_path
from aclnet.datasets.spec import DamageError, NobodyError, Rejection, SkeletonSequence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aclnet.datasets.spec import Item

NUM_VALUES = 3 * NUM_JOINTS
_PATH = re.compile(r"(?:.*/)?(\d{3})[-/](\w\w-\d\d)[-/](\d{3})(?:/[^/]+)?\.json", re.ASCII)
_LAST_FRAME = 10**9 - 1


@dataclass(frozen=True, slots=True)
class PoseJsonSource(FileSource):
    """A folder or archive of the files, at any depth."""

    max_bytes = 2**25  # a person takes 1 to 3 kB

    def scan(self) -> tuple[list[Item], list[Rejection]]:
        return items_by_path(self.root, name_of, ".json", "CASIA-B (sss-cc-nn-vvv)")

    def parse(self, item: Item, data: bytes) -> SkeletonSequence:
        frames, poses = _poses(data)
        return to_sequence(item, poses, frames)


def name_of(path: str) -> str | None:
    """`sss-cc-nn-vvv` from a path, None if the dataset has no such recording."""
    return name_in(path, _PATH)


def _poses(data: bytes) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """(T,) numbers of the frames, ascending, and (T, 17, 3) joints."""
    content = parse_json(data)
    if not isinstance(content, list):
        raise DamageError(f"holds a {type(content).__name__}; a list of persons is expected")
    if not content:
        raise NobodyError
    images = [_check(person, place) for place, person in enumerate(content)]
    numbers = frame_numbers([image for image in images if isinstance(image, str)])
    best: dict[int, dict[str, Any]] = {}
    for image, person in zip(images, content, strict=True):
        frame = numbers[image] if isinstance(image, str) else image
        if frame not in best or person["score"] > best[frame]["score"]:
            best[frame] = person
    frames = sorted(best)
    try:
        values = np.array([best[frame]["keypoints"] for frame in frames], np.float64)
    except OverflowError:
        raise DamageError("`keypoints` has a number out of range") from None
    return np.array(frames, np.int32), values.reshape(-1, NUM_JOINTS, 3)


def _check(person: object, place: int) -> int | str:
    """The image of an entry, its number or its name; raises DamageError if it is not sound."""
    if not isinstance(person, dict):
        raise DamageError(f"entry {place} is not an object")
    image, score, keypoints = (person.get(key) for key in ("image_id", "score", "keypoints"))
    if not (type(image) is int and 0 <= image <= _LAST_FRAME) and not isinstance(image, str):
        raise DamageError(f"entry {place}: `image_id` is not a number or name of an image")
    if type(score) not in (int, float) or score != score:
        raise DamageError(f"entry {place}: `score` is missing or not a number")
    if not isinstance(keypoints, list) or not {*map(type, keypoints)} <= {int, float}:
        raise DamageError(f"entry {place}: `keypoints` is missing or not a list of numbers")
    if len(keypoints) != NUM_VALUES:
        reason = f"`keypoints` has {len(keypoints)} numbers; {NUM_VALUES} are expected"
        raise DamageError(f"entry {place}: {reason}")
    return image
