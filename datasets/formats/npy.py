"""Arrays of `.npy` and `.npz` files from bytes: only numbers or text, and bounded memory.

`numpy.load` allocates all that a header announces, and can unpickle objects. Here, a file that does
not fit its header is damaged.
"""

from __future__ import annotations

import math
import tokenize
import warnings
import zipfile
from io import BytesIO
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np

from aclnet.datasets.formats import unreadable
from aclnet.datasets.formats.files import UNSOUND
from aclnet.datasets.spec import DamageError, shown

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from numpy.typing import NDArray

MAX_HEADER = 10_000
"""Limit of a header in bytes; headers of arrays of numbers are shorter."""
_READ_HEADER = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_UNREADABLE = (
    *(ValueError, SyntaxError, TypeError, KeyError, OverflowError),
    *(tokenize.TokenError, MemoryError, RecursionError),
)
"""Exceptions that numpy raises on invalid headers."""
_MAX_AXES = 32
_MAX_ITEM = {False: 8, True: 4 * 10**6}
"""Limit of an item in bytes: of a number, and of a text."""
_LAST_CHARACTER = 0x10FFFF
_SURROGATES = 0xD800, 0xDFFF


class Header(NamedTuple):
    """Header of a `.npy` file."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    order: Any
    """`C` or `F`."""
    begin: int
    """Position of the array in bytes."""


def parse_header(data: bytes, *, text: bool = False) -> Header:
    """The header of a `.npy` file (version 1 or 2 of its format), from its first bytes.

    data: at least the first MAX_HEADER bytes. text: the array holds text, not numbers. Raises
    DamageError if there is no such header.
    """
    file = BytesIO(data[: MAX_HEADER + 1])
    try:
        with warnings.catch_warnings(action="ignore"):  # warnings about headers that Python 2 wrote
            read = _READ_HEADER[np.lib.format.read_magic(file)]
            shape, is_fortran, dtype = read(file, max_header_size=MAX_HEADER)
    except _UNREADABLE:
        raise DamageError("not a .npy file, or its header is damaged") from None
    if dtype.kind not in ("U" if text else "fiub") or not 1 <= dtype.itemsize <= _MAX_ITEM[text]:
        wanted = "text is" if text else "numbers are"
        raise DamageError(f"an array of {dtype}"[:90] + f"; {wanted} expected")
    if len(shape) > _MAX_AXES or any(isinstance(n, bool) or n < 0 for n in shape):
        raise DamageError(f"the header is damaged: {shape} is not the shape of an array"[:90])
    return Header(dtype, shape, "F" if is_fortran else "C", file.tell())


def parse_npy(data: bytes, *, text: bool = False) -> NDArray[Any]:
    """The array of a `.npy` file; raises DamageError if it has no array of numbers, or of text."""
    dtype, shape, order, begin = parse_header(data, text=text)
    content = bytearray(memoryview(data)[begin:])  # so that the array can be written to
    if math.prod(shape) * dtype.itemsize != len(content):
        raise DamageError(
            f"the header announces an array {shape} of {dtype}, but {len(content)} bytes follow"
        )
    if text:
        _check_characters(np.frombuffer(content, dtype.str[0] + "u4"))
    return np.ndarray(shape, dtype, content, order=order)


def parse_npz(data: bytes, names: Iterable[str], limit: int) -> dict[str, NDArray[Any]]:
    """The named arrays that a `.npz` file has.

    Raises DamageError if the file is not an npz, or if an array takes more than `limit` bytes.
    """
    return _arrays(BytesIO(data), names, limit, ())


def load_npz(
    path: Path, names: Iterable[str], limit: int, text: Collection[str] = ()
) -> dict[str, NDArray[Any]]:
    """Reads a file as `parse_npz` does; the arrays named in `text` hold text."""
    try:
        with path.open("rb") as file:
            return _arrays(file, names, limit, text)
    except OSError as error:
        raise unreadable.damage(error) from None


def _arrays(
    data: IO[bytes], names: Iterable[str], limit: int, text: Collection[str]
) -> dict[str, NDArray[Any]]:
    arrays = {}
    try:
        with zipfile.ZipFile(data) as archive:
            members = set(archive.namelist())
            for name in names:
                if f"{name}.npy" in members:
                    with archive.open(f"{name}.npy") as file:
                        content = file.read(limit + 1)
                    if len(content) > limit:
                        raise DamageError(f"`{name}` is longer than {limit:,} bytes")
                    try:
                        arrays[name] = parse_npy(content, text=name in text)
                    except DamageError as damage:
                        raise DamageError(f"`{name}`: {damage.reason}") from None
    except (OSError, *UNSOUND) as error:
        raise DamageError(f"not a valid .npz file: {shown(error, 300)}") from None
    return arrays


def _check_characters(codes: NDArray[np.uint32]) -> None:
    """Raises DamageError if a code is not a character or is a surrogate, as no file can hold it."""
    low, high = _SURROGATES
    if ((codes > _LAST_CHARACTER) | ((codes >= low) & (codes <= high))).any():
        raise DamageError("the text has invalid characters")
