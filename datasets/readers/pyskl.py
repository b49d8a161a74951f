"""PYSKL pickles of skeletons (`ntu60_3danno.pkl`, `gym_hrnet.pkl`, `k400_hrnet.pkl`, custom ones).

A file is `{"split": {name: [id, ...]}, "annotations": [{...}, ...]}`, or the list of annotations
alone. An annotation has `frame_dir` (its id), `label`, `total_frames` and its joints in one form:

- in space: `keypoint (M, T, V, 3)`. Such sequences are cleaned already. The original frame numbers
  are not kept. NTU's coordinates are float16, with steps of about 2 mm at the distance of the
  camera.
- in pixels: `keypoint (M, T, V, 2)`, `keypoint_score (M, T, V)`, `img_shape (height, width)`.
- in pixels, packed: `keypoint (N, V, 3)` with x, y and score, a row per person and frame, and
  `frame_inds (N,)`. Frames without a person are left out. The persons of a frame are in the order
  of the rows, without identities. If a frame has more than ten, those with the highest summed
  scores come first, as in PYSKL's DecompressPose.
- packed, with `keypoint` in another pickle beside this one (Kinetics' kpfiles): `raw_file` is its
  name, and it holds `{id: {"keypoint": (N, V, 3)}, ...}` for many annotations. Without `raw_file`,
  the other pickle is MMAction2's `ID.pkl` with `{"keypoint": (N, V, 3)}`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from aclnet.datasets.formats import unreadable
from aclnet.datasets.formats.caches import cached_by_file
from aclnet.datasets.formats.files import walk_files
from aclnet.datasets.formats.unpickle import is_integer, load_pickle
from aclnet.datasets.readers.joints import as_float32
from aclnet.datasets.readers.ntu import with_columns
from aclnet.datasets.spec import (
    AclnetError,
    DamageError,
    Item,
    NobodyError,
    Rejection,
    SkeletonSequence,
    Source,
)
from aclnet.datasets.spec.layouts import get_layout

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from aclnet.datasets.spec import DatasetSpec, Kind

ABSENT = 1e-8
"""A person is absent in frames where no coordinate is larger in absolute value."""


_SORTED_BEYOND = 10
"""PYSKL sorts the persons of frames by score if one frame has more of them."""


@dataclass(frozen=True, slots=True)
class PysklSource(Source):
    """One pickle, `root`; it is loaded once per process."""

    box_thr: float = 0.0
    """Rows with a lower `box_score` are left out."""
    valid_ratio: float = 0.0
    """Smallest allowed share of a clip's frames with a remaining person."""

    @property
    def num_joints(self) -> int:
        return get_layout(self.spec.source_layout).num_joints

    @property
    def dimensions(self) -> int:
        """3: joints in space; 2: pixels, with scores."""
        return self.spec.dimensions

    def scan(self) -> tuple[list[Item], list[Rejection]]:
        content = load(self.root)
        self._refuse_other_dimensions(content.annotations)
        rejections = [Rejection(self.root.name, None, reason) for reason in content.refused]
        kpfiles = self._kpfiles(content.annotations)
        items = []
        for sample_id, annotation in content.annotations.items():
            name = _kpfile(sample_id, annotation)
            if name is None:
                size = getattr(annotation.get("keypoint"), "nbytes", 0)
                items.append(Item(sample_id, "", size))
            elif name in kpfiles:
                size = getattr(annotation.get("frame_inds"), "size", 0) * self.num_joints * 6
                items.append(Item(sample_id, kpfiles[name].path, size))
            else:
                reason = f"annotation {sample_id!r}: there is no {name} beside this file"
                rejections.append(Rejection(self.root.name, None, reason))
        # Items of one file come together, so that it is loaded once.
        items.sort(key=lambda item: (item.path, item.sample_id))
        return _with_file_sizes(items, kpfiles.values()), rejections

    def splits(self) -> dict[str, list[str]]:
        return {name: list(ids) for name, ids in load(self.root).splits.items()}

    def tracked(self) -> bool:
        return not any("frame_inds" in entry for entry in load(self.root).annotations.values())

    def with_boxes(self, box_thr: float, valid_ratio: float) -> Source:
        if self.tracked():
            return super(PysklSource, self).with_boxes(box_thr, valid_ratio)
        return replace(self, box_thr=box_thr, valid_ratio=valid_ratio)

    def read(self, item: Item) -> SkeletonSequence | Rejection:
        try:
            annotation = load(self.root).annotations[item.sample_id]
            if item.path:
                annotation = annotation | _entry(self.root.parent / item.path, item.sample_id)
            joints = self._joints(annotation)
            label = self._label(annotation)
            if not joints.present.any():
                raise NobodyError
        except AclnetError as error:
            return unreadable.rejection(error, self.root.name)
        except KeyError:
            return self._rejection(item, "there is no such annotation")
        except DamageError as damage:
            return self._rejection(item, damage.reason, damage.kind)
        present = joints.present
        joints.keypoint[~present] = 0
        if joints.score is not None:
            joints.score[~present] = 0
        height, width = _image(annotation)
        sequence = SkeletonSequence(
            sample_id=item.sample_id,
            keypoint=joints.keypoint,
            label=label,
            present=present,
            frame_index=joints.frame_index,
            score=joints.score,
            width=width,
            height=height,
            source=self.root.name,
        )
        return with_columns(sequence)

    def _joints(self, annotation: dict[Any, Any]) -> Joints:
        if _dimensions(annotation) == 5 - self.dimensions:
            raise DamageError(
                f"the joints are not {self.dimensions}-D, unlike the joints of this dataset"
            )
        if "frame_inds" in annotation:
            return self._unpacked(annotation)
        expected = ("M", "T", self.num_joints, self.dimensions)
        keypoint = numbers_of(annotation, "keypoint", expected)
        frames = keypoint.shape[1]
        total_frames = annotation.get("total_frames")
        if not is_integer(total_frames) or total_frames != frames:
            raise DamageError(
                f"`total_frames` is {total_frames!r}, but `keypoint` has {frames} frames"
            )
        score = None
        if self.dimensions == 2:
            score = numbers_of(annotation, "keypoint_score", keypoint.shape[:3])
        present = np.abs(keypoint).max(axis=(2, 3)) > ABSENT
        return Joints(keypoint, score, present, np.arange(frames, dtype=np.int32))

    def _unpacked(self, annotation: dict[Any, Any]) -> Joints:
        """Joints as persons by frames, from one row per person and frame."""
        rows = numbers_of(annotation, "keypoint", ("N", self.num_joints, 3))
        numbers = annotation["frame_inds"]
        if not isinstance(numbers, np.ndarray) or numbers.dtype.kind not in "iu":
            raise DamageError("`frame_inds` is not an array of whole numbers")
        if numbers.shape != rows.shape[:1]:
            raise DamageError(f"{numbers.size} `frame_inds` for {len(rows)} rows of `keypoint`")
        if numbers.min() < 0:
            raise DamageError(f"`frame_inds` has the negative frame {numbers.min()}")
        if self.box_thr or self.valid_ratio:
            sure = self._sure_boxes(annotation, numbers)
            rows, numbers = rows[sure], numbers[sure]
        kept, frame, persons = np.unique(numbers, return_inverse=True, return_counts=True)
        by_score = -rows[..., 2].sum(axis=1) if persons.max() > _SORTED_BEYOND else frame
        order = np.lexsort((by_score, frame))
        rank = np.empty(len(rows), dtype=np.int64)
        rank[order] = np.arange(len(rows)) - np.repeat(np.cumsum(persons) - persons, persons)
        filled = np.zeros((persons.max(), len(kept), self.num_joints, 3), np.float32)
        filled[rank, frame] = rows
        present = np.zeros(filled.shape[:2], np.bool_)
        present[rank, frame] = True
        # files count frames from 1
        index = (kept.astype(np.int64) - int(kept[0] > 0)).astype(np.int32)
        keypoint = np.ascontiguousarray(filled[..., :2])
        return Joints(keypoint, np.ascontiguousarray(filled[..., 2]), present, index)

    def _sure_boxes(
        self, annotation: dict[Any, Any], numbers: NDArray[np.integer]
    ) -> NDArray[np.bool_]:
        """(N,) rows to keep; raises DamageError if these cover too few frames."""
        score = numbers_of(annotation, "box_score", numbers.shape)
        sure: NDArray[np.bool_] = score >= np.float32(self.box_thr)
        frames, total = len(np.unique(numbers[sure])), annotation.get("total_frames")
        if not is_integer(total) or total < 1:
            raise DamageError(f"`total_frames` is {total!r}; a number of frames is expected")
        if not frames or frames < self.valid_ratio * total:
            raise DamageError(
                f"{frames} of {total} frames have a box of score {self.box_thr:g}", kind="no person"
            )
        return sure

    def _refuse_other_dimensions(self, annotations: dict[str, dict[Any, Any]]) -> None:
        """Raises AclnetError if the whole file is of another kind."""
        entries = annotations.values()
        if entries and all(_dimensions(entry) == 5 - self.dimensions for entry in entries):
            kinds = {
                2: "2-D keypoints (its name ends in _hrnet.pkl)",
                3: "3-D skeletons (its name ends in _3danno.pkl)",
            }
            raise AclnetError(
                f"{self.root} holds {5 - self.dimensions}-D joints; "
                f"give the file of {kinds[self.dimensions]}"
            )

    def _kpfiles(self, annotations: dict[str, dict[Any, Any]]) -> dict[str, _Kpfile]:
        """The files below the pickle's folder that hold joints, by their names.

        Raises AclnetError if none of them exists.
        """
        wanted = {_kpfile(*entry) for entry in annotations.items()} - {None}
        if not wanted:
            return {}
        folder = self.root.parent
        found = {
            PurePosixPath(path).name: _Kpfile(path, size)
            for path, size in sorted(walk_files(folder))
            if PurePosixPath(path).name in wanted and ".zip/" not in path.lower()
        }
        if not found:
            raise AclnetError(
                f"{self.root} has its joints in {len(wanted)} other files, for example "
                f"{min(map(str, wanted))}, but none of them is below {folder}; unpack the kpfiles "
                "there"
            )
        return found

    def _label(self, annotation: dict[Any, Any]) -> int:
        label = annotation.get("label")
        num_classes = len(self.spec.class_names)
        if not is_integer(label) or not 0 <= label < num_classes:
            raise DamageError(f"`label` is {label!r}; 0 to {num_classes - 1} is expected")
        return int(label)

    def _rejection(self, item: Item, reason: str, kind: Kind = "damaged") -> Rejection:
        return Rejection(self.root.name, None, f"annotation {item.sample_id!r}: {reason}", kind)


class Joints(NamedTuple):
    keypoint: NDArray[np.float32]
    """(M, T, V, C) coordinates."""
    score: NDArray[np.float32] | None
    """(M, T, V) confidences."""
    present: NDArray[np.bool_]
    """(M, T) whether a person is in a frame."""
    frame_index: NDArray[np.int32]
    """(T,) numbers of the frames."""


class _Kpfile(NamedTuple):
    path: str
    """Path relative to the folder of the pickle."""
    size: int


def open_pickle(spec: DatasetSpec, raw: Path, expected: str) -> PysklSource:
    """The pickle at `raw`, or the one called `expected` in that folder.

    Raises AclnetError if there is none.
    """
    if (raw / expected).is_file():
        raw = raw / expected
    if not raw.is_file():
        problem = "is a folder" if raw.is_dir() else "does not exist"
        raise AclnetError(f"{raw} {problem}; give {expected}")
    return PysklSource(spec, raw)


def pickle_dimensions(path: Path) -> int | None:
    """2 or 3, from the first annotation that shows it; None if none does."""
    return next(filter(None, map(_dimensions, load(path).annotations.values())), None)


def numbers_of(
    annotation: dict[Any, Any], name: str, expected: tuple[int | str, ...]
) -> NDArray[np.float32]:
    """An array of an annotation with axes `expected`, where letters stand for any length."""
    raw = annotation.get(name)
    if not isinstance(raw, np.ndarray) or raw.dtype.kind not in "fiu":
        raise DamageError(f"`{name}` is missing or not an array of numbers")
    fits = raw.ndim == len(expected) and all(
        isinstance(wanted, str) or found == wanted
        for found, wanted in zip(raw.shape, expected, strict=True)
    )
    if not fits or 0 in raw.shape:
        wanted = ", ".join(map(str, expected))
        raise DamageError(f"`{name}` is {raw.shape}; ({wanted}) is expected")
    return as_float32(raw, f"`{name}`")


def _kpfile(sample_id: str, annotation: dict[Any, Any]) -> str | None:
    """Name of the file with an annotation's joints, None if the annotation has them itself."""
    if "keypoint" in annotation or "frame_inds" not in annotation:
        return None
    raw_file = annotation.get("raw_file", f"{sample_id}.pkl")
    return PurePosixPath(str(raw_file).replace("\\", "/")).name


def _with_file_sizes(items: list[Item], files: Iterable[_Kpfile]) -> list[Item]:
    """Items in which the first of each file has its size, to notice changes and count it once."""
    sizes = dict(files)
    return [replace(item, size=sizes.pop(item.path, item.size)) for item in items]


def _entry(path: Path, sample_id: str) -> dict[str, Any]:
    """A kpfile's entry of a sample; raises AclnetError or DamageError if there is none."""
    content = _load_kpfile(path)
    entry = content.get(sample_id, content) if isinstance(content, dict) else None
    if not isinstance(entry, dict) or "keypoint" not in entry:
        raise DamageError(f"{path.name} has no `keypoint` for this annotation")
    return {"keypoint": entry["keypoint"]}


_load_kpfile = cached_by_file()(load_pickle)


def _image(annotation: dict[Any, Any]) -> tuple[int, int]:
    """Height and width in pixels, zeros if they are not given."""
    shape = annotation.get("img_shape")
    if isinstance(shape, tuple | list) and len(shape) >= 2 and all(map(is_integer, shape[:2])):
        return max(0, int(shape[0])), max(0, int(shape[1]))
    return 0, 0


class _Content(NamedTuple):
    annotations: dict[str, dict[Any, Any]]
    """Annotations by sample id."""
    splits: dict[str, list[str]]
    refused: list[str]
    """Reasons why annotations have no sample id of their own."""
    others: dict[Any, Any]
    """Other entries of the file."""


@cached_by_file()  # such a file takes a gigabyte
def load(path: Path) -> _Content:
    """The content of a pickle; raises AclnetError if it does not have PYSKL's form."""
    raw = load_pickle(path)
    if isinstance(raw, list):
        raw = {"annotations": raw, "split": {}}
    if not isinstance(raw, dict) or not isinstance(raw.get("annotations"), list):
        raise AclnetError(
            f"{path} is not a PYSKL pickle: a list of annotations, or a dict with "
            "`annotations` and `split`, is expected"
        )
    annotations, refused = _by_id(raw["annotations"])
    splits = _checked_splits(path, raw.get("split"))
    others = {key: value for key, value in raw.items() if key not in ("annotations", "split")}
    return _Content(annotations, splits, refused, others)


def id_key(annotations: list[Any]) -> str:
    """Key of the annotations' ids: PYSKL takes `filename` if the first one has it."""
    first = annotations[0] if annotations else None
    return "filename" if isinstance(first, dict) and "filename" in first else "frame_dir"


def _by_id(raw: list[Any]) -> tuple[dict[str, dict[Any, Any]], list[str]]:
    key = id_key(raw)
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
            refused.append(f"{place} has the same `{key}` as an earlier annotation, {sample_id!r}")
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


def _dimensions(annotation: dict[Any, Any]) -> int | None:
    """2 or 3, from the keys of an annotation; None if they do not show it."""
    if "keypoint_score" in annotation or "frame_inds" in annotation:
        return 2
    keypoint = annotation.get("keypoint")
    last = keypoint.shape[-1:] if isinstance(keypoint, np.ndarray) else ()
    return last[0] if last in ((2,), (3,)) else None
