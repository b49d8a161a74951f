"""Kinetics-Skeleton 400 as ST-GCN's authors released it (Yan et al., AAAI 2018).

Each clip is a JSON file, `kinetics_train/ID.json` or `kinetics_val/ID.json` with YouTube's id. Each
of the two folders has a label file. A clip is

    {"data": [{"frame_index": 1, "skeleton": [{"pose": [x, y, ...], "score": [...]}, ...]}, ...],
     "label": "tying tie", "label_index": 370}

Each person has OpenPose's 18 joints, as fractions of the width and height of the video, which was
340 x 256 pixels (OLD_README of st-gcn). Joints may be outside the video. A joint that was not found
is zero and has score 0; scores may exceed 1. Frames are counted from 1; frames without persons are
included. The persons of a frame have no order, and person m may change from frame to frame.

A label file, `{ID: {"has_skeleton": true, "label": "tying tie", "label_index": 370}, ...}`, lists
the clips to use.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from aclnet.datasets.formats.files import read_file, walk_files
from aclnet.datasets.readers.items import FileSource, ListedSource, unique_items
from aclnet.datasets.readers.joints import presence
from aclnet.datasets.spec import AclnetError, DamageError, Item, Rejection, SkeletonSequence

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

WIDTH, HEIGHT = 340, 256
"""Size of the videos in which the joints were found, in pixels."""
NUM_JOINTS = 18
_NAME = re.compile(r"([\w-]{11})\.json", re.ASCII)
_LABELS = re.compile(r"k(?:ine|ein)tics_(train|val)_label\.json")
_NO_SKELETON = -1
_MAX_LABEL_BYTES = 256 << 20  # a clip takes about 100 bytes, and there are 246,534
_MAX_PLACES = 300 * 200  # persons times frames
_MAX_FRAME = 1 << 24
_LARGEST = 10.0  # coordinates of 1.10 and scores of 1.18 occur


@dataclass(frozen=True, slots=True)
class KineticsJsonSource(FileSource, ListedSource):
    """A folder or archive that holds one or both of the folders of clips, and their label files."""

    cleaned = False
    max_bytes = 16 << 20  # ten persons in all of a clip's 300 frames take 1 MB

    def scan(self) -> tuple[list[Item], list[Rejection]]:
        listing = self._listing()
        return list(listing.items), list(listing.rejections)

    def splits(self) -> dict[str, list[str]]:
        splits: dict[str, list[str]] = {}
        for item in self._listing().items:
            side = _side(self.root, item.path)
            if side:
                splits.setdefault(side, []).append(item.sample_id)
        return splits

    def tracked(self) -> bool:
        return False

    def fingerprint(self) -> str:
        labels = json.dumps(self._listing().labels, sort_keys=True)
        return hashlib.sha256(labels.encode()).hexdigest()

    def parse(self, item: Item, data: bytes) -> SkeletonSequence:
        """All persons of every frame, in the order of the file."""
        clip = _clip(data)
        label = self._label(clip, item)
        frame_index, persons = _frames(clip)
        keypoint, score = _joints(frame_index, persons)
        present = presence(keypoint)
        score[~present] = 0
        return SkeletonSequence(
            sample_id=item.sample_id,
            keypoint=keypoint,
            label=label,
            present=present,
            frame_index=frame_index,
            score=score,
            width=WIDTH,
            height=HEIGHT,
            source=item.path,
        )

    def _listing(self) -> _Listing:
        return _list(self.root, self.opened)

    def _label(self, clip: dict[Any, Any], item: Item) -> int:
        label, num_classes = clip.get("label_index"), len(self.spec.class_names)
        if type(label) is not int or not 0 <= label < num_classes:
            raise DamageError(f"`label_index` is {label!r}; 0 to {num_classes - 1} is expected")
        name, expected = clip.get("label"), self.spec.class_names[label]
        if isinstance(name, str) and _words(name) != _words(expected):
            raise DamageError(
                f"`label` is {name[:60]!r}, but `label_index` {label} is {expected!r} of Kinetics; "
                "correct one of them, or read classes of your own with `aclnet prepare custom`"
            )
        labels = self._listing().labels.get(_side(self.root, item.path), {})
        told = labels.get(item.sample_id, label)
        if told != label:
            raise DamageError(f"`label_index` is {label}, but the label file says {told}")
        return label


def _words(name: str) -> list[str]:
    return name.casefold().split()


class _Listing(NamedTuple):
    items: list[Item]
    rejections: list[Rejection]
    labels: dict[str, dict[str, int]]
    """Class of each clip, or _NO_SKELETON, by side and id; no entry for a side without a file."""


@lru_cache(maxsize=1)
def _list(root: Path, opened: int) -> _Listing:
    """The contents of `root`; `opened` identifies an opening."""
    clips: list[Item] = []
    rejections: list[Rejection] = []
    label_files: dict[str, str] = {}
    for path, size in walk_files(root):
        file_name = PurePosixPath(path).name
        if match := _NAME.fullmatch(file_name):
            clips.append(Item(match[1], path, size))
        elif match := _LABELS.fullmatch(file_name):
            label_files[match[1]] = min(path, label_files.get(match[1], path))
        elif file_name.endswith(".json"):
            reason = "the name does not fit Kinetics (eleven characters of a YouTube id, .json)"
            rejections.append(Rejection(path, None, reason, "unknown name"))
    labels = {side: _labels(root, path) for side, path in label_files.items()}
    found: list[Item] = []
    for clip in clips:
        told = labels.get(_side(root, clip.path), {})
        if told.get(clip.sample_id) == _NO_SKELETON:
            reason = "the label file says that there is no skeleton"
            rejections.append(Rejection(clip.path, None, reason, "listed as unusable"))
        else:
            found.append(clip)
    items, doubles = unique_items(found)
    return _Listing(items, rejections + doubles, labels)


def _side(root: Path, path: str) -> str:
    """`train` or `val`, from the nearest folder or archive with that name; else empty."""
    for part in (*reversed(PurePosixPath(path).parts[:-1]), root.name):
        name = part.lower().removesuffix(".zip").removeprefix("kinetics_")
        if name in ("train", "val"):
            return name
    return ""


def _labels(root: Path, path: str) -> dict[str, int]:
    """Class of each clip, or _NO_SKELETON; raises AclnetError for a file of another kind."""
    try:
        content = _json(read_file(root, path, _MAX_LABEL_BYTES))
        return {name: _told(name, entry) for name, entry in content.items()}
    except DamageError as damage:
        raise AclnetError(
            f"{root / path}: {damage.reason}; download it again, or remove it to read the labels "
            "only from the clips"
        ) from None


def _told(name: str, entry: object) -> int:
    if isinstance(entry, dict):
        has_skeleton, label = entry.get("has_skeleton"), entry.get("label_index")
        if has_skeleton is False:
            return _NO_SKELETON
        if has_skeleton is True and type(label) is int and label >= 0:
            return label
    raise DamageError(f"entry {name!r} does not have `has_skeleton` and `label_index`")


def _json(data: bytes) -> dict[Any, Any]:
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        reason = str(error) or type(error).__name__
        raise DamageError(f"not valid JSON: {reason}", getattr(error, "lineno", None)) from None
    if not isinstance(content, dict):
        raise DamageError(f"a {type(content).__name__}; an object is expected")
    return content


def _clip(data: bytes) -> dict[Any, Any]:
    clip = _json(data)
    if not isinstance(clip.get("data"), list):
        raise DamageError("`data` is missing or not a list of frames")
    if not clip["data"]:
        raise DamageError("`data` has no frame", kind="no person")
    return clip


def _frames(clip: dict[Any, Any]) -> tuple[NDArray[np.int32], list[list[Any]]]:
    """Numbers of the frames, from 0, and the persons of each frame."""
    numbers: list[int] = []
    persons: list[list[Any]] = []
    for place, frame in enumerate(clip["data"], start=1):
        number = frame.get("frame_index") if isinstance(frame, dict) else None
        if type(number) is not int or not 1 <= number <= _MAX_FRAME:
            raise DamageError(f"frame {place}: `frame_index` is {number!r}; 1 or more is expected")
        if numbers and number <= numbers[-1]:
            raise DamageError(f"frame {place}: `frame_index` {number} follows {numbers[-1]}")
        if not isinstance(frame.get("skeleton"), list):
            raise DamageError(f"frame {place}: `skeleton` is missing or not a list of persons")
        numbers.append(number)
        persons.append(frame["skeleton"])
    if len(persons) * max(map(len, persons)) > _MAX_PLACES:
        raise DamageError(
            f"{len(persons)} frames with up to {max(map(len, persons))} persons are too many for "
            "a clip"
        )
    return np.array(numbers, np.int32) - 1, persons


def _joints(
    frame_index: NDArray[np.int32], persons: list[list[Any]]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(M, T, V, 2) pixels and (M, T, V) scores."""
    counts = np.array([len(frame) for frame in persons])
    shape = (int(counts.max()), len(persons), NUM_JOINTS)
    keypoint, score = np.zeros((*shape, 2), np.float32), np.zeros(shape, np.float32)
    if not counts.any():
        return keypoint, score
    t = np.repeat(np.arange(len(counts)), counts)
    m = np.arange(len(t)) - np.repeat(np.cumsum(counts) - counts, counts)
    everybody = [person for frame in persons for person in frame]
    poses = _numbers(everybody, "pose", 2 * NUM_JOINTS, frame_index[t])
    scores = _numbers(everybody, "score", NUM_JOINTS, frame_index[t])
    if (scores < 0).any():
        raise DamageError(f"a `score` is {scores.min()}, which is negative")
    pixels = poses.reshape(-1, NUM_JOINTS, 2) * np.array([WIDTH, HEIGHT])
    pixels[scores == 0] = 0  # like ST-GCN's feeder
    keypoint[m, t], score[m, t] = pixels, scores
    return keypoint, score


def _numbers(
    everybody: list[Any], name: str, count: int, frame_index: NDArray[np.int32]
) -> NDArray[np.float64]:
    """(N, count) numbers of all persons."""
    lists = [person.get(name) if isinstance(person, dict) else None for person in everybody]
    for numbers, frame in zip(lists, frame_index.tolist(), strict=True):
        place = f"frame_index {frame + 1}: `{name}`"
        if not isinstance(numbers, list) or not {*map(type, numbers)} <= {int, float}:
            raise DamageError(f"{place} is missing or not a list of numbers")
        if len(numbers) != count:
            raise DamageError(f"{place} has {len(numbers)} numbers; {count} are expected")
    try:
        values = np.array(lists, np.float64)
    except OverflowError:
        values = np.full((len(lists), count), np.inf)
    sound = (np.abs(values) <= _LARGEST).all(axis=1)
    if not sound.all():
        frame = int(frame_index[np.argmin(sound)])
        raise DamageError(f"frame_index {frame + 1}: `{name}` has values that are out of range")
    return values
