"""C3D, the binary format of marker-based motion capture (c3d.org, "The C3D File Format", guide).

A file has a header of 512 bytes, parameters, then the points of each frame with a residual that is
negative if a point is missing. Files of PCs (Intel) are read; analogue channels are skipped.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from aclnet.datasets.spec import DamageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK = 512
_MAGIC = 0x50
_INTEL = 84
_READ = ("LABELS", "LABELS2", "UNITS")
_MAX_SECTION = 255 * _BLOCK
"""Limit of all parameters in bytes: one byte counts their blocks."""
_SIZES = {-1: 1, 1: 1, 2: 2, 4: 4}
"""Size in bytes of a value of each parameter type: text, byte, whole number, float."""


class Markers(NamedTuple):
    """A recording."""

    labels: list[str]
    positions: NDArray[np.float64]
    """(T, V, 3) positions in the file's units; NaN if a marker is missing."""
    units: str
    """Unit in the words of the file: mm, cm or m; empty if the file has none."""


def parse(data: bytes) -> Markers:
    """The recording in a file; raises DamageError if the file is not C3D."""
    if len(data) < 2 * _BLOCK or data[1] != _MAGIC:
        raise DamageError("no C3D file")
    points, analogue, first, last = struct.unpack_from("<HHHH", data, 2)
    scale = struct.unpack_from("<f", data, 12)[0]
    begin = (struct.unpack_from("<H", data, 16)[0] - 1) * _BLOCK
    parameters = _parameters(data, (data[0] - 1) * _BLOCK)
    number = np.dtype("<f4" if scale < 0 else "<i2")
    words = 4 * points + analogue
    frames = last - first + 1
    if points == 0 or frames < 1 or not np.isfinite(scale):
        raise DamageError(f"{points} markers in {frames} frames")
    if begin < _BLOCK or begin + frames * words * number.itemsize > len(data):
        raise DamageError(f"the file ends before its {frames} frames of {points} markers")
    values = np.frombuffer(data, number, frames * words, begin).reshape(frames, words)
    with np.errstate(all="ignore"):  # damaged numbers become missing, or are found later
        found = values[:, : 4 * points].reshape(frames, points, 4).astype(np.float64)
        positions = found[..., :3] * (1 if scale < 0 else scale)
    positions[~(found[..., 3] >= 0)] = np.nan
    labels = [*_texts(parameters.get("LABELS")), *_texts(parameters.get("LABELS2"))][:points]
    if len(labels) < points:
        raise DamageError(f"{len(labels)} labels for {points} markers")
    units = next(iter(_texts(parameters.get("UNITS"))), "")
    return Markers([label.rpartition(":")[2] for label in labels], positions, units.lower())


class _Parameter(NamedTuple):
    kind: int
    shape: tuple[int, ...]
    data: bytes


def _parameters(data: bytes, begin: int) -> dict[str, _Parameter]:
    """Parameters of the group POINT by name; raises DamageError if the section is damaged."""
    if not _BLOCK <= begin <= len(data) - 4:
        raise DamageError("the parameters lie outside the file")
    if data[begin + 3] != _INTEL:
        raise DamageError(
            "the byte order is not that of a PC (Intel); convert the file with the software that "
            "wrote it"
        )
    data = data[begin : begin + _MAX_SECTION]
    found: dict[tuple[int, str], _Parameter] = {}
    group = None
    at = 4
    try:
        while True:
            length, number = struct.unpack_from("<bb", data, at)
            length = abs(length)
            if not length or not number:
                break
            name = data[at + 2 : at + 2 + length].decode("ascii", "replace").upper()
            at += 2 + length
            step = struct.unpack_from("<H", data, at)[0]
            if number < 0 and name == "POINT":
                group = -number
            elif number > 0 and name in _READ:
                found[number, name] = _parameter(data, at + 2)
            if not step:
                break
            at += step
    except (struct.error, IndexError, KeyError):
        raise DamageError("the parameters are damaged") from None
    return {name: value for (number, name), value in found.items() if number == group}


def _parameter(data: bytes, at: int) -> _Parameter:
    kind, count = struct.unpack_from("<bB", data, at)
    shape = struct.unpack_from(f"<{count}B", data, at + 2)
    size = _SIZES[kind] * int(np.prod(shape, dtype=np.int64))
    start = at + 2 + count
    return _Parameter(kind, shape, data[start : start + size])


def _texts(parameter: _Parameter | None) -> list[str]:
    """The texts of a parameter; empty if its values are not text."""
    if parameter is None or parameter.kind != -1 or not parameter.shape:
        return []
    width = parameter.shape[0]
    cells: list[Any] = [
        parameter.data[k : k + width] for k in range(0, len(parameter.data), width or 1)
    ]
    return [cell.decode("ascii", "replace").strip() for cell in cells]
