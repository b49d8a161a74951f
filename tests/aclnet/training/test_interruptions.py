"""Trainings that are stopped, killed and continued, against one that is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
import torch

from aclnet.cli.main import main
from aclnet.datasets.store import zarr_io
from aclnet.runs.run import Run


@pytest.mark.parametrize(
    "stops",
    [
        pytest.param([{"epochs": 1}], marks=pytest.mark.slow),
        pytest.param([{"steps": 2}], marks=pytest.mark.slow),
        [{"steps": 4}, {"steps": 1}],
    ],
)
def test_stopped_and_continued_ends_like_an_uninterrupted_run(
    stops, quick_run, train_quickly, assert_same_run, stop_at, save_every_step, tmp_path
):
    for stop in stops:
        with pytest.raises(stop_at.Stopped):
            train_quickly(tmp_path / "run", progress=stop_at(**stop))
    assert_same_run(train_quickly(tmp_path / "run"), quick_run)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        (
            *("data.modality=bm", "optim.accumulate=2", "settings=official", "data.presence=true"),
            *("augment.limb_mask=0.5", "augment.time_mask=0.5", "augment.ramp=0.8"),
        ),
        *(
            pytest.param(settings, marks=pytest.mark.slow)
            for settings in (
                ("data.balance=true", "optim.class_weights=true", "optim.precision=bf16-mixed"),
                ("optim.name=adamw", "optim.lr=0.01", "optim.accumulate=2"),
                ("loss.families.source=val", "model.persons=padded", "model.feature=pooled"),
            )
        ),
    ],
)
def test_continuing_does_not_depend_on_the_settings(
    settings, train_quickly, assert_same_run, stop_at, save_every_step, tmp_path
):
    whole = train_quickly(tmp_path / "whole", *settings, select="val")
    with pytest.raises(stop_at.Stopped):
        train_quickly(tmp_path / "run", *settings, select="val", progress=stop_at(steps=5))
    broken = train_quickly(tmp_path / "run", *settings, select="val")
    assert_same_run(broken, whole)
    best = [torch.load(run.checkpoint("best"), weights_only=True) for run in (broken, whole)]
    assert best[0]["stream"] == best[1]["stream"]


@pytest.mark.slow
def test_continuing_says_where_it_stands(
    train_quickly, recorder, stop_at, save_every_step, tmp_path
):
    for stop in ({"epochs": 1}, {"steps": 3}):
        with pytest.raises(stop_at.Stopped):
            train_quickly(tmp_path / "run", progress=stop_at(**stop))
    train_quickly(tmp_path / "run", progress=recorder)
    assert recorder.remarks == ["resumes after step 2 of epoch 2 of 3"]
    assert recorder.steps[0] == (1, 3, 3)
    again = train_quickly(tmp_path / "run", progress=recorder)
    assert again.finished
    assert recorder.remarks[1:] == ["is finished already; --fresh trains it again"]
    assert len(recorder.rows) == 2, "nothing is trained again"


_WAITS = """
import importlib, sys
import aclnet.training.trainer as trainer
from aclnet.cli.main import main
often, place, text, count = sys.argv[1:5]
if often == "often":
    trainer.CHECK_EVERY, trainer.SAVE_EVERY = 1, -1.0
module, _, name = place.partition(":")
name, _, method = name.partition(".")
owner, count = getattr(importlib.import_module(module), name), int(count)
original = getattr(owner, method)
def wait(*arguments, **options):
    global count
    count -= text in repr(arguments)
    if not count:
        print("here", flush=True)
        sys.stdin.read()
    return original(*arguments, **options)
setattr(owner, method, wait)
main(sys.argv[5:])
"""

SHOWN = "aclnet.cli.monitors:TrainingScreen"


@pytest.fixture
def command(store, quick, tmp_path) -> list[str]:
    """The command line of the quick run, below a folder of the test."""
    recipe = tmp_path / "default.toml"
    recipe.write_text(quick().to_toml())
    return ["train", str(store.path), "--recipe", str(recipe), "--out", str(tmp_path / "run")]


@pytest.mark.slow
@pytest.mark.parametrize(
    "kills",
    [
        # how often checkpoints are saved; before which call with which arguments it ends
        [
            ("seldom", "aclnet.training.step:TrainingStep.take", "", 5),
            ("often", f"{SHOWN}.epoch", "", 1),
            ("seldom", "pathlib:Path.replace", "last.pt", 1),
        ],
        pytest.param(
            [("often", f"{SHOWN}.step", "", 2), ("often", f"{SHOWN}.step", "", 4)],
            marks=pytest.mark.slow,
        ),
    ],
    ids=["epochs", "steps"],
)
def test_killed_and_continued_ends_like_an_uninterrupted_run(
    kills, command, quick_run, assert_same_run, tmp_path
):
    """The process says where it is and waits there, so that no clock decides what is tested."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    for moment in kills:
        arguments = [sys.executable, "-c", _WAITS, *map(str, moment), *command]
        with subprocess.Popen(arguments, **pipes) as process:
            said = process.stdout.readline()
            process.kill()
            assert said == b"here\n", process.stderr.read().decode()
        assert process.returncode == -signal.SIGKILL
    main(command)
    assert_same_run(Run(tmp_path / "run"), quick_run)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
def test_a_signal_waits_until_the_history_is_made(
    command, quick_run, assert_same_run, tmp_path, monkeypatch
):
    create_group = zarr_io.create_group

    def create_after_signal(*args):
        os.kill(os.getpid(), signal.SIGTERM)
        create_group(*args)

    monkeypatch.setattr(zarr_io, "create_group", create_after_signal)
    with pytest.raises(SystemExit) as stopped:
        main(command)
    assert stopped.value.code == 128 + signal.SIGTERM
    assert Run(tmp_path / "run").history.trained == 0
    assert Run(tmp_path / "run").load("last") is not None
    monkeypatch.undo()
    main(command)
    assert_same_run(Run(tmp_path / "run"), quick_run)
