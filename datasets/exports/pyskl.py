"""The PYSKL pickles of `aclnet export --to pyskl`.

Keys that PYSKL does not know carry all of the store except its variants. Each annotation also has
`present (M, T)`, `frame_index (T,)`, `subject`, `camera`, `setup`, `replication`, `condition`,
`source`, and `centre (C,)` and `rotation (C, C)`, which lead back to camera space. The file also
has `aclnet`, an `aclnet.datasets.exports.description.Description`.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np

from aclnet.datasets.exports import MARK
from aclnet.datasets.exports.description import Description, description_of
from aclnet.datasets.exports.recordings import left_out_variants, splits_of
from aclnet.datasets.formats.unpickle import is_integer
from aclnet.datasets.readers.pyskl import Joints, PysklSource, load, numbers_of
from aclnet.datasets.spec import (
    UNLABELLED,
    DamageError,
    Prepared,
    Rejection,
    SkeletonSequence,
    protocols,
)
from aclnet.datasets.spec.layouts import get_layout

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from aclnet.datasets.spec import DatasetSpec, Item
    from aclnet.datasets.store.store import Store


def write_pyskl(
    store: Store,
    recordings: Iterable[tuple[int, SkeletonSequence]],
    path: Path,
    file_layout: str = "",
) -> list[str]:
    """Writes a store's recordings, with their rows, to a pickle; returns what is left out.

    file_layout: layout of the file's joints, which are the first of the store's; empty: all.
    """
    joints = get_layout(file_layout).num_joints if file_layout else store.layout.num_joints
    content = {
        # first, so that a reader finds it in the first bytes
        MARK: description_of(store, file_layout).model_dump(),
        "split": _splits(store),
        "annotations": [_annotation(store, row, s, joints) for row, s in recordings],
    }
    with path.open("wb") as file:
        _Pickler(file, protocol=4).dump(content)
    return left_out_variants(store)


class _Pickler(pickle.Pickler):
    """A pickler that names only functions of numpy 1 and 2; numpy 2 makes arrays by others."""

    def reducer_override(self, obj: Any) -> Any:  # noqa: ANN401 - as pickle declares it
        if not isinstance(obj, np.ndarray):
            return NotImplemented
        return np.ndarray, ((0,), obj.dtype), obj.__reduce__()[2]


def _annotation(store: Store, row: int, sequence: SkeletonSequence, joints: int) -> dict[str, Any]:
    """The entries that PYSKL reads, then the store's other facts."""
    entry = {
        "frame_dir": sequence.sample_id,
        "label": sequence.label,
        "total_frames": len(sequence.frame_index),
        "keypoint": np.ascontiguousarray(sequence.keypoint[:, :, :joints]),
    }
    if sequence.score is not None:
        entry["keypoint_score"] = np.ascontiguousarray(sequence.score[:, :, :joints])
    if sequence.width or sequence.height:
        entry["img_shape"] = entry["original_shape"] = (sequence.height, sequence.width)
    return entry | {
        "present": sequence.present,
        "frame_index": sequence.frame_index,
        "subject": sequence.subject,
        "camera": sequence.camera,
        "setup": sequence.setup,
        "replication": sequence.replication,
        "condition": sequence.condition,
        "source": sequence.source,
        "centre": store.column("centre")[row].copy(),
        "rotation": store.column("rotation")[row].copy(),
    }


def _splits(store: Store) -> dict[str, list[str]]:
    """Ids of recordings by PYSKL's names: `xsub_train`, `xsub_val`, `train1`, `val1`."""
    ids, is_original = store.column("original"), store.column("variant") == 0
    return {
        _split_name(name, store.splits): np.unique(ids[mask & is_original]).tolist()
        for name, mask in splits_of(store).items()
    }


def _split_name(split: str, splits: dict[str, Any]) -> str:
    """The inverse of `parts.own_sides`."""
    protocol, _, side = split.partition("/")
    if side == "test" and f"{protocol}/val" not in splits:
        side = "val"
    number = protocol.removeprefix(protocols.OWN)
    is_own = protocol.startswith(protocols.OWN) and (not number or number.isdecimal())
    return f"{side}{number}" if is_own else f"{protocol}_{side}"


class ExportedPickle(PysklSource):
    """A pickle that `aclnet export` wrote."""

    __slots__ = ()

    @property
    def _description(self) -> Description:
        return Description.parse(self.root, load(self.root).others.get(MARK))

    def normalisation(self) -> str:
        return self._description.normalisation

    def read(self, item: Item) -> SkeletonSequence | Rejection:
        sequence = super().read(item)
        if isinstance(sequence, Rejection):
            return sequence
        try:
            return _completed(sequence, load(self.root).annotations[item.sample_id])
        except DamageError as damage:
            return self._rejection(item, damage.reason)

    def _label(self, annotation: dict[Any, Any]) -> int:
        label = annotation.get("label")
        return UNLABELLED if label == UNLABELLED else super()._label(annotation)

    def _joints(self, annotation: dict[Any, Any]) -> Joints:
        expected = ("M", "T", self.num_joints, self.dimensions)
        keypoint = numbers_of(annotation, "keypoint", expected)
        scored = self._description.scored
        score = numbers_of(annotation, "keypoint_score", keypoint.shape[:3]) if scored else None
        present = annotation.get("present")
        if not isinstance(present, np.ndarray) or present.dtype != np.bool_:
            raise DamageError("`present` is missing or not an array of bool")
        index = annotation.get("frame_index")
        if not isinstance(index, np.ndarray) or index.dtype != np.int32:
            raise DamageError("`frame_index` is missing or not an array of int32")
        if (present.shape, index.shape) != (keypoint.shape[:2], keypoint.shape[1:2]):
            raise DamageError(
                f"`present` is {present.shape} and `frame_index` {index.shape}, "
                f"`keypoint` {keypoint.shape}"
            )
        return Joints(keypoint, score, present, index)

    def _refuse_other_dimensions(self, annotations: dict[str, dict[Any, Any]]) -> None:
        """A check that is not needed: each annotation is checked against the description."""


def open_pyskl(spec: DatasetSpec, raw: Path) -> ExportedPickle:
    """The reader of a pickle of `aclnet export`; raises AclnetError if it is another dataset's."""
    description = Description.parse(raw, load(raw).others.get(MARK))
    return ExportedPickle(description.spec(spec, raw), raw)


def _completed(sequence: SkeletonSequence, annotation: dict[Any, Any]) -> SkeletonSequence:
    """The sequence with the additional entries of an exported annotation.

    Raises DamageError if an entry is not sound.
    """
    for name in ("subject", "camera", "setup", "replication"):
        value = annotation.get(name)
        if not is_integer(value) or not -(2**31) <= value < 2**31:
            raise DamageError(f"`{name}` is {value!r}; a whole number is expected")
        setattr(sequence, name, int(value))
    for name in ("condition", "source"):
        value = annotation.get(name)
        if not isinstance(value, str):
            raise DamageError(f"`{name}` is {value!r}; text is expected")
        setattr(sequence, name, value)
    coordinates = sequence.keypoint.shape[-1]
    sequence.prepared = Prepared(
        centre=numbers_of(annotation, "centre", (coordinates,)),
        rotation=numbers_of(annotation, "rotation", (coordinates, coordinates)),
        original=sequence.sample_id,
    )
    return sequence
