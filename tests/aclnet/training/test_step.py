"""One training step against a computation written out naively; rates and decay."""

from __future__ import annotations

import copy
import math
import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional

import aclnet.training.meters
from aclnet.datasets.store import stream
from aclnet.runs.network import parameter_groups
from aclnet.training.trainer import Trainer


def first_inputs(trainer: Trainer):
    """The first batch of the first epoch."""
    batch = next(iter(trainer.stream))
    return trainer.make(batch), batch.sample


def groups_of(trainer: Trainer) -> list[dict[str, Any]]:
    return trainer.step.raw_optimizer.param_groups


def activate(network) -> None:
    """Puts the inter-class term into force, with families that are not all alike."""
    member = network.contrast.families.member
    classes = torch.arange(len(member))
    member.copy_(((classes[:, None] - classes) % 5 == 1) | ((classes - classes[:, None]) % 5 == 1))
    network.contrast.families.temperature.copy_(0.1 + 0.01 * classes)
    network.contrast.set_extra_state(
        {"epoch": 1, "start_epoch": 1, "families_since": 1, "rows_seen": 0}
    )


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
    trainer.step.set_lr(0.0)
    trainer.step.take(inputs, samples)
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
        one.step.take(inputs, samples)
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
    labels = store.column("label")[uneven]
    sizes = {c: int((labels == c).sum()) for c in set(labels.tolist())}
    weight = {c: len(labels) / (len(sizes) * n) for c, n in sizes.items()}
    assert len(set(sizes.values())) == 2
    splits = replace(trainer.splits, train=uneven)
    trainer = Trainer(trainer.fabric, trainer.config, store, splits, trainer.monitor)
    assert math.isclose(sum(weight[c] for c in labels.tolist()) / len(labels), 1)
    inputs, samples = first_inputs(trainer)
    trainer.network.train()
    logits = copy.deepcopy(trainer.model)(inputs.tracks, inputs.owner, len(inputs)).logits
    wanted = 0.0
    for row, label in zip(logits.log_softmax(1).tolist(), inputs.label.tolist(), strict=True):
        each = [weight.get(c, len(labels) / len(sizes)) for c in range(60)]
        spread = sum(w * log for w, log in zip(each, row, strict=True)) / 60
        wanted -= (1 - smoothing) * each[label] * row[label] + smoothing * spread
    trainer.step.take(inputs, samples)
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
    take = trainer.step.take
    monkeypatch.setattr(
        trainer.step,
        "take",
        lambda *a: (seen.append({g["lr"] for g in groups_of(trainer)}), take(*a)),
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
    groups = groups_of(make_trainer(f"optim.momentum={momentum}"))
    assert [g["name"] for g in groups] == ["model", "inter", "intra"]
    assert {(g["momentum"], g["nesterov"]) for g in groups} == {(momentum, nesterov)}


def test_adamw_takes_the_steps_of_its_article(make_trainer):
    """Algorithm 2 of Loshchilov and Hutter (ICLR 2019), with the decay times the learning rate."""
    trainer = make_trainer("optim.name=adamw", "optim.lr=0.04", "optim.weight_decay=0.3")
    weights = [p for p in trainer.model.parameters() if p.requires_grad]
    gradients: list[list[torch.Tensor]] = []
    trainer.step.raw_optimizer.register_step_pre_hook(
        lambda *_: gradients.append([p.grad.double() for p in weights])
    )
    wanted = [w.detach().double() for w in weights]
    mean = [torch.zeros_like(w) for w in wanted]
    square = [torch.zeros_like(w) for w in wanted]
    inputs, samples = first_inputs(trainer)
    rates = []
    for t, progress in enumerate((0.0, 0.5), start=1):
        trainer.step.set_lr(progress)
        rates.append(trainer.step.lr)
        trainer.step.take(inputs, samples)
        for i, g in enumerate(gradients[-1]):
            mean[i] = 0.9 * mean[i] + 0.1 * g
            square[i] = 0.99 * square[i] + 0.01 * g**2
            step = mean[i] / (1 - 0.9**t) / ((square[i] / (1 - 0.99**t)).sqrt() + 1e-8)
            wanted[i] = wanted[i] - rates[-1] * (step + 0.3 * wanted[i])
    assert rates == pytest.approx([0.04 * 8 / 64, 0.02 * 8 / 64])
    for found, value in zip(weights, wanted, strict=True):
        torch.testing.assert_close(found.detach().double(), value, rtol=1e-4, atol=1e-6)


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
    take = trainer.step.take

    def look(optimizer, *_) -> None:
        groups = {g["name"]: g["weight_decay"] for g in optimizer.param_groups}
        decays.append((groups["model"], groups["inter"], groups["intra"]))

    def spy(*arguments) -> None:
        before = {name: p.weight.clone() for name, p in projections.items()}
        take(*arguments)
        moved.append(tuple(not torch.equal(before[n], p.weight) for n, p in projections.items()))

    monkeypatch.setattr(trainer.step, "take", spy)
    trainer.step.raw_optimizer.register_step_pre_hook(look)
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
