"""Random numbers as a pure function of their purpose.

A draw is the hash of a key (seed, epoch, sample, ...) and the draw's own number. It does not depend
on worker, rank, batch composition or earlier draws: a resumed run, and a run on other hardware, get
the same augmentation. The functions take int64 arrays of numpy or torch; both wrap on overflow,
which the hash needs.

The hash is the output function of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom
number generators", OOPSLA 2014).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

_GOLDEN = -0x61C8864680B583EB
_FIRST = -0x40A7B892E31B1A47
_SECOND = -0x6B2FB644ECCEEE15


def sample_keys(ids: Iterable[str]) -> NDArray[np.int64]:
    """(N,) int64 keys of sample ids, the same in every store that holds the sample."""
    digests = bytearray()
    for one in ids:
        digests += hashlib.blake2b(one.encode(), digest_size=8).digest()
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


def part_of_random(words: Sequence[int], start: int, stop: int) -> NDArray[np.float64]:
    """(stop - start,) draws from number `start` on of `generator(*words).random(...)`."""
    bits = np.random.Philox(np.random.SeedSequence(words))
    bits.advance(start // 4)  # Philox makes four numbers at a time
    return np.random.Generator(bits).random(stop - start // 4 * 4)[start % 4 :]


def _mix(x: Any) -> Any:  # noqa: ANN401
    x = (x ^ _shift(x, 30)) * _FIRST
    x = (x ^ _shift(x, 27)) * _SECOND
    return x ^ _shift(x, 31)


def _shift(x: Any, bits: int) -> Any:  # noqa: ANN401
    """Logical right shift of int64."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)
