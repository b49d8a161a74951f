"""Mutations that use the structure of files."""

from __future__ import annotations

import io
import json
import re
import warnings
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.stress.fuzz.files import npy, packed, pickled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


_TOKENS = (
    *(b"nan", b"-inf", b"1e999", b"-1", b"0", b"1e-400", b"0x10", b"1_0", b"9" * 25, b"9" * 5000),
    *(b"2147483647", b"4294967296", b"-9223372036854775808", b"99999999", b"1e18", b"0.5"),
    *(b"null", b"true", b"{}", b"[]", b'""', b"''", b"[" * 3000, b'{"a":' * 2000, b"[[", b"}"),
    *(b"\x00", b"\xff" * 4, b"\xef\xbb\xbf", b"\r\n", b"\r", b"\n\n", b"\xe2\x80\xa8", b"\x1b[2J"),
    *("é".encode(), "²".encode(), "٣".encode(), b"\\ud800", b"\xed\xa0\x80", b"%s", b"\\u0000"),
    *(b"../../../etc/passwd", b"/etc/passwd", b"..", b"~", b"a" * 300, b",", b";", b'"', b"="),
    *(b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80", b"\xff" * 8, b"\xff" * 7 + b"\x7f"),
)
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")


def mutate(data: bytes, rng: np.random.Generator, others: Sequence[bytes] = ()) -> bytes:
    """The input with one to four changes; `others` are inputs to take parts of."""
    for _ in range(int(rng.integers(1, 5))):
        change = _CHANGES_OF_BYTES[int(rng.integers(len(_CHANGES_OF_BYTES)))]
        data = change(data, rng, others)
    return data


def _place(data: bytes, rng: np.random.Generator) -> int:
    """A place in a file, often near either end, where headers and lists of contents are."""
    size = len(data)
    near = int(rng.integers(min(size, 200) + 1))
    return (near, size - near, int(rng.integers(size + 1)))[int(rng.integers(3))]


def _token(rng: np.random.Generator) -> bytes:
    return _TOKENS[int(rng.integers(len(_TOKENS)))]


def _overwrite(data: bytes, rng: np.random.Generator, _: Sequence[bytes]) -> bytes:
    place = _place(data, rng)
    token = rng.bytes(int(rng.integers(1, 9))) if rng.random() < 0.5 else _token(rng)
    return data[:place] + token + data[place + len(token) :]


def _insert(data: bytes, rng: np.random.Generator, _: Sequence[bytes]) -> bytes:
    place = _place(data, rng)
    return data[:place] + _token(rng) + data[place:]


def _delete(data: bytes, rng: np.random.Generator, _: Sequence[bytes]) -> bytes:
    place = _place(data, rng)
    some = (int(rng.integers(1, 9)), int(rng.integers(len(data) + 1)), len(data))
    length = some[int(rng.integers(3))]
    return data[:place] + data[place + length :]


def _duplicate(data: bytes, rng: np.random.Generator, _: Sequence[bytes]) -> bytes:
    place = _place(data, rng)
    length, times = int(rng.integers(1, 65)), int(rng.integers(1, 4))
    return data[:place] + data[place : place + length] * times + data[place:]


def _splice(data: bytes, rng: np.random.Generator, others: Sequence[bytes]) -> bytes:
    if not others:
        return data
    other = others[int(rng.integers(len(others)))]
    return data[: _place(data, rng)] + other[_place(other, rng) :]


def _renumber(data: bytes, rng: np.random.Generator, _: Sequence[bytes]) -> bytes:
    """Another token, or another number of the same file, in place of a number."""
    begin = int(rng.integers(len(data) + 1)) if len(data) > 4000 else 0
    found = list(_NUMBER.finditer(data, begin, begin + 4000))
    if not found:
        return data
    old = found[int(rng.integers(len(found)))]
    new = found[int(rng.integers(len(found)))][0] if rng.random() < 0.3 else _token(rng)
    return data[: old.start()] + new + data[old.end() :]


def _lines(data: bytes, rng: np.random.Generator, _: Sequence[bytes]) -> bytes:
    """Two lines exchanged, one left out or one doubled."""
    lines = data.split(b"\n")
    one, two = (int(rng.integers(len(lines))) for _ in range(2))
    match int(rng.integers(3)):
        case 0:
            lines[one], lines[two] = lines[two], lines[one]
        case 1:
            del lines[one]
        case _:
            lines.insert(two, lines[one])
    return b"\n".join(lines)


_ODD = (
    *(None, True, -1, 0, 1, 1.5, 1e308, 10**30, 2**31, 10**9, 10**12, 99_999, "", "x", "é", "../x"),
    *([], {}, [[]], [0], [-1], [10**9], ["a", "a"], {"a": 1}, "float64", "NaN", float("nan")),
)
"""Values that replace others in JSON."""


def _restructure(data: bytes, rng: np.random.Generator, _: Sequence[bytes]) -> bytes:
    """Exchanges or removes a value of JSON or of a pickle."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return _restructured_pickle(data, rng)
    return json.dumps(_with_a_change(content, _ODD, rng)).encode()


def _restructured_pickle(data: bytes, rng: np.random.Generator) -> bytes:
    from aclnet.datasets.formats.unpickle import parse_pickle

    if data[:1] not in b"\x80(}]":
        return data
    try:
        content = parse_pickle(data, "seed")
        return pickled(_with_a_change(content, _odd_arrays(), rng), int(rng.integers(6)))
    except Exception:  # no pickle, or one that only an unrestricted unpickler reads
        return data


@cache
def _odd_arrays() -> tuple[Any, ...]:
    shapes = ((), (0,), (2,), (2, 2), (1, 2, 17, 2), (1, 2, 25, 3), (2, 0, 25, 3))
    arrays = [np.ones(shape, dtype) for shape in shapes for dtype in ("f4", "i8", "?", "S3", "U2")]
    special = [np.full(2, np.nan), np.full(3, 1e300), np.array([-1, 2**62]), np.float32(1)]
    return (*_ODD, *arrays, *special, np.int64(-1), np.str_("x"), b"x", 2**70, ("a", 1), 1j)


def _with_a_change(content: Any, odd: Sequence[Any], rng: np.random.Generator) -> Any:
    """Plain values with one changed value."""
    nodes: list[tuple[Any, Any]] = []
    waiting = [content] if isinstance(content, dict | list) else []
    while waiting and len(nodes) < 3000:
        node = waiting.pop()
        keys = list(node) if isinstance(node, dict) else range(len(node))
        nodes += [(node, key) for key in keys]
        waiting += [node[key] for key in keys if isinstance(node[key], dict | list)]
    if not nodes:
        return odd[int(rng.integers(len(odd)))]
    node, key = nodes[int(rng.integers(len(nodes)))]
    other, place = nodes[int(rng.integers(len(nodes)))]
    match int(rng.integers(5)):
        case 0:
            del node[key]
        case 1:
            node[key] = other[place] if not isinstance(other[place], dict | list) else [1]
        case _:
            node[key] = odd[int(rng.integers(len(odd)))]
    return content


def _rearrange(data: bytes, rng: np.random.Generator, _: Sequence[bytes]) -> bytes:
    """Gives an array of a `.npy` or `.npz` file another shape or dtype, or removes it."""
    if data[:2] not in (b"PK", b"\x93N"):
        return data
    try:
        with warnings.catch_warnings(action="ignore"):
            loaded = np.load(io.BytesIO(data))
            if isinstance(loaded, np.ndarray):
                return npy(_another_array(loaded, rng))
            arrays = {name: loaded[name] for name in loaded.files}
            name = list(arrays)[int(rng.integers(len(arrays)))]
            if rng.random() < 0.1:
                del arrays[name]
            else:
                arrays[name] = _another_array(arrays[name], rng)
            return packed(arrays)
    except Exception:  # numpy raises many kinds of exceptions on damaged files
        return data


def _another_array(array: Any, rng: np.random.Generator) -> Any:
    dtype = ("f8", "f2", "i4", "?", "U4", ">f4", "c8")[int(rng.integers(7))]
    changes: list[Callable[[], Any]] = [
        *[lambda: array.astype(dtype)] * 4,
        lambda: array.reshape(-1),
        lambda: array[None],
        lambda: array[:0],
        lambda: array[..., :0],
        lambda: array[:1],
        lambda: np.concatenate([array, array]),
        lambda: np.asfortranarray(array),
        lambda: np.full_like(array, rng.choice([np.nan, np.inf, -1, 0, 1e30, 2**31 - 1])),
        lambda: array[()] if array.ndim == 0 else array[0],
    ]
    return changes[int(rng.integers(len(changes)))]()


_CHANGES_OF_BYTES = (
    *(_overwrite, _insert, _delete, _duplicate, _splice, _renumber, _lines),
    *(_renumber, _restructure, _restructure, _rearrange, _rearrange),
)
