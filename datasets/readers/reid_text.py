"""Recordings for re-identification of people, as the authors of four datasets release them.

- BIWI RGBD-ID: `Training/ID/*skel.txt`, `Testing/Still/ID/...`, `Testing/Walking/ID/...`, one
  file per frame. A row is a joint of Kinect v1, with commas: id, x, y, z, two image coordinates,
  tracking state, quality, two ends of a bone, quaternion. Rows after the first 20 are ignored.
- IAS-Lab RGBD-ID: the same in `Training`, `TestingA` and `TestingB`.
- Kinect Gait Biometry Dataset: `PersonNNN/K.txt`, a file per recording, lines `Name;x;y;z`.
- KS20: `VIEW/gcK_bodyB_TIME.txt`, a file per frame, 25 rows of Kinect v2 `index,x,y,z`; files with
  the same view, gait cycle K and body B are one recording.

A recording is one whole sequence; training cuts it into windows. Frames in which a joint is not
tracked (state 0) are left out, as in published work; the other frames keep their numbers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from aclnet.datasets.formats.files import read_file, walk_files
from aclnet.datasets.readers.items import ListedSource, unique_items
from aclnet.datasets.readers.rows import parse_rows
from aclnet.datasets.spec import DamageError, Item, Rejection, SkeletonSequence
from aclnet.datasets.store import keyed_random

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from aclnet.datasets.spec import DatasetSpec

    Frames = tuple[NDArray[np.float64], NDArray[np.bool_]]
    """(T, V, 3) metres, and (T,) whether every joint is tracked."""

KGBD_ORDER = (11, 10, 1, 0, 3, 5, 7, 9, 2, 4, 6, 8, 13, 15, 17, 19, 12, 14, 16, 18)
"""Line in a frame, from 0, of each joint of layout `kinect_v1`."""
PROTOCOL = "drawn"
"""Protocol of the datasets whose sides are drawn."""
_KGBD_NAMES = (
    *("head", "shoulder", "shoulder right", "shoulder left", "elbow right", "elbow left"),
    *("wrist right", "wrist left", "hand right", "hand left", "spine", "hip", "hip right"),
    *("hip left", "knee right", "knee left", "ankle right", "ankle left", "foot right"),
    "foot left",
)
VIEWS = ("frontal", "left_diagonal", "left_lateral", "right_diagonal", "right_lateral")
"""Views of KS20; the camera is the number of the view."""
_SEED = 0
_MAX_FRAME_BYTES = 2**16  # a frame takes 3 kB
_MAX_BYTES = 2**24  # a recording of KGBD takes 1 MB


class Take(NamedTuple):
    """Facts about a recording, from the path of its file."""

    sample_id: str
    person: str
    """Class name of the person."""
    condition: str = ""
    camera: int = -1
    replication: int = -1


@dataclass(frozen=True, slots=True)
class _Format:
    """Names and form of one dataset's files."""

    suffix: str
    place: Callable[[str], Take | None]
    parse: Callable[[bytes], Frames]
    max_bytes: int = _MAX_FRAME_BYTES
    """Limit of one file in bytes."""
    gallery: int = 0
    """Number of each person's recordings drawn for the gallery; 0: folders define the sides."""


@dataclass(frozen=True, slots=True)
class ReidTextSource(ListedSource):
    """A folder of one of the datasets, or its archive."""

    def scan(self) -> tuple[list[Item], list[Rejection]]:
        found, unknown = _list(self.root, self.spec.name, self.opened)
        items = []
        for (_, sample_id), recording in found.items():
            path, size = recording.files[0], recording.size
            if recording.take.person in self.spec.class_names:
                items.append(Item(sample_id, path, size))
            else:
                unknown = [*unknown, path]
        reason = f"the path does not fit {self.spec.title}"
        rejections = [Rejection(path, None, reason, "unknown name") for path in unknown]
        items, doubles = unique_items(items)
        return items, rejections + doubles

    def splits(self) -> dict[str, list[str]]:
        """Ids by split. Drawn sides depend on hashes of the recordings' names."""
        gallery = FORMATS[self.spec.name].gallery
        if not gallery:
            return {}
        found, _ = _list(self.root, self.spec.name, self.opened)
        people: dict[str, dict[int, set[str]]] = {}
        for (_, sample_id), recording in found.items():
            takes = people.setdefault(recording.take.person, {})
            takes.setdefault(recording.take.replication, set()).add(sample_id)
        sides: dict[str, list[str]] = {"gallery": [], "probe": [], "train": []}
        for person, takes in people.items():
            for number, side in _draw(f"{self.spec.name}/{person}", [*takes], gallery).items():
                sides[side] += takes[number]
        return {f"{PROTOCOL}_{side}": sorted(ids) for side, ids in sides.items()}

    def read(self, item: Item) -> SkeletonSequence | Rejection:
        found, _ = _list(self.root, self.spec.name, self.opened)
        recording = found.get((_folder(item.path), item.sample_id))
        if recording is None or recording.take.person not in self.spec.class_names:
            return Rejection(item.path, None, f"there is no recording {item.sample_id}")
        parts = []
        for path in recording.files:
            try:
                parts.append(self._parse(path))
            except DamageError as damage:
                return damage.at(path)
        tracked = np.concatenate([part[1] for part in parts])
        if not tracked.any():
            reason = "no frame has all joints tracked"
            return Rejection(item.path, None, reason, "no person")
        keypoint = np.concatenate([part[0] for part in parts])[tracked]
        take, label = recording.take, self.spec.class_names.index(recording.take.person)
        return SkeletonSequence(
            sample_id=item.sample_id,
            keypoint=keypoint.astype(np.float32)[None],
            label=label,
            present=np.ones((1, len(keypoint)), np.bool_),
            frame_index=np.flatnonzero(tracked).astype(np.int32),
            subject=int(take.person) if _is_number(take.person) else label,
            camera=take.camera,
            replication=take.replication,
            condition=take.condition,
            source=item.path,
        )

    def _parse(self, path: str) -> Frames:
        kind = FORMATS[self.spec.name]
        return kind.parse(read_file(self.root, path, kind.max_bytes))


def open_text(spec: DatasetSpec, raw: Path) -> ReidTextSource:
    """The source; if folders have people's names, these are the classes, in order."""
    source = ReidTextSource(spec, raw)
    if spec.name not in ("biwi", "ias-lab"):
        return source
    found, _ = _list(raw, spec.name, source.opened)
    people = {recording.take.person for recording in found.values()}
    return replace(source, spec=replace(spec, class_names=tuple(sorted(people, key=_natural))))


class _Recording(NamedTuple):
    take: Take
    files: list[str]
    """Files in the order of time."""
    size: int


@lru_cache(maxsize=1)
def _list(
    root: Path, dataset: str, opened: int
) -> tuple[dict[tuple[str, str], _Recording], list[str]]:
    """Recordings by folder and id, and paths without recording; `opened` identifies an opening."""
    kind = FORMATS[dataset]
    takes: dict[tuple[str, str], Take] = {}
    files: dict[tuple[str, str], dict[str, int]] = {}
    unknown = []
    for path, size in walk_files(root):
        take = kind.place(re.sub(r"\.zip(?=/)", "", path, flags=re.IGNORECASE))
        if take is not None:
            key = _folder(path), take.sample_id
            takes[key] = take
            files.setdefault(key, {})[path] = size
        elif path.endswith(kind.suffix):
            unknown.append(path)
    recordings = {
        key: _Recording(take, sorted(files[key], key=_natural), sum(files[key].values()))
        for key, take in takes.items()
    }
    return recordings, sorted(unknown)


def _folder(path: str) -> str:
    return str(PurePosixPath(path).parent)


def _is_number(name: str) -> bool:
    return re.fullmatch(r"\d{1,9}", name, re.ASCII) is not None


def _natural(path: str) -> list[tuple[int, str]]:
    """A sort key that puts `f10` after `f9`."""
    pieces = re.split(r"(\d+)", path, flags=re.ASCII)
    return [(len(p.lstrip("0")) if i % 2 else 0, p) for i, p in enumerate(pieces)]


def _draw(who: str, takes: list[int], gallery: int) -> dict[int, str]:
    """The side of each of a person's recordings: one probe, `gallery`, and the others train.

    With three recordings, each side gets one; with fewer, all train. The draw depends only on
    names.
    """
    keys = keyed_random.fold(keyed_random.sample_keys(f"{who}/{take}" for take in takes), _SEED)
    order = [takes[i] for i in np.argsort(keys)]
    if len(order) < 3:
        return dict.fromkeys(order, "train")
    gallery = min(gallery, len(order) - 2)
    sides = ["probe", *["gallery"] * gallery, *["train"] * (len(order) - 1 - gallery)]
    return dict(zip(order, sides, strict=True))


_KINECT_PATH = re.compile(
    r"(?:.*/)?(training|testing/still|testing/walking|testinga|testingb)/"
    r"(([^/]+)(?:/[^/]+)*)/[^/]*skel\.txt",
    re.ASCII | re.IGNORECASE,
)
_BIWI_SIDES = {"training": "train", "testing/still": "still", "testing/walking": "walking"}
_IAS_SIDES = {"training": "train", "testinga": "a", "testingb": "b"}


def _place_biwi(path: str) -> Take | None:
    match = _KINECT_PATH.fullmatch(path)
    side = _BIWI_SIDES.get(match[1].lower()) if match else None
    if match is None or side is None or not re.fullmatch(r"\d{1,3}", match[3], re.ASCII):
        return None
    return Take(f"{side}/{match[2]}", f"{int(match[3]):03}", side)


def _place_ias(path: str) -> Take | None:
    match = _KINECT_PATH.fullmatch(path)
    side = _IAS_SIDES.get(match[1].lower()) if match else None
    return Take(f"{side}/{match[2]}", match[3], side) if match and side else None


def _place_kgbd(path: str) -> Take | None:
    match = re.fullmatch(r"(?:.*/)?(Person(\d{3})/(\d{1,3}))\.txt", path, re.ASCII)
    return Take(match[1], match[2], replication=int(match[3])) if match else None


def _place_ks20(path: str) -> Take | None:
    pattern = rf"(?:.*/)?({'|'.join(VIEWS)})/(gc(\d{{1,3}})_(?:body)?(\d{{1,2}}))_[^/]*\.txt"
    match = re.fullmatch(pattern, path, re.ASCII)
    if match is None:
        return None
    camera = VIEWS.index(match[1])
    body = str(int(match[4]))
    return Take(f"{match[1]}/{match[2]}", body, camera=camera, replication=int(match[3]))


def _parse_kinect(data: bytes) -> Frames:
    """One frame of BIWI or IAS-Lab."""
    rows = parse_rows(b"\n".join(data.split(b"\n", 20)[:20]), 14, ",")
    if len(rows) != 20:
        raise DamageError(f"{len(rows)} joints; 20 are expected", len(rows))
    return rows[None, :, 1:4], (rows[:, 6] != 0).all(keepdims=True)


def _parse_kgbd(data: bytes) -> Frames:
    """All frames of a recording."""
    cells = [line.partition(b";") for line in data.rstrip().splitlines()]
    rows = parse_rows(b"\n".join(rest for _, _, rest in cells), 3, ";")
    for number, (name, _, _) in enumerate(cells, start=1):
        expected = _KGBD_NAMES[(number - 1) % 20]
        if not _is_called(name.lower(), expected.encode()):
            told = name[:30].decode("ascii", "backslashreplace")
            raise DamageError(f"joint {told!r} was found in place of {expected}", number)
    if len(rows) % 20:
        raise DamageError(f"the last frame has {len(rows) % 20} joints of 20", len(rows))
    frames = rows.reshape(-1, 20, 3)[:, list(KGBD_ORDER)]
    return frames, np.ones(len(frames), np.bool_)


@lru_cache(maxsize=256)
def _is_called(name: bytes, expected: bytes) -> bool:
    """True if a name, in any spelling, means that joint; its side counts if it is written out."""
    joint, _, side = expected.partition(b" ")
    other = {b"left": b"right", b"right": b"left"}.get(side)
    sides = [other] if other else [b"left", b"right"]
    return joint in name and not any(wrong in name for wrong in sides)


def _parse_ks20(data: bytes) -> Frames:
    """One frame."""
    columns = max(4, data.partition(b"\n")[0].count(b",") + 1)  # further rows are not read
    rows = parse_rows(data, columns, ",")
    if len(rows) != 25:
        raise DamageError(f"{len(rows)} joints; 25 are expected", len(rows))
    if (np.diff(rows[:, 0]) != 1).any():
        raise DamageError("the joints are not numbered one after another")
    return rows[None, :, 1:4], np.ones(1, np.bool_)


FORMATS = {
    "biwi": _Format("skel.txt", _place_biwi, _parse_kinect),
    "ias-lab": _Format("skel.txt", _place_ias, _parse_kinect),
    "kgbd": _Format(".txt", _place_kgbd, _parse_kgbd, _MAX_BYTES, gallery=2),
    "ks20": _Format(".txt", _place_ks20, _parse_ks20, gallery=1),
}
"""Reader of each dataset."""
