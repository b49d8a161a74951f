"""Hashes of rows, and their storage in fixed point."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

INT16_FILL = -32768
"""Value that stands for NaN in fixed point."""


class ContentHash:
    """sha256 of arrays' dtypes, shapes and values (little-endian), which come in pieces."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def begin(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        """Begins the next array."""
        self._digest.update(f"{dtype.str}{shape}".encode())

    def add(self, rows: NDArray[Any]) -> None:
        """Adds the next rows of the array."""
        little = rows.astype(rows.dtype.newbyteorder("<"), order="C", copy=False)
        self._digest.update(little.data)

    def hexdigest(self) -> str:
        """The hash of all arrays so far."""
        return self._digest.hexdigest()


def content_hash(blocks: list[NDArray[Any]]) -> str:
    """The `ContentHash` of whole arrays."""
    digest = ContentHash()
    for block in blocks:
        digest.begin(block.dtype, block.shape)
        digest.add(block)
    return digest.hexdigest()


def encode_int16(values: NDArray[np.float32], scale: float) -> NDArray[np.int16]:
    """Fixed point of joints (..., C): round(x / scale), NaN as -32768.

    A joint that is zero in all coordinates is missing. A joint that would round to zero therefore
    keeps its largest coordinate at one step, with its sign.
    """
    is_fill = np.isnan(values)
    joints = np.where(is_fill, 0, values)
    steps = np.rint(joints / scale)
    vanishing = (steps == 0).all(axis=-1) & (joints != 0).any(axis=-1)
    small = joints[vanishing]
    largest = np.abs(small).argmax(axis=-1)[:, None]
    steps[vanishing] = np.where(np.arange(small.shape[-1]) == largest, np.sign(small), 0)
    return np.where(is_fill, INT16_FILL, steps).astype(np.int16)


def decode_int16(steps: NDArray[np.int16], scale: float) -> NDArray[np.float32]:
    """The inverse of `encode_int16`, to half a scale (a whole one for joints kept from zero)."""
    values = steps.astype(np.float32) * np.float32(scale)
    values[steps == INT16_FILL] = np.nan
    return values
