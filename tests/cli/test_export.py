"""`aclnet export`: stores and runs, and what becomes of a wrong pair."""

from __future__ import annotations

import shutil

import click
import numpy as np
import pytest

from aclnet.cli.export import command
from aclnet.datasets.exports.forms import STORE_FORMS
from aclnet.datasets.store.store import Store
from aclnet.exchange.export_run import RUN_FORMS


@pytest.fixture
def here(made_up_store, tmp_path, monkeypatch):
    """A folder with a store in it, to work in."""
    shutil.copytree(made_up_store, tmp_path / "ntu60.zarr")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_choice_is_of_all_forms():
    (option,) = [p for p in command.params if p.name == "to"]
    assert isinstance(option.type, click.Choice)
    assert list(option.type.choices) == [*STORE_FORMS, *RUN_FORMS, "csv", "embeddings"]


@pytest.mark.parametrize(
    ("to", "file"), [("pyskl", "ntu60.pkl"), ("npz", "ntu60-xsub.npz"), ("hdf5", "ntu60.h5")]
)
def test_the_newest_store_goes_out(aclnet, here, to, file):
    answer = aclnet("export", "--to", to)
    assert answer.code == 0, answer.err
    assert answer.words == f"{file}: the store ntu60.zarr"
    assert (here / file).is_file()
    again = aclnet("export", "ntu60.zarr", "--to", to)
    assert again.code == 2
    assert f"{file} already exists; choose another --out" in again.words


@pytest.mark.parametrize(("to", "file"), [("pyskl", "x.pyskl"), ("npz", "x"), ("hdf5", "x.npz")])
def test_an_ending_that_prepare_would_not_know_is_refused(aclnet, here, to, file):
    answer = aclnet("export", "ntu60.zarr", "--to", to, "--out", file)
    assert answer.code == 2
    assert f"call the file x{STORE_FORMS[to][0]}" in answer.words
    assert not (here / file).exists()


@pytest.mark.parametrize("file", ["x.pkl", "x.npz", "x.h5", "x.hdf5"])
def test_what_went_out_comes_back(aclnet, here, file):
    to = {"pkl": "pyskl", "npz": "npz"}.get(file[2:], "hdf5")
    assert aclnet("export", "ntu60.zarr", "--to", to, "--out", file).code == 0
    answer = aclnet("prepare", "ntu60", "--raw", file, "--out", "back.zarr")
    assert answer.code == 0, answer.err
    back, store = Store(here / "back.zarr"), Store(here / "ntu60.zarr")
    assert sorted(back.column("id")) == sorted(store.column("id"))
    for sample_id in store.column("id"):
        np.testing.assert_array_equal(
            back.sequence(sample_id).keypoint, store.sequence(sample_id).keypoint
        )
    align = aclnet("prepare", "ntu60", "--raw", file, "--out", "a.zarr", "--align")
    assert align.code == 2
    assert "is an exported store: its sequences are not changed" in align.words


def test_a_protocol_is_chosen(aclnet, here):
    answer = aclnet("export", "ntu60.zarr", "--to", "npz", "--protocol", "xview")
    assert answer.words == "ntu60-xview.npz: the store ntu60.zarr"
    wrong = aclnet("export", "ntu60.zarr", "--to", "npz", "--protocol", "xset")
    assert wrong.code == 2
    assert "has no split 'xset/train' (did you mean xsub/train?); it has" in wrong.words
    wrong = aclnet("export", "ntu60.zarr", "--to", "hdf5", "--protocol", "xview")
    assert "--protocol is for npz; hdf5 holds all protocols" in wrong.words
    assert sorted(path.name for path in here.iterdir()) == ["ntu60-xview.npz", "ntu60.zarr"]


def test_a_store_is_no_run_and_a_run_no_store(aclnet, here, trained):
    answer = aclnet("export", "ntu60.zarr", "--to", "official")
    assert answer.code == 2
    assert (
        "ntu60.zarr is a store; it can be exported to pyskl, npz or hdf5, not to official"
    ) in answer.words
    answer = aclnet("export", trained[0], "--to", "pyskl")
    assert answer.code == 2
    assert (
        f"{trained[0]} is a run; it can be exported to official, safetensors, onnx, torch-export, "
        f"csv "
        "or embeddings, not to pyskl" in answer.words
    )
    answer = aclnet("export", trained[0], "--to", "official", "--protocol", "xsub")
    assert "--protocol is for the export of a store" in answer.words


def test_nothing_there(aclnet, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "no store below" in aclnet("export", "--to", "hdf5").words
    assert "no run below" in aclnet("export", "--to", "official").words
    assert "there is no such store" in aclnet("export", "x.zarr", "--to", "hdf5").words
