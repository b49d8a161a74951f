"""Two simulated nodes of one device each: two commands with the variables that torchrun sets."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from aclnet.runs.run import Run
from aclnet.runs.scores import Scores
from aclnet.training import trainer

_FAILS = """
import importlib, os, signal, sys
import torch
from aclnet.cli.main import main
torch.set_num_threads(1)
rank, place, how = sys.argv[1:4]
if rank == os.environ["RANK"]:
    module, _, name = place.partition(":")
    owner, _, method = name.rpartition(".")
    owner = importlib.import_module(module) if not owner else getattr(
        importlib.import_module(module), owner
    )
    def fail(*arguments, **options):
        if how == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(28, "No space left on device")
    setattr(owner, method, fail)
main(sys.argv[4:])
"""


@pytest.fixture
def start(store, quick, tmp_path):
    """Starts a training on both nodes: `start(settings, rank, place, how)`; ends all at the end."""
    running = []

    def begin(settings=(), rank="", place="", how=""):
        recipe = tmp_path / "default.toml"
        recipe.write_text(quick("optim.epochs=2", "optim.lr=0.2", *settings).to_toml())
        command = ["train", str(store.path), "--recipe", str(recipe), "--accelerator", "cpu"]
        command += ["--out", str(tmp_path / "run")]
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        for node in ("0", "1"):
            variables = {
                "TORCHELASTIC_RUN_ID": "test",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
                "WORLD_SIZE": "2",
                "LOCAL_WORLD_SIZE": "1",
                "RANK": node,
                "GROUP_RANK": node,
                "LOCAL_RANK": "0",
            }
            running.append(
                subprocess.Popen(
                    [sys.executable, "-c", _FAILS, rank, place, how, *command],
                    env=os.environ | variables,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            )
        return running

    yield begin
    for process in running:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("data.lanes=2", "data.window=4", "data.cache=0", "select=val", "loss.families.source=val"),
    ],
    ids=["one lane", "two lanes"],
)
def test_two_nodes_train_one_run_like_accumulated_parts(settings, start, train_quickly, tmp_path):
    outputs = [process.communicate(timeout=600)[0] for process in start(settings)]
    assert "2 x cpu" in outputs[0]
    two = Run(tmp_path / "run")
    assert two.finished
    settings = ("optim.epochs=2", "optim.lr=0.2", "optim.accumulate=2", *settings)
    one = train_quickly(tmp_path / "one", *settings)
    states = [run.load("last")["network"] for run in (one, two)]
    for name in ("contrast.counter.counts", "contrast.families.member", "contrast.memory_labels"):
        assert torch.equal(states[0][name], states[1][name]), name
    for name in ("contrast.prototypes", "model.fc_cls.weight"):
        torch.testing.assert_close(states[1][name], states[0][name], rtol=1e-3, atol=1e-5)
    rows = [pd.read_csv(run.path / "metrics.csv") for run in (one, two)]
    for name in ("loss", "cross_entropy", "inter", "intra", "accuracy"):
        np.testing.assert_allclose(rows[0][name], rows[1][name], rtol=1e-4, atol=1e-6)
    scores = [Scores.load(run.test_scores) for run in (one, two)]
    assert scores[0].ids.tolist() == scores[1].ids.tolist()
    assert two.result == {"select": two.config.select, "clips": 2, **scores[1].result()}


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_two_nodes_resume_what_one_process_began(
    start, train_quickly, stop_at, monkeypatch, tmp_path
):
    """The classes of each epoch's samples are those of a run of one process."""
    settings = ("data.lanes=2", "data.window=4")
    own = ("optim.epochs=2", "optim.lr=0.2", *settings)
    whole = train_quickly(tmp_path / "whole", *own)
    monkeypatch.setattr(trainer, "SAVE_EVERY", 0)
    monkeypatch.setattr(trainer, "CHECK_EVERY", 1)
    with pytest.raises(stop_at.Stopped):
        train_quickly(tmp_path / "run", *own, progress=stop_at(steps=3))
    outputs = [process.communicate(timeout=600)[0] for process in start(settings)]
    assert "resumes after step 2 of epoch 1 of 2" in outputs[0]
    resumed = Run(tmp_path / "run")
    assert resumed.finished
    drawn = [run.history.read_all("confusion/train").sum(axis=2) for run in (whole, resumed)]
    np.testing.assert_array_equal(*drawn)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rank", "place"),
    [
        ("0", "aclnet.runs.run:Run.create"),
        ("0", "aclnet.runs.run:Run.save"),
        ("0", "aclnet.runs.history:History.create"),
        ("1", "aclnet.training.trainer:probabilities"),
    ],
)
def test_what_fails_on_one_node_ends_both(rank, place, start):
    processes = start((), rank, place, "fails")
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    other = 1 - int(rank)
    assert [process.returncode for process in processes] != [0, 0]
    assert processes[other].returncode not in (0, -signal.SIGABRT), outputs[other]
    assert f"process {rank} stopped: [Errno 28] No space left on device" in " ".join(
        outputs[other].split()
    )
    assert "stopped:" not in outputs[int(rank)], "it has an error of its own to show"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
def test_a_node_that_dies_ends_the_other(start):
    first, second = start((), "1", "aclnet.training.step:TrainingStep.backward", "dies")
    second.communicate(timeout=300)
    # an unnoticed death would make it wait half an hour
    said = " ".join(first.communicate(timeout=300)[0].split())
    assert first.returncode != 0
    assert "another process of this command ended" in said
    assert "then run the command again" in said


@pytest.mark.slow
def test_a_taken_folder_ends_both(start, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("precious")
    processes = start()
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert all(process.returncode not in (0, None) for process in processes)
    assert all("is not a run of aclnet" in " ".join(output.split()) for output in outputs)
    assert (tmp_path / "run" / "thesis.tex").read_text() == "precious"
