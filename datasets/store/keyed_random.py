"""Random numbers as a pure function of what they are for.

A draw is the hash of a key (seed, epoch, sample, ...) and the draw's own number, so that it does
not depend on worker, rank, batch composition or on what was drawn before: a resumed run, and one
on other hardware, sees the same augmentation. The functions take int64 arrays of numpy or torch
alike; both wrap on overflow, as the hash wants.

The hash is the output function of SplitMix64 (Steele, Lea and Flood, "Fast splittable
pseudorandom number generators", OOPSLA 2014).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

_GOLDEN = -0x61C8864680B583EB
_FIRST = -0x40A7B892E31B1A47
_SECOND = -0x6B2FB644ECCEEE15


def sample_keys(ids: Iterable[str]) -> NDArray[np.int64]:
    """(N,) int64 keys of sample ids; they stay the same in whatever store a sample lies."""
    digests = b"".join(hashlib.blake2b(i.encode(), digest_size=8).digest() for i in ids)
    return np.frombuffer(digests, dtype="<i8").astype(np.int64)


def fold(key: Any, *words: Any) -> Any:  # noqa: ANN401 - numpy or torch, as given
    """A new int64 key from `key` and further words (ints, or int64 arrays that broadcast)."""
    for word in words:
        key = _mix(key * _FIRST + _GOLDEN + word)
    return key


def uniform(key: Any, draw: Any) -> Any:  # noqa: ANN401
    """float64 in [0, 1) for each key; `draw` numbers the draws of one key (int or int64 array)."""
    bits = _shift(fold(key, draw), 11)
    # torch would multiply an int64 tensor by a Python float in float32
    return (bits if isinstance(bits, np.ndarray) else bits.double()) * 2.0**-53


def integers(key: Any, draw: Any, high: Any) -> Any:  # noqa: ANN401
    """int64 in [0, high) for each key; `high` may be an array."""
    scaled = uniform(key, draw) * high
    return scaled.astype(np.int64) if isinstance(scaled, np.ndarray) else scaled.long()


def generator(*words: int) -> np.random.Generator:
    """A numpy generator keyed by words, for draws as long as a shard or an epoch."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(words)))


def _mix(x: Any) -> Any:  # noqa: ANN401
    x = (x ^ _shift(x, 30)) * _FIRST
    x = (x ^ _shift(x, 27)) * _SECOND
    return x ^ _shift(x, 31)


def _shift(x: Any, bits: int) -> Any:  # noqa: ANN401
    """Logical right shift of int64."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)
