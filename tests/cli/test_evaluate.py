"""`aclnet evaluate` as a person and a machine meet it."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest
import torch

from aclnet.runs.run import Run
from aclnet.runs.scores import Scores


@pytest.fixture
def own_run(trained_once, tmp_path) -> Run:
    shutil.copytree(trained_once[0], tmp_path / "own")
    return Run(tmp_path / "own")


def test_what_a_person_sees_and_finds(own_run, aclnet):
    answer = aclnet("evaluate", own_run.path, terminal=True)
    assert answer.code == 0, answer.err
    for words in ("top-1", "mean class accuracy", "the last", "Classes, the worst first"):
        assert words in answer.out
    assert "drop" not in answer.out, "a class of the data set without samples is not listed"
    assert max(map(len, answer.out.splitlines())) <= 80
    stem = "xsub-test"
    found = {f.name for f in (own_run.path / "scores").iterdir()}
    assert found == {f"{stem}.npz", f"{stem}.per_class.csv", f"{stem}.confusion.png"}
    table = pd.read_csv(own_run.path / "scores" / f"{stem}.per_class.csv")
    assert len(table) == 60
    assert table["samples"].sum() == 12


@pytest.mark.slow
def test_other_choices_have_files_of_their_own(own_run, made_up_store, aclnet):
    answer = aclnet(
        "evaluate", own_run.path, "--store", made_up_store, "--split", "xview/test", "--clips", "1",
        "--json",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    result = json.loads(answer.out)
    assert (result["split"], result["samples"]) == ("xview-test-1clips", 36)
    scores = Scores.load(own_run.scores("xview-test-1clips"))
    assert result["top1"] == scores.top1
    assert len(Scores.load(own_run.scores("xsub-test"))) == 12


@pytest.mark.slow
def test_an_unfinished_run_is_remarked_upon(own_run, aclnet, change_record):
    assert "not finished" not in aclnet("evaluate", own_run.path).words
    change_record(own_run.path, finished=False)
    answer = aclnet("evaluate", own_run.path, terminal=True)
    assert answer.code == 0
    assert "is not finished: its last checkpoint is used" in answer.words


class Malicious:
    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("command", [["evaluate"], ["occlusion-bench", "--drop", "hands"]])
def test_damaged_and_malicious_checkpoints(command, own_run, aclnet, tmp_path):
    checkpoint = own_run.checkpoint("last")
    checkpoint.write_bytes(checkpoint.read_bytes()[:5000])
    answer = aclnet(*command, own_run.path)
    assert answer.code == 2
    assert f"{checkpoint} was not loaded" in answer.words
    torch.save({"network": Malicious(tmp_path / "trace")}, checkpoint)
    answer = aclnet(*command, own_run.path)
    assert answer.code == 2
    assert f"{checkpoint} was not loaded" in answer.words
    assert not (tmp_path / "trace").exists()


def test_mistakes_end_in_a_message(own_run, aclnet, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path / "own")
    for arguments, message in (
        ([], "no run below"),
        (["gone"], "gone is not a run of aclnet"),
        (["."], ""),
        ([".", "--split", "xview/train"], "xview/train has no sample; --split can be xsub/test"),
        ([".", "--split", "nonsense"], "has no split 'nonsense'; it has"),
        ([".", "--store", "gone.zarr"], "there is no such store"),
        ([".", "--accelerator", "abacus"], "--accelerator abacus"),
        ([".", "--clips", "0"], "--clips"),
    ):
        answer = aclnet("evaluate", *arguments)
        assert answer.code == (2 if message else 0), arguments
        assert message in answer.words
        assert "Traceback" not in answer.err


@pytest.mark.slow
def test_a_store_of_another_layout(real_data, own_run, aclnet, tmp_path):
    out = tmp_path / "utd.zarr"
    prepared = aclnet("prepare", "utd-mhad", "--raw", real_data / "utd_mhad", "--out", out)
    assert prepared.code == 0, prepared.err
    answer = aclnet("evaluate", own_run.path, "--store", out)
    assert answer.code == 2
    assert "was trained on layout nturgb+d with 25 joints" in answer.words
    answer = aclnet("train", out, "--init-from", own_run.path, "--out", tmp_path / "run")
    assert answer.code == 2
    assert "has layout utd_mhad with 20" in answer.words
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_store_that_moved(own_run, made_up_store, aclnet, tmp_path, monkeypatch, change_record):
    store = own_run.record.store.model_dump() | {"path": str(tmp_path / "before.zarr")}
    change_record(own_run.path, store=store)
    away = tmp_path / "elsewhere"
    away.mkdir()
    monkeypatch.chdir(away)
    answer = aclnet("evaluate", own_run.path, terminal=True)
    assert answer.code == 2
    assert "before.zarr nor below" in answer.words
    shutil.copytree(made_up_store, away / "renamed.zarr")
    answer = aclnet("evaluate", own_run.path, terminal=True)
    assert answer.code == 0, answer.err
    assert "renamed.zarr" in answer.words
