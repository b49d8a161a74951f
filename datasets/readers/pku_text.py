"""PKU-MMD, phase 1, as its authors release it: long recordings, and lists of their actions.

`Data/PKU_Skeleton_Renew/XXXX-V.txt` is a recording of video XXXX by camera V (L, M or R). Each line
is a frame of 150 numbers: 2 persons x 25 joints x (x, y, z) in metres, zeros if a person is absent.
`Label/Train_Label_PKU_final/XXXX-V.txt` lists its actions, one per line: label from 1, first and
last frame, confidence. Each action is one sample; line NNN of that file is sample `XXXX-V-NNN`.

Toolkits cut differently (`[start - 1 : end]`, `[start : end]`, `[start : end + 1]`). Here frames
count from 1 and both ends belong to the action, as in AimCLR.

The sides of the protocols come from `Split/cross-subject.txt` and `cross-view.txt` if these files
are below the folder, and otherwise from the lists on which released code agrees.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from aclnet.datasets.formats.caches import cached_by_file
from aclnet.datasets.formats.files import file_on_disk, folder_of, read_file, walk_files
from aclnet.datasets.readers.items import unique_items
from aclnet.datasets.readers.joints import presence
from aclnet.datasets.readers.rows import parse_rows
from aclnet.datasets.spec import AclnetError, DamageError, Item, Rejection, SkeletonSequence, Source
from aclnet.datasets.spec.protocols import Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from aclnet.datasets.spec import DatasetSpec
    from aclnet.datasets.spec.protocols import Columns, Masks

NUM_PERSONS = 2
NUM_JOINTS = 25
CAMERAS = {"L": 1, "M": 2, "R": 3}
_NAME = re.compile(r"\d{4}-[LMR]", re.ASCII)
_FILE = re.compile(r"(\d{4}-[LMR])\.txt", re.ASCII)
_ID = re.compile(r"(\d{4}-([LMR]))-(\d{3,6})", re.ASCII)
_ACTION = re.compile(rb"(\d{1,9})\s*,\s*(\d{1,9})\s*,\s*(\d{1,9})\s*,\s*\d+", re.ASCII)
_MAX_BYTES = 2**26  # some minutes at 30 frames per second and 2 kB per frame take 10 to 20 MB
_MAX_LIST_BYTES = 2**20

# The tested parts of the set. The lists in MMNet's and other released code agree.
_VIDEOS = sorted({*range(2, 365)} - {*range(247, 251)})
_XSUB_TEST = frozenset(f"{video:04}-{view}" for video in range(291, 335) for view in CAMERAS)
_XVIEW_TEST = frozenset(f"{video:04}-M" for video in _VIDEOS)
_ALL = frozenset(f"{video:04}-{view}" for video in _VIDEOS for view in CAMERAS)
_FILES = {"xsub": "cross-subject.txt", "xview": "cross-view.txt"}


def _recording_of(sample_id: str) -> str:
    return sample_id.rpartition("-")[0]


def _divide(columns: Columns, tested: frozenset[str]) -> Masks:
    names = [_recording_of(sample_id) for sample_id in columns["original"].tolist()]
    trains = _ALL - tested
    return {
        "train": np.array([name in trains for name in names], np.bool_),
        "test": np.array([name in tested for name in names], np.bool_),
    }


_PROTOCOLS = (
    (Protocol("xsub", partial(_divide, tested=_XSUB_TEST), {"test": 2_704}), _XSUB_TEST),
    (Protocol("xview", partial(_divide, tested=_XVIEW_TEST), {"test": 7_188}), _XVIEW_TEST),
)
"""Protocols with their tested recordings; the counts are of actions, including broken ones."""


@dataclass(frozen=True, slots=True)
class PkuTextSource(Source):
    """A folder or archive of recordings and their lists of actions."""

    lists: str
    """Folder of the lists, relative to the root."""
    split_files: tuple[tuple[str, str], ...] = ()
    """Protocols, and the paths of their files."""

    def scan(self) -> tuple[list[Item], list[Rejection]]:
        """Items and rejections; the lists are read too, to count the actions."""
        recordings: list[Item] = []
        rejections: list[Rejection] = []
        lists = set()
        for path, size in walk_files(self.root):
            match = _FILE.fullmatch(PurePosixPath(path).name)
            if match is None:
                if path.endswith(".txt") and not _is_split(path):
                    reason = "the name does not fit PKU-MMD, phase 1 (XXXX-V.txt)"
                    rejections.append(Rejection(path, None, reason, "unknown name"))
            elif _is_list(path):
                lists.add(match[1])
            else:
                recordings.append(Item(match[1], path, size))
        recordings, doubles = unique_items(recordings)
        items = []
        for recording in recordings:
            found, damages = self._actions(recording)
            items += found
            rejections += damages
        for name in sorted(lists - {recording.sample_id for recording in recordings}):
            rejections.append(Rejection(self._list(name), None, "its recording is missing"))
        return items, rejections + doubles

    def read(self, item: Item) -> SkeletonSequence | Rejection:
        match = _ID.fullmatch(item.sample_id)
        if match is None:
            return Rejection(item.path, None, "the id is not of the form XXXX-V-NNN")
        number = int(match[3])
        frames = _recording(file_on_disk(self.root, item.path), self.root, item.path)
        if isinstance(frames, Rejection):
            return replace(frames, reason=f"{frames.reason}; action {number} of it is lost")
        try:
            lines = self._lines(match[1])
            if not 1 <= number <= len(lines):
                raise DamageError(f"the file has {len(lines)} lines, so there is no line {number}")
            action = _action(lines[number - 1], number, len(self.spec.class_names))
            if action.stop > len(frames):
                reason = (
                    f"the action ends at frame {action.stop}, but there are {len(frames)} frames"
                )
                raise DamageError(reason, number)
        except DamageError as damage:
            return damage.at(self._list(match[1]))
        keypoint = np.ascontiguousarray(frames[action.start : action.stop].swapaxes(0, 1))
        try:
            present = presence(keypoint, line=action.start + 1)
        except DamageError as damage:
            return damage.at(item.path)
        return SkeletonSequence(
            sample_id=item.sample_id,
            keypoint=keypoint,
            label=action.label,
            present=present,
            frame_index=np.arange(action.start, action.stop, dtype=np.int32),
            camera=CAMERAS[match[2]],
            source=item.path,
        )

    def splits(self) -> dict[str, list[str]]:
        ids = [item.sample_id for item in self.scan()[0]] if self.split_files else []
        found = {}
        for protocol, path in self.split_files:
            for side, names in zip(("train", "val"), _read_split(self.root, path), strict=True):
                found[f"{protocol}_{side}"] = [i for i in ids if _recording_of(i) in names]
        return found

    def _actions(self, recording: Item) -> tuple[list[Item], list[Rejection]]:
        """The actions of one recording, which share its size, and the invalid lines."""
        path = self._list(recording.sample_id)
        found, rejections = [], []
        try:
            lines = self._lines(recording.sample_id)
        except DamageError as damage:
            return [], [damage.at(path)]
        for number, line in enumerate(lines, start=1):
            try:
                _action(line, number, len(self.spec.class_names))
            except DamageError as damage:
                rejections.append(damage.at(path))
            else:
                share = recording.size // len(lines)
                found.append(Item(f"{recording.sample_id}-{number:03}", recording.path, share))
        return found, rejections

    def _lines(self, name: str) -> list[bytes]:
        return (
            read_file(self.root, self._list(name), _MAX_LIST_BYTES, listed=False)
            .rstrip()
            .split(b"\n")
        )

    def _list(self, name: str) -> str:
        return f"{self.lists}/{name}.txt"


def open_recordings(spec: DatasetSpec, raw: Path) -> PkuTextSource:
    """The recordings below a folder, or in its zip.

    The files of splits decide the sides, as everywhere. The known protocols stand in for missing
    files, and add the published counts if the files agree with them.

    Raises AclnetError if the lists of actions are missing or in several folders, or if a file of a
    split is damaged.
    """
    lists: set[str] = set()
    splits: dict[str, str] = {}
    for path, _ in sorted(walk_files(raw)):
        if _is_list(path) and _FILE.fullmatch(PurePosixPath(path).name):
            lists.add(str(PurePosixPath(path).parent))
        elif _is_split(path):
            splits.setdefault(PurePosixPath(path).name, path)
    if len(lists) != 1:
        found = f"are in {' and '.join(sorted(lists))}" if lists else "are missing"
        raise AclnetError(
            f"{raw}: the lists of actions {found}; there must be exactly one such folder, "
            "Label/Train_Label_PKU_final"
        )
    split_files = tuple((name, splits[file]) for name, file in _FILES.items() if file in splits)
    tested = {name: _read_split(raw, path)[1] for name, path in split_files}
    protocols = tuple(
        replace(known, published=known.published if tested.get(known.name, test) == test else {})
        for known, test in _PROTOCOLS
    )
    return PkuTextSource(replace(spec, protocols=protocols), raw, lists.pop(), split_files)


def _is_list(path: str) -> bool:
    """True if a path is a list. Lists have the same names as recordings, in other folders."""
    return any("label" in part.lower() for part in PurePosixPath(path).parts[:-1])


def _is_split(path: str) -> bool:
    return PurePosixPath(path).name in _FILES.values()


class _Action(NamedTuple):
    label: int
    start: int
    """First frame, from 0."""
    stop: int
    """The frame after the last."""


def _action(line: bytes, number: int, num_classes: int) -> _Action:
    """The action in line `number` of a list; raises DamageError if the line has none."""
    match = _ACTION.fullmatch(line.strip())
    if match is None:
        raise DamageError(
            "four whole numbers are expected: label, start, end and confidence", number
        )
    label, start, end = (int(digits) for digits in match.groups())
    if not 1 <= label <= num_classes:
        raise DamageError(f"label {label}; 1 to {num_classes} is expected", number)
    if not 1 <= start <= end:
        raise DamageError(f"the action is from frame {start} to {end}", number)
    return _Action(label - 1, start - 1, end)


@cached_by_file()  # the actions of a recording are read one after another
def _recording(file: Path, root: Path, path: str) -> NDArray[np.float32] | Rejection:
    """(T, M, V, 3) joints of a whole recording in `file`."""
    try:
        rows = parse_rows(read_file(root, path, _MAX_BYTES), NUM_PERSONS * NUM_JOINTS * 3)
    except DamageError as damage:
        return damage.at(path)
    return rows.reshape(-1, NUM_PERSONS, NUM_JOINTS, 3).astype(np.float32)


def _read_split(root: Path, path: str) -> tuple[frozenset[str], frozenset[str]]:
    """Names of the recordings that train and of those that are tested.

    The file has a line "Training videos:", a line of names, a line "Validataion videos:" (with this
    spelling) and a line of names. Raises AclnetError for another form.
    """
    sides: dict[str, set[str]] = {"train": set(), "valid": set()}
    side: set[str] | None = None
    try:
        lines = read_file(root, path, _MAX_LIST_BYTES).decode("utf-8", "replace").splitlines()
    except DamageError as damage:
        raise AclnetError(f"{folder_of(root) / path}: {damage.reason}") from None
    for number, line in enumerate(lines, start=1):
        header = line.strip().lower()[:5]
        if header in sides:
            side = sides[header]
            continue
        names = {name.strip() for name in line.split(",")} - {""}
        if names and (side is None or not all(map(_NAME.fullmatch, names))):
            raise AclnetError(
                f"{folder_of(root) / path}:{number}: names of recordings after a line `Training "
                "videos:` or `Validation videos:` are expected; download the file again, or "
                "remove it: without it, the published list is used"
            )
        if side is not None:
            side |= names
    train, test = (frozenset(members) for members in sides.values())
    if not train or not test or train & test:
        raise AclnetError(
            f"{folder_of(root) / path}: its two lists are empty or have common names; download it "
            "again, or remove it: without it, the published list is used"
        )
    return train, test
