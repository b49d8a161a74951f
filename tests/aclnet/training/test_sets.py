"""Training on several stores as one."""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager

import numpy as np
import pytest

import aclnet
import aclnet.training.jobs
import aclnet.training.trainer
from aclnet.datasets.spec import AclnetError
from aclnet.runs.run import Run
from aclnet.training.jobs import plan_job, train_jobs
from aclnet.training.launch import TrainingRequest

SETTINGS = ("optim.epochs=2", "optim.batch_size=16", "data.frames=8", "data.clips=1")


@pytest.fixture(scope="module")
def paths(made_up_store, home_store, tmp_path_factory):
    """Copies of two stores in one folder, beside which runs are written."""
    folder = tmp_path_factory.mktemp("sets")
    for path in (made_up_store, home_store):
        shutil.copytree(path, folder / path.name)
    return folder / made_up_store.name, folder / home_store.name


class Told:
    """A progress that keeps the remarks."""

    def __init__(self) -> None:
        self.remarks: list[str] = []

    def remark(self, text: str) -> None:
        self.remarks.append(text)

    def step(self, *_: object) -> None: ...

    def epoch(self, _: dict[str, float]) -> None: ...


@pytest.fixture(scope="module")
def whole(paths, train_quickly, tmp_path_factory):
    """A run on both stores that was trained without a break, and what was told meanwhile."""
    told, out = Told(), tmp_path_factory.mktemp("whole") / "run"
    run = train_quickly(out, *SETTINGS, store=aclnet.open_store(*paths), progress=told)
    return run, told.remarks


@pytest.mark.slow
def test_a_run_on_two_stores_resumes_to_the_last_bit(
    paths, whole, train_quickly, stop_at, assert_same_run, tmp_path, monkeypatch
):
    monkeypatch.setattr(aclnet.training.trainer, "CHECK_EVERY", 1)
    monkeypatch.setattr(aclnet.training.trainer, "SAVE_EVERY", -1.0)  # after every step
    out, told = tmp_path / "run", Told()
    stop = stop_at(steps=3)
    with pytest.raises(stop_at.Stopped):
        train_quickly(out, *SETTINGS, store=aclnet.open_store(*paths), progress=stop)
    # the named set is the same store, so that it resumes the run too
    aclnet.finalise(tmp_path / "set.zarr", *paths)
    named = aclnet.open_store(tmp_path / "set.zarr")
    resumed = train_quickly(out, *SETTINGS, store=named, progress=told)
    assert "resumes after step 2 of epoch 1 of 2" in told.remarks
    assert_same_run(resumed, whole[0])


def test_a_run_trains_and_tests_on_the_samples_of_both(paths, whole):
    run, remarks = whole
    store = aclnet.open_store(*paths)
    assert run.class_names == store.class_names
    assert any("'clapping' and 'Clapping' are different" in text for text in remarks)
    train, test = store.mask("joined/train"), store.mask("joined/test")
    assert run.history.read("confusion/train", 0).sum() == train.sum() // 16 * 16
    assert run.result["samples"] == test.sum()
    with np.load(run.test_scores) as scores:
        assert sorted(scores["ids"]) == sorted(store.column("id")[test])
        for sample, label in zip(scores["ids"].tolist(), scores["labels"], strict=True):
            assert store.column("label")[store.row_of(sample)] == label


@pytest.mark.slow
def test_a_run_finds_its_stores(paths, whole, tmp_path, monkeypatch):
    run = whole[0]
    record = json.loads((run.path / "run.json").read_text())["store"]
    assert [member["path"] for member in record["members"]] == [str(path) for path in paths]
    assert run.open_store().digest == record["digest"]
    paths[1].rename(tmp_path / "other.zarr")
    try:
        monkeypatch.chdir(tmp_path)
        again = aclnet.evaluate(run)
        assert again.scores.top1 == run.result["top1"]
        (tmp_path / "empty").mkdir()
        monkeypatch.chdir(tmp_path / "empty")
        with pytest.raises(AclnetError, match=r"home\.zarr nor"):
            Run(run.path).open_store()
    finally:
        (tmp_path / "other.zarr").rename(paths[1])


def test_runs_of_several_modalities_open_the_same_stores(paths, quick, monkeypatch, tmp_path):
    opened = []
    monkeypatch.setattr(
        aclnet.training.jobs, "train_run", lambda _, store, *__: opened.append(store)
    )

    @contextmanager
    def watch(*_):
        yield Told()

    store = aclnet.open_store(*paths)
    jobs = [plan_job(m, store, TrainingRequest(quick(f"data.modality={m}")), None) for m in "jb"]
    assert train_jobs(jobs, watch, accelerator="cpu") == []
    assert [found.digest for found in opened] == [store.digest] * 2
    assert jobs[0].data == " + ".join(map(str, paths))
    assert {job.path.parent for job in jobs} == {paths[0].with_name("ntu60+home.zarr.runs")}
