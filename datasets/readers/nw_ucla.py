"""NW-UCLA in the form that CTR-GCN's authors release: `all_sqe/aXX_sYY_eZZ_vNN.json`.

A file is an object with `file_name`, `label` (1 to 10) and `skeletons`: frames of 20 joints of x, y
and z. The numbers are metres of Kinect v1, as their size shows: bodies are about 1.6 high, three
from the sensor.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from aclnet.datasets.formats.json_text import parse_json
from aclnet.datasets.readers.items import FileSource, items_by_path
from aclnet.datasets.readers.joints import as_float32, presence
from aclnet.datasets.spec import DamageError, Rejection, SkeletonSequence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aclnet.datasets.spec import Item

NUM_JOINTS = 20
ACTIONS = (1, 2, 3, 4, 5, 6, 8, 9, 11, 12)
"""Numbers in names, in the order of the labels."""
NUM_SUBJECTS = 10
NUM_VIEWS = 3
_NAME = re.compile(r"a(\d\d)_s(\d\d)_e(\d\d)_v(\d\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class NwUclaSource(FileSource):
    """A folder or archive of the JSON files, at any depth."""

    max_bytes = 2**22  # the longest recording, 201 frames, takes 150 kB

    def scan(self) -> tuple[list[Item], list[Rejection]]:
        return items_by_path(self.root, _name_of, ".json", "NW-UCLA (aXX_sYY_eZZ_vNN.json)")

    def parse(self, item: Item, data: bytes) -> SkeletonSequence:
        name = _parse_name(item.sample_id)
        if name is None:
            raise DamageError("the id is not of the form aXX_sYY_eZZ_vNN")
        keypoint = _keypoint(data, name.label)
        return SkeletonSequence(
            sample_id=item.sample_id,
            keypoint=keypoint,
            label=name.label,
            present=presence(keypoint),
            frame_index=np.arange(keypoint.shape[1], dtype=np.int32),
            subject=name.subject,
            camera=name.view,
            replication=name.episode,
            source=item.path,
        )


class _Name(NamedTuple):
    label: int
    subject: int
    episode: int
    """Number of the episode, from 0."""
    view: int


def _name_of(path: str) -> str | None:
    file = PurePosixPath(path)
    return file.stem if file.suffix == ".json" and _parse_name(file.stem) else None


def _parse_name(stem: str) -> _Name | None:
    """The parts of a name; None if the dataset has no such recording."""
    match = _NAME.fullmatch(stem)
    if match is None:
        return None
    action, subject, episode, view = (int(digits) for digits in match.groups())
    if action not in ACTIONS or not 1 <= subject <= NUM_SUBJECTS or not 1 <= view <= NUM_VIEWS:
        return None
    return _Name(ACTIONS.index(action), subject, episode, view)


def _keypoint(data: bytes, label: int) -> NDArray[np.float32]:
    """(1, T, V, 3) joints of a file; its label, if any, must agree with its name."""
    try:
        content = parse_json(data)
    except DamageError as damage:
        raise DamageError(damage.reason) from None  # without a line: such a file has only one
    if not isinstance(content, dict) or not isinstance(content.get("skeletons"), list):
        raise DamageError("an object with `skeletons` is expected")
    told = content.get("label", label + 1)
    if type(told) is not int or told != label + 1:
        raise DamageError(f"`label` is {str(told)[:20]}, but the name says {label + 1}")
    try:
        skeletons = np.array(content["skeletons"])
    except (ValueError, OverflowError):
        raise DamageError("`skeletons` is ragged or nested too deeply") from None
    if skeletons.dtype.kind not in "if":
        raise DamageError("`skeletons` holds values that are not numbers")
    if skeletons.ndim != 3 or skeletons.shape[1:] != (NUM_JOINTS, 3):
        raise DamageError(f"`skeletons` is {skeletons.shape}; (T, {NUM_JOINTS}, 3) is expected")
    return as_float32(skeletons[None], "`skeletons`")
