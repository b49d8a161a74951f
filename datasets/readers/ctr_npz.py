"""NTU RGB+D in CTR-GCN's arrays: `NTU60_CS.npz`, `NTU60_CV.npz`, `NTU120_CSub.npz`,
`NTU120_CSet.npz` (Chen et al., "Channel-wise Topology Refinement Graph Convolution for
Skeleton-Based Action Recognition", ICCV 2021, and the scripts published with it).

`x_train` and `x_test` are (N, 300, 150): two persons x 25 joints x (x, y, z) in each frame, in
metres from the spine of the first person in the first frame, zeros after the last frame. `y_train`
and `y_test` are (N, classes), one-hot. In NTU 60's files an absent person is zero; in NTU 120's
files a single person is repeated as the second.

The file has no names. For a complete set they follow from the order of those scripts: usable
recordings by name within each subject, camera or setup.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from aclnet.datasets.formats.caches import cached_by_file
from aclnet.datasets.formats.npy_rows import NpyRows, open_npz
from aclnet.datasets.readers.items import ItemSource
from aclnet.datasets.readers.joints import presence, without_filling
from aclnet.datasets.readers.ntu import parse_name, usable, with_columns
from aclnet.datasets.spec import (
    AclnetError,
    DamageError,
    DatasetSpec,
    Item,
    Rejection,
    SkeletonSequence,
)
from aclnet.datasets.spec.layouts import get_layout

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

NUM_PERSONS = 2
SIDES = ("train", "test")
_GROUPED_BY = {"xsub": "subject", "xview": "camera", "xset": "setup"}
"""Column that sorts the samples of a protocol, before their names."""
_CALLED = {"cs": "xsub", "csub": "xsub", "cv": "xview", "cset": "xset"}
"""Protocols by the last word of a file's name."""
_PLACE = re.compile(r".*/x_(train|test)/(\d{1,9})", re.ASCII | re.DOTALL)
_CHUNK = 4096
UNSURE = -1
"""Class of a row that is not one-hot."""


@dataclass(frozen=True, slots=True)
class CtrNpzSource(ItemSource):
    """One file, `root`, read row by row; an item's path is `FILE/x_train/ROW`."""

    def scan(self) -> tuple[list[Item], list[Rejection]]:
        index = self._index()
        size = self._arrays()["x_train"].row_bytes
        items = [
            Item(sample_id, f"{self.root.name}/x_{side}/{row}", size)
            for side, ids in index.ids.items()
            for row, sample_id in enumerate(ids)
        ]
        return items, []

    def splits(self) -> dict[str, list[str]]:
        index = self._index()
        if index.named:  # names tell the sides of all protocols
            return {}
        protocol = _CALLED.get(self.root.stem.rpartition("_")[2].lower(), "")
        known = any(protocol == each.name for each in self.spec.protocols)
        prefix = f"{protocol}_" if known else ""
        return {f"{prefix}{side}": list(ids) for side, ids in index.ids.items()}

    def sequence(self, item: Item) -> SkeletonSequence:
        side, row = side_and_row(item)
        arrays = self._arrays()
        label = int(labels_of(arrays[f"y_{side}"].read(row))[0])
        if label == UNSURE:
            raise DamageError(f"row {row} of y_{side} is not one-hot")
        keypoint = self._keypoint(arrays[f"x_{side}"].read(row)[0])
        sequence = SkeletonSequence(
            sample_id=item.sample_id,
            keypoint=keypoint,
            label=label,
            present=presence(keypoint),
            frame_index=np.arange(keypoint.shape[1], dtype=np.int32),
            source=item.path,
        )
        return with_columns(without_filling(sequence))

    def _keypoint(self, row: NDArray[np.float32]) -> NDArray[np.float32]:
        """(M, T, V, 3) joints: both persons, or one person if the second is a copy."""
        joints = get_layout(self.spec.source_layout).num_joints
        with np.errstate(over="ignore"):
            persons = row.astype(np.float32).reshape(len(row), NUM_PERSONS, joints, 3)
        if not np.isfinite(persons).all():
            raise DamageError("a value is not finite")
        persons = persons.swapaxes(0, 1)
        return persons[:1] if (persons[0] == persons[1]).all() else persons

    def _arrays(self) -> dict[str, NpyRows]:
        return _open(self.root, _Dataset(self.spec.name, self.spec.layout, self.spec))

    def _index(self) -> _Index:
        return _make_index(self.root, _Dataset(self.spec.name, self.spec.layout, self.spec))


def side_and_row(item: Item) -> tuple[str, int]:
    """Side and row of an item, from its path; raises DamageError if the path has none."""
    place = _PLACE.fullmatch(item.path)
    if place is None:
        raise DamageError("the path is not of the form FILE/x_train/ROW")
    return place[1], int(place[2])


@dataclass(frozen=True, slots=True)
class _Dataset:
    """Cache key of a file's dataset: a spec cannot be a key, but its name can."""

    name: str
    layout: str
    spec: DatasetSpec = field(compare=False)


@dataclass(frozen=True, slots=True)
class _Index:
    ids: dict[str, list[str]]
    """Sample ids of both sides, row by row."""
    named: bool
    """True if the ids are the names of the recordings."""


@cached_by_file(per_process=True)
def _open(path: Path, dataset: _Dataset) -> dict[str, NpyRows]:
    """The four arrays of a file."""
    spec = dataset.spec
    arrays = {f"{a}_{side}": open_npz(path, f"{a}_{side}") for a in "xy" for side in SIDES}
    width = NUM_PERSONS * get_layout(spec.source_layout).num_joints * 3
    classes = len(spec.class_names)
    for side in SIDES:
        x, y = arrays[f"x_{side}"], arrays[f"y_{side}"]
        if len(x.shape) != 3 or x.shape[2] != width or x.dtype.kind != "f":
            raise AclnetError(f"{path}: x_{side} is {x.dtype} {x.shape}, (N, T, {width}) expected")
        if y.shape != (len(x), classes):
            raise AclnetError(
                f"{path}: y_{side} is {y.shape}, but x_{side} has {len(x)} samples and "
                f"{spec.title} has {classes} classes"
            )
    return arrays


@cached_by_file()
def _make_index(path: Path, dataset: _Dataset) -> _Index:
    arrays = _open(path, dataset)
    try:
        labels = {side: _all_labels(arrays[f"y_{side}"]) for side in SIDES}
    except DamageError as damage:
        raise AclnetError(f"{path}: {damage.reason}; download it again") from None
    names = _recovered(dataset.spec, labels)
    if names:
        return _Index(names, named=True)
    numbered = {
        side: [f"{side}-{row:06}" for row in range(len(found))] for side, found in labels.items()
    }
    return _Index(numbered, named=False)


def _all_labels(y: NpyRows) -> NDArray[np.int64]:
    """(N,) classes, or UNSURE."""
    parts = [
        labels_of(y.read(first, min(_CHUNK, len(y) - first))) for first in range(0, len(y), _CHUNK)
    ]
    return np.concatenate([np.empty(0, np.int64), *parts])


def labels_of(rows: NDArray[Any]) -> NDArray[np.int64]:
    """(N,) classes from (N, classes), UNSURE if a row is not one-hot."""
    is_one_hot = (np.count_nonzero(rows, axis=1) == 1) & (rows.max(axis=1) > 0)
    return np.where(is_one_hot, rows.argmax(axis=1), UNSURE)


def _recovered(
    spec: DatasetSpec, labels: dict[str, NDArray[np.int64]]
) -> dict[str, list[str]] | None:
    """Names of the samples of both sides; None unless all labels agree with a complete set's."""
    if not spec.protocols:  # custom data
        return None
    stems = usable(spec.name)
    if len(stems) != sum(map(len, labels.values())):
        return None
    numbers = np.array([parse_name(stem) for stem in stems])
    fields = ("setup", "camera", "subject", "replication", "label")
    columns = dict(zip(fields, (numbers - [0, 0, 0, 0, 1]).T, strict=True))
    for protocol in spec.protocols:
        if protocol.name not in _GROUPED_BY:
            continue
        order = np.argsort(columns[_GROUPED_BY[protocol.name]], kind="stable")
        rows = {side: order[mask[order]] for side, mask in protocol.divide(columns).items()}
        if all(np.array_equal(columns["label"][rows[side]], labels[side]) for side in SIDES):
            return {side: [stems[i] for i in rows[side].tolist()] for side in SIDES}
    return None
