"""CASIA-B's poses in the form of OpenGait and FastPoseGait: `sss/cc-nn/vvv/vvv.pkl`.

Each file is a pickled array (T, 17, 3): x and y in pixels and confidence of COCO's joints.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aclnet.datasets.formats.unpickle import parse_pickle
from aclnet.datasets.readers.casia_b import NUM_JOINTS, name_in, to_sequence
from aclnet.datasets.readers.items import FileSource, items_by_path
from aclnet.datasets.spec import AclnetError, DamageError, Rejection, SkeletonSequence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aclnet.datasets.spec import Item

_PATH = re.compile(r"(?:.*/)?(\d{3})/(\w\w-\d\d)/(\d{3})/\3\.pkl", re.ASCII)


@dataclass(frozen=True, slots=True)
class OpenGaitSource(FileSource):
    """A folder or archive of the pickles, at any depth; other files are ignored."""

    max_bytes = 2**24  # a frame takes 408 bytes, and the longest recordings have about 300 frames

    def scan(self) -> tuple[list[Item], list[Rejection]]:
        return items_by_path(self.root, name_of, ".pkl", "CASIA-B (sss/cc-nn/vvv/vvv.pkl)")

    def parse(self, item: Item, data: bytes) -> SkeletonSequence:
        poses = _poses(data)
        return to_sequence(item, poses, np.arange(len(poses), dtype=np.int32))


def name_of(path: str) -> str | None:
    """`sss-cc-nn-vvv` from a path, None if the dataset has no such recording."""
    return name_in(path, _PATH)


def _poses(data: bytes) -> NDArray[Any]:
    """(T, 17, 3) joints of a file."""
    try:
        poses = parse_pickle(data, "the file")
    except AclnetError as error:
        raise DamageError(str(error)) from None
    if not isinstance(poses, np.ndarray) or poses.dtype.kind not in "fiu":
        raise DamageError(f"holds a {type(poses).__name__}; an array of numbers is expected")
    if poses.ndim != 3 or poses.shape[1:] != (NUM_JOINTS, 3) or not len(poses):
        raise DamageError(f"the array is {poses.shape}; (T, {NUM_JOINTS}, 3) is expected")
    return poses
