"""Commands on several stores as one, and on parts."""

from __future__ import annotations

import json
import shutil

import pytest


@pytest.fixture(scope="module")
def stores(made_up_store, home_store, tmp_path_factory):
    """A folder with two stores."""
    folder = tmp_path_factory.mktemp("stores")
    for path in (made_up_store, home_store):
        shutil.copytree(path, folder / path.name)
    return folder


def read(answer):
    assert answer.code == 0, answer.err
    return json.loads(answer.out)


@pytest.mark.slow
def test_two_stores_from_training_to_evaluation(stores, quick_arguments, aclnet, monkeypatch):
    monkeypatch.chdir(stores)
    smaller = ("optim.epochs=1", "optim.batch_size=16", "data.frames=8", "data.clips=1")
    quick = [*quick_arguments, *(f"--set={setting}" for setting in smaller)]
    trained = aclnet("train", "ntu60.zarr", "home.zarr", *quick, "--json")
    (run,) = read(trained)["runs"]
    assert run["run"].startswith("ntu60+home.zarr.runs")
    assert run["split"] == "joined/test"
    assert "'clapping' and 'Clapping' are different classes" in trained.words
    scored = read(aclnet("evaluate", run["run"], "--json"))
    assert scored["samples"] == run["samples"]
    assert scored["top1"] == run["top1"]
    joined = read(aclnet("finalise", "both.zarr", "ntu60.zarr", "home.zarr", "--json"))
    other = read(aclnet("info", "ntu60.zarr", "home.zarr", "--json"))
    assert joined["digest"] == other["digest"]
    # the set is the newest store, and the run is one of it
    again = aclnet("train", "both.zarr", "--out", run["run"], *quick, "--json")
    assert read(again)["runs"] == [run]
    assert "is finished already" in again.words


def test_a_set_is_shown_and_verified(stores, aclnet, tmp_path):
    out = tmp_path / "both.zarr"
    paths = [stores / name for name in ("ntu60.zarr", "home.zarr")]
    answer = aclnet("finalise", out, *paths, "--protocol", "xview,own", "--overwrite")
    assert answer.code == 0, answer.err
    assert "no sample at all" not in answer.words
    summary = read(aclnet("info", out, "--json"))
    assert [member["store"] for member in summary["members"]] == list(map(str, paths))
    assert [split["split"] for split in summary["splits"]] == ["joined/test", "joined/train"]
    assert summary["samples"] == sum(member["samples"] for member in summary["members"])
    alone = [read(aclnet("info", path, "--json")) for path in paths]
    assert summary["bytes"] == sum(one["bytes"] for one in alone)
    assert all(one["members"] == one["remarks"] == [] for one in alone)
    shown = aclnet("info", out)
    assert "Members" in shown.out
    assert "remark: 'clapping' and 'Clapping'" in shown.words
    assert aclnet("verify", out).code == 0
    missing = read(aclnet("finalise", tmp_path / "same.zarr", *paths, "--json"))
    assert not missing["parts"]


@pytest.mark.slow
def test_parts_of_a_preparation(home, aclnet, tmp_path):
    out, command = tmp_path / "home.zarr", ["prepare", "custom", "--raw", home]
    first = aclnet(*command, "--out", out, "--shards", "1/2", "--json")
    assert read(first)["part"] == "1/2"
    assert f"`aclnet finalise {out}` joins them" in first.words
    early = aclnet("finalise", out)
    assert early.code == 2
    assert "1 of 2 parts are not there or not finished: 2" in early.words
    assert aclnet(*command, "--out", out, "--shards", "2/2").code == 0
    report = read(aclnet("finalise", out, "--json"))
    assert report["parts"]
    assert [member["samples"] for member in report["members"]] == [20, 20]
    assert {count["side"]: count["found"] for count in report["counts"]} == {
        "own/train": 30,
        "own/test": 10,
    }
    done = aclnet(*command, "--out", out)
    assert "nothing to do" in done.words
    for arguments, said in (
        (["--shards", "3/2"], "write it as 2/8"),
        (["--shards", "1/2", "--check"], "leave --shards out"),
    ):
        refused = aclnet(*command, "--out", tmp_path / "x.zarr", *arguments)
        assert refused.code == 2
        assert said in refused.words
