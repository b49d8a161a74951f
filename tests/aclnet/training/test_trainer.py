"""The trainer against computations written out naively, and against itself when interrupted."""

from __future__ import annotations

import copy
import math
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional

import aclnet.training.meters
import aclnet.training.trainer
from aclnet.cli.main import main
from aclnet.datasets.spec import AclnetError
from aclnet.datasets.store import stream, zarr_io
from aclnet.datasets.store.stream import Stream
from aclnet.pipelines.inputs.augment import AugmentSpec
from aclnet.runs.network import parameter_groups, start_from
from aclnet.runs.run import Run
from aclnet.runs.scores import Scores
from aclnet.runs.splits import protocol_splits
from aclnet.training.launch import make_fabric
from aclnet.training.trainer import Trainer


@pytest.fixture
def save_every_step(monkeypatch):
    """Checkpoints after each step."""
    monkeypatch.setattr(aclnet.training.trainer, "CHECK_EVERY", 1)
    monkeypatch.setattr(aclnet.training.trainer, "SAVE_EVERY", -1.0)


@pytest.fixture
def make_trainer(store, quick, recorder, tmp_path):
    """A trainer that has not begun."""

    def make(*settings: str, hold_out: bool = False, initial=None, **top) -> Trainer:
        config = quick(*settings, **top)
        splits = protocol_splits(store, "xsub", hold_out=hold_out, seed=config.seed)
        fabric = make_fabric(config, "cpu")
        return Trainer(fabric, config, store, splits, recorder, initial)

    return make


@pytest.fixture
def fit(store, tmp_path):
    """Trains to the end, into a new run."""

    def do(trainer: Trainer) -> None:
        path, config, splits = tmp_path / "run", trainer.config, trainer.splits
        trainer.fit(Run.create(path, "name", config, store, splits, None))

    return do


def first_inputs(trainer: Trainer):
    """The first batch of the first epoch."""
    batch = next(iter(trainer.stream))
    return trainer.make(batch), batch.sample


def activate(network) -> None:
    """Puts the inter-class term into force, with families that are not all alike."""
    member = network.contrast.families.member
    classes = torch.arange(len(member))
    member.copy_(((classes[:, None] - classes) % 5 == 1) | ((classes - classes[:, None]) % 5 == 1))
    network.contrast.families.temperature.copy_(0.1 + 0.01 * classes)
    network.contrast.set_extra_state(
        {"epoch": 1, "start_epoch": 1, "families_since": 1, "rows_seen": 0}
    )


# --- interruptions ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stops",
    [
        pytest.param([{"epochs": 1}], marks=pytest.mark.slow),
        pytest.param([{"steps": 2}], marks=pytest.mark.slow),
        [{"steps": 4}, {"steps": 1}],
    ],
)
def test_stopped_and_continued_ends_like_an_uninterrupted_run(
    stops, quick_run, train_quickly, assert_same_run, stop_at, save_every_step, tmp_path
):
    for stop in stops:
        with pytest.raises(stop_at.Stopped):
            train_quickly(tmp_path / "run", progress=stop_at(**stop))
    assert_same_run(train_quickly(tmp_path / "run"), quick_run)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        (
            *("data.modality=bm", "optim.accumulate=2", "settings=official", "data.presence=true"),
            *("augment.limb_mask=0.5", "augment.time_mask=0.5", "augment.ramp=0.8"),
        ),
        *(
            pytest.param(settings, marks=pytest.mark.slow)
            for settings in (
                ("data.balance=true", "optim.class_weights=true", "optim.precision=bf16-mixed"),
                ("loss.families.source=val", "model.persons=padded", "model.feature=pooled"),
            )
        ),
    ],
)
def test_continuing_does_not_depend_on_the_settings(
    settings, train_quickly, assert_same_run, stop_at, save_every_step, tmp_path
):
    whole = train_quickly(tmp_path / "whole", *settings, select="val")
    with pytest.raises(stop_at.Stopped):
        train_quickly(tmp_path / "run", *settings, select="val", progress=stop_at(steps=5))
    broken = train_quickly(tmp_path / "run", *settings, select="val")
    assert_same_run(broken, whole)
    best = [torch.load(run.checkpoint("best"), weights_only=True) for run in (broken, whole)]
    assert best[0]["stream"] == best[1]["stream"]


@pytest.mark.slow
def test_continuing_says_where_it_stands(
    train_quickly, recorder, stop_at, save_every_step, tmp_path
):
    for stop in ({"epochs": 1}, {"steps": 3}):
        with pytest.raises(stop_at.Stopped):
            train_quickly(tmp_path / "run", progress=stop_at(**stop))
    train_quickly(tmp_path / "run", progress=recorder)
    assert recorder.remarks == ["resumes after step 2 of epoch 2 of 3"]
    assert recorder.steps[0] == (1, 3, 3)
    again = train_quickly(tmp_path / "run", progress=recorder)
    assert again.finished
    assert recorder.remarks[1:] == ["is finished already; --fresh trains it again"]
    assert len(recorder.rows) == 2, "nothing is trained again"


_WAITS = """
import importlib, sys
import aclnet.training.trainer as trainer
from aclnet.cli.main import main
often, place, text, count = sys.argv[1:5]
if often == "often":
    trainer.CHECK_EVERY, trainer.SAVE_EVERY = 1, -1.0
module, _, name = place.partition(":")
name, _, method = name.partition(".")
owner, count = getattr(importlib.import_module(module), name), int(count)
original = getattr(owner, method)
def wait(*arguments, **options):
    global count
    count -= text in repr(arguments)
    if not count:
        print("here", flush=True)
        sys.stdin.read()
    return original(*arguments, **options)
setattr(owner, method, wait)
main(sys.argv[5:])
"""

SHOWN = "aclnet.cli.monitors:TrainingScreen"


@pytest.fixture
def command(store, quick, tmp_path) -> list[str]:
    """The command line of the quick run, below a folder of the test."""
    recipe = tmp_path / "default.toml"
    recipe.write_text(quick().to_toml())
    return ["train", str(store.path), "--recipe", str(recipe), "--out", str(tmp_path / "run")]


@pytest.mark.slow
@pytest.mark.parametrize(
    "kills",
    [
        # how often checkpoints are saved; before which call with which arguments it ends
        [
            ("seldom", "aclnet.training.trainer:Trainer._step", "", 5),
            ("often", f"{SHOWN}.epoch", "", 1),
            ("seldom", "pathlib:Path.replace", "last.pt", 1),
        ],
        pytest.param(
            [("often", f"{SHOWN}.step", "", 2), ("often", f"{SHOWN}.step", "", 4)],
            marks=pytest.mark.slow,
        ),
    ],
    ids=["epochs", "steps"],
)
def test_killed_and_continued_ends_like_an_uninterrupted_run(
    kills, command, quick_run, assert_same_run, tmp_path
):
    """The process says where it is and waits there, so that no clock decides what is tested."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    for moment in kills:
        arguments = [sys.executable, "-c", _WAITS, *map(str, moment), *command]
        with subprocess.Popen(arguments, **pipes) as process:
            said = process.stdout.readline()
            process.kill()
            assert said == b"here\n", process.stderr.read().decode()
        assert process.returncode == -signal.SIGKILL
    main(command)
    assert_same_run(Run(tmp_path / "run"), quick_run)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
def test_a_signal_waits_until_the_history_is_made(
    command, quick_run, assert_same_run, tmp_path, monkeypatch
):
    create_group = zarr_io.create_group

    def create_after_signal(*args):
        os.kill(os.getpid(), signal.SIGTERM)
        create_group(*args)

    monkeypatch.setattr(zarr_io, "create_group", create_after_signal)
    with pytest.raises(SystemExit) as stopped:
        main(command)
    assert stopped.value.code == 128 + signal.SIGTERM
    assert Run(tmp_path / "run").history.trained == 0
    assert Run(tmp_path / "run").load("last") is not None
    monkeypatch.undo()
    main(command)
    assert_same_run(Run(tmp_path / "run"), quick_run)


# --- one step, naively -----------------------------------------------------------------------


def naive_step(trainer: Trainer, network, optimizer, inputs, halves: list[slice]) -> None:
    """Forward passes of the halves, then all losses of the whole batch in one piece."""
    network.train()
    outputs = []
    for rows in halves:
        tracks = [t for t, o in enumerate(inputs.owner.tolist()) if rows.start <= o < rows.stop]
        owner = inputs.owner[tracks] - rows.start
        outputs.append(network.model(inputs.tracks[tracks], owner, rows.stop - rows.start))
    logits = torch.cat([o.logits for o in outputs])
    feature = torch.cat([o.feature for o in outputs])
    network.contrast.observe(feature.detach(), logits.detach(), inputs.label, inputs.key)
    cross_entropy = functional.cross_entropy(logits, inputs.label)
    (cross_entropy + network.contrast(feature).total).backward()
    optimizer.step()


@pytest.mark.parametrize("accumulate", [1, 2, 4])
def test_a_step_equals_the_naive_computation(accumulate, make_trainer):
    trainer = make_trainer(
        f"optim.accumulate={accumulate}", "loss.memory_rows=8", "optim.weight_decay=0.01"
    )
    activate(trainer.network.module)
    network = copy.deepcopy(trainer.network.module)
    optimizer = torch.optim.SGD(
        network.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01
    )
    inputs, samples = first_inputs(trainer)
    assert len(inputs.tracks) > len(inputs), "the batch is to be ragged"
    size = len(inputs) // accumulate
    halves = [slice(i, i + size) for i in range(0, len(inputs), size)]
    naive_step(trainer, network, optimizer, inputs, halves)
    trainer.network.train()
    trainer._set_lr(0.0)
    trainer._step(inputs, samples)
    for (name, found), wanted in zip(
        trainer.network.module.state_dict().items(), network.state_dict().values(), strict=True
    ):
        if isinstance(found, torch.Tensor):
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize(
    ("settings", "passes", "compares"),
    [
        (("loss.terms=ce",), 4, False),
        (("loss.terms=ce", "loss.triplet=0.1"), 8, True),
        (("loss.terms=ce", "loss.families.mode=official"), 8, False),
        ((), 8, True),
    ],
)
def test_parts_pass_the_network_twice_only_if_they_need_the_whole_batch(
    settings, passes, compares, make_trainer
):
    trainer = make_trainer("optim.accumulate=4", *settings)
    whole = make_trainer(*settings)
    sizes = []
    trainer.model.register_forward_hook(lambda _, given, __: sizes.append(given[2]))
    for one in (trainer, whole):
        one.contrast.begin_epoch(10, 10)
        inputs, samples = first_inputs(one)
        one.network.eval()  # the batch normalisation then is the same for parts and for all
        one._step(inputs, samples)
        assert bool((one.contrast.memory_labels >= 0).any()) == compares
    assert sizes == [2] * passes
    assert trainer.contrast.counter.counts.sum() > 0
    assert torch.equal(trainer.contrast.counter.counts, whole.contrast.counter.counts)


def test_the_next_epoch_is_read_while_one_is_recorded(make_trainer, fit, monkeypatch):
    begun, finish = [], Trainer._finish_epoch

    def look(self, epoch):
        begun.append(reading())
        finish(self, epoch)
        if epoch == 1:
            raise ZeroDivisionError

    monkeypatch.setattr(Trainer, "_finish_epoch", look)
    monkeypatch.setattr(stream, "_READ_AHEAD", 1)  # of three batches: the thread must wait
    with pytest.raises(ZeroDivisionError):
        fit(make_trainer("optim.epochs=3"))
    assert begun == [1, 1]
    assert reading() == 0


def reading() -> int:
    """Number of threads that gather batches."""
    return sum(thread.name == "aclnet-batches" for thread in threading.enumerate())


def test_parts_of_a_batch_are_its_samples(make_trainer):
    trainer = make_trainer()
    inputs, _ = first_inputs(trainer)
    parts = inputs.micro_batches(3)
    assert [len(part) for part in parts] == [2, 3, 3]
    start = 0
    for part in parts:
        for b in range(len(part)):
            wanted = inputs.tracks[inputs.owner == start + b]
            assert torch.equal(part.tracks[part.owner == b], wanted)
            assert len(wanted)
        assert torch.equal(part.label, inputs.label[start : start + len(part)])
        assert torch.equal(part.key, inputs.key[start : start + len(part)])
        assert (
            part.tracks.untyped_storage().data_ptr() == inputs.tracks.untyped_storage().data_ptr()
        )
        start += len(part)


def test_class_weights_and_label_smoothing(make_trainer, store):
    smoothing = 0.2
    trainer = make_trainer(
        "optim.class_weights=true",
        f"optim.label_smoothing={smoothing}",
        "loss.terms=ce",
    )
    # an uneven training side; of the whole one all weights are 1
    uneven = trainer.splits.train & ((store.column("label") != 0) | (store.column("subject") == 1))
    trainer.splits = replace(trainer.splits, train=uneven)
    labels = store.column("label")[uneven]
    sizes = {c: int((labels == c).sum()) for c in set(labels.tolist())}
    weight = {c: len(labels) / (len(sizes) * n) for c, n in sizes.items()}
    assert len(set(sizes.values())) == 2
    trainer.class_weights = trainer._class_weights()
    assert math.isclose(sum(weight[c] for c in labels.tolist()) / len(labels), 1)
    inputs, samples = first_inputs(trainer)
    trainer.network.train()
    logits = copy.deepcopy(trainer.model)(inputs.tracks, inputs.owner, len(inputs)).logits
    wanted = 0.0
    for row, label in zip(logits.log_softmax(1).tolist(), inputs.label.tolist(), strict=True):
        each = [weight.get(c, len(labels) / len(sizes)) for c in range(60)]
        spread = sum(w * log for w, log in zip(each, row, strict=True)) / 60
        wanted -= (1 - smoothing) * each[label] * row[label] + smoothing * spread
    trainer._step(inputs, samples)
    found = dict(zip(aclnet.training.meters._SUMS, trainer.meter.sums.tolist(), strict=True))
    assert found["cross_entropy"] == pytest.approx(wanted, rel=1e-5)
    assert found["loss"] == pytest.approx(wanted, rel=1e-5)


def test_figures_of_an_epoch_are_means_over_its_samples(quick_run):
    rows = quick_run.load("last")["rows"]
    for epoch, row in enumerate(rows):
        confusion = quick_run.history.read("confusion/train", epoch)
        assert confusion.sum() == 24, "three batches of eight"
        assert row["accuracy"] == pytest.approx(confusion.trace() / 24)
        contrast = 0.1 * (row["inter"] + row["intra"])
        assert row["loss"] == pytest.approx(row["cross_entropy"] + contrast, rel=1e-5)
        member = quick_run.history.read("family", epoch - 1) if epoch else np.zeros((60, 60))
        in_family = confusion.sum(axis=1)[member.any(axis=1)].sum() / 24
        assert row["in_family"] == pytest.approx(in_family)
        assert 0 <= row["waiting"] <= 1
        assert row["sequences_per_second"] == pytest.approx(24 / row["seconds"], rel=1e-6)
    assert [row["inter"] > 0 for row in rows] == [False, True, True]
    table = pd.read_csv(quick_run.path / "metrics.csv")
    assert table["epoch"].tolist() == [1, 2, 3]
    assert {"loss", "accuracy", "sequences_per_second", "waiting"} <= set(table.columns)


# --- rates and decay -------------------------------------------------------------------------


@pytest.mark.slow
def test_learning_rate_of_every_step(make_trainer, fit, monkeypatch):
    trainer = make_trainer("optim.warmup_epochs=1", "optim.epochs=4", "optim.base_batch=32")
    seen = []
    step = trainer._step
    monkeypatch.setattr(
        trainer,
        "_step",
        lambda *a: (seen.append({g["lr"] for g in trainer.optimizer.param_groups}), step(*a)),
    )
    fit(trainer)
    top, warm, steps = 0.8 * 8 / 32, 3, 12
    cosine = [
        top * 0.5 * (1 + math.cos(math.pi * (i - warm) / (steps - warm)))
        for i in range(warm, steps)
    ]
    wanted = [top * i / warm for i in range(warm)] + cosine
    assert all(len(rates) == 1 for rates in seen)
    np.testing.assert_allclose([rates.pop() for rates in seen], wanted, rtol=1e-12)


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.9, True), (0.0, False)])
def test_optimizer_is_sgd_with_nesterov_momentum(momentum, nesterov, make_trainer):
    groups = make_trainer(f"optim.momentum={momentum}").optimizer.param_groups
    assert [g["name"] for g in groups] == ["model", "inter", "intra"]
    assert {(g["momentum"], g["nesterov"]) for g in groups} == {(momentum, nesterov)}


@pytest.mark.slow
@pytest.mark.parametrize("triplet", [0, 1])
def test_projections_decay_only_in_steps_in_which_their_term_is_active(
    triplet, make_trainer, fit, monkeypatch
):
    settings = ("optim.weight_decay=0.01", "optim.epochs=2", "loss.memory_rows=16")
    trainer = make_trainer(*settings, f"loss.triplet={triplet}")
    contrast = trainer.contrast
    projections = {"inter": contrast.inter_projection, "intra": contrast.intra_projection}
    decays, moved = [], []
    step = trainer._step

    def look(optimizer, *_) -> None:
        groups = {g["name"]: g["weight_decay"] for g in optimizer.param_groups}
        decays.append((groups["model"], groups["inter"], groups["intra"]))

    def spy(*arguments) -> None:
        before = {name: p.weight.clone() for name, p in projections.items()}
        step(*arguments)
        moved.append(tuple(not torch.equal(before[n], p.weight) for n, p in projections.items()))

    monkeypatch.setattr(trainer, "_step", spy)
    trainer.raw_optimizer.register_step_pre_hook(look)
    fit(trainer)
    # the memory of 16 is full in the second step; families are in force from the second epoch;
    # the triplet term works on the second projection from the start
    on, first = 0.01, bool(triplet)
    assert decays == [(on, 0, on * first), (on, 0, on), (on, 0, on), *3 * [(on, on, on)]]
    assert moved == [(False, first), (False, True), (False, True), *3 * [(True, True)]]


def test_groups_hold_every_parameter_once(make_trainer):
    network = make_trainer().network.module
    grouped = [id(p) for group in parameter_groups(network) for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in network.parameters())


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
