"""Completion in the shell."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from click.shell_completion import ShellComplete

from aclnet.cli.main import COMMANDS, cli
from aclnet.datasets.registry import all_datasets
from aclnet.datasets.spec.layouts import registry
from aclnet.runs.recipes import recipe_names
from aclnet.tracking.trackers import SHIPPED

FILES = [("file", "")]


def completions(*words: str) -> list[tuple[str, str]]:
    """Types and values that the shell gets for the last word."""
    *before, typed = words
    shell = ShellComplete(cli, {}, "aclnet", "_ACLNET_COMPLETE")
    return [(item.type, item.value) for item in shell.get_completions(before, typed)]


def plain(names) -> list[tuple[str, str]]:
    return [("plain", name) for name in sorted(names)]


def test_commands():
    assert [name for _, name in completions("")] == list(COMMANDS)
    assert completions("ex") == [("plain", "export")]
    assert ("plain", "--recipe") in completions("train", "--re")


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["prepare"], all_datasets()),
        (["synth"], all_datasets()),
        (["datasets"], all_datasets()),
        (["import-checkpoint", "x.pth", "--dataset"], all_datasets()),
        (["layouts"], registry()),
        (["prepare", "ntu60", "--layout"], registry()),
        (["recipes"], recipe_names()),
        (["train", "--recipe"], recipe_names()),
        (["sweep", "--recipe"], recipe_names()),
        (["train", "--tracker"], SHIPPED),
    ],
)
def test_names(words, names):
    assert completions(*words, "") == plain(names)
    some = sorted(names)[-1]
    assert ("plain", some) in completions(*words, some[:3])
    assert len(completions(*words, some[:3])) < len(names)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with two stores and two runs."""
    for marker in (
        "ntu60.zarr/manifest.json",
        "data/sbu.zarr/manifest.json",
        "data/broken.zarr/zarr.json",
        "ntu60.zarr.runs/joints/run.json",
        "runs/mine/run.json",
    ):
        (tmp_path / marker).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / marker).touch()
    monkeypatch.chdir(tmp_path)


STORES = ["ntu60.zarr", "data/sbu.zarr"]
RUNS = ["ntu60.zarr.runs/joints", "runs/mine"]


@pytest.mark.parametrize(
    ("words", "paths"),
    [
        (["train"], STORES),
        (["info"], STORES),
        (["evaluate", "--store"], STORES),
        (["identify", "r", "--gallery"], STORES),
        (["evaluate"], RUNS),
        (["ensemble", "runs/mine"], RUNS),
        (["compare", "runs/mine", "--with"], RUNS),
        (["occlusion-bench"], RUNS),
        (["predict"], STORES + RUNS),
        (["export"], STORES + RUNS),
    ],
)
@pytest.mark.usefixtures("folder")
def test_stores_and_runs(words, paths):
    assert completions(*words, "") == plain(paths)
    assert completions(*words, "ntu60") == plain(p for p in paths if p.startswith("ntu60"))
    assert completions(*words, "/else") == [("file", "/else")]


def test_files_where_there_is_no_store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert completions("train", "") == completions("evaluate", "") == FILES
    assert completions("train", "--recipe", "my.to") == [("file", "my.to")]


PROGRAM = """
import sys
from aclnet.cli.main import main
try:
    main([])
finally:
    assert not {"torch", "zarr", "pandas"} & set(sys.modules)
"""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("aclnet tra", "plain,train"),
        ("aclnet prepare ntu1", "plain,ntu120"),
        ("aclnet train --recipe demo-", "plain,demo-2d"),
        ("aclnet layouts openpose2", "plain,openpose25"),
    ],
)
def test_bash_gets_an_answer_without_heavy_imports(words, expected):
    asked = {
        "_ACLNET_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | asked,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [expected]


def test_ids_of_a_store(made_up_store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = completions("view", str(made_up_store), "S001C001P001")
    assert found == plain(f"S001C001P001R001A{n:03}" for n in (1, 3, 10, 24, 50, 58))
    assert completions("view", str(tmp_path), "S") == []
    assert completions("view", "--dataset", "") == plain(all_datasets())
