"""`aclnet evaluate` by several processes, which Fabric or a launcher starts."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys

import numpy as np
import pytest

from aclnet.cli.main import main
from aclnet.evaluation.evaluate import evaluate
from aclnet.runs.run import Run
from aclnet.runs.scores import Scores

FIRST_FAILS = """
import os, sys
from aclnet.cli.main import main
from aclnet.datasets.spec import AclnetError
from aclnet.evaluation import evaluate

if "LOCAL_RANK" not in os.environ:
    def fail(found):
        raise AclnetError("the first process failed")
    evaluate.gather_on_first = fail
main(sys.argv[1:])
"""
"""A command whose first process fails when the other one waits for it."""
COMMAND = (sys.executable, "-m", "aclnet", "evaluate")
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}
"""The processes compute other batches, whose sums have other last bits."""


@pytest.fixture
def copy(tmp_path):
    """Copies a run, so that a test may write scores into it."""

    def make(run: Run) -> Run:
        return Run(shutil.copytree(run.path, tmp_path / run.path.name))

    return make


def run_command(*arguments: object, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments), "--accelerator", "cpu"],
        env=os.environ | {"OMP_NUM_THREADS": "1"} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["quick_run", "gait_run"])
def test_two_processes_give_the_results_of_one(name, copy, request):
    run = copy(request.getfixturevalue(name))
    alone = evaluate(run, accelerator="cpu")
    expected = Scores.load(alone.file)
    alone.file.unlink()
    process = run_command(run.path, "--devices", 2, "--json")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    found = Scores.load(alone.file)
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_allclose(found.scores, expected.scores, **TOLERANCE)
    document = json.loads(out)  # a second document would be an error
    assert document["samples"] == len(expected)
    for key, value in alone.as_dict().items():
        if isinstance(value, float):
            assert document[key] == pytest.approx(value, abs=1e-6), key


@pytest.mark.slow
def test_processes_of_a_launcher_share_the_samples(quick_run, copy):
    run = copy(quick_run)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = {
        "TORCHELASTIC_RUN_ID": "test",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "GROUP_RANK": "0",
    }
    processes = [
        run_command(run.path, "--json", **variables, RANK=rank, LOCAL_RANK=rank)
        for rank in ("0", "1")
    ]
    (first, _), (second, _) = (process.communicate(timeout=300) for process in processes)
    assert [process.returncode for process in processes] == [0, 0]
    assert json.loads(first)["samples"] == 12
    assert second == ""


TRAIN_AND_TEST = r"""
import sys
import aclnet

store, recipe, out = sys.argv[1:]
run = aclnet.train(store, recipe=recipe, out=out, accelerator="cpu", devices="2")
sys.stdout.write(f"trained {run.result['samples']}\n")
found = aclnet.evaluate(run, accelerator="cpu")
sys.stdout.write(f"tested {found.result['samples']} {len(found.scores)}\n")
"""


@pytest.mark.slow
def test_a_script_tests_with_the_processes_of_its_training(store, quick, tmp_path):
    recipe, script = tmp_path / "default.toml", tmp_path / "script.py"
    recipe.write_text(quick("optim.epochs=1").to_toml())
    script.write_text(TRAIN_AND_TEST)
    done = subprocess.run(
        [sys.executable, script, store.path, recipe, tmp_path / "run"],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = sorted(done.stdout.split("\n"))
    assert lines.count("trained 12") == 2
    assert [line for line in lines if line.startswith("tested")] == ["tested 12 12", "tested 12 6"]
    assert len(Scores.load(Run(tmp_path / "run").test_scores)) == 12


@pytest.mark.slow
def test_an_error_ends_both_processes(quick_run, copy):
    run = copy(quick_run)
    shutil.rmtree(run.path / "scores", ignore_errors=True)
    (run.path / "scores").write_text("a file, where the folder of scores is expected")
    process = run_command(run.path, "--devices", 2)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 2, err
    assert "Traceback" not in err
    assert str(run.path / "scores") in " ".join(err.split())


@pytest.mark.slow
def test_the_first_process_ends_the_other_when_it_fails(quick_run, copy, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(FIRST_FAILS)
    options = ("--devices", "2", "--accelerator", "cpu")
    done = subprocess.run(
        [sys.executable, program, "evaluate", copy(quick_run).path, *options],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("the first process failed") == 1
    assert "another process" not in done.stderr, "the other one was not ended, but lost the first"


CONNECTED_AT_EXIT = """
import atexit, sys
from torch import distributed

atexit.register(lambda: sys.stdout.write(f"connected {distributed.is_initialized()}\\n"))
from aclnet.runs.fabric import open_fabric

open_fabric("cpu", "2").launch()
assert distributed.get_world_size() == 2
sys.exit(3)
"""
"""A program that says, after all other work, if it is still connected. The first function that is
registered is called last."""


@pytest.mark.slow
def test_processes_leave_each_other_before_they_end(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(CONNECTED_AT_EXIT)
    done = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 3, done.stderr
    assert sorted(done.stdout.split("\n")) == ["", "connected False", "connected False"]


def test_a_number_of_devices_that_is_none(quick_run, copy, capsys):
    options = ["--devices", "several", "--accelerator", "cpu"]
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", str(copy(quick_run).path), *options])
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert "--devices several" in err
    assert "Traceback" not in err
