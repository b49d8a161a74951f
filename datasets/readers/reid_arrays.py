"""Windows of skeletons in the arrays that code for re-identification uses.

For windows of F frames of a dataset DS, the folder `train_npy_data` holds

- `source_x_DS_F.npy`, and the same of y and z: (rows, V), F rows per window, metres;
- `frame_id_DS_F.npy`: the identity of every window, a number;
- `ids_DS_F.npy`: the same as a pickled dict, which is not read.

Folders `test_npy_data/SIDE` hold the same with `t_source_` for `source_`. Training windows overlap
strongly: most of them start every half window, so that a frame is in several windows.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from aclnet.datasets.formats.files import read_file, walk_files
from aclnet.datasets.formats.npy import parse_npy
from aclnet.datasets.readers.items import ItemSource, ListedSource, unique_items
from aclnet.datasets.readers.joints import presence
from aclnet.datasets.readers.reid_text import KGBD_ORDER
from aclnet.datasets.spec import AclnetError, DamageError, Item, Rejection, SkeletonSequence
from aclnet.datasets.spec.layouts import get_layout

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from aclnet.datasets.spec import DatasetSpec

TEST_SIDES = {
    "biwi": ("still", "walking"),
    "ias-lab": ("a", "b"),
    "kgbd": ("gallery", "probe"),
    "ks20": ("gallery", "probe"),
    "casia-b-3d": ("nm", "bg", "cl"),
}
_NAMES = {"biwi": "BIWI", "ias-lab": "IAS", "kgbd": "KGBD", "ks20": "KS20", "casia-b-3d": "CASIA_B"}
"""Name DS of each dataset."""
_FILE = re.compile(r"(?:(.*)/)?((?:t_)?)source_x_(\w+)_(\d{1,3})\.npy", re.ASCII)
_MAX_BYTES = 2**29


@dataclass(frozen=True, slots=True)
class ReidArraysSource(ItemSource, ListedSource):
    """A folder or archive with the windows of one length."""

    def scan(self) -> tuple[list[Item], list[Rejection]]:
        found: list[Item] = []
        rejections: list[Rejection] = []
        for path, _ in find_arrays(self.spec.name, walk_files(self.root)):
            side = self._side(path)
            if side is None:
                reason = "the folder is neither train_npy_data nor test_npy_data/"
                reason += f"{{{', '.join(TEST_SIDES[self.spec.name])}}}"
                rejections.append(Rejection(path, None, reason, "unknown name"))
                continue
            try:
                windows = self._windows(path)
            except DamageError as damage:
                rejections.append(damage.at(path))
                continue
            size = windows.joints[0].nbytes if len(windows.joints) else 0
            ids = (f"{side}/{number:06}" for number in range(len(windows.labels)))
            found += [Item(sample_id, path, size) for sample_id in ids]
        items, doubles = unique_items(found)
        return items, rejections + doubles

    def sequence(self, item: Item) -> SkeletonSequence:
        side, _, number = item.sample_id.rpartition("/")
        try:
            return self._sequence(item, side, self._windows(item.path), int(number))
        except (ValueError, IndexError):
            raise DamageError(f"there is no window {item.sample_id}") from None

    def _side(self, path: str) -> str | None:
        folder = PurePosixPath(path).parent.name.lower()
        if folder.endswith("train_npy_data"):
            return "train"
        return folder if folder in TEST_SIDES[self.spec.name] else None

    def _windows(self, path: str) -> _Windows:
        num_joints = get_layout(self.spec.layout).num_joints
        return _load(self.root, path, num_joints, self.opened)

    def _sequence(self, item: Item, side: str, windows: _Windows, number: int) -> SkeletonSequence:
        joints, person = windows.joints[number], str(windows.labels[number])
        if person not in self.spec.class_names:
            raise DamageError(f"window {number}: frame_id has changed since the source was opened")
        if not np.isfinite(joints).all():
            raise DamageError(f"window {number} has values that are not finite")
        if self.spec.name == "kgbd":  # the arrays have the order of the dataset's files
            joints = joints[:, list(KGBD_ORDER)]
        present = presence(joints[None], where=f"window {number}: ")
        return SkeletonSequence(
            sample_id=item.sample_id,
            keypoint=joints[None].copy(),
            label=self.spec.class_names.index(person),
            present=present,
            frame_index=np.arange(len(joints), dtype=np.int32),
            subject=int(person),
            condition=side,
            source=item.path,
        )


def find_arrays(dataset: str, files: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    """Paths of a dataset's arrays of x, and the lengths of their windows."""
    name = _NAMES[dataset]
    matches = ((path, _FILE.fullmatch(path)) for path, _ in files)
    return sorted((path, int(m[4])) for path, m in matches if m and m[3] == name and int(m[4]))


def open_arrays(spec: DatasetSpec, raw: Path) -> ReidArraysSource | None:
    """The source, None if there are no arrays; raises AclnetError for windows of several lengths.

    Its classes are the identities of all sides: some sets count them from 0, others from 1.
    """
    arrays = find_arrays(spec.name, walk_files(raw))
    lengths = {length for _, length in arrays}
    if len(lengths) > 1:
        raise AclnetError(
            f"{raw} holds windows of {', '.join(map(str, sorted(lengths)))} frames; give the "
            "folder of one length, for example --raw .../6"
        )
    people: set[int] = set()
    for path, _ in arrays:
        with suppress(DamageError):  # `scan` reports the damage
            people.update(_identities(raw, path).tolist())
    names = tuple(map(str, sorted(people)))
    return ReidArraysSource(replace(spec, class_names=names), raw) if arrays else None


class _Windows(NamedTuple):
    joints: NDArray[np.float32]
    """(N, F, V, 3) joints."""
    labels: NDArray[np.int64]
    """(N,) identities."""


@lru_cache(maxsize=1)
def _load(root: Path, path: str, num_joints: int, opened: int) -> _Windows:
    """The windows of a folder, from the path of its array of x; `opened` identifies an opening."""
    match = _FILE.fullmatch(path)
    if match is None:
        raise DamageError("is not an array of the x coordinate")
    folder, prefix, name, digits = match.groups()
    folder = f"{folder}/" if folder else ""
    frames = int(digits)
    labels = _identities(root, path)
    joints = np.empty((len(labels), frames, num_joints, 3), np.float32)
    for axis, letter in enumerate("xyz"):
        file = f"{prefix}source_{letter}_{name}_{digits}.npy"
        values = _array(root, f"{folder}{file}")
        rows = len(labels) * frames
        if values.shape[-1:] != (num_joints,) or values.size != rows * num_joints:
            raise DamageError(
                f"{file} is {values.shape}; ({rows}, {num_joints}) is expected for {len(labels)} "
                "windows"
            )
        with np.errstate(over="ignore", invalid="ignore"):
            joints[..., axis] = values.reshape(joints.shape[:3])
    return _Windows(joints, labels)


def _identities(root: Path, path: str) -> NDArray[np.int64]:
    """(N,) identity of each window, from the path of the folder's array of x."""
    file = re.sub(r"(?:t_)?source_x(?=_[^/]*$)", "frame_id", path)
    return _labels(_array(root, file))


def _labels(values: NDArray[Any]) -> NDArray[np.int64]:
    if values.ndim != 1 or not len(values):
        raise DamageError(f"frame_id is {values.shape}; a row of identities is expected")
    numbers = values.astype(np.float64)  # float16 cannot hold the limit
    if not ((numbers >= 0) & (numbers < 2**31)).all():  # false for NaN too
        raise DamageError("frame_id has values that are not finite or out of range")
    labels = values.astype(np.int64)
    if (labels != values).any():
        raise DamageError("frame_id has values that are not whole numbers")
    return labels


def _array(root: Path, path: str) -> NDArray[Any]:
    """The numbers in a .npy file."""
    try:
        return parse_npy(read_file(root, path, _MAX_BYTES, listed=False))
    except DamageError as damage:
        raise DamageError(f"{PurePosixPath(path).name}: {damage.reason}") from None
