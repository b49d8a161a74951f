"""Streaming a store: whole shards are read, a window of them is shuffled and cut into batches.

The order of an epoch is a pure function of (samples, seed, epoch, global batch, window, lanes).
Memory, number of threads, number of processes and the place where a run was interrupted change the
speed, never the order.
"""

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from aclnet.datasets.spec import AclnetError
from aclnet.datasets.store import keyed_random
from aclnet.datasets.store.plan import (
    AUGMENT,
    WHOLE,
    Draws,
    EpochPlan,
    Share,
    balanced_repeats,
    plan_epoch,
    plan_identities,
)
from aclnet.datasets.store.windows import (
    ReadAhead,
    ShardCache,
    ShardWindows,
    default_cache,
    default_threads,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from aclnet.datasets.store.contents import StoreContents

WINDOW_BYTES = 160 << 20
"""Default size of a window, decoded: eight shards of NTU's size, or the whole of a small set.

Up to two windows are in memory beside the cache.
"""
_SHARDS_PER_LANE = 16
"""Least number of shards of a lane by default: two lanes read the shard where they meet."""
_READ_AHEAD = 4


class Sampling(Protocol):
    """Chooses the frames of sequences; `aclnet.pipelines.inputs.sampling` has the field's rules."""

    def __call__(self, n_frames: NDArray[np.int64], keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """(B, N) frame numbers, from 0, for B sequences of `n_frames` (B,) frames.

        Random rules draw only by `keys` (B,), because a sample's frames must not depend on its
        batch.
        """
        ...


class Kept(Protocol):
    """Chooses the frames of a sequence that exist; `aclnet.pipelines.inputs.corruptions.frames`."""

    def count(self, n_frames: NDArray[np.int64]) -> NDArray[np.int64]:
        """(B,) numbers of kept frames of sequences of `n_frames` (B,) frames, at least 1."""
        ...

    def __call__(self, n_frames: NDArray[np.int64], keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """(B, K) frame numbers, ascending; in each row, the first `count` are valid."""
        ...


@dataclass(slots=True)
class Batch:
    """B samples with different numbers of persons: P person-tracks of N sampled frames."""

    keypoint: NDArray[np.float32]
    """(P, N, V, C); with `score=True` the confidence is an additional last channel."""
    following: NDArray[np.float32] | None
    """(P, N, V, C) the frame after each, the same one at the end; only with `motion=True`."""
    elapsed: NDArray[np.int64] | None
    """(P, N) frames of the recording from each frame to its following one: 1, more across a gap in
    the recording's numbers, 0 at the end; only with `motion=True`."""
    present: NDArray[np.bool_]
    """(P, N) whether the person is in that frame of `keypoint`."""
    frame: NDArray[np.int64]
    """(P, N) number of each sampled frame in the sequence."""
    owner: NDArray[np.int64]
    """(P,) position in the batch of the sample that each track belongs to, ascending."""
    label: NDArray[np.int64]
    """(B,) classes."""
    sample: NDArray[np.int64]
    """(B,) row in the store's `samples`."""
    n_frames: NDArray[np.int64]
    """(B,) length of the whole sequence."""
    key: NDArray[np.int64]
    """(B,) keys of this draw for augmentation: seed, epoch, sample and occurrence folded."""

    def __len__(self) -> int:
        return len(self.label)

    def padded(self, persons: int) -> NDArray[np.float32]:
        """(B, persons, N, V, C): the first `persons` of each sample, filled with zeros.

        This is for models that need a fixed number of persons.
        """
        track = np.arange(len(self.owner)) - np.searchsorted(self.owner, self.owner)
        wanted = track < persons
        full = np.zeros((len(self), persons, *self.keypoint.shape[1:]), self.keypoint.dtype)
        full[self.owner[wanted], track[wanted]] = self.keypoint[wanted]
        return full


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamOptions:
    """Contents and order of a stream.

    Raises AclnetError for a batch size, a window or a number of lanes below 1.
    """

    batch_size: int
    """Number of samples in a step of this process."""
    sampling: Sampling
    """Rule that chooses the frames."""
    seed: int = 0
    """Seed of the order and the keys."""
    shuffle: bool = True
    """True if the order is random, without the last incomplete batch; else every sample comes once,
    in the order of the store."""
    motion: bool = False
    """Also yield the frame after each sampled one."""
    score: bool = False
    """Also yield the confidence of each joint, as the last channel."""
    kept: Kept | None = None
    """Choice of frames that exist; other frames are neither sampled nor used for motion. None:
    all."""
    balance: bool = False
    """Draw every class equally often."""
    repeats: int = 1
    """Number of times that an epoch draws each sample, each time with other frames; more than 1
    needs `shuffle`."""
    per_class: int | None = None
    """Number of samples of each class in a batch, for losses that compare samples of a batch; see
    `aclnet.datasets.store.plan.plan_identities`. Windows with too few classes for a batch are read
    together, which takes the memory of both."""
    window: int | None = None
    """Number of shards that are shuffled together; None: as many as `WINDOW_BYTES` hold."""
    lanes: int | None = None
    """Number of parts that the split is divided into, each with shards of its own. A global batch
    takes equally many samples from each lane, so that a process reads its lanes alone if the number
    of processes divides that of lanes. It must divide the global batch. None: `default_lanes` with
    `shuffle`, else 1."""
    cache: int | None = None
    """Bytes of decoded shards that are kept from epoch to epoch, beside up to two windows. None: a
    quarter of the free memory, divided among the processes on this machine; nothing without
    `shuffle`, where one epoch is usual. The order does not depend on it."""
    share: Share = WHOLE
    """This process's share among data-parallel processes. The global batches depend only on
    batch_size * world. Processes have equally many batches, except for an evaluation whose last
    step has no sample for some of them. Processes that share a lane read the same windows."""

    def __post_init__(self) -> None:
        sizes = {
            "batch size": self.batch_size,
            "window": self.window,
            "lanes": self.lanes,
            "repeats": self.repeats,
        }
        for name, size in sizes.items():
            if size is not None and size < 1:
                raise AclnetError(f"{name} {size}: it must be 1 or more")
        if self.repeats > 1 and not self.shuffle:
            raise AclnetError(f"repeats {self.repeats}: without shuffle, each sample comes once")
        if self.cache is not None and self.cache < 0:
            raise AclnetError(f"a cache of {self.cache} bytes: it must be 0 or more")


class _Begun(NamedTuple):
    """Batches that a thread gathers, and the epoch and step of the first one."""

    position: tuple[int, int]
    batches: ReadAhead[Batch]


class Stream:
    """An endless sequence of epochs over a split; each `iter()` yields the rest of one epoch.

    If an iteration is stopped, the next `iter()` continues with the batch after the last one
    yielded. A thread gathers batches ahead and ends with the iteration; its errors are raised in
    the loop. Only one iteration may run at a time. `begin` starts the thread before the iteration.

    ```python
    stream = aclnet.open_store("ntu60.zarr").stream(
        "xsub/train", batch_size=64, sampling=aclnet.UniformSampling(100), seed=1
    )
    for batch in stream: ...   # epoch 0
    for batch in stream: ...   # epoch 1
    state = stream.state_dict()
    ```

    Args:
        contents: the store.
        mask: (samples,) bool: the samples to stream.
        options: see `StreamOptions`.

    Raises:
        AclnetError: an empty split, one with fewer samples than there are ranks to train on it, a
            size below 1, scores of a store that has none, `lanes` that do not divide the global
            batch, `per_class` that does not divide the global batch, asks for more classes than
            there are, or comes with `balance`, `lanes` or without `shuffle`; `repeats` without
            `shuffle`. While streaming: a
            shard is gone or does not decode.
    """

    def __init__(
        self, contents: StoreContents, mask: NDArray[np.bool_], options: StreamOptions
    ) -> None:
        self.samples = _chosen(contents, mask)
        self.options = options
        for name, parts in (("processes", options.share.world), ("lanes", options.lanes or 1)):
            if options.shuffle and len(self.samples) < parts:
                raise AclnetError(
                    f"{contents.path}: this split has {len(self.samples)} samples, "
                    f"too few to train with {parts} {name}"
                )
        if options.score and not contents.has_score:
            raise AclnetError(f"{contents.path} has no confidences of joints: stream without score")
        self._contents = contents
        self._batch = options.batch_size * options.share.world
        self.window = default_window(contents) if options.window is None else options.window
        self._shard_of = contents.shard_of[self.samples]
        self.lanes = options.lanes or self._default_lanes(mask)
        self._keys = contents.sample_keys[self.samples]
        names = ("label", "start", "n_frames", "n_persons")
        self._columns = {name: contents.column(name) for name in names}
        self._cache = ShardCache(contents, score=options.score, limit=self._cache_limit())
        if self._batch % self.lanes:
            raise AclnetError(
                f"a global batch of {self._batch} does not divide into {self.lanes} lanes: "
                "lanes must divide it"
            )
        if options.per_class is not None:
            self._check_per_class(options.per_class)
        self.epoch = 0
        self.step = 0
        self._planned: tuple[int, EpochPlan] | None = None
        self._begun: _Begun | None = None

    def plan(self, epoch: int) -> EpochPlan:
        """Samples of an epoch and their order; the last plan is kept."""
        if self._planned is None or self._planned[0] != epoch:
            self._planned = epoch, self._plan(epoch)
        return self._planned[1]

    def _plan(self, epoch: int) -> EpochPlan:
        if self.options.per_class is not None:
            return plan_identities(
                self.samples,
                self._shard_of,
                self._labels(),
                seed=self.options.seed,
                epoch=epoch,
                batch=self._batch,
                window=self.window,
                per_class=self.options.per_class,
                repeats=self.options.repeats,
            )
        return plan_epoch(
            self.samples,
            self._shard_of,
            seed=self.options.seed,
            epoch=epoch if self.options.shuffle else 0,
            batch=self._batch,
            window=self.window,
            lanes=self.lanes,
            shuffle=self.options.shuffle,
            repeats=self._repeats(epoch),
        )

    def _repeats(self, epoch: int) -> NDArray[np.int64] | None:
        """(n,) number of draws of each sample in an epoch; None: one each."""
        times = self.options.repeats
        if self.options.balance:
            keys = keyed_random.fold(self._keys, self.options.seed)
            return balanced_repeats(self._labels(), keys, epoch, times)
        return None if times == 1 else np.full(len(self.samples), times)

    def __len__(self) -> int:
        """Number of batches of the current epoch on this rank, including those already yielded."""
        return self.plan(self.epoch).steps_of(self.options.share)

    def __iter__(self) -> Iterator[Batch]:
        self.begin()
        begun, self._begun = self._begun, None
        assert begun is not None
        with closing(begun.batches) as batches:
            for batch in batches:
                self.step += 1
                yield batch
        self.epoch, self.step = self.epoch + 1, 0

    def begin(self) -> None:
        """Starts the thread that gathers the batches of the next iteration.

        An iteration starts it by itself. If it has started before, the first batches can be ready
        when they are asked for. Without an iteration, `close` ends the thread.
        """
        position = self.epoch, self.step
        if self._begun is not None and self._begun.position == position:
            return
        self.close()
        batches = self._batches(self.plan(self.epoch), *position)
        self._begun = _Begun(position, ReadAhead(batches, _READ_AHEAD))

    def close(self) -> None:
        """Ends a thread that `begin` has started; the stream can still be used."""
        begun, self._begun = self._begun, None
        if begun is not None:
            begun.batches.close()

    def state_dict(self) -> dict[str, int | str]:
        """Position of the stream after the yielded batches, and what the order depends on.

        World size is not included: the same global batch divided among other ranks is the same
        epoch.
        """
        return {**self._identity(), "epoch": self.epoch, "step": self.step}

    def load_state_dict(self, state: dict[str, int | str]) -> None:
        """Moves to another stream's position.

        Raises AclnetError if its order would be another one.
        """
        state = {"lanes": 1, "repeats": 1, **state}  # the first versions had neither
        for name, value in self._identity().items():
            if state.get(name) != value:
                raise AclnetError(
                    f"the stream was saved with {name} {state.get(name)} and is now {value}; "
                    "resume with the same settings and the same store"
                )
        self.epoch, self.step = int(state["epoch"]), int(state["step"])

    def _labels(self) -> NDArray[np.int64]:
        """(n,) classes of the samples of the split."""
        return self._values("label", self.samples)

    def _values(self, column: str, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        return self._columns[column][rows].astype(np.int64)

    def _identity(self) -> dict[str, int | str]:
        return {
            "store": self._contents.digest,
            "split": hashlib.sha256(self.samples.astype("<i8").tobytes()).hexdigest(),
            "seed": self.options.seed,
            "batch": self._batch,
            "window": self.window,
            "lanes": self.lanes,
            "shuffle": self.options.shuffle,
            "balance": self.options.balance,
            "repeats": self.options.repeats,
            "per_class": self.options.per_class or 0,
        }

    def _cache_limit(self) -> int:
        if self.options.cache is not None:
            return self.options.cache
        return default_cache(self.options.share.on_machine) if self.options.shuffle else 0

    def _default_lanes(self, mask: NDArray[np.bool_]) -> int:
        if not self.options.shuffle or self.options.per_class is not None:
            return 1
        return default_lanes(self._contents, mask, self._batch, self.window)

    def _check_per_class(self, per_class: int) -> None:
        if not self.options.shuffle or self.options.balance or self.lanes > 1:
            raise AclnetError(
                "per_class draws classes equally often and in random order: it needs shuffle=True, "
                "balance=False and lanes=1"
            )
        if per_class < 1 or self._batch % per_class:
            raise AclnetError(
                f"a global batch of {self._batch} cannot hold {per_class} samples of each class: "
                "per_class must divide the batch"
            )
        wanted, found = self._batch // per_class, len(np.unique(self._labels()))
        if found < wanted:
            raise AclnetError(
                f"{self._contents.path}: a batch of {self._batch} with {per_class} samples of each "
                f"class holds {wanted} classes, but this split has {found}: lower the batch size "
                "or raise per_class"
            )

    def _batches(self, plan: EpochPlan, epoch: int, first: int) -> Iterator[Batch]:
        words = self.options.seed, epoch, AUGMENT
        draws = Draws(plan)
        processes = self.options.share.on_machine
        threads = default_threads(processes, distant=self._contents.distant)
        with ShardWindows(plan.windows, plan.lane_of, self._cache, threads) as windows:
            for step in range(first, plan.steps_of(self.options.share)):
                drawn, occurrence, window_of = draws(plan.step(step, self.options.share))
                key = keyed_random.fold(self._keys[drawn], *words, occurrence)
                windows.turn_to(np.unique(window_of).tolist())
                yield self._gather(self.samples[drawn], key, window_of, windows)

    def _gather(
        self,
        rows: NDArray[np.int64],
        key: NDArray[np.int64],
        window_of: NDArray[np.int64],
        windows: ShardWindows,
    ) -> Batch:
        persons, frames = self._values("n_persons", rows), self._values("n_frames", rows)
        kept = self.options.kept
        available = frames if kept is None else kept.count(frames)
        chosen = self.options.sampling(available, key)
        if (chosen < 0).any() or (chosen >= available[:, None]).any():
            raise ValueError(f"{self.options.sampling} chose frames outside of the sequences")
        after = np.minimum(chosen + 1, available[:, None] - 1)
        if kept is not None:
            numbers = kept(frames, key)
            chosen, after = (np.take_along_axis(numbers, at, axis=1) for at in (chosen, after))
        owner = np.repeat(np.arange(len(rows)), persons)
        track = np.arange(len(owner)) - np.repeat(np.cumsum(persons) - persons, persons)
        base = self._values("start", rows)[owner] + track * frames[owner]
        frame = chosen[owner]
        now = windows.take(base[:, None] + frame, window_of[owner])
        following = elapsed = None
        if self.options.motion:
            later = windows.take(base[:, None] + after[owner], window_of[owner])
            following, elapsed = later.keypoint, later.number.astype(np.int64) - now.number
        return Batch(
            keypoint=now.keypoint,
            following=following,
            elapsed=elapsed,
            present=now.present,
            frame=frame,
            owner=owner,
            label=self._values("label", rows),
            sample=rows,
            n_frames=frames,
            key=key,
        )


def _chosen(store: StoreContents, mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Rows of a mask by shard; raises ValueError if it is not a mask of the store's samples."""
    if mask.dtype != np.bool_ or mask.shape != (len(store),):
        raise ValueError(
            f"a mask of {len(store)} bool is expected, not {mask.dtype} of shape {mask.shape}"
        )
    if not mask.any():
        raise AclnetError(f"{store.path}: this split has no samples")
    rows = np.flatnonzero(mask)
    return rows[np.argsort(store.shard_of[rows], kind="stable")]


def default_window(store: StoreContents) -> int:
    """Number of shards in a window, from the store's size alone."""
    layout = store.layout
    row_bytes = layout.num_joints * store.coordinates * 4
    return int(max(1, WINDOW_BYTES // (store.shard_rows * row_bytes)))


def default_lanes(
    store: StoreContents, mask: NDArray[np.bool_], batch: int, window: int | None = None
) -> int:
    """Number of lanes of a split, given as a mask, for global batches of `batch` samples.

    It is the largest number that divides the batch, is at most the number of shards in a window,
    and leaves enough shards for each lane. It is 1 if one window holds the whole split.
    """
    window = default_window(store) if window is None else window
    shards = int(np.count_nonzero(np.bincount(store.shard_of[mask])))
    most = 1 if shards <= window else min(window, shards // _SHARDS_PER_LANE, batch)
    return max((lanes for lanes in range(1, most + 1) if batch % lanes == 0), default=1)
