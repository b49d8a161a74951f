"""CASIA-B's poses as OpenGait and FastPoseGait keep them: `sss/cc-nn/vvv/vvv.pkl`.

Each file is a pickled array (T, 17, 3): x and y in pixels and confidence of COCO's joints.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aclnet.datasets.formats.files import read_file
from aclnet.datasets.formats.unpickle import parse_pickle
from aclnet.datasets.readers.casia_b import NUM_JOINTS, parse_id, to_sequence
from aclnet.datasets.readers.items import items_by_path
from aclnet.datasets.spec.errors import AclnetError
from aclnet.datasets.spec.sequence import DamageError, Rejection, SkeletonSequence
from aclnet.datasets.spec.source import Item, Source

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PATH = re.compile(r"(?:.*/)?(\d{3})/(\w\w-\d\d)/(\d{3})/\3\.pkl", re.ASCII)
_MAX_BYTES = 2**24  # a frame takes 408 bytes, the longest recordings have some 300


@dataclass(frozen=True, slots=True)
class OpenGaitSource(Source):
    """A folder or archive of the pickles, at any depth; files of other kinds are passed over."""

    def scan(self) -> tuple[list[Item], list[Rejection]]:
        return items_by_path(self.root, name_of, ".pkl", "CASIA-B (sss/cc-nn/vvv/vvv.pkl)")

    def read(self, item: Item) -> SkeletonSequence | Rejection:
        try:
            poses = _poses(read_file(self.root, item.path, _MAX_BYTES))
            return to_sequence(item, poses, np.arange(len(poses), dtype=np.int32))
        except DamageError as damage:
            return damage.at(item.path)


def name_of(path: str) -> str | None:
    """`sss-cc-nn-vvv` of a path, None where the dataset has no such recording."""
    match = _PATH.fullmatch(path)
    name = "-".join(match.groups()) if match else ""
    return name if parse_id(name) else None


def _poses(data: bytes) -> NDArray[Any]:
    """(T, 17, 3)"""
    try:
        poses = parse_pickle(data, "the file")
    except AclnetError as error:
        raise DamageError(str(error)) from None
    if not isinstance(poses, np.ndarray) or poses.dtype.kind not in "fiu":
        raise DamageError(f"holds a {type(poses).__name__}, an array of numbers is expected")
    if poses.ndim != 3 or poses.shape[1:] != (NUM_JOINTS, 3) or not len(poses):
        raise DamageError(f"the array is {poses.shape}, (T, {NUM_JOINTS}, 3) is expected")
    return poses
