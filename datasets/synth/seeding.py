"""Random numbers keyed by the seed and by what is drawn.

So a person is the same in every recording, and a recording is the same whichever others are
written with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aclnet.datasets.store.keyed_random import generator, sample_keys

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np


def rng_for(seed: int, *what: str) -> np.random.Generator:
    """Random numbers that depend on nothing but the seed and the words."""
    key = int(sample_keys(["/".join(what)])[0])
    return generator(seed, key & (2**64 - 1))


def choose(seed: int, names: Iterable[str], count: int) -> list[str]:
    """At most `count` of the names, sorted; which ones follows from the seed and the names."""
    known = sorted(names)
    order = rng_for(seed, "chosen", *known).permutation(len(known))[:count]
    return sorted(known[i] for i in order)
