"""Arrays of `.npy` and `.npz` files out of bytes: numbers alone, and no more memory than they say.

`numpy.load` makes room for whatever a header announces, and unpickles objects on demand; here a
file that does not hold what it announces is damaged.
"""

from __future__ import annotations

import ast
import math
import re
import struct
import zipfile
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from aclnet.datasets.files import UNSOUND
from aclnet.datasets.sequence import DamageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

_MAGIC = b"\x93NUMPY"
_NUMBERS = re.compile(r"[<>|=]?(f[248]|[iu][1248]|b1)", re.ASCII)
_TEXT = re.compile(r"[<>]U[1-9][0-9]{0,6}")
MAX_HEADER = 10_000
"""Bytes that no header of an array of numbers exceeds."""
_BROKEN_TEXT = (ValueError, SyntaxError, TypeError, MemoryError, RecursionError)
"""What `ast.literal_eval` raises on text that is no plain value."""


class Header(NamedTuple):
    """What a `.npy` file announces."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    order: Any
    """`C` or `F`."""
    begin: int
    """Where the array begins, in bytes."""


def parse_header(data: bytes, *, text: bool = False) -> Header:
    """Of a `.npy` file (version 1 or 2 of its format) that begins so; DamageError where none does.

    The first MAX_HEADER bytes of a file suffice. text: an array of text is expected, not of
    numbers.
    """
    if data[:6] != _MAGIC or len(data) < 12 or data[6] not in (1, 2):
        raise DamageError("not a .npy file")
    wide = data[6] == 2
    (size,) = struct.unpack_from("<I" if wide else "<H", data, 8)
    begin = 12 if wide else 10
    header = data[begin : begin + size]
    if len(header) < size or begin + size > MAX_HEADER:
        raise DamageError("the header of the array is cut short or too long")
    try:
        facts = ast.literal_eval(header.decode("latin-1").strip())
    except _BROKEN_TEXT:
        facts = None
    return Header(*_description(facts, text=text), begin + size)


def parse_npy(data: bytes) -> NDArray[Any]:
    """The array of a `.npy` file; DamageError where it is none."""
    dtype, shape, order, begin = parse_header(data)
    content = data[begin:]
    if math.prod(shape) * dtype.itemsize != len(content):
        raise DamageError(
            f"an array {shape} of {dtype} is announced, {len(content)} bytes of it are there"
        )
    return np.ndarray(shape, dtype, content, order=order)


def parse_npz(data: bytes, names: Iterable[str], limit: int) -> dict[str, NDArray[Any]]:
    """Those of the named arrays that a `.npz` file holds.

    Raises DamageError where it is no such file, and where an array takes more than `limit` bytes.
    """
    arrays = {}
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            members = set(archive.namelist())
            for name in names:
                if f"{name}.npy" in members:
                    with archive.open(f"{name}.npy") as file:
                        content = file.read(limit + 1)
                    if len(content) > limit:
                        raise DamageError(f"`{name}` is longer than {limit:,} bytes")
                    arrays[name] = parse_npy(content)
    except (OSError, *UNSOUND) as error:
        raise DamageError(f"not a sound .npz file: {error}") from None
    return arrays


def _description(facts: object, *, text: bool) -> tuple[np.dtype[Any], tuple[int, ...], Any]:
    """Type, shape and order (`C` or `F`) that a header announces."""
    if not isinstance(facts, dict) or facts.keys() != {"descr", "fortran_order", "shape"}:
        raise DamageError("the header of the array is damaged")
    kind, shape = facts["descr"], facts["shape"]
    if not isinstance(kind, str) or not (_TEXT if text else _NUMBERS).fullmatch(kind):
        wanted = "text is" if text else "numbers are"
        raise DamageError(f"an array of {kind!r}"[:90] + f", {wanted} expected")
    sizes = shape if isinstance(shape, tuple) else (None,)
    if len(sizes) > 32 or any(type(n) is not int or n < 0 for n in sizes):
        raise DamageError("the header of the array is damaged")
    return np.dtype(kind), sizes, "F" if facts["fortran_order"] else "C"
