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
    """Rates in training sequences a second; what they are of is in `bench`."""

    read: float
    read_mb: float
    """Megabytes of decoded frames a second."""
    first: float
    again: float
    made: float
    trained: float
    load: float
    """Time that a batch takes in the stream over that in training; above 1 training waits."""
    epoch: float
    """Seconds of a training epoch."""
    distance: float
    entropy: float
    shards: int
    window: int
    """Shards that are shuffled together."""

    def advice(self) -> list[str]:
        """What to change, the most useful first; empty where nothing is to be gained."""
        found = []
        if self.load > _BUSY:
            found.append(
                "the data are slower than the network: put the store on a faster disk, or train "
                "fewer processes on this machine"
            )
        else:
            found.append(
                "the network is the limit, not the data: a GPU, a smaller model.size or fewer "
                "data.frames make an epoch shorter"
            )
        if self.window < self.shards and self.entropy < _MIXED:
            found.append(
                f"{self.window} of {self.shards} shards are shuffled together: a larger "
                "data.window mixes better and takes more memory"
            )
        return found

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
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

    Read: whole shards from the disk, or from what the system keeps of it, decoded. First and
    again: batches of the stream while shards are decoded, and once they are kept. Made: the
    network's input from batches on the device. Trained: whole optimizer steps without the losses'
    state.

    AclnetError where nothing could be trained, as `choose_splits` has it.
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
        window=config.data.window,
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
        epoch=len(plan.order) / trained,
        distance=distance,
        entropy=entropy,
        shards=len(np.unique(store.shard_of[splits.train])),
        window=stream.window,
    )


def shuffle_quality(plan: EpochPlan, shard_of: np.ndarray[Any, Any]) -> tuple[float, float]:
    """How well an epoch is mixed: 1 and 1 is as by drawing from the whole at once.

    Distance: how far samples are moved from the store's order, in the mean over what a uniform
    permutation moves them (a third of the epoch). Entropy: of the shards in a batch, in the mean
    over that of batches which are drawn from all shards alike.
    """
    order = plan.order
    rank = np.empty(len(order), np.int64)
    rank[np.argsort(order, kind="stable")] = np.arange(len(order))
    moved = np.abs(rank - np.arange(len(order))).mean()
    best = _entropy(np.random.default_rng(0).permutation(order), plan, shard_of)
    mixed = _entropy(order, plan, shard_of) / best if best else 1.0
    return float(moved / max(len(order) / 3, 1)), mixed


def _entropy(order: np.ndarray[Any, Any], plan: EpochPlan, shard_of: np.ndarray[Any, Any]) -> float:
    """Of the shards in a batch, mean over the epoch's, in nats."""
    found = []
    for step in range(plan.steps):
        counts = np.unique(shard_of[order[plan.step(step)]], return_counts=True)[1]
        share = counts / counts.sum()
        found.append(float(-(share * np.log(share)).sum()))
    return float(np.mean(found))


def _read(store: Store, mask: np.ndarray[Any, Any], seconds: float) -> tuple[float, float]:
    """Training sequences and megabytes a second of whole shards, read anew."""
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
    """Sequences a second, for about so many seconds or an epoch, whichever ends later."""
    begun, done = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        for batch in _until(stream, begun + seconds):
            done += consume(batch)
    return done / (time.perf_counter() - begun)


def _until(stream: Stream, end: float) -> Iterator[Any]:
    """The batches of an epoch, none any more from `end` on."""
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
