"""Two simulated nodes of one device each: two commands with the variables that torchrun sets."""

from __future__ import annotations

import signal
import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import torch

from aclnet.runs.run import Run
from aclnet.runs.scores import Scores
from aclnet.training import trainer
from tests.stress.commands import Commands

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.stress.commands import Child


@pytest.fixture(scope="module")
def commands():
    with Commands() as server:
        yield server


@pytest.fixture
def start(commands, store, quick, tmp_path) -> Iterator[Callable[..., list[Child]]]:
    """Starts a training on both nodes: `start(settings, rank, place, fault)`; ends both at the end.

    On the node `rank`, the function at `place` is replaced by `fault` of tests.stress.faults.
    """
    running = []

    def begin(settings=(), rank="", place="", fault=""):
        recipe = tmp_path / "default.toml"
        recipe.write_text(quick("optim.epochs=2", "optim.lr=0.2", *settings).to_toml())
        command = ["train", store.path, "--recipe", recipe, "--accelerator", "cpu"]
        command += ["--out", tmp_path / "run"]
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
            patches = {place: f"tests.stress.faults:{fault}"} if node == rank else {}
            running.append(
                commands.start(*command, folder=tmp_path, environment=variables, patches=patches)
            )
        return running

    yield begin
    for node in running:
        with suppress(ProcessLookupError):  # it ended
            node.signal(signal.SIGKILL)


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
    first, second = [node.wait(600) for node in start(settings)]
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert "2 x cpu" in first.err
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
    first, _ = [node.wait(600) for node in start(settings)]
    assert "resumes after step 2 of epoch 1 of 2" in first.err
    resumed = Run(tmp_path / "run")
    assert resumed.finished
    drawn = [run.history.read_all("confusion/train").sum(axis=2) for run in (whole, resumed)]
    np.testing.assert_array_equal(*drawn)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rank", "place"),
    [
        ("0", "aclnet.runs.run.Run.create"),
        ("0", "aclnet.runs.run.Run.save"),
        ("0", "aclnet.runs.history.History.create"),
        ("1", "aclnet.training.trainer.probabilities"),
    ],
)
def test_what_fails_on_one_node_ends_both(rank, place, start):
    nodes = [node.wait() for node in start((), rank, place, "disk_is_full")]
    failed, other = nodes[int(rank)], nodes[1 - int(rank)]
    assert [node.code for node in nodes] != [0, 0]
    assert other.code not in (0, -signal.SIGABRT), other.err
    assert f"process {rank} stopped: [Errno 28] No space left on device" in other.words
    assert "stopped:" not in failed.err, "it has an error of its own to show"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
def test_a_node_that_dies_ends_the_other(start):
    first, second = start((), "1", "aclnet.training.step.TrainingStep.backward", "die")
    assert second.wait().code == -signal.SIGKILL
    # an unnoticed death would make it wait half an hour
    first = first.wait()
    assert first.code != 0
    assert "another process of this command ended" in first.words
    assert "then run the command again" in first.words


@pytest.mark.slow
def test_a_taken_folder_ends_both(start, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("precious")
    nodes = [node.wait() for node in start()]
    assert all(node.code == 2 for node in nodes)
    assert all("is not a run of aclnet" in node.words for node in nodes)
    assert (tmp_path / "run" / "thesis.tex").read_text() == "precious"
