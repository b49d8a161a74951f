"""The functions of `aclnet` do what the commands do."""

from __future__ import annotations

import csv
import inspect

import numpy as np
import pytest

import aclnet
from aclnet.datasets.store.store import Store
from aclnet.datasets.synth import Request, get_generator
from aclnet.runs.scores import Scores

FUNCTIONS = (aclnet.prepare, aclnet.read, aclnet.train, aclnet.evaluate, aclnet.load)


@pytest.fixture
def raw(tmp_path):
    get_generator("custom", "csv")(tmp_path / "raw", Request(12, 4, 0))
    return tmp_path / "raw"


@pytest.mark.slow
def test_a_store_of_a_function_is_that_of_the_command(raw, tmp_path, prepare_raw):
    options = aclnet.PrepareOptions(layout="utd_mhad", seed=3)
    told = []
    report = aclnet.prepare("custom", raw, tmp_path / "a.zarr", options=options, tell=told.append)
    prepare_raw(raw, tmp_path / "b.zarr", dataset="custom", layout="utd_mhad", seed=3)
    a, b = Store(report.path), Store(tmp_path / "b.zarr")
    assert a.digest == b.digest
    assert told == [f"Data of your own: {raw} -> {tmp_path / 'a.zarr'}"]
    again = aclnet.prepare("custom", raw, tmp_path / "a.zarr", options=options)
    assert again.existed


def test_reading_needs_no_index(raw):
    with (raw / "index.csv").open(newline="") as file:
        index = {row["id"]: row for row in csv.DictReader(file)}
    labelled = {s.sample_id: s for s in aclnet.read(raw)}
    assert labelled.keys() == index.keys()
    (raw / "index.csv").unlink()
    found = aclnet.read(raw)
    assert [s.sample_id for s in found] == sorted(index)
    for sequence in found:
        assert sequence.label == -1
        np.testing.assert_array_equal(sequence.keypoint, labelled[sequence.sample_id].keypoint)
    table = np.loadtxt(raw / "clip_00003.csv", delimiter=",", skiprows=1)
    (one,) = aclnet.read(raw / "clip_00003.csv")
    assert one.keypoint.shape[1:] == (len(table), 20, 3)
    np.testing.assert_allclose(one.keypoint[0].reshape(len(table), -1), table[:, -60:], rtol=1e-6)


def test_reading_converts_and_tells_what_is_damaged(raw):
    (raw / "clip_00002.csv").write_text("1,2\n")
    with pytest.warns(aclnet.AclnetWarning, match=r"clip_00002\.csv:1"):
        found = aclnet.read(raw, options=aclnet.PrepareOptions(layout="utd_mhad"))
    assert len(found) == 11
    with pytest.raises(aclnet.AclnetError, match="no recording can be used"):
        aclnet.read(raw / "clip_00002.csv", options=aclnet.PrepareOptions(layout="kinect_v1"))


def test_training_and_evaluating_are_those_of_the_commands(
    store, quick_settings, quick_run, tmp_path, assert_alike
):
    """The same configuration has the same name and the same scores."""
    run = aclnet.train(
        store.path, recipe="default", settings=quick_settings, out=tmp_path / "run",
        accelerator="cpu",
    )  # fmt: skip
    assert run.record.name == quick_run.record.name
    expected = Scores.load(quick_run.test_scores)
    assert_alike(Scores.load(run.test_scores).scores, expected.scores)
    found = aclnet.evaluate(run, store, accelerator="cpu")
    assert_alike(found.scores.scores, expected.scores)
    assert found.result["top1"] == run.result["top1"]
    assert found.as_dict()["split"] == "xsub-test"
    assert {f.name for f in found.file.parent.iterdir()} == {
        "xsub-test.npz", "xsub-test.per_class.csv", "xsub-test.confusion.png",
    }  # fmt: skip
    with pytest.warns(aclnet.AclnetWarning, match="is finished already"):
        aclnet.train(
            store, recipe="default", settings=quick_settings, out=tmp_path / "run",
            accelerator="cpu",
        )  # fmt: skip


def test_arguments_that_do_not_fit_are_refused(store, quick_run, tmp_path):
    with pytest.raises(aclnet.AclnetError, match="is a store"):
        aclnet.read(store.path)
    with pytest.raises(aclnet.AclnetError, match="give one"):
        aclnet.train(store, split_file=tmp_path / "s.csv", protocol="xsub")
    with pytest.raises(aclnet.AclnetError, match="the task of this run is action"):
        aclnet.evaluate(quick_run, store, published=True)
    with pytest.raises(aclnet.AclnetError, match="stored augmentation needs"):
        aclnet.prepare("ntu60", tmp_path, options=aclnet.PrepareOptions(variants=2))
    with pytest.raises(aclnet.AclnetError, match="is not a run of aclnet"):
        aclnet.load(tmp_path)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_functions_are_documented_and_typed(function):
    parameters = inspect.signature(function).parameters
    lines = [line.strip() for line in function.__doc__.splitlines()]
    named = {name for line in lines for name in line.partition(":")[0].split(", ")}
    assert parameters.keys() - {"progress", "tell"} <= named
    assert set(parameters) <= set(function.__annotations__)
    assert "return" in function.__annotations__


def test_every_name_of_the_package_is_there():
    assert [n for n in aclnet.__all__ if not hasattr(aclnet, n)] == []
    assert aclnet.load.__annotations__["return"] == "Model"
