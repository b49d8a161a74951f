"""Loading of pickled arrays without running the code that a pickle names.

A pickle can call any importable function with any arguments. These pickles may only name what numpy
names to rebuild arrays, and our own functions are called instead: numpy's trust their arguments,
and crash on those of a damaged or hostile file.
"""

from __future__ import annotations

import codecs
import math
import mmap
import os
import pickle
import pickletools
import re
from contextlib import contextmanager
from io import BytesIO
from typing import IO, TYPE_CHECKING, Any, TypeGuard

import numpy as np

from aclnet.datasets.spec import AclnetError, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    Bytes = bytes | mmap.mmap

# kind and size (bytes; for text, characters) of numbers, truth values and text
_PLAIN_DTYPE = re.compile(r"[fiubcSU]\d{1,4}", re.ASCII)

_ARGUMENT = {ord(o.code): o.arg.n if o.arg else 0 for o in pickletools.opcodes}
"""Bytes of each operation's argument, or one of pickletools' negative numbers."""
_WIDTHS = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}
_TWO_LINES = b"ci"
_STOP = ord(".")
_NUMBER: dict[int, Callable[[bytes], int]] = {
    ord("p"): int,
    ord("r"): lambda argument: int.from_bytes(argument, "little"),
}
"""Readers of the number under which an operation stores an object; others have one byte."""


def load_pickle(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    """The object in a pickle of dicts, lists, tuples, numbers, text and numpy arrays of these.

    Arrays are read-only. Raises AclnetError if the file cannot be read, is not a complete pickle,
    or names a function or class other than numpy's for arrays.
    """
    try:
        with path.open("rb") as file, _mapped(file) as data:
            return _load(file, data, str(path))
    except OSError as error:
        raise AclnetError(f"{path} cannot be read: {error.strerror}") from None


def parse_pickle(data: bytes, what: str) -> Any:  # noqa: ANN401 - whatever it holds
    """The object in the bytes of a pickle, see `load_pickle`; messages call the file `what`."""
    return _load(BytesIO(data), data, what)


def _load(file: IO[bytes], data: Bytes, what: str) -> Any:  # noqa: ANN401 - whatever it holds
    try:
        _check_memo(data)
        return _unwrap(_Unpickler(file).load(), {})
    except _ForbiddenError as error:
        raise AclnetError(
            f"{what} uses {shown(error)}, which skeleton data never needs; it was not run. Get the "
            "file from its authors, or save plain dicts, lists and numpy arrays"
        ) from None
    except OSError:
        raise
    # if the bytes are not a pickle, the unpickler raises many kinds of exceptions
    except Exception as error:
        raise AclnetError(
            f"{what} is not a complete pickle of plain data ({type(error).__name__}: "
            f"{shown(error, 200)}); download it again"
        ) from None


@contextmanager
def _mapped(file: IO[bytes]) -> Iterator[Bytes]:
    """The content of a file, read only where it is accessed."""
    if os.fstat(file.fileno()).st_size == 0:  # an empty file cannot be mapped
        yield b""
        return
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield data


def _check_memo(data: Bytes) -> None:
    """Raises ValueError if a pickle announces more than it holds, or numbers objects unusually.

    The unpickler allocates room for all lower numbers: nine bytes can take tens of gigabytes. A
    pickler numbers objects in their order, so a number is never larger than the count of
    operations. Bytes that are not a pickle are not reported here: the unpickler stops at the same
    place.
    """
    place = count = 0
    try:
        while (code := data[place]) != _STOP:
            place, count = place + 1, count + 1
            size = _ARGUMENT[code]
            if size in _WIDTHS:  # a number of bytes that follow
                width = _WIDTHS[size]
                size = width + int.from_bytes(data[place : place + width], "little")
                # the unpickler would still allocate room for them
                if place + size > len(data):
                    raise ValueError(f"it ends within its object {count}")
            elif size == pickletools.UP_TO_NEWLINE:
                size = 0
                for _ in range(2 if code in _TWO_LINES else 1):
                    size = data.find(b"\n", place + size) + 1 - place
                    if size <= 0:
                        return
            if code in _NUMBER:
                number = _NUMBER[code](data[place : place + size])
                if number > count:
                    raise ValueError(f"its object {count} is numbered {number}")
            place += size
    except (IndexError, KeyError):
        return


def numpy_scalars() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """Functions that build numpy scalars here, with the names that pickles use for them.

    They are for `torch.serialization.safe_globals`: checkpoints of other toolkits hold such scalars
    beside their tensors. The functions called are ours, as in `load_pickle`.
    """
    return [
        (_Dtype, "numpy.dtype"),
        (_scalar, "numpy.core.multiarray.scalar"),
        (_scalar, "numpy._core.multiarray.scalar"),
    ]


def is_integer(value: object) -> TypeGuard[int]:
    """True if a value from a pickle is a whole number, Python's or numpy's."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


class _ForbiddenError(Exception):
    pass


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - functions
        # numpy's functions have moved from numpy.core to numpy._core. Methods, because a pickle
        # can set the attributes of functions and classes that it gets hold of.
        match module.replace("numpy._core", "numpy.core"), name:
            case "numpy", "ndarray":
                # called by the pickle itself, or an argument of the function
                return self._reconstruct
            case "numpy", "dtype":
                return self._dtype
            case "numpy.core.multiarray", "_reconstruct":
                return self._reconstruct
            case "numpy.core.multiarray", "scalar":
                return self._scalar
            case "numpy.core.numeric", "_frombuffer":
                return self._from_buffer
            case "_codecs", "encode":
                return self._encode
            case "builtins" | "__builtin__", "bytes":
                return self._no_bytes
        raise _ForbiddenError(f"{module}.{name}")

    def _dtype(self, text: object, *_: object) -> _Dtype:
        return _Dtype(text)

    def _reconstruct(self, *_: object) -> _Array:
        return _Array()

    def _scalar(self, dtype: object, data: object) -> Any:  # noqa: ANN401 - a numpy scalar
        return _scalar(dtype, data)

    def _from_buffer(
        self, data: object, dtype: object, shape: object, order: object
    ) -> NDArray[Any]:
        return _array(data, dtype, shape, order)

    # Protocols before 3 write bytes as text to be encoded, and empty bytes as a call of `bytes`.
    def _no_bytes(self) -> bytes:
        return b""

    def _encode(self, text: object, encoding: object) -> bytes:
        if not isinstance(text, str) or encoding != "latin1":
            raise ValueError("bytes are expected in latin1")
        return codecs.encode(text, "latin1")


class _Dtype:
    """A dtype under construction."""

    __slots__ = ("dtype",)

    def __init__(self, text: object, *_: object) -> None:
        if not isinstance(text, str) or not _PLAIN_DTYPE.fullmatch(text):
            raise ValueError(f"{text!r} is not a plain type of numbers or text")
        self.dtype: np.dtype[Any] = np.dtype(text)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        byte_order = state[1]  # the rest of the state is for structured types
        if byte_order not in ("<", ">", "|", "="):
            raise ValueError(f"{byte_order!r} is not a byte order")
        self.dtype = self.dtype.newbyteorder(byte_order)


class _Array:
    """An array under construction."""

    __slots__ = ("array",)
    array: NDArray[Any]

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, is_fortran, data = state
        self.array = _array(data, dtype, shape, "F" if is_fortran else "C")


def _scalar(dtype: object, data: object) -> Any:  # noqa: ANN401 - a numpy scalar
    return _array(data, dtype, (), "C")[()]


def _array(data: object, dtype: object, shape: object, order: object) -> NDArray[Any]:
    if isinstance(data, str):  # bytes as Python 2 wrote them
        data = data.encode("latin1")
    if not isinstance(data, bytes | bytearray) or not isinstance(dtype, _Dtype):
        raise ValueError("an array of bytes and a plain dtype is expected")
    if not isinstance(shape, tuple) or not all(isinstance(n, int) and n >= 0 for n in shape):
        raise ValueError(f"{shape!r} is not a shape")
    if order != "C" and order != "F":
        raise ValueError(f"{order!r} is not an order of axes")
    if math.prod(shape) * dtype.dtype.itemsize != len(data):
        raise ValueError(f"{len(data)} bytes do not fit a {dtype.dtype} array of shape {shape}")
    return np.ndarray(shape, dtype.dtype, bytes(data), order=order)


def _unwrap(value: Any, done: dict[int, tuple[Any, Any]]) -> Any:  # noqa: ANN401
    """`value` with finished arrays in place of those under construction.

    `done` holds containers and their results by identity.
    """
    if isinstance(value, _Array):
        return value.array
    if isinstance(value, _Dtype):
        return value.dtype
    if not isinstance(value, dict | list | tuple):
        return value
    if id(value) in done:
        return done[id(value)][1]
    if isinstance(value, tuple):
        result = tuple(_unwrap(entry, done) for entry in value)
        done[id(value)] = value, result
        return result
    done[id(value)] = value, value
    for key, entry in list(value.items() if isinstance(value, dict) else enumerate(value)):
        value[key] = _unwrap(entry, done)
    return value
