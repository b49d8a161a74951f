"""Cost of the occlusion bench: the whole standard suite against its forward passes alone."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import people
import torch
from measure import Row, command

from aclnet.datasets.store.store import Store
from aclnet.evaluation.occlusion_bench import choose_protocols, run_bench
from aclnet.evaluation.scorer import Scorer
from aclnet.runs.run import Run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch import nn

_RECORDINGS, _CLIPS = 40, 4
"""Clips of each of the 16 test recordings."""


def rows(folder: Path) -> Iterator[Row]:
    """The only row; recordings, store and run go below `folder`."""
    files = people.make(folder / "generated")[:: people.GENERATED // _RECORDINGS]
    raw = folder / "occluded"
    raw.mkdir()
    for file in files:
        os.link(file, raw / file.name)
    command("prepare", "ntu60", "--raw", raw.name, "--out", "occluded.zarr", cwd=folder)
    settings = ("model.size=small", "optim.epochs=1", "optim.batch_size=8")
    options = [f"--set={setting}" for setting in settings]
    command("train", "occluded.zarr", "--out", "occluded-run", *options, cwd=folder)
    store = Store(folder / "occluded.zarr")
    scorer = Scorer(Run(folder / "occluded-run"), store, clips=_CLIPS)
    assert scorer.model is not None
    seconds = _count_seconds(scorer.model)
    protocols, _ = choose_protocols(store, scorer.mask, suite="standard")
    start = time.perf_counter()
    run_bench([scorer], protocols)
    whole = time.perf_counter() - start
    alone = sum(seconds)
    what = f"occlusion bench, {len(seconds)} passes, small network, s (peer: the passes alone)"
    yield Row(what, f"{alone:.1f}", f"{whole:.1f}", alone / whole, "0.83")


def _count_seconds(model: nn.Module) -> list[float]:
    """A list that grows by the seconds of each forward pass of the model and of its copies."""
    found: list[float] = []

    def before(*_: object) -> None:
        _wait()
        found.append(-time.perf_counter())

    def after(*_: object) -> None:
        _wait()
        found[-1] += time.perf_counter()

    model.register_forward_pre_hook(before)
    model.register_forward_hook(after)
    return found


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
