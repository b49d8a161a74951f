"""UTD-MHAD: MATLAB files `aA_sS_tT_skeleton.mat` with `d_skel (20, 3, T)` in metres."""

from __future__ import annotations

import math
import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from aclnet.datasets.readers.items import FileSource, items_by_path, known_numbers
from aclnet.datasets.readers.joints import as_float32
from aclnet.datasets.spec import DamageError, Rejection, SkeletonSequence

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from aclnet.datasets.spec import Item

NUM_JOINTS = 20
NUM_CLASSES = 27
NUM_SUBJECTS = 8
_ID = re.compile(r"a(\d{1,2})_s(\d)_t(\d)", re.ASCII)
_FILE = re.compile(rf"({_ID.pattern})_skeleton\.mat", re.ASCII)
_MOST = (NUM_CLASSES, NUM_SUBJECTS, 9)  # numbers of actions, subjects, trials
_MAX_BYTES = 2**20  # the longest recording of the set takes 32 kB, 60 kB decompressed


@dataclass(frozen=True, slots=True)
class UtdMhadSource(FileSource):
    """A folder or archive of the dataset's skeleton files, at any depth."""

    max_bytes = _MAX_BYTES

    def scan(self) -> tuple[list[Item], list[Rejection]]:
        return items_by_path(self.root, _name_of, ".mat", "UTD-MHAD (aA_sS_tT_skeleton.mat)")

    def parse(self, item: Item, data: bytes) -> SkeletonSequence:
        numbers = known_numbers(_ID, item.sample_id, _MOST)
        if numbers is None:
            raise DamageError("the id is not of the form aA_sS_tT")
        action, subject, replication = numbers
        keypoint = _keypoint(data)
        return SkeletonSequence(
            sample_id=item.sample_id,
            keypoint=keypoint,
            label=action - 1,
            present=np.ones(keypoint.shape[:2], np.bool_),
            frame_index=np.arange(keypoint.shape[1], dtype=np.int32),
            subject=subject,
            replication=replication,
            source=item.path,
        )


def _name_of(path: str) -> str | None:
    match = _FILE.fullmatch(PurePosixPath(path).name)
    return match[1] if match and known_numbers(_ID, match[1], _MOST) else None


def _keypoint(data: bytes) -> NDArray[np.float32]:
    """(1, T, V, 3) joints of a file."""
    skeleton = _find(data, b"d_skel")
    if skeleton.ndim == 2:  # MATLAB drops a last axis of length 1
        skeleton = skeleton[..., None]
    if skeleton.ndim != 3 or skeleton.shape[:2] != (NUM_JOINTS, 3) or not skeleton.size:
        raise DamageError(f"`d_skel` is {skeleton.shape}; ({NUM_JOINTS}, 3, T) is expected")
    return as_float32(np.ascontiguousarray(skeleton.transpose(2, 0, 1)[None]), "`d_skel`")


# The MAT-file level 5 format, as far as arrays of real numbers go ("MAT-File Format", MathWorks).
# scipy.io.loadmat reads all of it, but a damaged file makes it crash the whole process.

_HEADER_BYTES = 128
_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8",
}  # fmt: skip
"""Element types that hold numbers."""
_NUMERIC_CLASSES = range(6, 16)
_IS_COMPLEX = 0x800


def _find(data: bytes, name: bytes) -> NDArray[Any]:
    """The numeric array of that name in a file."""
    order = {b"IM": "<", b"MI": ">"}.get(data[126:_HEADER_BYTES])
    if order is None:
        raise DamageError("not a MATLAB 5 file")
    for kind, content in _elements(data[_HEADER_BYTES:], order):
        if kind == _COMPRESSED:
            kind, content = next(_elements(_inflate(content), order), (0, b""))
        if kind == _MATRIX:
            parts = [*_elements(content, order)]
            if len(parts) >= 4 and parts[2][1] == name:
                return _matrix(parts, order)
    raise DamageError(f"`{name.decode()}` is missing")


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Type and content of each element in turn."""
    place = 0
    while place < len(data):
        kind, size, begin = _tag(data, place, order)
        if begin + size > len(data):
            raise DamageError("the file ends within an element (truncated?)")
        yield kind, data[begin : begin + size]
        place = begin + size
        if kind != _COMPRESSED:
            place += -place % 8


def _tag(data: bytes, place: int, order: str) -> tuple[int, int, int]:
    """Type and size of the element at `place`, and the position of its content."""
    try:
        (kind,) = struct.unpack_from(f"{order}I", data, place)
        if kind >> 16:  # up to four bytes are within the tag itself
            return kind & 0xFFFF, kind >> 16, place + 4
        (size,) = struct.unpack_from(f"{order}I", data, place + 4)
    except struct.error:
        raise DamageError("the file ends within an element (truncated?)") from None
    return kind, size, place + 8


def _inflate(content: bytes) -> bytes:
    stream = zlib.decompressobj()
    try:
        data = stream.decompress(content, _MAX_BYTES)
    except zlib.error as error:
        raise DamageError(f"cannot be decompressed: {error}") from None
    if not stream.eof:
        raise DamageError("the compressed data is too short or too long")
    return data


def _matrix(parts: list[tuple[int, bytes]], order: str) -> NDArray[Any]:
    """The array of a matrix element: flags, dimensions, name, real part."""
    (_, flags), (_, dimensions), _, (kind, content) = parts[:4]
    if len(flags) != 8 or len(dimensions) % 4 or kind not in _NUMBERS:
        raise DamageError("`d_skel` is not an array of real numbers")
    (flag,) = struct.unpack_from(f"{order}I", flags)
    if flag & 0xFF not in _NUMERIC_CLASSES or flag & _IS_COMPLEX:
        raise DamageError("`d_skel` is not an array of real numbers")
    shape = struct.unpack(f"{order}{len(dimensions) // 4}i", dimensions)
    dtype = np.dtype(order + _NUMBERS[kind])
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(content):
        raise DamageError(f"`d_skel` of shape {shape} does not fit its {len(content)} bytes")
    return np.ndarray(shape, dtype, content, order="F")
