"""Custom recordings in a file for other training code: PYSKL's pickle, CTR-GCN's npz.

The file has the splits. `classes.txt` beside it has the class names, one per line; without it,
classes are numbers.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from aclnet.datasets.formats.files import UNSOUND
from aclnet.datasets.formats.npy_rows import open_npz
from aclnet.datasets.formats.unpickle import is_integer
from aclnet.datasets.readers.ctr_npz import NUM_PERSONS, CtrNpzSource
from aclnet.datasets.readers.custom_index import CLASSES, INDEX
from aclnet.datasets.readers.pyskl import PysklSource, load, pickle_dimensions
from aclnet.datasets.spec import UNLABELLED, AclnetError, Source
from aclnet.datasets.spec.layouts import get_layout, layouts_of

if TYPE_CHECKING:
    from pathlib import Path

    from aclnet.datasets.spec import DatasetSpec, Units

SUFFIXES = (".pkl", ".pickle", ".npz")
_MAX_CLASSES = 10_000
_CUSTOMARY = {("px", 17): "coco", ("m", 25): "nturgb+d"}
"""Layouts of PYSKL's and CTR-GCN's own files."""


@dataclass(frozen=True, slots=True)
class OwnPickle(PysklSource):
    """PYSKL's form, with custom classes and layout; an annotation may have no label."""

    def _label(self, annotation: dict[Any, Any]) -> int:
        if annotation.get("label") is None:
            return UNLABELLED
        return super(OwnPickle, self)._label(annotation)

    def fingerprint(self) -> str:
        return _fingerprint(self.spec)


@dataclass(frozen=True, slots=True)
class OwnNpz(CtrNpzSource):
    """CTR-GCN's form, with custom classes and layout."""

    def fingerprint(self) -> str:
        return _fingerprint(self.spec)


def _fingerprint(spec: DatasetSpec) -> str:
    told = repr((spec.layout, spec.units, spec.class_names))
    return hashlib.sha256(told.encode()).hexdigest()


def find(raw: Path) -> Path | None:
    """The file of this kind at `raw`, or the only one in a folder without an index."""
    if not raw.is_dir():
        return raw if raw.suffix.lower() in SUFFIXES else None
    if (raw / INDEX).exists():
        return None
    found = [file for file in sorted(raw.iterdir()) if file.suffix.lower() in SUFFIXES]
    return found[0] if len(found) == 1 else None


def is_recording(file: Path) -> bool:
    """True if a file that `find` returns is a single recording, an .npz with `keypoint`."""
    if file.suffix.lower() != ".npz":
        return False
    try:
        with zipfile.ZipFile(file) as archive:
            return "keypoint.npy" in archive.namelist()
    except (OSError, *UNSOUND):
        return True  # the reader of recordings says what is wrong


def open_archive(spec: DatasetSpec, raw: Path) -> Source:
    """A pickle or npz; its layout is that of `spec`, or else the usual one.

    Raises AclnetError if the file has neither form, or if its layout is unknown.
    """
    if raw.suffix.lower() == ".npz":
        arrays = {name: open_npz(raw, name) for name in ("x_train", "y_train")}
        x, y = (arrays[name].shape for name in ("x_train", "y_train"))
        if len(x) != 3 or len(y) != 2 or x[2] % (3 * NUM_PERSONS):
            raise AclnetError(
                f"{raw}: x_train is {x} and y_train is {y}; (N, T, {NUM_PERSONS} x V x 3) and "
                "one-hot (N, classes) are expected, as in CTR-GCN's files"
            )
        layout = _layout(raw, spec, "m", x[2] // (3 * NUM_PERSONS))
        names = _class_names(raw, y[1])
        return OwnNpz(replace(spec, layout=layout, units="m", class_names=names), raw)
    dimensions = pickle_dimensions(raw)
    annotations = load(raw).annotations.values()
    counts = Counter(k.shape[-2] for a in annotations if (k := _keypoint(a)) is not None)
    if dimensions is None or not counts:
        raise AclnetError(
            f"{raw}: no annotation has joints; arrays `keypoint` (M, T, V, 3), or (M, T, V, 2) "
            "with `keypoint_score`, are expected"
        )
    units: Units = "px" if dimensions == 2 else "m"
    layout = _layout(raw, spec, units, counts.most_common(1)[0][0])
    labels = [a["label"] for a in annotations if is_integer(a.get("label"))]
    names = _class_names(raw, max(labels, default=-1) + 1)
    return OwnPickle(replace(spec, layout=layout, units=units, class_names=names), raw)


def _keypoint(annotation: dict[object, object]) -> np.ndarray | None:
    keypoint = annotation.get("keypoint")
    return keypoint if isinstance(keypoint, np.ndarray) and keypoint.ndim >= 3 else None


def _layout(raw: Path, spec: DatasetSpec, units: Units, joints: int) -> str:
    layout = spec.layout or _CUSTOMARY.get((units, joints), "")
    fitting = ", ".join(layouts_of(joints)) or "no shipped layout"
    if not layout:
        raise AclnetError(
            f"{raw} has {joints} joints, and their layout is not known; give --layout: a name that "
            f"`aclnet layouts` lists (with {joints} joints: {fitting}), or a .json file of your own"
        )
    if get_layout(layout).num_joints != joints:
        raise AclnetError(
            f"{raw} has {joints} joints, but layout {layout} has {get_layout(layout).num_joints}; "
            f"give --layout a layout with {joints} joints: {fitting}, or a .json file of your own"
        )
    return layout


def _class_names(raw: Path, count: int) -> tuple[str, ...]:
    """Lines of `classes.txt`, or numbers."""
    if count > _MAX_CLASSES:
        raise AclnetError(
            f"{raw} has the class {count - 1:,}; at most {_MAX_CLASSES:,} classes are possible"
        )
    file = raw.parent / CLASSES
    if not file.is_file():
        return tuple(map(str, range(count)))
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise AclnetError(f"{file} cannot be read: {error}") from None
    names = tuple(line for line in lines if line)
    if len(names) < count or len(set(names)) < len(names):
        raise AclnetError(
            f"{file} must name the {count} classes of {raw.name}, each once, one per line; it "
            f"names {len(set(names))}"
        )
    return names
