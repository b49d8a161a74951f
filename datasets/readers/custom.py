"""Custom data: a folder of recordings and `index.csv`, which describes each of them.

`docs/custom.md` describes the folder. `dataset.toml` (title, layout, units, columns) and
`classes.txt` (a class name per line) may be beside the index. These files are read once per
process; a source carries only a hash of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from aclnet.datasets.formats.files import folder_of
from aclnet.datasets.readers.custom_files import (
    Recording,
    UnknownUnitsError,
    read_recording,
    sound_joints,
    split_score,
    take_part,
)
from aclnet.datasets.readers.custom_index import FACTS, INDEX, METRES, load_folder, stored
from aclnet.datasets.readers.custom_row import SIDES, Part
from aclnet.datasets.readers.items import ItemSource
from aclnet.datasets.readers.pose_table import UnknownJointsError
from aclnet.datasets.spec import AclnetError, DamageError, Item, Rejection, SkeletonSequence
from aclnet.datasets.spec.layouts import get_layout, layouts_of

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from aclnet.datasets.readers.custom_index import Folder
    from aclnet.datasets.readers.custom_row import Row
    from aclnet.datasets.spec import DatasetSpec, Source, Units
    from aclnet.datasets.spec.layouts import Layout

_MEDIAPIPE = "MediaPipe"
_TRIES = 100
"""Number of recordings to try for one that can be read; it tells the form of all."""


@dataclass(frozen=True, slots=True)
class CustomSource(ItemSource):
    """A folder or archive with an index."""

    stamp: str
    scored: bool
    """True if the joints have confidences. All recordings must agree."""
    tool: str
    """Pose estimator that wrote the first recording; it lists persons frame by frame."""
    boxed: bool
    """True if detections have scores."""
    box_thr: float = 0.0
    """Detections with a lower score are left out."""
    valid_ratio: float = 0.0
    """Smallest allowed share of a recording's frames with a remaining person."""

    cleaned = False

    @property
    def folder(self) -> Folder:
        return _folder(self.root, self.stamp, self.spec.pattern, self.spec.own_units)

    def scan(self) -> tuple[list[Item], list[Rejection]]:
        folder = self.folder
        items = [Item(name, row.file, folder.sizes[row.file]) for name, row in folder.rows.items()]
        return sorted(items, key=lambda item: item.sample_id), folder.rejections

    def sequence(self, item: Item) -> SkeletonSequence:
        row = self.folder.rows.get(item.sample_id)
        if row is None:
            raise DamageError("no row of the index names it", kind="unknown name")
        layout = get_layout(self.spec.layout) if self.spec.layout else None
        if row.part == Part():
            recording = read_recording(self.root, self.folder, row.file, layout, self.spec.units)
        else:
            whole = _read(self.root, self.stamp, row.file, row.part.images, self.spec)
            recording = take_part(whole, row.part)
        if layout is None:
            raise DamageError(f"{_joints(recording)}; {_remedy(recording.keypoint.shape[2])}")
        return self._sequence(row, recording, layout)

    def tracked(self) -> bool:
        return not self.tool

    def with_boxes(self, box_thr: float, valid_ratio: float) -> Source:
        if not self.boxed:
            return super(CustomSource, self).with_boxes(box_thr, valid_ratio)
        return replace(self, box_thr=box_thr, valid_ratio=valid_ratio)

    def rates(self) -> tuple[float, ...]:
        return tuple(sorted({row.fps for row in self.folder.rows.values() if row.fps}))

    def fingerprint(self) -> str:
        return self.stamp

    def splits(self) -> dict[str, list[str]]:
        rows = self.folder.rows.values()
        sides = {
            side: [row.sample_id for row in rows if side in row.split.split("+")] for side in SIDES
        }
        return {side: ids for side, ids in sides.items() if ids}

    def _sequence(self, row: Row, recording: Recording, layout: Layout) -> SkeletonSequence:
        if _MEDIAPIPE in recording.tool and recording.tool != self.tool and self.tool:
            raise DamageError(
                f"the joints are those of {recording.tool}; other recordings have joints of "
                f"{self.tool}"
            )
        keypoint, score = sound_joints(recording, layout, self.spec.dimensions)
        if (score is not None) != self.scored:
            has = (
                "has no confidences, but other recordings have"
                if self.scored
                else "has confidences, others not"
            )
            raise DamageError(f"it {has}")
        if self.spec.units == "m" and recording.units is None:
            keypoint *= METRES[self.folder.facts.units or "m"]
        if recording.image is not None:
            with np.errstate(over="ignore"):
                keypoint *= _image_size(row, recording.image)
            if not np.isfinite(keypoint).all():
                raise DamageError("a coordinate is out of range: it is not a fraction of an image")
        present = recording.present
        if present is None:
            present = (keypoint != 0).any(axis=(2, 3))
        present = present & self._sure(recording)
        keypoint[~present] = 0
        if score is not None:
            score[~present] = 0
        numbers = row.numbers
        return SkeletonSequence(
            sample_id=row.sample_id,
            keypoint=keypoint,
            label=row.label,
            present=present,
            frame_index=recording.frames,
            body_ids=[*recording.identities],
            score=score,
            subject=numbers["subject"],
            camera=numbers["camera"],
            setup=numbers["setup"],
            replication=numbers["replication"],
            condition=row.condition,
            fps=row.fps,
            width=max(0, numbers["width"]),
            height=max(0, numbers["height"]),
            source=row.file,
        )

    def _sure(self, recording: Recording) -> NDArray[np.bool_]:
        """(M, T) detections whose score is high enough; raises DamageError if too few are."""
        scores = recording.box_score
        if not (self.box_thr or self.valid_ratio):
            return np.ones(recording.keypoint.shape[:2], np.bool_)
        if scores is None:
            raise DamageError(
                "a detection has no score, but --box-thr and --valid-ratio need scores"
            )
        sure: NDArray[np.bool_] = scores >= self.box_thr
        somebody = sure & ~np.isnan(recording.keypoint).all(axis=(2, 3))
        frames, total = int(somebody.any(axis=0).sum()), somebody.shape[1]
        if not frames or frames < self.valid_ratio * total:
            raise DamageError(
                f"{frames} of {total} frames have a box of score {self.box_thr:g}", kind="no person"
            )
        return sure


def open_custom(spec: DatasetSpec, raw: Path) -> CustomSource:
    """Opens a folder; the layout of `spec`, if any, applies to files that name none.

    If no recording can be read, the layout may stay unknown, and each recording is rejected for its
    own reason.

    Raises AclnetError if there is no index, if the index or a file beside it is invalid, or if the
    layout or the units of readable recordings are unknown.
    """
    folder = load_folder(raw, spec.pattern, spec.own_units)
    facts = folder.facts
    told = _layout(raw, folder)
    known = told or spec.layout
    file, first = _first_sound(raw, folder, get_layout(known) if known else None)
    layout, units = known, stored(facts.units) or "m"
    if isinstance(first, Recording):
        layout = told or first.layout or spec.layout
        units = stored(facts.units) or first.units or "m"
        if not layout:
            joints = first.keypoint.shape[2]
            own = f"; `aclnet layouts {raw / file} --json > mine.json` writes one" * first.named
            raise AclnetError(f"{raw}: {file} has {_joints(first)}; {_remedy(joints)}{own}")
    elif isinstance(first, UnknownJointsError):
        remedy = _remedy(*first.joints)
        raise AclnetError(f"{raw}: {file} has {first.reason}; {remedy}")
    elif isinstance(first, UnknownUnitsError):
        raise AclnetError(
            f'{raw}: {file} has {first.reason}; write `units = "px"` into {FACTS} beside {INDEX} '
            'for x, y and a confidence in pixels, or `units = "m"` ("cm", "mm") for x, y and z'
        )
    spec = replace(
        spec,
        title=facts.title or spec.title,
        layout=layout,
        units=units,
        class_names=folder.class_names,
    )
    if not isinstance(first, Recording):
        return CustomSource(spec, raw, folder.stamp, scored=False, tool="", boxed=False)
    return CustomSource(
        replace(spec, clean="ghosts-last" if first.tool else None),
        raw,
        folder.stamp,
        scored=split_score(first, spec.dimensions)[1] is not None,
        tool=first.tool,
        boxed=first.box_score is not None,
    )


def _joints(recording: Recording) -> str:
    """Returns the part of a message about joints whose layout is not known."""
    of_tool = f" of {recording.tool}" if recording.tool else ""
    return f"{recording.keypoint.shape[2]} joints{of_tool}, and their layout is not known"


def _remedy(*joints: int) -> str:
    """Returns the advice for numbers of joints that fit no known layout."""
    fitting = layouts_of(*joints)
    several = (
        (f"layouts with this number are {', '.join(fitting)}") if fitting else "none has so many"
    )
    return (
        f'write their layout, `layout = "NAME"`, into {FACTS} beside {INDEX}, or give --layout: a '
        f"name that `aclnet layouts` lists ({several}), or a .json file of your own, which "
        "docs/layouts.md describes"
    )


def _layout(raw: Path, folder: Folder) -> str:
    """The layout that `dataset.toml` names; a file by its absolute path."""
    name = folder.facts.layout
    return str(folder_of(raw) / folder.place / name) if name.endswith(".json") else name


@lru_cache(maxsize=2)
def _folder(root: Path, stamp: str, pattern: str, units: Units | None) -> Folder:
    """The folder of a source, read again in each process."""
    return load_folder(root, pattern, units)


@lru_cache(maxsize=1)
def _read(root: Path, stamp: str, file: str, images: str, spec: DatasetSpec) -> Recording:
    """Reads a file, and keeps its content for the next row that is a part of the same file."""
    layout = get_layout(spec.layout) if spec.layout else None
    folder = _folder(root, stamp, spec.pattern, spec.own_units)
    return read_recording(root, folder, file, layout, spec.units, images)


def _first_sound(
    root: Path, folder: Folder, layout: Layout | None
) -> tuple[str, Recording | DamageError | None]:
    """The first recording that can be read, with its file; all others must have the same form.

    A recording with a known layout is preferred. If none can be read, the damage of the first one
    takes its place; None if there are no recordings.
    """
    found: tuple[str, Recording | DamageError | None] = ("", None)
    for row in list(folder.rows.values())[:_TRIES]:
        try:
            units = stored(folder.facts.units)
            recording = read_recording(root, folder, row.file, layout, units, row.part.images)
        except DamageError as damage:
            found = found if found[1] else (row.file, damage)
            continue
        if layout or recording.layout:
            return row.file, recording
        found = found if isinstance(found[1], Recording) else (row.file, recording)
    return found


def _image_size(row: Row, image: tuple[int, int]) -> NDArray[np.float32]:
    """(2,) image size that coordinates are fractions of: from the index, or else from the tool."""
    told = (row.numbers["width"], row.numbers["height"])
    size = told if min(told) > 0 else image
    if min(size) <= 0:
        raise DamageError(
            f"coordinates are fractions of the image; give its `width` and `height` in {INDEX}, or "
            f"in {FACTS} for all recordings, to convert them to pixels"
        )
    return np.array(size, np.float32)
