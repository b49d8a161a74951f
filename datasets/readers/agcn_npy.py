"""Arrays of ST-GCN and 2s-AGCN (Yan et al., AAAI 2018; Shi et al., CVPR 2019; their scripts).

A folder has `train_data_joint.npy`, `train_label.pkl` and the same of `val`.

The data are (N, 3, T, V, M); ST-GCN calls the file `train_data.npy`. The labels are a pickled pair
of names and classes from 0. For persons in space, 2s-AGCN fills the frames after a person's last
frame by repeating earlier frames, moves the spine of the first person to the origin in every frame,
and rotates all frames by the first one. Repeated frames look like real ones, so all are kept.

For Kinetics, x and y are fractions of the image (340 x 256 pixels) measured from its centre. y
points down in ST-GCN's files and up in 2s-AGCN's. The third channel is a score; joints with score 0
were not found.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from aclnet.datasets.formats.caches import cached_by_file, version_of
from aclnet.datasets.formats.npy_rows import NpyRows, open_npy
from aclnet.datasets.formats.unpickle import is_integer, load_pickle
from aclnet.datasets.readers.items import ItemSource, unique_items
from aclnet.datasets.readers.joints import presence, without_filling
from aclnet.datasets.readers.ntu import with_columns
from aclnet.datasets.spec import AclnetError, DamageError, Item, Rejection, SkeletonSequence
from aclnet.datasets.spec.layouts import get_layout

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

WIDTH, HEIGHT = 340, 256
"""Size of Kinetics' videos in which the joints were found, in pixels."""
_SIDES = ("train", "val")
_UPWARDS = "_data_joint.npy"
"""End of the name of 2s-AGCN's files."""
_FILES = (_UPWARDS, "_data.npy")
_PLACE = re.compile(r"((?:.*/)?(train|val)_data(?:_joint)?\.npy)/(\d{1,9})", re.ASCII | re.DOTALL)
_CHANNELS = 3
_LARGEST = 1e30
"""Limit of values, which float32 can hold; pixels are far below it."""


def agcn_folders(root: Path, names: list[str]) -> list[Path]:
    """The folder itself and its subfolders of the given names, if they hold such arrays."""
    folders = [root, *(root / name for name in names)]
    return [folder for folder in folders if any(_data_file(folder, side) for side in _SIDES)]


@dataclass(frozen=True, slots=True)
class AgcnSource(ItemSource):
    """A folder of one side or both, read row by row; an item's path is `FILE/ROW`.

    The spec's layout and units decide whether samples are metres, or pixels with scores.
    """

    def scan(self) -> tuple[list[Item], list[Rejection]]:
        found, rejections = [], []
        for side in self._sides():
            for row, name in enumerate(side.names):
                path = f"{side.file.name}/{row}"
                if name:
                    found.append(Item(name, path, side.rows.row_bytes))
                else:
                    rejections.append(Rejection(path, None, "its name is not text"))
        items, doubles = unique_items(found)
        # Sort in the order of the file.
        items.sort(key=lambda item: (item.path.rpartition("/")[0], _row(item.path)))
        return items, rejections + doubles

    def splits(self) -> dict[str, list[str]]:
        known = any(self.root.name == protocol.name for protocol in self.spec.protocols)
        prefix = f"{self.root.name}_" if known else ""
        items = self.scan()[0]
        splits: dict[str, list[str]] = {}
        for item in items:
            splits.setdefault(prefix + item.path.partition("_")[0], []).append(item.sample_id)
        return splits

    def tracked(self) -> bool:
        """True: both scripts identify persons by their place in the lists of frames."""
        return False

    def sequence(self, item: Item) -> SkeletonSequence:
        place = _PLACE.fullmatch(item.path)
        if place is None:
            raise DamageError("the path is not of the form FILE/ROW")
        side = self._side(place[2])
        label = self._label(side, int(place[3]))
        values = side.rows.read(int(place[3]))[0].transpose(3, 1, 2, 0)
        keypoint, score = self._joints(values, place[1])
        in_pixels = score is not None
        sequence = SkeletonSequence(
            sample_id=item.sample_id,
            keypoint=keypoint,
            label=label,
            present=presence(keypoint),
            frame_index=np.arange(keypoint.shape[1], dtype=np.int32),
            score=score,
            width=WIDTH * in_pixels,
            height=HEIGHT * in_pixels,
            source=item.path,
        )
        return with_columns(without_filling(sequence))

    def _joints(
        self, values: NDArray[np.floating[Any]], file: str
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """(M, T, V, C) joints and, for pixels, (M, T, V) scores from (M, T, V, 3)."""
        if not (np.abs(values) <= np.float64(_LARGEST)).all():  # float16 cannot hold the limit
            raise DamageError("a value is not finite")
        values = np.ascontiguousarray(values, np.float32)
        if self.spec.dimensions == _CHANNELS:
            return values, None
        upwards = -1 if file.endswith(_UPWARDS) else 1
        pixels = (values[..., :2] * [1, upwards] + 0.5) * [WIDTH, HEIGHT]
        score = values[..., 2]
        return np.where(score[..., None] == 0, 0, pixels).astype(np.float32), score

    def _label(self, side: _Side, row: int) -> int:
        label = side.labels[row] if row < len(side.labels) else None
        num_classes = len(self.spec.class_names)
        if not is_integer(label) or not 0 <= label < num_classes:
            raise DamageError(f"its label is {label!r}; 0 to {num_classes - 1} is expected"[:120])
        return int(label)

    def _sides(self) -> list[_Side]:
        return [self._side(side) for side in _SIDES if _data_file(self.root, side)]

    def _side(self, side: str) -> _Side:
        """The files of a side.

        Raises AclnetError if they are missing or do not match each other.
        """
        file = _data_file(self.root, side)
        if file is None:
            raise AclnetError(f"{self.root} holds no {side}{_UPWARDS}")
        label_file = self.root / f"{side}_label.pkl"
        if not label_file.is_file():
            raise AclnetError(
                f"{label_file} does not exist; it should hold the names and labels of {file.name}"
            )
        joints = get_layout(self.spec.source_layout).num_joints
        return _open(file, label_file, version_of(label_file), joints)


class _Side(NamedTuple):
    file: Path
    rows: NpyRows
    """(N, 3, T, V, M) data."""
    names: list[str]
    """N names without their endings; empty if there is none."""
    labels: list[Any]
    """N classes, unchecked."""


@cached_by_file(maxsize=len(_SIDES))
def _open(file: Path, label_file: Path, label_version: tuple[int, int], joints: int) -> _Side:
    """Opens a side. `label_version` is a new key of the cache when the file of labels changes."""
    rows = open_npy(file)
    shape = rows.shape
    if len(shape) != 5 or (shape[1], shape[3]) != (_CHANNELS, joints) or rows.dtype.kind != "f":
        raise AclnetError(
            f"{file}: the array is {shape} of {rows.dtype}; (N, {_CHANNELS}, T, {joints}, M) of "
            "floating point numbers is expected"
        )
    pair = load_pickle(label_file)
    if not isinstance(pair, tuple | list) or len(pair) < 2:
        raise AclnetError(f"{label_file} is not a pair of names and labels")
    names, labels = (part.tolist() if isinstance(part, np.ndarray) else part for part in pair[:2])
    for part in (names, labels):
        if not isinstance(part, list) or len(part) != len(rows):
            raise AclnetError(f"{label_file} does not hold {len(rows)} names and labels")
    return _Side(file, rows, [_sample_id(name) for name in names], labels)


def _data_file(folder: Path, side: str) -> Path | None:
    return next((f for end in _FILES if (f := folder / f"{side}{end}").is_file()), None)


def _sample_id(name: object) -> str:
    """The name without `.skeleton` or `.json`."""
    if not isinstance(name, str):
        return ""
    path = PurePosixPath(name)
    return path.stem if path.suffix in (".skeleton", ".json") else name


def _row(path: str) -> int:
    return int(path.rpartition("/")[2])
