"""PYSKL pickles of 3-D skeletons (`ntu60_3danno.pkl`, `ntu120_3danno.pkl`, or one's own).

`{"split": {name: [id, ...]}, "annotations": [{...}, ...]}`, or the list of annotations alone. An
annotation has `frame_dir` (its id), `label`, `total_frames` and `keypoint (M, T, V, 3)`. The
sequences are cleaned already. Such pickles do not keep which frames of the recording are left, nor
float32: NTU's are float16, steps of about 2 mm at the distance of the camera.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

import numpy as np

from aclnet.datasets.errors import AclnetError
from aclnet.datasets.readers import Item
from aclnet.datasets.readers.ntu import parse_name
from aclnet.datasets.sequence import Rejection, Sequence
from aclnet.datasets.unpickle import load_pickle

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from aclnet.datasets.sequence import Kind

ABSENT = 1e-8
"""A person is absent in frames where no coordinate is larger in absolute value."""


@dataclass(frozen=True, slots=True)
class PysklSource:
    """One pickle; it is loaded once a process."""

    root: Path
    """The file itself."""
    num_classes: int
    num_joints: int = 25
    cleaned: bool = True

    def scan(self) -> tuple[list[Item], list[Rejection]]:
        content = _load(self.root)
        _refuse_2d(self.root, content.annotations)
        items = [
            Item(sample_id, "", getattr(annotation.get("keypoint"), "nbytes", 0))
            for sample_id, annotation in content.annotations.items()
        ]
        rejections = [Rejection(self.root.name, None, reason) for reason in content.refused]
        return sorted(items, key=lambda item: item.sample_id), rejections

    def outside(self) -> int:
        return 0

    def splits(self) -> dict[str, list[str]]:
        return {name: list(ids) for name, ids in _load(self.root).splits.items()}

    def read(self, item: Item) -> Sequence | Rejection:
        try:
            annotation = _load(self.root).annotations[item.sample_id]
            keypoint = self._keypoint(annotation)
            label = self._label(annotation)
        except AclnetError as error:
            return Rejection(self.root.name, None, str(error))
        except KeyError:
            return self._rejection(item, "there is no such annotation")
        except _DamageError as damage:
            return self._rejection(item, str(damage))
        present = np.abs(keypoint).max(axis=(2, 3)) > ABSENT
        if not present.any():
            return self._rejection(item, "no person in any frame", "no person")
        keypoint[~present] = 0
        sequence = Sequence(
            sample_id=item.sample_id,
            keypoint=keypoint,
            label=label,
            present=present,
            frame_index=np.arange(keypoint.shape[1], dtype=np.int32),
            source=self.root.name,
        )
        name = parse_name(item.sample_id)
        if name is not None:
            sequence.subject = name.subject
            sequence.camera = name.camera
            sequence.setup = name.setup
            sequence.replication = name.replication
        return sequence

    def _keypoint(self, annotation: dict[Any, Any]) -> NDArray[np.float32]:
        raw = annotation.get("keypoint")
        if not isinstance(raw, np.ndarray) or raw.dtype.kind not in "fiu":
            raise _DamageError("`keypoint` is missing or not an array of numbers")
        if _is_2d(annotation):
            raise _DamageError("`keypoint` is 2-D; 3-D joints (M, T, V, 3) are expected")
        if raw.ndim != 4 or 0 in raw.shape or raw.shape[2:] != (self.num_joints, 3):
            raise _DamageError(
                f"`keypoint` is {raw.shape}, (M, T, {self.num_joints}, 3) is expected"
            )
        total_frames = annotation.get("total_frames")
        if not _is_integer(total_frames) or total_frames != raw.shape[1]:
            raise _DamageError(
                f"`total_frames` is {total_frames!r}, `keypoint` has {raw.shape[1]} frames"
            )
        with np.errstate(over="ignore"):
            keypoint: NDArray[np.float32] = raw.astype(np.float32)
        if not np.isfinite(keypoint).all():
            raise _DamageError("`keypoint` has values that are not finite")
        return keypoint

    def _label(self, annotation: dict[Any, Any]) -> int:
        label = annotation.get("label")
        if not _is_integer(label) or not 0 <= label < self.num_classes:
            raise _DamageError(f"`label` is {label!r}, 0 to {self.num_classes - 1} is expected")
        return int(label)

    def _rejection(self, item: Item, reason: str, kind: Kind = "damaged") -> Rejection:
        return Rejection(self.root.name, None, f"annotation {item.sample_id!r}: {reason}", kind)


class _DamageError(Exception):
    """What is wrong with an annotation."""


class _Content(NamedTuple):
    annotations: dict[str, dict[Any, Any]]
    """By sample id."""
    splits: dict[str, list[str]]
    refused: list[str]
    """Why annotations have no sample id of their own."""


def _load(path: Path) -> _Content:
    try:
        stat = path.stat()
    except OSError as error:
        raise AclnetError(f"{path} cannot be read: {error.strerror}") from None
    return _load_version(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=1)  # such a file takes a gigabyte
def _load_version(path: Path, mtime_ns: int, size: int) -> _Content:
    """`mtime_ns` and `size` make a changed file another key."""
    raw = load_pickle(path)
    if isinstance(raw, list):
        raw = {"annotations": raw, "split": {}}
    if not isinstance(raw, dict) or not isinstance(raw.get("annotations"), list):
        raise AclnetError(
            f"{path} is not a PYSKL pickle: a list of annotations, or a dict with "
            "`annotations` and `split`, is expected"
        )
    annotations, refused = _by_id(raw["annotations"])
    return _Content(annotations, _checked_splits(path, raw.get("split")), refused)


def _by_id(raw: list[Any]) -> tuple[dict[str, dict[Any, Any]], list[str]]:
    # PYSKL takes `filename` for the id where the first annotation has one.
    has_filename = bool(raw) and isinstance(raw[0], dict) and "filename" in raw[0]
    key = "filename" if has_filename else "frame_dir"
    annotations: dict[str, dict[Any, Any]] = {}
    refused = []
    for number, annotation in enumerate(raw):
        place = f"annotation {number} (counting from 0)"
        sample_id = annotation.get(key) if isinstance(annotation, dict) else None
        if not isinstance(annotation, dict):
            refused.append(f"{place} is {type(annotation).__name__}, not a dict")
        elif not isinstance(sample_id, str) or not sample_id:
            refused.append(f"{place} has no `{key}`")
        elif sample_id in annotations:
            refused.append(f"{place} has the `{key}` of an earlier one, {sample_id!r}")
        else:
            annotations[sample_id] = annotation
    return annotations, refused


def _checked_splits(path: Path, raw: object) -> dict[str, list[str]]:
    if raw is None:
        return {}
    if isinstance(raw, dict) and all(_is_split(name, ids) for name, ids in raw.items()):
        return raw
    raise AclnetError(f"{path}: `split` must map names to lists of sample ids")


def _is_split(name: object, ids: object) -> bool:
    return isinstance(name, str) and isinstance(ids, list) and all(isinstance(i, str) for i in ids)


def _is_integer(value: object) -> TypeGuard[int]:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _is_2d(annotation: dict[Any, Any]) -> bool:
    keypoint = annotation.get("keypoint")
    has_two = isinstance(keypoint, np.ndarray) and keypoint.shape[-1:] == (2,)
    return has_two or "keypoint_score" in annotation


def _refuse_2d(path: Path, annotations: dict[str, dict[Any, Any]]) -> None:
    if annotations and all(map(_is_2d, annotations.values())):
        raise AclnetError(
            f"{path} holds 2-D keypoints (COCO-17), this dataset is of 3-D joints; "
            "give the file of 3-D skeletons (its name ends in _3danno.pkl)"
        )
