"""The order of an epoch, as a pure function of what decides it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aclnet.datasets import random

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Folded into keys and seeds, so that no two draws are the same. None is 0: numpy's seeds end in
# zeros without end, so that (seed, epoch) and (seed, epoch, 0) are one.
_SHARDS, _REPEAT, AUGMENT, _SAMPLES = 1, 2, 3, 4


@dataclass(frozen=True, slots=True)
class EpochPlan:
    """What one epoch reads and in which order."""

    windows: list[NDArray[np.int64]]
    """Shards of each window, in reading order."""
    order: NDArray[np.int64]
    """Samples in order; windows follow one another in it."""
    occurrence: NDArray[np.int64]
    """How often each entry's sample stood in `order` before."""
    ends: NDArray[np.int64]
    """Where in `order` each window ends."""
    batch: int
    """Global batch size."""
    steps: int

    def step(self, step: int, rank: int, world: int) -> NDArray[np.int64]:
        """Positions in `order` of a rank's part of a step, ascending."""
        positions = np.arange(step * self.batch, min((step + 1) * self.batch, len(self.order)))
        return np.array_split(positions, world)[rank]

    def steps_of(self, rank: int, world: int) -> int:
        """Steps of a rank: one less where the last one has fewer samples than there are ranks."""
        last = self.step(self.steps - 1, rank, world)
        return self.steps if len(last) else self.steps - 1


def plan_epoch(
    samples: NDArray[np.int64],
    shard_of: NDArray[np.int64],
    *,
    seed: int,
    epoch: int,
    batch: int,
    window: int,
    shuffle: bool = True,
    repeats: NDArray[np.int64] | None = None,
) -> EpochPlan:
    """The order of one epoch.

    `samples` (n,) are rows of the store, at least one, ascending; `shard_of` (n,) their shards;
    `repeats` (n,) how often each is drawn (once where None), `batch` the global batch size,
    `window` the number of shards that are shuffled together. Shuffled epochs leave out the last
    incomplete batch, so that every step and rank has the same size (a split smaller than a batch
    is one); others hold every sample exactly once.
    """
    shards = np.unique(shard_of)
    if shuffle:
        shards = random.generator(seed, epoch, _SHARDS).permutation(shards)
    windows = [shards[i : i + window] for i in range(0, len(shards), window)]
    window_number = np.empty(int(shards.max(initial=-1)) + 1, dtype=np.int64)
    window_number[shards] = np.arange(len(shards)) // window
    entries = np.repeat(np.arange(len(samples)), 1 if repeats is None else repeats)
    first = np.searchsorted(entries, entries)
    occurrence = np.arange(len(entries)) - first
    window_of = window_number[shard_of[entries]]
    draws = random.generator(seed, epoch, _SAMPLES).random(len(entries)) if shuffle else entries
    order = np.lexsort((draws, window_of))
    steps = max(1, len(entries) // batch) if shuffle else -(-len(entries) // batch)
    return EpochPlan(
        windows=windows,
        order=samples[entries[order]],
        occurrence=occurrence[order],
        ends=np.cumsum(np.bincount(window_of, minlength=len(windows))),
        batch=batch,
        steps=steps,
    )


def balanced_repeats(
    labels: NDArray[np.int64], keys: NDArray[np.int64], epoch: int
) -> NDArray[np.int64]:
    """(n,) how often each sample is drawn so that classes are seen equally often in expectation.

    `labels` (n,), `keys` (n,) int64 keys of the samples. An epoch has about n draws: the expected
    number is n / (classes * size of the sample's class); its fraction is drawn.
    """
    _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    expected = len(labels) / (len(counts) * counts[inverse])
    extra = random.uniform(random.fold(keys, epoch, _REPEAT), 0) < expected % 1
    return np.asarray(expected.astype(np.int64) + extra)
