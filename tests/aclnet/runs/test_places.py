"""Names and places of runs."""

from __future__ import annotations

import os

import pytest

from aclnet.datasets.spec import AclnetError
from aclnet.datasets.store.store import Store
from aclnet.runs.places import check_out, run_folder, run_name, runs_folder
from aclnet.runs.record import SplitRecord


def test_the_name_follows_from_configuration_data_split_and_start(quick, store):
    def name(*settings, held_out=None, protocol="xsub", init=None, seed=0):
        return run_name(
            quick(*settings, seed=seed),
            store,
            SplitRecord(protocol=protocol, held_out=held_out),
            init,
        )

    assert name() == name()
    assert name().startswith("default-j-s0-")
    assert name("data.modality=bm", seed=3).startswith("default-bm-s3-")
    others = [
        name("optim.lr=0.7"),
        name(protocol="xview"),
        name(held_out="subjects 3"),
        name(init="default-j-s0-12345678"),
    ]
    assert len({name(), *others}) == 5


def test_where_runs_are(store, tmp_path, monkeypatch):
    assert run_folder(store, "n", tmp_path / "out") == tmp_path / "out"
    assert run_folder(store, "n", None) == store.path.parent / "ntu60.zarr.runs" / "n"
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert str(run_folder(store, "n", None)) == "runs/n"
    assert str(runs_folder(store)) == "runs"
    monkeypatch.undo()
    monkeypatch.chdir(store.path)
    beside = run_folder(Store("."), "n", None)
    assert beside.parent.resolve() == store.path.parent.resolve() / "ntu60.zarr.runs"


def test_what_out_may_be(quick_run, tmp_path):
    check_out(tmp_path / "absent")
    check_out(quick_run.path)
    (tmp_path / "empty").mkdir()
    check_out(tmp_path / "empty")
    (tmp_path / "empty" / "config.toml").touch()
    (tmp_path / "empty" / "run.json.elsewhere-1.tmp").touch()
    check_out(tmp_path / "empty")  # a run that was killed while it began
    for name in ("full", "a file"):
        path = tmp_path / name
        if name == "full":
            path.mkdir()
            path /= "thesis.tex"
        path.touch()
        with pytest.raises(AclnetError, match="is not a run of aclnet"):
            check_out(tmp_path / name)
