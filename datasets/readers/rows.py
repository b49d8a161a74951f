"""Parsing of text tables of numbers, one row per line, in one call, with errors by line."""

from __future__ import annotations

import warnings
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from aclnet.datasets.spec import DamageError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def parse_rows(data: bytes, columns: int, separator: str | None = None) -> NDArray[np.float64]:
    """(N, columns) numbers of the N lines, every one finite even as float32.

    separator: text between the columns; None: any blanks. Blank lines may only come last.

    Raises DamageError with the line if there is none, or if a line has not `columns` numbers.
    """
    data = data.rstrip()
    if not data:
        raise DamageError("the file is empty")
    count = data.count(b"\n") + 1
    try:
        # warnings about files with nothing but unusual blanks
        with warnings.catch_warnings(action="ignore"):
            rows = np.loadtxt(BytesIO(data), comments=None, delimiter=separator, ndmin=2)
    except ValueError:
        raise _first_damage(data, columns, separator) from None
    if rows.shape != (count, columns):
        raise _first_damage(data, columns, separator)
    finite = np.abs(rows) <= np.finfo(np.float32).max
    if not finite.all():
        raise DamageError("a value is not finite", int(np.argmin(finite.all(axis=1))) + 1)
    return rows


def _first_damage(data: bytes, columns: int, separator: str | None) -> DamageError:
    """The first invalid line, found line by line."""
    between = None if separator is None else separator.encode()
    for number, line in enumerate(data.split(b"\n"), start=1):
        fields = line.split(between, columns)
        if len(fields) != columns:
            found = len(fields) if len(fields) < columns else f"more than {columns}"
            return DamageError(f"{found} values; {columns} are expected", number)
        for field in fields:
            if not _is_number(field):
                text = field[:40].decode("ascii", "backslashreplace")
                return DamageError(f"{text!r} is not a number", number)
    return DamageError("the file is not a table of numbers")


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True
