"""The trainer: weights that are kept, losses that are not finite, records, two processes."""

from __future__ import annotations

import copy
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from aclnet.datasets.spec import AclnetError
from aclnet.datasets.store.stream import Stream
from aclnet.pipelines.inputs.augment import AugmentSpec
from aclnet.runs.network import start_from
from aclnet.runs.run import Run
from aclnet.runs.scores import Scores
from aclnet.training.trainer import Trainer

# --- which weights ---------------------------------------------------------------------------


@pytest.mark.slow
def test_the_best_weights_are_those_of_the_best_epoch(train_quickly, tmp_path, monkeypatch):
    """Accuracies are given, so that the best epoch is the second; of equals, the earlier wins."""
    accuracies = iter([0.25, 0.75, 0.75])
    evaluate = Trainer.evaluate
    kept = []

    def pretend(self, mask, clips):
        scores = evaluate(self, mask, clips)
        if clips > 1:  # the final scores
            return scores
        kept.append({k: v.clone() for k, v in self.model.state_dict().items()})
        right = np.arange(len(scores)) < next(accuracies) * len(scores)
        wrong = (scores.labels + 1) % scores.scores.shape[1]
        chosen = np.where(right, scores.labels, wrong)
        return type(scores)(scores.ids, np.eye(60, dtype=np.float32)[chosen], scores.labels)

    monkeypatch.setattr(Trainer, "evaluate", pretend)
    run = train_quickly(tmp_path / "run", select="test")
    weights = run.weights()
    assert all(torch.equal(weights[name], value) for name, value in kept[1].items())
    assert not all(torch.equal(weights[name], value) for name, value in kept[2].items())
    assert run.load("last")["best"] == 0.75
    held_out = pd.read_csv(run.path / "metrics.csv")["eval_accuracy"]
    assert held_out.tolist() == pytest.approx([0.25, 0.75, 0.75])
    assert (run.history.read_all("confusion/eval").sum(axis=(1, 2)) == 12).all()


@pytest.mark.slow
def test_families_of_validation_count_it_alone(train_quickly, tmp_path):
    run = train_quickly(tmp_path / "run", "loss.families.source=val", "loss.families.decay=1")
    counts = run.load("last")["network"]["contrast.counter.counts"].numpy()
    confusion = run.history.read_all("confusion/eval").sum(axis=0)
    np.fill_diagonal(confusion, 0)
    np.testing.assert_array_equal(counts, confusion)
    assert run.record.split.held_out.startswith("subjects ")


def test_a_fresh_head_keeps_its_initial_weights(make_trainer):
    torch.manual_seed(1)
    other = make_trainer().model
    weights = {
        n: torch.randn(v.shape) for n, v in other.state_dict().items() if v.is_floating_point()
    }
    weights = {**other.state_dict(), **weights}
    torch.manual_seed(2)
    model = copy.deepcopy(other)
    start_from(model, {n: w for n, w in weights.items() if not n.startswith("fc_cls.")})
    for name, value in model.state_dict().items():
        source = other.state_dict() if name.startswith("fc_cls.") else weights
        assert torch.equal(value, source[name]), name
    start_from(model, weights)
    assert torch.equal(model.fc_cls.weight, weights["fc_cls.weight"])
    with pytest.raises(AclnetError, match=r"the network here has no blocks\.99\.weight"):
        start_from(model, {**weights, "blocks.99.weight": torch.zeros(1)})
    del weights["data_bn.weight"]
    with pytest.raises(
        AclnetError,
        match=r"data_bn\.weight is absent in the file, and \(75,\) "
        r"here",
    ):
        start_from(model, weights)


# --- losses that are not finite --------------------------------------------------------------


@pytest.mark.slow
def test_a_sample_that_is_not_finite_is_named(
    store, train_quickly, quick_run, assert_same_run, tmp_path, monkeypatch
):
    victim = np.flatnonzero(store.mask("xsub/train"))[7]
    gather = Stream._gather

    def spoil(self, rows, *arguments):
        batch = gather(self, rows, *arguments)
        if self.epoch == 1 and victim in rows:
            track = np.flatnonzero(batch.sample[batch.owner] == victim)[0]
            batch.keypoint[track, 3, 5, 1] = np.nan
        return batch

    with monkeypatch.context() as patch:
        patch.setattr(Stream, "_gather", spoil)
        with pytest.raises(AclnetError, match="is not finite") as error:
            train_quickly(tmp_path / "run")
    ids = store.column("id")
    assert ids[victim] in str(error.value)
    assert not any(name in str(error.value) for name in ids if name != ids[victim])
    state = Run(tmp_path / "run").load("last")
    assert (state["stream"]["epoch"], state["stream"]["step"]) == (1, 0)
    assert all(
        torch.isfinite(v).all() for v in state["network"].values() if isinstance(v, torch.Tensor)
    )
    assert_same_run(train_quickly(tmp_path / "run"), quick_run)


@pytest.mark.slow
def test_weights_that_run_away_are_not_saved(train_quickly, tmp_path):
    with pytest.raises(AclnetError, match=r"not finite.*lower optim\.lr") as error:
        train_quickly(tmp_path / "run", "optim.lr=1e30")
    assert "The last checkpoint was saved before this step" in str(error.value)
    assert Run(tmp_path / "run").load("last") is None


@pytest.mark.slow
def test_nothing_that_is_not_finite_is_saved_inside_an_epoch(
    train_quickly, tmp_path, save_every_step
):
    with pytest.raises(AclnetError, match="not finite"):
        train_quickly(tmp_path / "run", "optim.lr=1e12", "optim.warmup_epochs=2")
    state = Run(tmp_path / "run").load("last")
    assert state["stream"]["step"] > 0 or state["stream"]["epoch"] > 0
    assert all(torch.isfinite(v).all() for n, v in state["network"].items() if n.endswith("weight"))


# --- precision, records ----------------------------------------------------------------------


@pytest.mark.slow
def test_mixed_precision_trains_in_bfloat16(train_quickly, tmp_path, monkeypatch):
    slowly = "optim.lr=0.01"  # at higher rates rounding decides where a network goes
    exact_run = train_quickly(tmp_path / "exact", slowly)
    seen = set()
    forward = torch.nn.Conv2d.forward
    monkeypatch.setattr(
        torch.nn.Conv2d, "forward", lambda s, x: (y := forward(s, x), seen.add(y.dtype))[0]
    )
    run = train_quickly(tmp_path / "run", slowly, "optim.precision=bf16-mixed")
    assert torch.bfloat16 in seen
    rows, exact = (pd.read_csv(r.path / "metrics.csv") for r in (run, exact_run))
    np.testing.assert_allclose(rows["loss"], exact["loss"], rtol=0.03)
    assert not np.array_equal(rows["loss"], exact["loss"])
    dtypes = {v.dtype for v in run.weights().values() if v.is_floating_point()}
    assert dtypes == {torch.float32}


@pytest.mark.slow
def test_resuming_with_other_threads_is_remarked_upon(train_quickly, recorder, stop_at, tmp_path):
    with pytest.raises(stop_at.Stopped):
        train_quickly(tmp_path / "run", progress=stop_at(epochs=1))
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    with pytest.raises(stop_at.Stopped):
        train_quickly(tmp_path / "run", progress=_StopAndRemember(recorder, stop_at.Stopped))
    assert recorder.remarks == [
        "resumes after epoch 1 of 3",
        "the weights will differ from those of an uninterrupted run: the run was trained with "
        "threads "
        f"{threads}, now {threads + 1}",
    ]
    torch.set_num_threads(threads)
    run = Run(tmp_path / "run")
    state = run.load("last")
    del state["computing"]  # a checkpoint of before
    run.save("last", state)
    recorder.remarks.clear()
    with pytest.raises(stop_at.Stopped):
        train_quickly(tmp_path / "run", progress=_StopAndRemember(recorder, stop_at.Stopped))
    assert recorder.remarks == ["resumes after epoch 1 of 3"]


class _StopAndRemember:
    """Remembers remarks, and stops at the first step."""

    def __init__(self, recorder, stopped) -> None:
        self.remark, self.stopped = recorder.remark, stopped

    def step(self, *_: object) -> None:
        raise self.stopped


def test_a_batch_that_cannot_be_shared_is_refused(make_trainer):
    with pytest.raises(AclnetError, match=r"24 samples, fewer than one batch of 32.*batch_size"):
        make_trainer("optim.batch_size=32", "optim.accumulate=2", "loss.memory_rows=32")


def test_repeated_samples_are_drawn_so_many_times(make_trainer):
    """24 training samples, batches of 8."""
    assert make_trainer().stream.plan(0).steps == 3
    plan = make_trainer("data.repeats=5").stream.plan(0)
    assert plan.steps == 15
    assert np.unique(plan.order, return_counts=True)[1].tolist() == [5] * 24


def test_masks_follow_the_progress_of_the_training(train_quickly, monkeypatch, tmp_path):
    told = []
    at = AugmentSpec.at
    monkeypatch.setattr(AugmentSpec, "at", lambda spec, p: told.append(p) or at(spec, p))
    train_quickly(tmp_path / "run", "augment.limb_mask=0.5", "augment.ramp=0.5")
    training = told[: 3 * 3]  # the scores of the test side come after it
    np.testing.assert_allclose(training, np.arange(9) / 9)


@pytest.mark.slow
def test_an_epoch_smaller_than_a_batch_is_one_step(train_quickly, recorder, tmp_path):
    run = train_quickly(
        tmp_path / "run", "optim.batch_size=32", "loss.memory_rows=32", progress=recorder
    )
    assert recorder.steps == [(0, 1, 1), (1, 1, 1), (2, 1, 1)]
    assert run.history.read("confusion/train", 0).sum() == 24


# --- two processes ---------------------------------------------------------------------------

_TWO_PROCESSES = """
import sys
from pathlib import Path
import torch
import aclnet.training.trainer
from lightning_fabric import Fabric
from aclnet.runs.config import build_config
from aclnet.datasets.store.store import Store
from aclnet.training.launch import TrainingRequest, train_run
from aclnet.training.trainer import Trainer

class Progress:
    def __init__(self, stop):
        self.stop = stop
    def remark(self, text):
        pass
    def step(self, *_):
        self.stop -= 1
        if self.stop == 0:
            raise InterruptedError
    def epoch(self, row):
        pass

def work(fabric, store, recipe, out):
    torch.set_num_threads(1)
    made = []
    fit = Trainer.fit
    Trainer.fit = lambda self, *rest: (made.append(self), fit(self, *rest))
    def run(name, stop=0):
        request = TrainingRequest(build_config(recipe))
        train_run(fabric, Store(store), request, Progress(stop), Path(out) / name)
    run("whole")
    aclnet.training.trainer.CHECK_EVERY, aclnet.training.trainer.SAVE_EVERY = 1, -1.0
    try:
        run("broken", stop=5)
    except InterruptedError:
        run("broken")
    states = [made[i].network.module.state_dict() for i in (0, -1)]
    torch.save(states, f"{out}/rank{fabric.global_rank}.pt")

if __name__ == "__main__":
    Fabric(accelerator="cpu", devices=2, strategy="ddp_spawn").launch(work, *sys.argv[1:])
"""


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_two_processes(store, quick, train_quickly, assert_same_run, tmp_path):
    """They equal two accumulated parts, agree with one another, and can be continued."""
    settings = ("optim.epochs=2", "optim.lr=0.2")
    accumulated = train_quickly(tmp_path / "one", *settings, "optim.accumulate=2")
    script, recipe = tmp_path / "two.py", tmp_path / "default.toml"
    script.write_text(_TWO_PROCESSES)
    recipe.write_text(quick(*settings).to_toml())
    arguments = [sys.executable, script, store.path, recipe, tmp_path]
    subprocess.run(arguments, check=True, capture_output=True)
    whole, broken = Run(tmp_path / "whole"), Run(tmp_path / "broken")
    assert_same_run(whole, broken)

    # on every process the same, once the final scores were made
    ranks = [torch.load(tmp_path / f"rank{r}.pt", weights_only=True) for r in (0, 1)]
    for states in zip(*ranks, strict=True):
        for name, value in states[0].items():
            other = states[1][name]
            same = torch.equal(value, other) if torch.is_tensor(value) else value == other
            assert same, name

    one, two = (run.load("last")["network"] for run in (accumulated, whole))
    exact = ("memory_labels", "memory_keys", "counter.counts", "counter.samples", "families.member")
    for name in one:
        if name.endswith(exact):
            assert torch.equal(one[name], two[name]), name
        elif not name.endswith(("running_mean", "running_var", "num_batches_tracked", "_state")):
            torch.testing.assert_close(two[name], one[name], rtol=1e-3, atol=1e-5, msg=name)
    for kind in ("confusion/train", "family"):
        histories = [run.history.read_all(kind) for run in (accumulated, whole)]
        np.testing.assert_array_equal(*histories)
    rows = [pd.read_csv(run.path / "metrics.csv") for run in (accumulated, whole)]
    for name in ("loss", "cross_entropy", "inter", "intra", "triplet", "accuracy", "in_family"):
        np.testing.assert_allclose(rows[0][name], rows[1][name], rtol=1e-4, atol=1e-6)

    scores = Scores.load(whole.scores("xsub-test"))
    assert scores.ids.tolist() == sorted(store.column("id")[store.mask("xsub/test")])
