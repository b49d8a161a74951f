"""Trainers of seconds for the tests of this folder."""

from __future__ import annotations

import pytest

import aclnet.training.trainer
from aclnet.runs.run import Run
from aclnet.runs.splits import protocol_splits
from aclnet.training.launch import make_fabric
from aclnet.training.trainer import Trainer


@pytest.fixture
def save_every_step(monkeypatch):
    """Checkpoints after each step."""
    monkeypatch.setattr(aclnet.training.trainer, "CHECK_EVERY", 1)
    monkeypatch.setattr(aclnet.training.trainer, "SAVE_EVERY", -1.0)


@pytest.fixture
def make_trainer(store, quick, recorder, tmp_path):
    """A trainer that has not begun."""

    def make(*settings: str, hold_out: bool = False, initial=None, **top) -> Trainer:
        config = quick(*settings, **top)
        splits = protocol_splits(store, "xsub", hold_out=hold_out, seed=config.seed)
        fabric = make_fabric(config, "cpu")
        return Trainer(fabric, config, store, splits, recorder, initial)

    return make


@pytest.fixture
def fit(store, tmp_path):
    """Trains to the end, into a new run."""

    def do(trainer: Trainer) -> None:
        path, config, splits = tmp_path / "run", trainer.config, trainer.splits
        trainer.fit(Run.create(path, "name", config, store, splits, None))

    return do
