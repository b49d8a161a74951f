"""Shared code of `gpu.py`: figures, data, trainers and the clock of a device."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from aclnet.datasets.registry import get_dataset, open_raw
from aclnet.datasets.store.store import Store
from aclnet.datasets.synth import Request, get_generator
from aclnet.pipelines.prepare.executor import open_executor
from aclnet.pipelines.prepare.options import PrepareOptions
from aclnet.pipelines.prepare.stages import prepare
from aclnet.runs.splits import choose_splits
from aclnet.training.launch import TrainingRequest, make_fabric
from aclnet.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from aclnet.runs.inputs import Inputs


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table."""

    part: str
    what: str
    value: float | str
    unit: str = ""
    bound: str = ""
    """Expected value, in words."""
    met: bool | None = None
    """True if the value meets the bound; None if there is no bound."""


class Silent:
    """A monitor of a training that says nothing."""

    def remark(self, text: str) -> None: ...

    def step(self, *_: object) -> None: ...

    def epoch(self, row: dict[str, float]) -> None: ...


@dataclass
class Bed:
    """The device, the sizes of the measurements and the synthetic data."""

    accelerator: str
    quick: bool
    folder: Path
    end: float
    """Time of `time.monotonic` at which no further measurement begins."""
    product: float = math.inf
    """Operations a second of a product of matrices in bfloat16, once `ceilings` measured it."""
    stores: dict[str, Store] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        return torch.device("cuda", 0) if self.cuda else torch.device("cpu")

    @property
    def cuda(self) -> bool:
        return self.accelerator == "cuda"

    @property
    def late(self) -> bool:
        return time.monotonic() > self.end

    @property
    def sizes(self) -> tuple[str, ...]:
        """Settings of a network: that of the paper, or with `--quick` the smallest one."""
        if not self.quick:
            return ("model.size=paper", "data.frames=100", "optim.batch_size=64")
        return ("model.size=8", "data.frames=8", "optim.batch_size=8", "loss.memory_rows=8")

    @property
    def small(self) -> tuple[str, ...]:
        """Settings of a small network, for checks whose time does not matter."""
        if self.quick:
            return self.sizes
        return (
            *("model.size=tiny", "data.frames=32", "optim.batch_size=16"),
            "loss.memory_rows=32",
        )

    def store(self, name: str) -> Store:
        """The store `ntu60` or `kinetics`, which is made when it is first asked for."""
        if name not in self.stores:
            count = 24 if self.quick else 1200
            raw, out = self.folder / name, self.folder / f"{name}.zarr"
            get_generator(name)(raw, Request(sequences=count, subjects=10, seed=0))
            with open_executor() as run:
                source = open_raw(get_dataset(name), raw)
                prepare(source, out, PrepareOptions(), run, lambda *_: None)
            self.stores[name] = Store(out)
        return self.stores[name]

    def trainer(self, *settings: str, store: str = "ntu60", accelerator: str = "") -> Trainer:
        """A trainer that has not begun, with the recipe of the store."""
        data = self.store(store)
        fixed = ("loss.families.start=0", "optim.precision=32-true")
        request = TrainingRequest.of(data, settings=(*fixed, *settings))
        fabric = make_fabric(request.config, accelerator or self.accelerator, "1")
        fabric.launch()
        splits = choose_splits(data, request.config)
        trainer = Trainer(fabric, request.config, data, splits, Silent())
        trainer.network.train()
        trainer.contrast.begin_epoch(1, request.config.optim.epochs)
        return trainer

    def seconds(self, work: Callable[[], Any], rounds: int) -> float:
        """Mean seconds of `work`, with all that it makes the device do, after one more call."""
        work()
        self.wait()
        start = time.perf_counter()
        for _ in range(rounds):
            work()
        self.wait()
        return (time.perf_counter() - start) / rounds

    def wait(self) -> None:
        if self.cuda:
            torch.cuda.synchronize()


def first_batch(trainer: Trainer) -> tuple[Inputs, NDArray[Any]]:
    """The first batch of the first epoch, and its samples."""
    batch = next(iter(trainer.stream))
    return trainer.make(batch), batch.sample
