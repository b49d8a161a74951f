"""Measurements of a store on this machine: speed of reading, feeding and training."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from aclnet.datasets.spec import silent
from aclnet.runs.inputs import MakeInputs, clip_to_train
from aclnet.runs.network import build_network
from aclnet.runs.splits import choose_splits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lightning_fabric import Fabric

    from aclnet.datasets.spec import Progress
    from aclnet.datasets.store.plan import EpochPlan
    from aclnet.datasets.store.store import Store
    from aclnet.datasets.store.stream import Stream
    from aclnet.runs.config import Config
    from aclnet.runs.inputs import Inputs

_BUSY = 0.8
"""Share of a training step that its data may take, in the thread that reads ahead."""
_MIXED = 0.95
"""Entropy from which more shards in a window make no difference."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Rates in training sequences per second; `bench` describes the measurements."""

    read: float
    read_mb: float
    """Megabytes of decoded frames per second."""
    first: float
    again: float
    made: float
    trained: float
    load: float
    """Time of a batch in the stream divided by its time in training; above 1, training waits."""
    epoch: float
    """Seconds of a training epoch."""
    distance: float
    entropy: float
    shards: int
    window: int
    """Number of shards that are shuffled together."""

    def advice(self) -> list[str]:
        """Settings to change, the most useful first; empty if no change helps."""
        found = []
        if self.load > _BUSY:
            found.append(
                "the data is slower than the network: put the store on a faster disk, or train "
                "with fewer processes on this machine"
            )
        else:
            found.append(
                "the network is slower than the data: a GPU, a smaller model.size or fewer "
                "data.frames make an epoch shorter"
            )
        if self.window < self.shards and self.entropy < _MIXED:
            found.append(
                f"{self.window} of {self.shards} shards are shuffled together: a larger "
                "data.window shuffles better and needs more memory"
            )
        return found

    def as_dict(self) -> dict[str, Any]:
        """The measurements as plain values for JSON."""
        return asdict(self) | {"advice": self.advice()}


def bench(
    fabric: Fabric,
    store: Store,
    config: Config,
    *,
    seconds: float = 5.0,
    progress: Progress = silent,
) -> Speed:
    """Measures a store with a training configuration; each part takes about `seconds`.

    Read: decoding of whole shards from the disk or the system's cache. First and again: batches
    of the stream while shards are decoded, and when they are in memory. Made: the network's input
    from batches on the device. Trained: whole optimizer steps without the state of the losses.

    Raises AclnetError if there is nothing to train, like `choose_splits`.
    """
    splits = choose_splits(store, config)
    make = MakeInputs(store, config.data, fabric.device, spec=config.augment)
    stream = store.stream(
        splits.train,
        batch_size=config.optim.batch_size,
        sampling=clip_to_train(config.data),
        seed=config.seed,
        motion=make.motion,
        score=make.score,
        balance=config.data.balance,
        repeats=config.data.repeats,
        window=config.data.window,
        lanes=config.data.lanes,
        cache=config.data.cache_bytes,
    )
    progress("read", 0, 4)
    read, read_mb = _read(store, splits.train, seconds)
    progress("feed", 1, 4)
    first, again = _rate(stream, len, seconds), _rate(stream, len, seconds)
    progress("make", 2, 4)
    made = _rate(stream, lambda batch: len(make(batch)), seconds)
    progress("train", 3, 4)
    network = build_network(config, store, splits).to(fabric.device).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4)

    def step(batch: Any) -> int:  # noqa: ANN401 - a batch of the stream
        inputs = make(batch)
        _step(fabric, network.model, optimizer, inputs)
        return len(inputs)

    trained = _rate(stream, step, 2 * seconds)
    progress("train", 4, 4)
    plan = stream.plan(0)
    distance, entropy = shuffle_quality(plan, store.shard_of)
    return Speed(
        read=read,
        read_mb=read_mb,
        first=first,
        again=again,
        made=made,
        trained=trained,
        load=trained / again,
        epoch=len(plan) / trained,
        distance=distance,
        entropy=entropy,
        shards=len(np.unique(store.shard_of[splits.train])),
        window=stream.window,
    )


def shuffle_quality(plan: EpochPlan, shard_of: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Measures of shuffling (distance, entropy); both are 1 for a uniform permutation.

    Distance: the mean distance of samples from their place in the store, divided by that of a
    uniform permutation (a third of the epoch). Entropy: the mean entropy of the shards in a batch,
    divided by that of batches drawn equally from all shards.
    """
    order = plan.order[np.concatenate([plan.step(step) for step in range(plan.steps)])]
    rank = np.empty(len(order), np.int64)
    rank[np.argsort(order, kind="stable")] = np.arange(len(order))
    moved = np.abs(rank - np.arange(len(order))).mean()
    best = _entropy(np.random.default_rng(0).permutation(order), plan.batch, shard_of)
    mixed = _entropy(order, plan.batch, shard_of) / best if best else 1.0
    return float(moved / max(len(order) / 3, 1)), mixed


def _entropy(order: np.ndarray[Any, Any], batch: int, shard_of: np.ndarray[Any, Any]) -> float:
    """Entropy of the shards in a batch, mean over the batches of the epoch, in nats."""
    found = []
    for start in range(0, len(order), batch):
        counts = np.unique(shard_of[order[start : start + batch]], return_counts=True)[1]
        share = counts / counts.sum()
        found.append(float(-(share * np.log(share)).sum()))
    return float(np.mean(found))


def _read(store: Store, mask: np.ndarray[Any, Any], seconds: float) -> tuple[float, float]:
    """Rates of reading whole shards again: training sequences and megabytes per second."""
    begun, samples, size = time.perf_counter(), 0, 0
    for shard in np.unique(store.shard_of[mask]).tolist():
        keypoint, present = store.read_shard(shard, score=store.has_score)
        samples += int((mask & (store.shard_of == shard)).sum())
        size += keypoint.nbytes + present.nbytes
        if time.perf_counter() - begun > seconds:
            break
    spent = time.perf_counter() - begun
    return samples / spent, size / 1e6 / spent


def _rate(stream: Stream, consume: Callable[[Any], int], seconds: float) -> float:
    """Sequences per second, measured for this time or one epoch, whichever is longer."""
    begun, done = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        for batch in _until(stream, begun + seconds):
            done += consume(batch)
    return done / (time.perf_counter() - begun)


def _until(stream: Stream, end: float) -> Iterator[Any]:
    """The batches of an epoch, until the time `end`."""
    for batch in stream:
        yield batch
        if time.perf_counter() > end:
            return


def _step(
    fabric: Fabric, model: torch.nn.Module, optimizer: torch.optim.Optimizer, inputs: Inputs
) -> None:
    with fabric.autocast():
        output = model(inputs.tracks, inputs.owner, len(inputs))
        loss = functional.cross_entropy(output.logits.float(), inputs.label)
    torch.autograd.backward(loss)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    if fabric.device.type == "cuda":
        torch.cuda.synchronize()
