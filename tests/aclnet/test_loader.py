"""The public way in: open_store, the torch dataset, the example."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

import aclnet
from aclnet.datasets.spec import AclnetError

ROOT = Path(__file__).parents[2]
LIGHTNING = ROOT / ".venv/lightning"


def open_stream(path, **options):
    store = aclnet.open_store(path)
    sampling = aclnet.UniformSampling(8)
    return store.stream("xsub/train", batch_size=10, sampling=sampling, **options)


@pytest.mark.parametrize("motion", [False, True])
def test_batches_are_those_of_the_stream_as_tensors(people_store, motion):
    tensors = list(aclnet.StreamDataset(open_stream(people_store, motion=motion)))
    batches = list(open_stream(people_store, motion=motion))
    assert len(tensors) == len(batches) == 5
    for found, batch in zip(tensors, batches, strict=True):
        assert ("following" in found) == motion
        for name, tensor in found.items():
            assert torch.equal(tensor, torch.from_numpy(getattr(batch, name))), name


def test_a_data_loader_without_workers_passes_them_on(people_store):
    dataset = aclnet.StreamDataset(open_stream(people_store))
    loader = DataLoader(dataset, batch_size=None)
    assert len(loader) == 5
    assert sum(len(batch["label"]) for batch in loader) == 50
    assert dataset.stream.epoch == 1


def test_loops_that_count_batches_get_every_epoch(people_store):
    """Reads batches like Lightning, which knows the length and does not ask for more."""
    whole = aclnet.StreamDataset(open_stream(people_store))
    counted = DataLoader(aclnet.StreamDataset(open_stream(people_store)), batch_size=None)
    for _ in range(3):
        found = [batch["sample"] for batch in islice(counted, len(counted))]
        expected = [batch["sample"] for batch in whole]
        assert torch.equal(torch.cat(found), torch.cat(expected))


def test_worker_processes_are_refused(people_store):
    dataset = aclnet.StreamDataset(open_stream(people_store))
    loader = DataLoader(dataset, batch_size=None, num_workers=1, multiprocessing_context="fork")
    with pytest.raises(AclnetError, match="num_workers=0"):
        next(iter(loader))


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"batch_size": 4}, {"batch_size": 4, "drop_last": True}, {}])
def test_a_data_loader_that_joins_batches_is_refused(people_store, options):
    """Also torch's default batch size of 1, which would only add a dimension."""
    dataset = aclnet.StreamDataset(open_stream(people_store))
    with pytest.raises(AclnetError, match="batch_size=None"):
        next(iter(DataLoader(dataset, **options)))


@pytest.mark.slow
def test_a_collate_function_of_the_user_is_left_alone(people_store):
    dataset = aclnet.StreamDataset(open_stream(people_store))
    loader = DataLoader(dataset, batch_size=2, collate_fn=list)
    assert [len(group) for group in loader] == [2, 2, 1]


def test_unknown_names_are_no_attributes():
    with pytest.raises(AttributeError, match="no attribute 'open_shop'"):
        _ = aclnet.open_shop
    assert {name for name in aclnet.__all__ if getattr(aclnet, name)} == set(aclnet.__all__)


@pytest.mark.slow
def test_the_example_learns(people_store):
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples/train_your_own.py"), str(people_store)],
        capture_output=True,
        text=True,
        check=True,
    )
    losses = [float(line.split("loss ")[1].split(",")[0]) for line in done.stdout.splitlines()]
    assert len(losses) == 10
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.slow
def test_the_lightning_example_learns(people_store):
    if not LIGHTNING.is_dir():
        pytest.skip("`make test-slow` installs pytorch-lightning")
    script = str(ROOT / "examples/lightning_module.py")
    losses = []
    for epochs in ("1", "8"):
        done = subprocess.run(
            [sys.executable, script, str(people_store), epochs],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": str(LIGHTNING)},
        )
        told = dict(line.split() for line in done.stdout.splitlines() if line.count(" ") == 1)
        assert {"test_accuracy", "test_loss", "train_accuracy", "train_loss"} <= told.keys()
        losses.append(float(told["train_loss"]))
    assert losses[1] < 0.8 * losses[0]
