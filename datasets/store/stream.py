"""Streaming a store: whole shards are read, a window of them is shuffled, batches are cut from it.

The order of an epoch is a pure function of (samples, seed, epoch, batch, window, world): how much
memory there is, how many threads read and where a run was stopped change the speed, never it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from aclnet.datasets.spec import AclnetError
from aclnet.datasets.store import keyed_random
from aclnet.datasets.store.plan import (
    AUGMENT,
    WHOLE,
    EpochPlan,
    Share,
    balanced_repeats,
    plan_epoch,
    plan_identities,
)
from aclnet.datasets.store.windows import ShardCache, ShardWindows, read_ahead

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from aclnet.datasets.store.contents import StoreContents

WINDOW_BYTES = 160 << 20
"""A window's default size, decoded: eight shards of NTU's size, or the whole of a small set.

Up to two windows are held beside the cache.
"""
_READ_AHEAD = 4


class Sampling(Protocol):
    """Chooses the frames of sequences; `aclnet.pipelines.inputs.sampling` has the field's rules."""

    def __call__(self, n_frames: NDArray[np.int64], keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """(B, N) frame numbers, from 0, for B sequences of `n_frames` (B,) frames.

        Random rules draw by `keys` (B,) alone: a sample's frames must not depend on its batch.
        """
        ...


@dataclass(slots=True)
class Batch:
    """B samples, ragged over persons: P person-tracks of N sampled frames."""

    keypoint: NDArray[np.float32]
    """(P, N, V, C); with `score=True` confidence is one channel more, the last."""
    following: NDArray[np.float32] | None
    """(P, N, V, C): the frame after each, the same one at the end; only with `motion=True`."""
    elapsed: NDArray[np.int64] | None
    """(P, N) frames of the recording from each frame to its following one: 1, more across a gap in
    the recording's numbers, 0 at the end; only with `motion=True`."""
    present: NDArray[np.bool_]
    """(P, N): is the person there in that frame (of `keypoint`)?"""
    frame: NDArray[np.int64]
    """(P, N) number of each sampled frame in the sequence."""
    owner: NDArray[np.int64]
    """(P,) position in the batch of the sample that each track belongs to, ascending."""
    label: NDArray[np.int64]
    """(B,)."""
    sample: NDArray[np.int64]
    """(B,) row in the store's `samples`."""
    n_frames: NDArray[np.int64]
    """(B,) length of the whole sequence."""
    key: NDArray[np.int64]
    """(B,) keys of this draw for augmentation: seed, epoch, sample and occurrence folded."""

    def __len__(self) -> int:
        return len(self.label)

    def padded(self, persons: int) -> NDArray[np.float32]:
        """(B, persons, N, V, C): the first `persons` of each sample, zeros where there are less.

        For models that want a fixed number of persons.
        """
        track = np.arange(len(self.owner)) - np.searchsorted(self.owner, self.owner)
        wanted = track < persons
        full = np.zeros((len(self), persons, *self.keypoint.shape[1:]), self.keypoint.dtype)
        full[self.owner[wanted], track[wanted]] = self.keypoint[wanted]
        return full


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamOptions:
    """What a stream yields, and in which order.

    AclnetError on a batch size or a window below 1.
    """

    batch_size: int
    """Samples a step of this process."""
    sampling: Sampling
    """Chooses the frames."""
    seed: int = 0
    """Seed of order and keys."""
    shuffle: bool = True
    """In random order, without the last incomplete batch; else every sample once, in the order of
    the store."""
    motion: bool = False
    """Also yield the frame after each sampled one."""
    score: bool = False
    """Also yield the confidence of each joint, as the last channel."""
    balance: bool = False
    """Draw every class equally often."""
    per_class: int | None = None
    """Compose batches of classes with so many samples of each, for losses that compare samples of
    a batch; see `aclnet.datasets.store.plan.plan_identities`. Windows of too few classes for a
    batch are read together, which takes the memory of both."""
    window: int | None = None
    """Shards that are shuffled together; None: as many as `WINDOW_BYTES` hold."""
    share: Share = WHOLE
    """This process among data-parallel ones. All read the same windows, and the global batches
    depend on batch_size * world alone. Processes have equally many batches, but for an evaluation
    whose last step has fewer samples than there are processes."""

    def __post_init__(self) -> None:
        if self.batch_size < 1 or (self.window is not None and self.window < 1):
            raise AclnetError(
                f"batch size {self.batch_size}, window {self.window}: both must be 1 or more"
            )


class Stream:
    """An endless sequence of epochs over a split; each `iter()` goes through the rest of one.

    Stopped in the middle, the next `iter()` goes on with the batch after the last one yielded.
    Batches are gathered ahead by a thread, which ends with the iteration; errors in it are raised
    in the loop. One iteration at a time.

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
        mask: (samples,) which samples of it.
        options: see `StreamOptions`.

    Raises:
        AclnetError: an empty split, one with fewer samples than there are ranks to train on it, a
            size below 1, scores of a store that has none, `per_class` that does not divide the
            global batch, asks for more classes than there are, or comes with `balance` or without
            `shuffle`. While streaming: a shard is gone or does not decode.
    """

    def __init__(
        self, contents: StoreContents, mask: NDArray[np.bool_], options: StreamOptions
    ) -> None:
        self.samples = _chosen(contents, mask)
        self.options = options
        if options.shuffle and len(self.samples) < options.share.world:
            raise AclnetError(
                f"{contents.path}: this split has {len(self.samples)} samples, "
                f"too few to train with {options.share.world} processes"
            )
        if options.score and not contents.has_score:
            raise AclnetError(
                f"{contents.path} holds no confidence of joints: stream without score"
            )
        self._contents = contents
        self._batch = options.batch_size * options.share.world
        self.window = default_window(contents) if options.window is None else options.window
        self._keys = keyed_random.sample_keys(contents.column("id")[self.samples])
        self._shard_of = contents.shard_of[self.samples]
        self._labels = contents.column("label").astype(np.int64)
        self._start = contents.column("start").astype(np.int64)
        self._frames = contents.column("n_frames").astype(np.int64)
        self._persons = contents.column("n_persons").astype(np.int64)
        self._cache = ShardCache(contents, score=options.score)
        if options.per_class is not None:
            self._check_per_class(options.per_class)
        self.epoch = 0
        self.step = 0

    def plan(self, epoch: int) -> EpochPlan:
        """What an epoch reads and in which order."""
        labels = self._labels[self.samples]
        if self.options.per_class is not None:
            return plan_identities(
                self.samples,
                self._shard_of,
                labels,
                seed=self.options.seed,
                epoch=epoch,
                batch=self._batch,
                window=self.window,
                per_class=self.options.per_class,
            )
        repeats = None
        if self.options.balance:
            repeats = balanced_repeats(
                labels, keyed_random.fold(self._keys, self.options.seed), epoch
            )
        return plan_epoch(
            self.samples,
            self._shard_of,
            seed=self.options.seed,
            epoch=epoch if self.options.shuffle else 0,
            batch=self._batch,
            window=self.window,
            shuffle=self.options.shuffle,
            repeats=repeats,
        )

    def __len__(self) -> int:
        """Batches of the current epoch on this rank, those already yielded among them."""
        return self.plan(self.epoch).steps_of(self.options.share)

    def __iter__(self) -> Iterator[Batch]:
        plan = self.plan(self.epoch)
        for batch in read_ahead(self._batches(plan, self.epoch, self.step), _READ_AHEAD):
            self.step += 1
            yield batch
        self.epoch, self.step = self.epoch + 1, 0

    def state_dict(self) -> dict[str, int | str]:
        """Where the stream stands: the batches that were yielded are behind it.

        Besides, what the order depends on. World size is not in it: the same global batch shared
        out among other ranks is the same epoch.
        """
        return {**self._identity(), "epoch": self.epoch, "step": self.step}

    def load_state_dict(self, state: dict[str, int | str]) -> None:
        """Goes to where another stream stood; AclnetError if its order would be another one."""
        for name, value in self._identity().items():
            if state.get(name) != value:
                raise AclnetError(
                    f"the stream was saved with {name} {state.get(name)} and is now {value}; "
                    "resume with the settings and the store of the start"
                )
        self.epoch, self.step = int(state["epoch"]), int(state["step"])

    def _identity(self) -> dict[str, int | str]:
        return {
            "store": self._contents.digest,
            "split": hashlib.sha256(self.samples.astype("<i8").tobytes()).hexdigest(),
            "seed": self.options.seed,
            "batch": self._batch,
            "window": self.window,
            "shuffle": self.options.shuffle,
            "balance": self.options.balance,
            "per_class": self.options.per_class or 0,
        }

    def _check_per_class(self, per_class: int) -> None:
        if not self.options.shuffle or self.options.balance:
            raise AclnetError(
                "per_class draws classes equally often and in random order: "
                "it goes with shuffle=True and balance=False alone"
            )
        if per_class < 1 or self._batch % per_class:
            raise AclnetError(
                f"a global batch of {self._batch} cannot hold {per_class} samples of each class: "
                "per_class must divide it"
            )
        wanted, found = self._batch // per_class, len(np.unique(self._labels[self.samples]))
        if found < wanted:
            raise AclnetError(
                f"{self._contents.path}: a batch of {self._batch} with {per_class} samples of each "
                f"class holds {wanted} classes, and this split has {found}: "
                "lower the batch size or raise per_class"
            )

    def _batches(self, plan: EpochPlan, epoch: int, first: int) -> Iterator[Batch]:
        keys = np.empty(int(self.samples[-1]) + 1, dtype=np.int64)
        keys[self.samples] = keyed_random.fold(self._keys, self.options.seed, epoch, AUGMENT)
        with ShardWindows(plan.windows, self._cache) as windows:
            for step in range(first, plan.steps_of(self.options.share)):
                positions = plan.step(step, self.options.share)
                rows = plan.order[positions]
                key = keyed_random.fold(keys[rows], plan.occurrence[positions])
                window_of = np.searchsorted(plan.ends, positions, side="right")
                windows.forget_before(int(window_of[0]))
                yield self._gather(rows, key, window_of, windows)

    def _gather(
        self,
        rows: NDArray[np.int64],
        key: NDArray[np.int64],
        window_of: NDArray[np.int64],
        windows: ShardWindows,
    ) -> Batch:
        persons, frames = self._persons[rows], self._frames[rows]
        chosen = self.options.sampling(frames, key)
        if (chosen < 0).any() or (chosen >= frames[:, None]).any():
            raise ValueError(f"{self.options.sampling} chose frames beyond the ends of sequences")
        owner = np.repeat(np.arange(len(rows)), persons)
        track = np.arange(len(owner)) - np.repeat(np.cumsum(persons) - persons, persons)
        base = self._start[rows][owner] + track * frames[owner]
        frame = chosen[owner]
        after = np.minimum(frame + 1, frames[owner][:, None] - 1)
        now = windows.take(base[:, None] + frame, window_of[owner])
        following = elapsed = None
        if self.options.motion:
            later = windows.take(base[:, None] + after, window_of[owner])
            following, elapsed = later.keypoint, later.number.astype(np.int64) - now.number
        return Batch(
            keypoint=now.keypoint,
            following=following,
            elapsed=elapsed,
            present=now.present,
            frame=frame,
            owner=owner,
            label=self._labels[rows],
            sample=rows,
            n_frames=frames,
            key=key,
        )


def _chosen(store: StoreContents, mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Rows of a mask; ValueError where it is none of the store's samples."""
    if mask.dtype != np.bool_ or mask.shape != (len(store),):
        raise ValueError(
            f"a mask of {len(store)} bool is expected, not {mask.dtype} of shape {mask.shape}"
        )
    if not mask.any():
        raise AclnetError(f"{store.path}: this split has no sample, there is nothing to stream")
    return np.flatnonzero(mask)


def default_window(store: StoreContents) -> int:
    """Shards a window holds, from the store's size alone."""
    layout = store.layout
    row_bytes = layout.num_joints * store.coordinates * 4
    return int(max(1, WINDOW_BYTES // (store.shard_rows * row_bytes)))
