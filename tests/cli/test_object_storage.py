"""Commands on a store in an object store."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.shell_completion import ShellComplete

from aclnet import open_store
from aclnet.cli.main import cli
from aclnet.runs.run import Run
from tests.object_server import BUCKET, Fault

ROOT = Path(__file__).parents[2]
SHARD = "made-up.zarr/frames/keypoint/c/0/0/0"


@pytest.fixture
def address(objects, made_up_store, tmp_path, monkeypatch):
    """Address of a copy of `made_up_store`; the working folder is empty."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return objects.put_folder(made_up_store, "made-up.zarr")


def weights(run):
    return {n: w for n, w in Run(run).network_state().items() if isinstance(w, torch.Tensor)}


def assert_same_training(run, expected):
    """Compares weights, losses and scores to the bit."""
    found, other = weights(run), weights(expected)
    assert found.keys() == other.keys()
    assert all(torch.equal(found[name], other[name]) for name in other)
    losses, others = (pd.read_csv(path / "metrics.csv") for path in (run, expected))
    times = ["seconds", "sequences_per_second", "waiting"]
    pd.testing.assert_frame_equal(
        losses.drop(columns=times), others.drop(columns=times), check_exact=True
    )
    one, two = (np.load(Run(path).test_scores) for path in (run, expected))
    np.testing.assert_array_equal(one["ids"], two["ids"])
    np.testing.assert_array_equal(one["scores"], two["scores"])


def test_info_view_and_card(address, made_up_store, aclnet, tmp_path):
    answer = aclnet("info", address, "--json")
    assert answer.code == 0, answer.err
    local = json.loads(aclnet("info", made_up_store, "--json").out)
    assert json.loads(answer.out) == {**local, "store": address}
    drawn = aclnet("view", address, "--out", tmp_path / "x.html")
    assert drawn.code == 0, drawn.err
    assert (tmp_path / "x.html").stat().st_size > 10_000
    refused = aclnet("card", address)
    assert refused.code == 2
    assert f"{address} is not a folder; choose one for the card with --out" in refused.words
    written = aclnet("card", address, "--out", tmp_path / "card", "--json")
    assert written.code == 0, written.err
    aclnet("card", made_up_store, "--out", tmp_path / "other")
    for file in json.loads(written.out)["files"]:
        other = tmp_path / "other" / file.rpartition("/")[2]
        assert other.read_bytes() == (tmp_path / "card" / other.name).read_bytes()


def test_verify_names_damaged_objects(address, objects, aclnet):
    assert aclnet("verify", address).code == 0
    content = objects.objects[SHARD].content
    objects.put(SHARD, content[:-1] + b"x")
    answer = aclnet("verify", address, "--json")
    assert answer.code == 1
    (problem,) = json.loads(answer.out)["damage"]
    assert f"s3://skeletons/{SHARD} differs from what was written" in problem


def test_an_export_is_written_into_the_working_folder(address, aclnet, tmp_path):
    assert aclnet("export", address, "--to", "hdf5").code == 0
    assert (tmp_path / "work" / "made-up.h5").is_file()


@pytest.mark.parametrize("command", ["info", "verify", "train", "view", "bench"])
def test_a_dead_server_ends_in_a_message(command, address, objects, aclnet, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    answer = aclnet(command, address)
    assert answer.code == 2
    words = "http://127.0.0.1:9 did not send a proper answer for 0.5 seconds (Connection refused)"
    assert words in answer.words
    assert address in answer.words
    assert "Traceback" not in answer.err


def test_other_addresses_are_refused(aclnet):
    answer = aclnet("info", "gs://bucket/x.zarr")
    assert answer.code == 2
    words = "gs://bucket/x.zarr is not the address of a store; give s3://BUCKET/PATH"
    assert words in answer.words


@pytest.mark.parametrize(
    ("words", "typed"), [(["info"], "s3://skeletons/ma"), (["view", "s3://skeletons/x.zarr"], "S0")]
)
def test_completion_asks_no_server(words, typed, address, objects):
    complete = ShellComplete(cli, {}, "aclnet", "_ACLNET_COMPLETE")
    assert [item.value for item in complete.get_completions(words, typed)] in ([typed], [])
    assert not objects.requests


@pytest.mark.slow
def test_training_is_that_from_the_folder_to_the_bit(
    address, trained, aclnet, quick_arguments, tmp_path
):
    answer = aclnet("train", address, *quick_arguments, terminal=True)
    assert answer.code == 0, answer.err
    assert f"{address}, recipe ntu60-xsub" in answer.words
    (run,) = (tmp_path / "work" / "runs").iterdir()
    assert_same_training(run, trained[0])
    evaluated = aclnet("evaluate", run, "--json")
    assert evaluated.code == 0, evaluated.err
    assert json.loads(evaluated.out)["store"] == address
    same = aclnet("evaluate", trained[0], "--store", address, "--json")
    assert json.loads(same.out)["top1"] == json.loads(evaluated.out)["top1"]


@pytest.mark.slow
def test_two_processes_fetch_each_object_once(address, objects, quick_arguments, tmp_path):
    command = ["train", address, "--out", tmp_path / "run", "--devices", "2", *quick_arguments]
    command = [sys.executable, "-m", "aclnet", *map(str, command), "--accelerator", "cpu"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "ACLNET_S3_PATIENCE": "60"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert Run(tmp_path / "run").finished
    fetched = [key for method, key in objects.requests if method == "GET" and "/c/" in key]
    assert len(fetched) == len({objects.objects[key].content for key in fetched})


@pytest.mark.slow
def test_a_training_that_lost_the_server_resumes(
    address, objects, made_up_store, trained, aclnet, quick_arguments, tmp_path, monkeypatch
):
    store = open_store(made_up_store)
    shards = len(np.unique(store.shard_of[store.mask("xsub/train")]))
    monkeypatch.setenv("ACLNET_CACHE_MB", "0")
    command = ["train", address, "--out", tmp_path / "run", *quick_arguments, "--set=data.cache=0"]
    objects.faults.append(Fault("reset", key="/frames/", times=10**6, after=4 * shards))
    answer = aclnet(*command)
    assert answer.code == 2
    assert "did not send a proper answer for 0.5 seconds" in answer.words
    assert len(pd.read_csv(tmp_path / "run" / "metrics.csv")) == 1, "an epoch was finished"
    objects.faults.clear()
    assert aclnet(*command).code == 0
    assert_same_training(tmp_path / "run", trained[0])


@pytest.mark.slow
def test_parts_at_an_address_are_joined_as_told(home, objects, aclnet, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = f"s3://{BUCKET}/home.zarr"
    for part in ("1/2", "2/2"):
        answer = aclnet("prepare", "custom", "--raw", home, "--out", out, "--shards", part)
        assert answer.code == 0, answer.err
    _, command, _ = answer.words.split("`")
    told = shlex.split(command)
    joined = aclnet(*told[1:])
    assert joined.code == 0, joined.err
    assert json.loads(aclnet("info", tmp_path / "home.zarr", "--json").out)["samples"] == 40
