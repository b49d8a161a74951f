"""The order of an epoch, as a pure function of what decides it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from aclnet.datasets.store import keyed_random

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Folded into keys and seeds, so that no two draws are the same. None is 0: numpy's seeds end in
# zeros without end, so that (seed, epoch) and (seed, epoch, 0) are one.
_SHARDS, _REPEAT, AUGMENT, _SAMPLES = 1, 2, 3, 4


class Share(NamedTuple):
    """The part of the work that one of several data-parallel processes does."""

    rank: int = 0
    """Number of the process, from 0."""
    world: int = 1
    """How many processes there are."""


WHOLE = Share()
"""All of the work: there is one process."""


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

    def step(self, step: int, share: Share = WHOLE) -> NDArray[np.int64]:
        """Positions in `order` of a process's share of a step, ascending."""
        positions = np.arange(step * self.batch, min((step + 1) * self.batch, len(self.order)))
        return np.array_split(positions, share.world)[share.rank]

    def steps_of(self, share: Share) -> int:
        """Steps of a process: one less where the last has fewer samples than processes."""
        last = self.step(self.steps - 1, share)
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
    windows, number = _windows(shard_of, seed, epoch, window, shuffle=shuffle)
    entries = np.repeat(np.arange(len(samples)), 1 if repeats is None else repeats)
    occurrence = np.arange(len(entries)) - np.searchsorted(entries, entries)
    window_of = number[entries]
    draws = (
        keyed_random.generator(seed, epoch, _SAMPLES).random(len(entries)) if shuffle else entries
    )
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


def plan_identities(
    samples: NDArray[np.int64],
    shard_of: NDArray[np.int64],
    labels: NDArray[np.int64],
    *,
    seed: int,
    epoch: int,
    batch: int,
    window: int,
    per_class: int,
) -> EpochPlan:
    """The order of one epoch in batches of `batch` / `per_class` classes, `per_class` samples each.

    `labels` (n,) are the classes of the samples, at least as many as a batch holds; `batch` is a
    multiple of `per_class`; the rest as for `plan_epoch`. Samples of a class follow one another.

    An epoch has n // batch steps, at least one, and all are full. A batch lies in one window;
    a window of n' samples has n' / batch of them, rounded up or down. A window too small for that,
    or of fewer classes than a batch holds, is read together with the next (the last one with that
    before). In a window classes come in shuffled rounds, as often as one another but for one time
    in the last round; so do the samples of a class. Where rounds meet, no class comes twice in a
    batch, and no sample twice in a batch unless its class has fewer than `per_class` in the window.
    A sample of a class of average size is therefore drawn about once, one of a small class more
    often.
    """
    shards, number = _windows(shard_of, seed, epoch, window, shuffle=True)
    classes = batch // per_class
    windows, members = _merged(shards, number, labels, batch, classes)
    ends = np.cumsum([len(entries) for entries in members]) // batch
    steps = np.maximum(np.diff(ends, prepend=0), 1)
    draws = keyed_random.generator(seed, epoch, _SAMPLES)
    order = np.concatenate(
        [
            entries[_batches(labels[entries], count, classes, per_class, draws)]
            for entries, count in zip(members, steps.tolist(), strict=True)
        ]
    )
    return EpochPlan(
        windows=windows,
        order=samples[order],
        occurrence=_occurrence(order),
        ends=np.cumsum(steps) * batch,
        batch=batch,
        steps=int(steps.sum()),
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
    extra = keyed_random.uniform(keyed_random.fold(keys, epoch, _REPEAT), 0) < expected % 1
    return np.asarray(expected.astype(np.int64) + extra)


def _windows(
    shard_of: NDArray[np.int64], seed: int, epoch: int, window: int, *, shuffle: bool
) -> tuple[list[NDArray[np.int64]], NDArray[np.int64]]:
    """Shards of each window, and (n,) the number of each sample's window."""
    shards = np.unique(shard_of)
    if shuffle:
        shards = keyed_random.generator(seed, epoch, _SHARDS).permutation(shards)
    number = np.empty(int(shards.max(initial=-1)) + 1, dtype=np.int64)
    number[shards] = np.arange(len(shards)) // window
    return [shards[i : i + window] for i in range(0, len(shards), window)], number[shard_of]


def _merged(
    windows: list[NDArray[np.int64]],
    number: NDArray[np.int64],
    labels: NDArray[np.int64],
    batch: int,
    classes: int,
) -> tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]]:
    """Windows that can fill a batch each: their shards and their samples' positions."""
    borders = np.cumsum(np.bincount(number))[:-1]
    found: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    too_small = False
    parts = zip(windows, np.split(np.argsort(number, kind="stable"), borders), strict=True)
    for part in parts:
        found.append(_join(found.pop(), part) if too_small else part)
        entries = found[-1][1]
        too_small = len(entries) < batch or len(np.unique(labels[entries])) < classes
    if too_small and len(found) > 1:
        last = found.pop()
        found.append(_join(found.pop(), last))
    return [shards for shards, _ in found], [entries for _, entries in found]


def _join(
    one: tuple[NDArray[np.int64], NDArray[np.int64]],
    other: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return np.concatenate([one[0], other[0]]), np.concatenate([one[1], other[1]])


def _batches(
    labels: NDArray[np.int64],
    steps: int,
    classes: int,
    per_class: int,
    draws: np.random.Generator,
) -> NDArray[np.int64]:
    """(steps * classes * per_class,) positions in `labels`, batch after batch."""
    _, label, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    turns = _deal(np.array([len(sizes)]), np.array([steps]), classes, draws)
    groups = _deal(sizes, np.bincount(turns, minlength=len(sizes)), per_class, draws)
    dealt = np.empty((len(turns), per_class), dtype=np.int64)
    dealt[np.argsort(turns, kind="stable")] = groups.reshape(-1, per_class)
    return np.argsort(label, kind="stable")[dealt.ravel()]


def _deal(
    sizes: NDArray[np.int64], groups: NDArray[np.int64], each: int, draws: np.random.Generator
) -> NDArray[np.int64]:
    """Items of several piles, each dealt in shuffled rounds and cut into groups of `each`.

    `sizes` (u,) are the items of each pile, at least one, numbered on from pile to pile; `groups`
    (u,) how many groups of each are wanted. (sum of groups * each,) items, pile after pile. No
    group holds an item twice, unless the pile is smaller than a group.
    """
    wanted = groups * each
    start = np.cumsum(wanted) - wanted
    pile_of = np.repeat(np.arange(len(sizes)), sizes)
    dealt = np.empty(int(wanted.sum()), dtype=np.int64)
    held = np.zeros(len(pile_of), dtype=bool)  # by a group that waits for the next round
    for done in range(int((-(-wanted // sizes)).max())):
        items = np.flatnonzero((done * sizes < wanted)[pile_of])
        pile = pile_of[items]
        place = np.arange(len(items)) - np.searchsorted(pile, pile)
        size, before = sizes[pile], done * sizes[pile]
        # the waiting groups are filled at random, but not by what they hold; then come all others
        items = items[np.lexsort((draws.random(len(items)), held[items], pile))]
        missing = np.where(size < each, 0, -before % each)
        later = np.where(place < missing, -1.0, draws.random(len(items)))
        items = items[np.lexsort((later, pile))]
        position = before + place
        kept = position < wanted[pile]
        dealt[(start[pile] + position)[kept]] = items[kept]
        held[items] = (size >= each) & (place >= size - (before + size) % each)
    return dealt


def _occurrence(entries: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) how often each entry stood before."""
    by_entry = np.argsort(entries, kind="stable")
    ascending = entries[by_entry]
    occurrence = np.empty_like(entries)
    occurrence[by_entry] = np.arange(len(entries)) - np.searchsorted(ascending, ascending)
    return occurrence
