"""Sets of runs: what fails, what is passed over, and what is left after a kill."""

from __future__ import annotations

import multiprocessing
from contextlib import contextmanager
from multiprocessing import Pipe
from pathlib import Path

import pytest
import torch

import aclnet.training.jobs
from aclnet.datasets.spec import AclnetError
from aclnet.runs.run import Run, is_finished
from aclnet.runs.splits import Fold
from aclnet.training.jobs import Talk, failed, plan_job, train_jobs
from aclnet.training.launch import TrainingRequest


class Watcher:
    """Gives each run a progress, and remembers whose turn it was."""

    def __init__(self, make_progress) -> None:
        self.make_progress = make_progress
        self.turns: list[str] = []
        self.progress = {}

    @contextmanager
    def __call__(self, place, job):
        self.turns.append(f"{place} {job.title}")
        self.progress[job.title] = self.make_progress()
        yield self.progress[job.title]


@pytest.fixture
def watch(recorder) -> Watcher:
    return Watcher(type(recorder))


@pytest.fixture
def plan(store, quick, tmp_path):
    """Runs of seconds, one a modality."""

    def do(*modalities: str, settings: tuple[str, ...] = (), **options):
        return [
            plan_job(
                m,
                store,
                TrainingRequest(quick(f"data.modality={m}", *settings), **options),
                tmp_path / "set",
            )
            for m in modalities
        ]

    return do


@pytest.mark.slow
def test_a_run_that_fails_does_not_stop_the_others(plan, watch):
    jobs = plan("j", "b", "k", settings=("optim.epochs=1",))
    jobs[1].path.mkdir(parents=True)
    (jobs[1].path / "thesis.tex").touch()
    (failure,) = train_jobs(jobs, watch, accelerator="cpu")
    assert failure.job is jobs[1]
    assert "is not a run of aclnet; choose another --out" in failure.message
    assert watch.turns == ["1/3 j", "2/3 b", "3/3 k"]
    assert any("failed" in remark for remark in watch.progress["b"].remarks)
    for job in (jobs[0], jobs[2]):
        run = Run(job.path)
        assert run.finished
        assert run.config == job.config
        assert run.record.name == job.path.name
    error = failed([failure], 3)
    assert isinstance(error, AclnetError)
    assert str(error).startswith("1 of 3 runs failed\nb: ")
    # again: only what is not finished
    (jobs[1].path / "thesis.tex").unlink()
    assert train_jobs(jobs, watch, accelerator="cpu") == []
    assert watch.turns[3:] == ["2/3 b"]
    assert train_jobs(jobs, watch, accelerator="cpu", at_once=2) == []
    assert len(watch.turns) == 4


def test_our_own_fault_keeps_its_traceback(plan, watch, monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(aclnet.training.jobs, "train_run", fail)
    failures = train_jobs(plan("j", "b"), watch, accelerator="cpu")
    assert [failure.job.title for failure in failures] == ["j", "b"]
    assert failures[0].message.startswith("Traceback")
    assert "ZeroDivisionError: ours" in failures[0].message


def test_fresh_trains_again(plan, watch, monkeypatch):
    trained = []
    monkeypatch.setattr(
        aclnet.training.jobs, "train_run", lambda _, store, request, *__: trained.append(request)
    )
    monkeypatch.setattr(aclnet.training.jobs, "is_finished", lambda _: True)
    train_jobs(plan("j"), watch, accelerator="cpu")
    assert trained == []
    with pytest.raises(AclnetError, match="--accelerator abacus"):
        train_jobs(plan("j", fresh=True), watch, accelerator="abacus")
    train_jobs(plan("j", fresh=True, fold=Fold(1, 2)), watch, accelerator="cpu")
    assert trained[0].fresh
    assert trained[0].fold == Fold(1, 2)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_a_set_that_was_killed_goes_on_and_ends_like_one_that_was_not(
    plan, recorder, watch, train_quickly, assert_same_run, tmp_path
):
    short = ("optim.epochs=2",)
    jobs = plan("j", "b", settings=short)

    class Killer(type(recorder)):
        def epoch(self, row):
            super().epoch(row)
            for process in multiprocessing.active_children():
                process.kill()

    failures = train_jobs(jobs, Watcher(Killer), at_once=2, accelerator="cpu")
    assert sorted(failure.job.title for failure in failures) == ["b", "j"]
    assert {failure.message for failure in failures} == {"its process was ended (status -9)"}
    assert not any(is_finished(job.path) for job in jobs)
    assert train_jobs(jobs, watch, accelerator="cpu") == []
    remarks = [remark for progress in watch.progress.values() for remark in progress.remarks]
    assert "resumes after epoch 1 of 2" in remarks
    for job in jobs:
        whole = train_quickly(tmp_path / job.title, f"data.modality={job.title}", *short)
        assert_same_run(Run(job.path), whole)


def test_stopping_the_command_ends_its_processes(plan, watch):
    def stop():
        started.extend(multiprocessing.active_children())
        if started:
            raise KeyboardInterrupt

    started = []
    watch.make_progress = stop
    jobs = plan("j", "b")
    with pytest.raises(KeyboardInterrupt):
        train_jobs(jobs, watch, at_once=2, accelerator="cpu")
    assert len(started) == 1
    assert not started[0].is_alive()
    assert multiprocessing.active_children() == []


def test_a_process_that_nobody_listens_to_ends():
    reader, writer = Pipe(duplex=False)
    talk = Talk(writer)
    talk.step(0, 1, 3, 10.0, 0.5)
    talk.epoch({"epoch": 1.0})
    talk.remark("goes on")
    assert [reader.recv() for _ in range(3)] == [
        ("step", 0, 1, 3, 10.0, 0.5),
        ("epoch", {"epoch": 1.0}),
        ("remark", "goes on"),
    ]
    reader.close()
    with pytest.raises(SystemExit):
        talk.step(0, 2, 3, 10.0, 0.5)
    writer.close()


def test_runs_at_once_take_devices_in_turn(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [aclnet.training.jobs._device("auto", slot) for slot in range(4)] == [
        "0,",
        "1,",
        "0,",
        "1,",
    ]
    assert aclnet.training.jobs._device("cpu", 1) == "1"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert aclnet.training.jobs._device("auto", 1) == "1"


def test_where_a_set_is(store, quick):
    job = plan_job("j", store, TrainingRequest(quick()), None)
    assert job.path.parent == Path(f"{store.path}.runs")
    assert job.path.name.startswith("default-j-s0-")
    requests = [TrainingRequest(quick(), fold=Fold(n, 2)) for n in (1, 2)]
    folds = [plan_job("", store, request, None).path for request in requests]
    assert len({job.path, *folds}) == 3
