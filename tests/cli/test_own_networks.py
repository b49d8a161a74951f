"""The examples of docs/networks.md, by the commands that it gives."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from aclnet.runs.run import Run

PAGE = Path(__file__).parents[2] / "docs" / "networks.md"


@pytest.fixture
def working(tmp_path, monkeypatch) -> Path:
    """A working folder with the modules of the page."""
    network, loss = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "mynet.py").write_text(network)
    (tmp_path / "myloss.py").write_text(loss)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    for name in ("mynet", "myloss"):
        sys.modules.pop(name, None)


@pytest.mark.slow
def test_the_example_trains_and_goes_through_what_follows(
    working, aclnet, made_up_store, quick_arguments
):
    train = ("train", made_up_store, "--model", "mynet:build", "--out", "run", *quick_arguments)
    loss = ("--set", "loss.name=myloss:build", "--set", "loss.options.weight=0.02")
    answer = aclnet(*train, *loss, "--json")
    assert answer.code == 0, answer.err
    assert "tiny network mynet:build" in answer.words
    (result,) = json.loads(answer.out)["runs"]
    again = aclnet(*train, *loss)
    assert "is finished already" in again.words

    refused = aclnet("evaluate", "run")
    assert refused.code == 2
    assert "run run has the network mynet:build" in refused.words
    named = ("--model", "mynet:build")
    answer = aclnet("evaluate", "run", *named, "--json")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["top1"] == result["top1"]
    assert "has changed" not in answer.words
    answer = aclnet("occlusion-bench", "run", *named, "--drop", "hands", "--json")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["rows"][0]["accuracy"] == result["top1"]
    answer = aclnet("export", "run", *named, "--to", "embeddings", "--out", "vectors.npz")
    assert answer.code == 0, answer.err
    answer = aclnet("export", "run", *named, "--to", "torch-export")
    assert answer.code == 0, answer.err
    assert aclnet("families", "run").code == 0
    assert aclnet("compare", "run", "--with", "run").code == 0

    (working / "moved").mkdir()
    moved = (working / "mynet.py").rename(working / "moved" / "net.py")
    with moved.open("a") as file:
        file.write("# edited\n")
    answer = aclnet("evaluate", "run", "--model", f"{moved}:build", "--json")
    assert json.loads(answer.out)["top1"] == result["top1"]
    assert "net.py:build has changed since run run was trained" in answer.words


@pytest.mark.slow
def test_a_sweep_with_a_bench_knows_the_network(working, aclnet, made_up_store, quick_arguments):
    rows = working / "rows.toml"
    rows.write_text(
        'title = "Mine"\nsettings = ["model.name=mynet:build"]\n'
        '[rows]\n"one" = ["loss.terms=ce"]\n'
        '[occlusion]\nsuite = "quick"\nclips = 1\n'
    )
    options = ("--rows", rows, "--seeds", "0", "--out", working / "out")
    answer = aclnet("sweep", made_up_store, *options, *quick_arguments)
    assert answer.code == 0, answer.err
    assert (working / "out" / "rows.csv").is_file()


def test_a_run_of_ours_needs_no_code(trained, aclnet, working):
    answer = aclnet("evaluate", trained[0], "--model", "mynet:build")
    assert answer.code == 2
    assert f"run {trained[0].name} has the network aclnet" in answer.words
    assert "mynet" not in sys.modules
    assert Run(trained[0]).own_model is None
