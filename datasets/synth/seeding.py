"""Random numbers keyed by the seed and by what is drawn.

A person is therefore the same in every recording, and a recording is the same in every set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aclnet.datasets.store.keyed_random import generator, sample_keys

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np


def rng_for(seed: int, *what: str) -> np.random.Generator:
    """Random numbers that depend only on the seed and the words."""
    key = int(sample_keys(["/".join(what)])[0])
    return generator(seed, key & (2**64 - 1))


def choose(seed: int, names: Iterable[str], count: int) -> list[str]:
    """At most `count` of the names, sorted; the choice depends on the seed and the names."""
    known = sorted(names)
    order = rng_for(seed, "chosen", *known).permutation(len(known))[:count]
    return sorted(known[i] for i in order)
