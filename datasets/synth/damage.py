"""Deliberate damage: the choice of recordings, and the effect of each kind on a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from aclnet.datasets.synth.seeding import rng_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from aclnet.datasets.synth.body import FloatArray

T = TypeVar("T")

DAMAGES = ("truncated", "joint count", "not finite", "empty", "garbage")
"""Kinds of damage of a file."""


def deal_damage(
    seed: int, share: float, items: Sequence[T], kinds: Sequence[str], key: Iterable[str]
) -> dict[T, str]:
    """Kind of damage of a share of the items, the kinds in turn.

    The choice of items depends on the seed, the words of `key` and the number of items.
    """
    order = rng_for(seed, "damaged", *key).permutation(len(items))[: round(share * len(items))]
    return {items[i]: kinds[turn % len(kinds)] for turn, i in enumerate(order)}


def spoil(
    values: FloatArray,
    kind: str | None,
    encode: Callable[[FloatArray], bytes],
    rng: np.random.Generator,
) -> bytes:
    """Content of the file of a recording (T, V, C), damaged unless `kind` is None.

    kind: one of DAMAGES, or `no person`.
    """
    if kind is None:
        return encode(values)
    if kind == "empty":
        return b""
    if kind == "garbage":
        return rng.bytes(4096)
    if kind == "no person":
        return encode(np.zeros_like(values))
    if kind == "joint count":
        return encode(values[:, :-1])
    if kind == "not finite":
        values = values.copy()
        values[tuple(rng.integers(values.shape))] = np.nan
        return encode(values)
    content = encode(values)
    cut = int(len(content) * rng.uniform(0.3, 0.9))
    begin = content.rfind(b"\n", 0, cut) + 1
    end = content.find(b"\n", cut)
    return content[: (begin + (len(content) if end < 0 else end)) // 2]  # half a line is left
