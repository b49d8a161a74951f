"""The order of an epoch, as a pure function of its settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from aclnet.datasets.store import keyed_random

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

# Words for keys and seeds, so that no two draws are the same. None is 0: numpy pads seeds with
# zeros, so that (seed, epoch) and (seed, epoch, 0) are the same.
_SHARDS, _REPEAT, AUGMENT, _SAMPLES = 1, 2, 3, 4


class Share(NamedTuple):
    """The share of the work of one of several data-parallel processes."""

    rank: int = 0
    """Number of the process, from 0."""
    world: int = 1
    """Number of processes."""
    nodes: int = 1
    """Number of machines that the processes are on, equally many on each."""

    @property
    def on_machine(self) -> int:
        """Number of processes on one machine."""
        return -(-self.world // self.nodes)


WHOLE = Share()
"""All of the work, for a single process."""


@dataclass(frozen=True, slots=True)
class EpochPlan:
    """Samples of one epoch and their order.

    The order has a part for each lane, one after another. A global batch takes equally many samples
    from each lane. The windows of a lane follow one another in its part. A plan knows the samples
    of a window only when it draws them, so that its size depends on the number of shards alone.
    """

    samples: NDArray[np.int64]
    """(n,) rows of the store that the epoch draws from."""
    windows: list[NDArray[np.int64]]
    """Shards of each window, in reading order, lane by lane."""
    lane_of: NDArray[np.int64]
    """Lane of each window, ascending."""
    ends: NDArray[np.int64]
    """End of each window in the order."""
    bounds: NDArray[np.int64]
    """(lanes + 1,) where each lane begins in the order, and where the last one ends."""
    batch: int
    """Global batch size, a multiple of the number of lanes."""
    steps: int
    draw: Callable[[int], tuple[NDArray[np.int64], NDArray[np.int64]]]
    """Draws a window: positions in `samples` in order, and for each the number of earlier
    occurrences of its sample in the epoch."""

    def __len__(self) -> int:
        """Number of draws, including those after the last step."""
        return int(self.bounds[-1])

    @property
    def order(self) -> NDArray[np.int64]:
        """Samples of all windows in order."""
        drawn = np.concatenate([self.draw(n)[0] for n in range(len(self.windows))])
        return np.asarray(self.samples[drawn])

    @property
    def occurrence(self) -> NDArray[np.int64]:
        """Number of earlier occurrences in `order` of each entry's sample."""
        return np.concatenate([self.draw(n)[1] for n in range(len(self.windows))])

    def step(self, step: int, share: Share = WHOLE) -> NDArray[np.int64]:
        """Positions in the order of a process's share of a step, ascending.

        If the number of processes divides that of lanes, a process has lanes of its own.
        """
        begins, ends = self.bounds[:-1], self.bounds[1:]
        each = self.batch // len(begins)
        own_lanes = len(begins) % share.world == 0
        if own_lanes:
            count = len(begins) // share.world
            own = slice(share.rank * count, (share.rank + 1) * count)
            begins, ends = begins[own], ends[own]
        first = np.minimum(begins + step * each, ends)
        positions = _ranges(first, np.minimum(first + each, ends))
        return positions if own_lanes else np.array_split(positions, share.world)[share.rank]

    def steps_of(self, share: Share) -> int:
        """Steps of a process: one less if the last step has no sample for it."""
        last = self.step(self.steps - 1, share)
        return self.steps if len(last) else self.steps - 1


class Draws:
    """The draws of an epoch by their positions in its order.

    It keeps the windows of the last positions, because the next ones are mostly in them.
    """

    def __init__(self, plan: EpochPlan) -> None:
        self._plan = plan
        self._drawn: dict[int, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}

    def __call__(
        self, positions: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Positions in `samples`, occurrences and windows of ascending positions in the order."""
        window_of = np.searchsorted(self._plan.ends, positions, side="right")
        numbers, first = np.unique(window_of, return_index=True)
        self._drawn = {n: self._drawn.get(n) or self._plan.draw(n) for n in numbers.tolist()}
        parts = []
        for number, part in zip(numbers.tolist(), np.split(positions, first[1:]), strict=True):
            entries, occurrence = self._drawn[number]
            places = part - (self._plan.ends[number] - len(entries))
            parts.append((entries[places], occurrence[places]))
        entries, occurrence = map(np.concatenate, zip(*parts, strict=True))
        return entries, occurrence, window_of


def plan_epoch(
    samples: NDArray[np.int64],
    shard_of: NDArray[np.int64],
    *,
    seed: int,
    epoch: int,
    batch: int,
    window: int,
    lanes: int = 1,
    shuffle: bool = True,
    repeats: NDArray[np.int64] | None = None,
) -> EpochPlan:
    """The order of one epoch.

    `samples` (n,) are rows of the store, at least one; `shard_of` (n,) their shards, ascending;
    `repeats` (n,) how often each is drawn (once if None), `batch` the global batch size, a multiple
    of `lanes`, and `window` the number of shards of all lanes that are shuffled together. Shuffled
    epochs leave out the last incomplete batch, so that every step and rank has the same size (a
    split smaller than a batch is one batch); other epochs hold every sample exactly once.

    Each lane has the same number of draws, or one more. In a shuffled epoch, a lane has shards from
    all parts of the store, the same ones in each epoch. A shard where two lanes meet is divided
    between them; with `repeats`, the place where it is divided differs from epoch to epoch.
    """
    pieces = _pieces(shard_of, lanes, repeats, spread=shuffle)
    place = np.arange(len(pieces.shards))
    if shuffle:
        permuted = keyed_random.generator(seed, epoch, _SHARDS).permutation(len(place))
        place[permuted] = np.arange(len(place))
    by_turn = np.lexsort((place[pieces.shard], pieces.lane))
    shard, lane, start, stop = (
        values[by_turn] for values in (pieces.shard, pieces.lane, pieces.start, pieces.stop)
    )
    turn = np.arange(len(lane)) - np.searchsorted(lane, lane)
    borders = np.append(np.flatnonzero(turn % max(1, window // lanes) == 0), len(lane))
    total = None if repeats is None else np.cumsum(repeats)

    def draw(number: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        own = slice(borders[number], borders[number + 1])
        entries = _ranges(start[own], stop[own])
        if shuffle:
            draws = [
                keyed_random.part_of_random((seed, epoch, _SAMPLES), *part)
                for part in zip(start[own].tolist(), stop[own].tolist(), strict=True)
            ]
            entries = entries[np.argsort(np.concatenate(draws), kind="stable")]
        if total is None or repeats is None:
            return entries, np.zeros_like(entries)
        drawn = np.searchsorted(total, entries, side="right")
        return drawn, entries - (total - repeats)[drawn]

    longest, each = int(np.diff(pieces.bounds).max()), batch // lanes
    return EpochPlan(
        samples=samples,
        windows=np.split(pieces.shards[shard], borders[1:-1]),
        lane_of=lane[borders[:-1]],
        ends=np.cumsum(stop - start)[borders[1:] - 1],
        bounds=pieces.bounds,
        batch=batch,
        steps=max(1, int(pieces.bounds[-1]) // batch) if shuffle else -(-longest // each),
        draw=draw,
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
    repeats: int = 1,
) -> EpochPlan:
    """The order of one epoch in batches of `batch` / `per_class` classes, `per_class` samples each.

    `labels` (n,) are the classes of the samples, at least as many as a batch holds; `batch` is a
    multiple of `per_class`; other arguments as for `plan_epoch`. Samples of a class follow one
    another.

    An epoch has n * repeats // batch steps, at least one, and all are full. A batch is in one
    window; a window of n' samples has n' * repeats / batch of them, rounded up or down. A window
    that is too small for a batch, or has fewer classes than one, is joined with the next (the last
    one with the previous). In a window, classes come in shuffled rounds, all equally often except
    in the last round; so do the samples of a class. Across rounds, a batch has no class twice.
    It has no sample twice either, unless the sample's class has fewer than `per_class` in the
    window. A sample of a class of average size is therefore drawn about `repeats` times, and a
    sample of a small class more often.
    """
    shards, number = _windows(shard_of, seed, epoch, window)
    classes = batch // per_class
    windows, members = _merged(shards, number, labels, batch, classes)
    ends = np.cumsum([len(entries) for entries in members]) * repeats // batch
    steps = np.maximum(np.diff(ends, prepend=0), 1)
    draws = keyed_random.generator(seed, epoch, _SAMPLES)
    order = np.concatenate(
        [
            entries[_batches(labels[entries], count, classes, per_class, draws)]
            for entries, count in zip(members, steps.tolist(), strict=True)
        ]
    )
    occurrence, ends = _occurrence(order), np.cumsum(steps) * batch

    def draw(number: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        own = slice(ends[number] - steps[number] * batch, ends[number])
        return order[own], occurrence[own]

    return EpochPlan(
        samples=samples,
        windows=windows,
        lane_of=np.zeros(len(windows), dtype=np.int64),
        ends=ends,
        bounds=np.array([0, len(order)]),
        batch=batch,
        steps=int(steps.sum()),
        draw=draw,
    )


def balanced_repeats(
    labels: NDArray[np.int64], keys: NDArray[np.int64], epoch: int, times: int = 1
) -> NDArray[np.int64]:
    """(n,) number of draws of each sample, so that classes are seen equally often in expectation.

    `labels` (n,), `keys` (n,) int64 keys of the samples. An epoch has about n * times draws. The
    expected number of a sample is n * times / (classes * size of its class); the fraction is
    decided by a random draw.
    """
    _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    expected = times * len(labels) / (len(counts) * counts[inverse])
    extra = keyed_random.uniform(keyed_random.fold(keys, epoch, _REPEAT), 0) < expected % 1
    return np.asarray(expected.astype(np.int64) + extra)


class _Pieces(NamedTuple):
    """Shards of a split, cut where two lanes meet; the numbers of draws ascend with the shards."""

    shards: NDArray[np.int64]
    """(shards,) of the split, ascending."""
    bounds: NDArray[np.int64]
    """(lanes + 1,) as `EpochPlan.bounds`."""
    shard: NDArray[np.int64]
    """(pieces,) position of each piece's shard in `shards`."""
    lane: NDArray[np.int64]
    """(pieces,) lane of each piece."""
    start: NDArray[np.int64]
    """(pieces,) first draw of each piece."""
    stop: NDArray[np.int64]
    """(pieces,) end of the draws of each piece."""


def _pieces(
    shard_of: NDArray[np.int64], lanes: int, repeats: NDArray[np.int64] | None, *, spread: bool
) -> _Pieces:
    """The pieces of each lane, with equally many draws for each lane, or one more.

    With `spread`, a lane has every `lanes`-th shard, because shards of a protocol side follow one
    another in a store; else its shards follow one another.
    """
    borders = np.searchsorted(shard_of, np.arange(int(shard_of[-1]) + 2))
    shards = np.flatnonzero(np.diff(borders))
    if repeats is not None:
        borders = np.append(0, np.cumsum(repeats))[borders]
    number = np.arange(len(shards))
    line = np.argsort(number % lanes, kind="stable") if spread else number
    first = borders[shards[line]]
    ends = np.cumsum(borders[shards[line] + 1] - first)
    begins, total = np.append(0, ends[:-1]), ends[-1]
    bounds = total * np.arange(lanes + 1) // lanes
    place = np.unique(np.concatenate([begins, bounds]))  # where pieces begin, and the end
    whose = np.searchsorted(ends, place[:-1], side="right")
    start = first[whose] + place[:-1] - begins[whose]
    return _Pieces(
        shards=shards,
        bounds=bounds,
        shard=line[whose],
        lane=np.searchsorted(bounds, place[:-1], side="right") - 1,
        start=start,
        stop=start + np.diff(place),
    )


def _ranges(start: NDArray[np.int64], stop: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers from each start to its stop, range after range."""
    sizes = stop - start
    ends = np.cumsum(sizes)
    return np.asarray(np.arange(int(sizes.sum())) + np.repeat(start - (ends - sizes), sizes))


def _windows(
    shard_of: NDArray[np.int64], seed: int, epoch: int, window: int
) -> tuple[list[NDArray[np.int64]], NDArray[np.int64]]:
    """Shuffled shards of each window, and (n,) the number of each sample's window."""
    shards = keyed_random.generator(seed, epoch, _SHARDS).permutation(np.unique(shard_of))
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
    """Windows that can each fill a batch: their shards and their samples' positions."""
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

    `sizes` (u,) are the numbers of items of each pile, at least one; items are numbered on from
    pile to pile. `groups` (u,) are the numbers of groups of each pile. The result has (sum of
    groups * each,) items, pile after pile. No group holds an item twice, unless the pile is smaller
    than a group.
    """
    wanted = groups * each
    start = np.cumsum(wanted) - wanted
    pile_of = np.repeat(np.arange(len(sizes)), sizes)
    dealt = np.empty(int(wanted.sum()), dtype=np.int64)
    held = np.zeros(len(pile_of), dtype=bool)  # held by a group that waits for the next round
    for done in range(int((-(-wanted // sizes)).max())):
        items = np.flatnonzero((done * sizes < wanted)[pile_of])
        pile = pile_of[items]
        place = np.arange(len(items)) - np.searchsorted(pile, pile)
        size, before = sizes[pile], done * sizes[pile]
        # the waiting groups are filled at random, but not with items that they hold; then come
        # others
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
    """(n,) number of earlier occurrences of each entry."""
    by_entry = np.argsort(entries, kind="stable")
    ascending = entries[by_entry]
    occurrence = np.empty_like(entries)
    occurrence[by_entry] = np.arange(len(entries)) - np.searchsorted(ascending, ascending)
    return occurrence
