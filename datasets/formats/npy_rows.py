"""Rows of arrays that are too large for the memory, from a `.npy` file or a member of a `.npz`."""

from __future__ import annotations

import math
import struct
import zipfile
from functools import partial
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from aclnet.datasets.formats import unreadable
from aclnet.datasets.formats.files import UNSOUND
from aclnet.datasets.formats.npy import MAX_HEADER, parse_header
from aclnet.datasets.spec import AclnetError, DamageError, shown

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    Read = Callable[[int, int], bytes]
    """A function of position and count: these bytes of the array's file, fewer at its end."""

_MAX_ROWS = 2**24
_MAX_ROW_BYTES = 2**26
_LOCAL_HEADER = struct.Struct("<4s22xHH")
"""Header of a zip's member: signature, length of the name and of the extra field behind it."""


class NpyRows:
    """Rows along the first axis of an array on disk; only the requested rows are in memory."""

    def __init__(self, read: Read, size: int, what: str, *, text: bool = False) -> None:
        """`size`: bytes of the array's file. `what`: beginning of messages.

        Raises AclnetError if the file does not hold the array that it announces, of numbers or of
        text.
        """
        self._read = read
        try:
            header = parse_header(self._bytes(0, MAX_HEADER), text=text)
        except DamageError as damage:
            raise AclnetError(f"{what}: {damage.reason}; download it again") from None
        self.dtype, self.shape, order, self._begin = header
        if order != "C" or not self.shape:
            raise AclnetError(f"{what}: the array is not saved row by row (C order)")
        self._row_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
        # not `len(self)`, which cannot be a number beyond that of the system's largest index
        if self.shape[0] > _MAX_ROWS or self._row_bytes > _MAX_ROW_BYTES:
            raise AclnetError(f"{what}: an array {self.shape} is larger than any file of this kind")
        if self._begin + len(self) * self._row_bytes != size:
            raise AclnetError(
                f"{what}: the header announces an array {self.shape} of {self.dtype}, but "
                f"{max(0, size - self._begin):,} bytes follow; download it again"
            )

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def row_bytes(self) -> int:
        return self._row_bytes

    def read(self, first: int, count: int = 1) -> NDArray[Any]:
        """(count, ...) rows from `first` on; raises DamageError if they cannot be read."""
        wanted = count * self._row_bytes
        data = self._bytes(self._begin + first * self._row_bytes, wanted)
        if not 0 <= first <= len(self) - count or len(data) != wanted:
            raise DamageError(f"the file ends before row {first + count}")
        return np.frombuffer(data, self.dtype).reshape(count, *self.shape[1:])

    def _bytes(self, place: int, count: int) -> bytes:
        try:
            return self._read(place, count)
        except OSError as error:
            raise unreadable.damage(error) from None
        except UNSOUND as error:
            raise DamageError(f"cannot be unpacked: {shown(error, 300)}") from None


def open_npy(path: Path) -> NpyRows:
    """The rows of a `.npy` file; raises AclnetError if it is not one."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise AclnetError(f"{path} cannot be read: {error.strerror}") from None
    return NpyRows(partial(_read_at, path, 0), size, str(path))


def open_npz(path: Path, name: str, *, text: bool = False) -> NpyRows:
    """The rows of an array of numbers, or text, in a `.npz` file.

    An uncompressed array is read in place. A compressed array is decompressed from its beginning:
    reading further on decompresses the rows between, and going back starts from the beginning
    again. Raises AclnetError if there is no such array.
    """
    what = f"{path}/{name}"
    try:
        archive = zipfile.ZipFile(path)
        info = archive.getinfo(f"{name}.npy")
        if info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1:  # not encrypted
            read: Read = partial(_read_at, path, _content_of(path, info))
        else:
            read = partial(_unpack, archive.open(info))
    except KeyError:
        raise AclnetError(f"{path} has no array {name!r}") from None
    except OSError as error:
        raise AclnetError(f"{path} cannot be read: {error.strerror or error}") from None
    except UNSOUND as error:
        raise AclnetError(
            f"{path} is not a valid .npz file ({shown(error, 300)}); download it again"
        ) from None
    return NpyRows(read, info.file_size, what, text=text)


def _content_of(path: Path, info: zipfile.ZipInfo) -> int:
    """Position of a member's content in the archive: its own header may differ from the list's."""
    header = _read_at(path, 0, info.header_offset, _LOCAL_HEADER.size)
    signature, name, extra = _LOCAL_HEADER.unpack(header)
    if signature != b"PK\x03\x04":
        raise zipfile.BadZipFile(
            f"{info.filename} is not at the place that the zip's directory gives"
        )
    return int(info.header_offset + _LOCAL_HEADER.size + name + extra)


def _read_at(path: Path, begin: int, place: int, count: int) -> bytes:
    with path.open("rb") as file:
        file.seek(begin + place)
        return file.read(count)


def _unpack(file: IO[bytes], place: int, count: int) -> bytes:
    file.seek(place)
    return file.read(count)
