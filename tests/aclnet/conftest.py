"""Fixtures for the tests of training: a store, quick settings, and runs trained once."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import torch

from aclnet.datasets.store.store import Store
from aclnet.datasets.synth import Request, gait, reid
from aclnet.datasets.synth.writing import write_file
from aclnet.runs.config import Config, build_config
from aclnet.runs.history import KINDS
from aclnet.runs.run import Run
from aclnet.runs.scores import Scores
from aclnet.training.launch import TrainingRequest, make_fabric, train_run

if TYPE_CHECKING:
    from pathlib import Path

QUICK = (
    "model.size=tiny",
    "data.frames=16",
    "data.clips=2",
    "optim.epochs=3",
    "optim.batch_size=8",
    "optim.lr=0.8",
    "loss.memory_rows=16",
    "loss.families.start=0",
    "loss.families.neighbours=3",
)


class Recorder:
    """A progress that remembers what it was told."""

    def __init__(self) -> None:
        self.remarks: list[str] = []
        self.rows: list[dict[str, float]] = []
        self.steps: list[tuple[int, int, int]] = []

    def remark(self, text: str) -> None:
        self.remarks.append(text)

    def step(self, epoch: int, step: int, steps: int, rate: float, waiting: float) -> None:
        self.steps.append((epoch, step, steps))

    def epoch(self, row: dict[str, float]) -> None:
        self.rows.append(row)


class Stopped(BaseException):
    """Stands for whatever ends a process between two steps."""


class StopAt:
    """A progress that stops the process after some steps, or after some epochs."""

    Stopped = Stopped

    def __init__(self, *, steps: int = 0, epochs: int = 0) -> None:
        self.steps, self.epochs = steps, epochs

    def remark(self, text: str) -> None: ...

    def step(self, *_: object) -> None:
        self.steps -= 1
        if self.steps == 0:
            raise Stopped

    def epoch(self, _: dict[str, float]) -> None:
        self.epochs -= 1
        if self.epochs == 0:
            raise Stopped


@pytest.fixture(scope="session")
def stop_at() -> type[StopAt]:
    """Makes a progress that raises `stop_at.Stopped`: `stop_at(steps=2)`."""
    return StopAt


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture(scope="session")
def store(made_up_store) -> Store:
    return Store(made_up_store)


@pytest.fixture(scope="session")
def quick_settings() -> tuple[str, ...]:
    """Settings of a training of seconds."""
    return QUICK


@pytest.fixture(scope="session")
def quick():
    """Makes a configuration of seconds; further settings as in --set."""

    def make(*settings: str, **top: Any) -> Config:
        return build_config("default", [*QUICK, *settings], **top)

    return make


@pytest.fixture(scope="session")
def train_quickly(store, quick):
    """Trains a run into a folder; returns it."""

    def do(out: Path, *settings: str, progress: Any = None, **options: Any) -> Run:
        top = {name: options.pop(name) for name in ("seed", "select") if name in options}
        config = quick(*settings, **top)
        data = options.pop("store", store)
        fabric = make_fabric(config, "cpu")
        request = TrainingRequest(config, **options)
        return train_run(fabric, data, request, progress or Recorder(), out)

    return do


@pytest.fixture(scope="session")
def train_once(train_quickly, make_once):
    """Trains a run for all workers; returns it. Tests leave it as it is."""

    def do(name: str, *settings: str, **options: Any) -> Run:
        def fill(folder: Path) -> None:
            train_quickly(folder / name, *settings, **options)

        return Run(make_once(f"run-{name}", fill) / name)

    return do


@pytest.fixture(scope="session")
def quick_run(train_once) -> Run:
    """A run that was trained without a break."""
    return train_once("quick")


def _differences(a: Any, b: Any, path: str = "") -> list[str]:
    """Places where two nested states are not equal, bit for bit."""
    if isinstance(a, dict) and isinstance(b, dict):
        keys = [f"{path} has keys {a.keys() ^ b.keys()}"] if a.keys() != b.keys() else []
        shared = sorted(a.keys() & b.keys(), key=str)
        return keys + [d for k in shared for d in _differences(a[k], b[k], f"{path}/{k}")]
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        pairs = enumerate(zip(a, b, strict=True))
        return [d for i, (x, y) in pairs for d in _differences(x, y, f"{path}/{i}")]
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        same = a.dtype == b.dtype and torch.equal(a, b)
    else:
        same = type(a) is type(b) and a == b
    return [] if same else [path]


@pytest.fixture(scope="session")
def assert_same_run():
    """Compares two runs in everything that training leaves behind, but for times.

    Bit for bit: a resumed run has the same machine, threads and batches as one without a break.
    """
    clocks = {"seconds", "sequences_per_second", "waiting"}

    def check(run: Run, other: Run) -> None:
        states = [r.load("last") for r in (run, other)]
        for state in states:
            state["rows"] = [
                {k: v for k, v in row.items() if k not in clocks} for row in state["rows"]
            ]
        assert _differences(*states) == []
        for name in (*KINDS, "prototype"):
            np.testing.assert_array_equal(
                run.history.read_all(name), other.history.read_all(name), err_msg=name
            )
        tables = [
            pd.read_csv(r.path / "metrics.csv").drop(columns=list(clocks)) for r in (run, other)
        ]
        pd.testing.assert_frame_equal(*tables, check_exact=True)
        scores = [Scores.load(r.test_scores) for r in (run, other)]
        for field in ("ids", "scores", "labels"):
            np.testing.assert_array_equal(*(getattr(s, field) for s in scores))
        assert run.result == other.result

    return check


@pytest.fixture
def one_thread():
    """More threads add up in another order, and a few steps make much of a little rounding."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def gait_store(prepare_raw, make_once) -> Store:
    """Made-up walkers of CASIA-B; tests leave it as it is.

    Eight people, every second of the first 16, train with 2 recordings each: two of them are held
    out for validation. Three are tested in three views: each has a walk in the gallery and one with
    a bag as probe, and another probe at 0 degrees alone.
    """
    training = [f"{person:03}-nm-01-{view:03}" for person in range(2, 17, 2) for view in (0, 90)]
    tested = [
        f"{person:03}-{take}"
        for person in (76, 80, 99)
        for take in (
            *("nm-01-000", "nm-01-054", "nm-01-090"),
            *("bg-01-000", "bg-01-054", "bg-01-090", "nm-05-000"),
        )
    ]

    def fill(folder: Path) -> None:
        for name in training + tested:
            subject, condition, take, view = name.split("-")
            file = folder / "raw" / subject / f"{condition}-{take}" / view / f"{view}.pkl"
            write_file(file, pickle.dumps(gait.recording(name, 0).astype(np.float32)))
        prepare_raw(folder / "raw", folder / "casia-b.zarr", dataset="casia-b")

    return Store(make_once("gait", fill) / "casia-b.zarr")


@pytest.fixture(scope="session")
def reid_raw(make_once) -> Path:
    """Four made-up people of IAS-Lab, with a recording on each of three sides."""

    def fill(folder: Path) -> None:
        request = Request(sequences=12, subjects=4, seed=0)
        reid.FORMS["ias-lab"]["text"](folder / "raw", request)

    return make_once("reid", fill) / "raw"


@pytest.fixture(scope="session")
def reid_store(reid_raw, prepare_raw, make_once) -> Store:
    """The store of `reid_raw`, with a variant of what trains; tests leave it as it is."""
    options = {"dataset": "ias-lab", "augment": "rotate=0.2", "variants": 1}

    def fill(folder: Path) -> None:
        prepare_raw(reid_raw, folder / "ias-lab.zarr", **options)

    return Store(make_once("reid-store", fill) / "ias-lab.zarr")


@pytest.fixture(scope="session")
def gait_run(train_once, gait_store) -> Run:
    """Trained with all terms of the loss, some people held out."""
    settings = ("task=gait", "data.sampling=consecutive", "augment.rotate=0", "optim.epochs=2")
    return train_once("gait", *settings, store=gait_store, select="val")


@pytest.fixture(scope="session")
def reid_run(train_once, reid_store) -> Run:
    """Trained by cross-entropy alone, on windows of 8 frames."""
    settings = ("task=reid", "data.sampling=consecutive", "data.frames=8", "loss.terms=ce")
    return train_once("reid", *settings, "optim.epochs=1", store=reid_store)
