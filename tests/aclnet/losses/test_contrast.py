"""The contrastive losses against the official code's arrays, and written out in loops."""

from __future__ import annotations

import copy
import io
import json
import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional

from aclnet.datasets.spec import AclnetError
from aclnet.losses.contrast import AffinityContrast, ContrastLosses
from aclnet.losses.settings import OFFICIAL, ContrastSettings, default_memory_rows
from aclnet.runs.recipes import merge

WIDTH = 7


class Batch(NamedTuple):
    feature: Tensor
    logits: Tensor
    labels: Tensor
    keys: Tensor

    @property
    def predicted(self) -> Tensor:
        return self.logits.argmax(1)


def logits_of(predicted: Tensor, classes: int) -> Tensor:
    """Logits (B, C) of predicted classes (B,)."""
    return functional.one_hot(predicted, classes).double()


def random_batch(seed: int, size: int = 6, classes: int = 4, sequences: int = 12) -> Batch:
    """Mostly right predictions; few sequences, so that some come again."""
    generator = torch.Generator().manual_seed(seed)

    def integers(high: int) -> Tensor:
        return torch.randint(high, (size,), generator=generator)

    labels = integers(classes)
    predicted = torch.where(integers(3) == 0, integers(classes), labels)
    feature = torch.randn(size, WIDTH, generator=generator, dtype=torch.float64)
    return Batch(feature, logits_of(predicted, classes), labels, integers(sequences))


def make(classes: int = 4, rows: int = 16, **settings) -> AffinityContrast:
    torch.manual_seed(0)
    contrast = AffinityContrast(WIDTH, classes, rows, ContrastSettings.model_validate(settings))
    return contrast.double()


def warm(contrast: AffinityContrast, batches: int = 5, classes: int = 4) -> AffinityContrast:
    """Through one counting epoch, into the second: memory full, families there."""
    contrast.begin_epoch(1, 2)
    for seed in range(batches):
        contrast.observe(*random_batch(seed, classes=classes))
    contrast.end_epoch()
    contrast.begin_epoch(2, 2)
    return contrast


def step(contrast: AffinityContrast, batch: Batch) -> tuple[ContrastLosses, Tensor]:
    """Losses of a whole batch, and the gradient of their total to the feature."""
    feature = batch.feature.clone().requires_grad_()
    contrast.observe(*batch)
    losses = contrast(feature)
    (gradient,) = torch.autograd.grad(losses.total, feature, materialize_grads=True)
    return losses, gradient


class Naive:
    """Both losses of one batch in loops, from the state before it."""

    def __init__(self, contrast: AffinityContrast) -> None:
        self.before = copy.deepcopy(contrast)

    def inter(self, batch: Batch, families: AffinityContrast) -> Tensor:
        settings, state = self.before.settings, self.before
        z = state.inter_projection(batch.feature)
        prototypes = [p.detach() for p in state.prototypes]
        for c in range(len(prototypes)):
            right = [
                i
                for i, (label, predicted) in enumerate(
                    zip(batch.labels, batch.predicted, strict=True)
                )
                if label == c and predicted == c
            ]
            if right:
                mean = sum(z[i] for i in right) / len(right)
                prototypes[c] = settings.momentum * prototypes[c] + (1 - settings.momentum) * mean
        losses = []
        for i, label in enumerate(batch.labels.tolist()):
            family = families.families.member[label].nonzero().flatten().tolist()
            tau = families.families.temperature[label]
            affinity = families.families.affinity

            def score(c: int, i: int = i, tau: Tensor = tau) -> Tensor:
                return torch.exp(torch.cosine_similarity(z[i], prototypes[c], 0) / tau)

            def weight(c: int, label: int = label, affinity: Tensor = affinity) -> Tensor | float:
                both = torch.maximum(affinity[label, c], affinity[c, label])
                return both if settings.families.weight_by_affinity else 1.0

            if family or settings.families.mode == "official":
                others = sum(weight(c) * score(c) for c in family)
                losses.append(-torch.log(score(label) / (score(label) + others)))
        return sum(losses) / len(losses) if losses else z.sum() * 0

    def intra(self, batch: Batch, history: list[tuple[Tensor, int, int]]) -> Tensor:
        """`history`: embedding, label and sequence of earlier rows, oldest first."""
        settings = self.before.settings
        u = self.before.intra_projection(batch.feature)
        u = u / u.norm(dim=1, keepdim=True)
        labels, keys = batch.labels.tolist(), batch.keys.tolist()
        rows = len(self.before.memory) - len(labels)
        entries = history[len(history) - rows :] + list(zip(u, labels, keys, strict=True))
        in_logits = settings.margin_unit == "logit"
        margin = settings.margin / (1 if in_logits else settings.temperature)
        total = u.sum() * 0
        for i, label in enumerate(labels):
            s = [u[i] @ entry / settings.temperature for entry, _, _ in entries]
            highest = max(value.item() for value in s)
            s = [value - highest for value in s]
            negative = sum(
                torch.exp(s[n]) for n, (_, other, _) in enumerate(entries) if other != label
            )
            terms = []
            for p, (_, other, key) in enumerate(entries):
                itself = p == rows + i
                excluded = settings.same_sequence == "exclude" and key == keys[i]
                if other == label and not itself and not excluded:
                    inside = math.exp(-margin) * torch.exp(s[p]) + negative + 1e-6
                    terms.append(-s[p] + torch.log(inside))
            if terms:
                total = total + sum(terms) / len(terms)
        return total / len(labels)


def history_of(contrast: AffinityContrast, batches: list[Batch]) -> list[tuple[Tensor, int, int]]:
    rows = []
    for batch in batches:
        u = contrast.intra_projection(batch.feature).detach()
        u = u / u.norm(dim=1, keepdim=True)
        rows += list(zip(u, batch.labels.tolist(), batch.keys.tolist(), strict=True))
    return rows


def edge_cases() -> dict[str, Batch]:
    """Batches on which a mean over nothing, or a log of nothing, would show."""
    usual = random_batch(99)
    same = torch.zeros_like(usual.labels)
    return {
        "usual": usual,
        "one class": usual._replace(labels=same, logits=logits_of(same, 4)),
        "every sample wrong": usual._replace(logits=logits_of((usual.labels + 1) % 4, 4)),
        "one sequence": usual._replace(keys=same),
        "all the same": usual._replace(feature=usual.feature[:1].repeat(6, 1)),
    }


SETTINGS = {
    "default": {},
    "cosine margin": {"margin_unit": "cosine", "temperature": 0.2, "momentum": 0.5},
    "keep": {"same_sequence": "keep"},
    "weighted": {"families": {"weight_by_affinity": True, "min_share": 0}},
    "official": OFFICIAL,
}


@pytest.mark.parametrize("case", edge_cases())
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_by_loops(case, settings, dtype):
    contrast = warm(make(**settings)).to(dtype)
    batch = edge_cases()[case]
    batch = batch._replace(feature=batch.feature.to(dtype).requires_grad_())
    naive = Naive(contrast)
    past = [random_batch(seed) for seed in range(5)]
    past = [b._replace(feature=b.feature.to(dtype)) for b in past]
    contrast.observe(*batch)
    losses = contrast(batch.feature)
    assert contrast.inter_active
    assert contrast.intra_active
    inter = naive.inter(batch, contrast)
    intra = naive.intra(batch, history_of(contrast, past))
    tolerance = 1e-4 if dtype == torch.float32 else 1e-9
    for actual, expected in ((losses.inter, inter), (losses.intra, intra)):
        torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)
        wanted = torch.autograd.grad(expected, batch.feature)[0]
        given = torch.autograd.grad(actual, batch.feature, retain_graph=True)[0]
        torch.testing.assert_close(given, wanted, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(losses.total, 0.1 * losses.inter + 0.1 * losses.intra)


def test_two_classes():
    contrast = warm(make(classes=2), classes=2)
    assert contrast.families.member.tolist() == [[False, True], [True, False]]
    batch = random_batch(99, classes=2)
    naive = Naive(contrast)
    losses, _ = step(contrast, batch)
    torch.testing.assert_close(losses.inter, naive.inter(batch, contrast))


def test_no_family_no_inter_loss():
    """A class that is never confused: it has no family, and the loss is not NaN."""
    contrast = warm(make(families={"min_count": 1000}))
    losses, gradient = step(contrast, random_batch(99))
    assert losses.inter == 0
    assert losses.share_with_family == 0
    assert gradient.isfinite().all()


def test_no_positives_no_intra_loss():
    contrast = make(rows=4, classes=4)
    labels = torch.arange(4)
    feature = torch.randn(4, WIDTH, dtype=torch.float64, requires_grad=True)
    contrast.observe(feature, logits_of(labels, 4), labels, labels)
    losses = contrast(feature)
    assert contrast.intra_active
    assert losses.intra == 0
    losses.intra.backward()
    assert not feature.grad.any()


class TestOfficialGoldens:
    @pytest.fixture(params=["loss_small", "loss_many_classes"])
    def arrays(self, request, goldens):
        return dict(np.load(goldens / f"{request.param}.npz"))

    @pytest.fixture
    def contrast(self, arrays) -> AffinityContrast:
        epochs, _, _, width = arrays["features"].shape
        settings = ContrastSettings.model_validate(
            merge(OFFICIAL, {"families": {"start": arrays["start_epoch"] / epochs}})
        )
        contrast = AffinityContrast(
            width, arrays["logits"].shape[-1], int(arrays["memory"]), settings
        )
        state = {
            "inter_projection.weight": arrays["inter_w"],
            "inter_projection.bias": arrays["inter_b"],
            "intra_projection.weight": arrays["intra_w"],
            "intra_projection.bias": arrays["intra_b"],
            "prototypes": arrays["avg_f"].T,
        }
        tensors = {name: torch.from_numpy(value.copy()) for name, value in state.items()}
        contrast.load_state_dict(contrast.state_dict() | tensors)
        return contrast

    def test_as_recorded(self, arrays, contrast):
        epochs, steps, batch, _ = arrays["features"].shape
        families = json.loads(str(arrays["families"]))
        actual = {
            name: np.zeros_like(arrays[name])
            for name in ("inter_loss", "intra_loss", "inter_grad", "intra_grad")
        }
        for epoch in range(epochs):
            contrast.begin_epoch(epoch + 1, epochs)
            for at in np.ndindex(steps):
                feature = torch.from_numpy(arrays["features"][epoch][at]).requires_grad_()
                logits = torch.from_numpy(arrays["logits"][epoch][at])
                labels = torch.from_numpy(arrays["labels"][epoch][at])
                contrast.observe(feature, logits, labels, torch.arange(batch))
                losses = contrast(feature)
                for term in ("inter", "intra"):
                    loss = getattr(losses, term)
                    actual[f"{term}_loss"][epoch][at] = loss.item()
                    if getattr(contrast, f"{term}_active"):
                        (gradient,) = torch.autograd.grad(loss, feature, retain_graph=True)
                        actual[f"{term}_grad"][epoch][at] = gradient.numpy()
            contrast.end_epoch()
            np.testing.assert_array_equal(contrast.counter.counts, arrays["confusion"][epoch])
            members = [row.nonzero().flatten().tolist() for row in contrast.families.member]
            assert (members if contrast.inter_active else []) == families[epoch]
        for name, value in actual.items():
            assert np.abs(value - arrays[name]).max() <= 1e-4 * np.abs(arrays[name]).max(), name


def parts_of(contrast: AffinityContrast, batch: Batch, slices: list[slice]):
    """Sums of losses and of all gradients when a batch is done in parts."""
    feature = batch.feature.clone().requires_grad_()
    contrast.zero_grad()
    contrast.observe(*batch)
    losses = []
    for rows in slices:
        part = contrast(feature[rows], rows)
        part.total.backward()
        losses.append(torch.stack(part[:3]).detach())
    gradients = {name: p.grad for name, p in contrast.named_parameters()}
    return sum(losses), {"feature": feature.grad, **gradients}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("cuts", [[0, 3, 6], [0, 1, 2, 6]])
def test_parts_add_up_to_the_batch(settings, cuts):
    whole, cut = warm(make(**settings)), warm(make(**settings))
    batch = random_batch(99)
    losses, gradients = parts_of(whole, batch, [slice(None)])
    slices = [slice(a, b) for a, b in pairwise(cuts)]
    in_parts, gradients_in_parts = parts_of(cut, batch, slices)
    torch.testing.assert_close(in_parts, losses)
    torch.testing.assert_close(gradients_in_parts, gradients)
    assert_same_state(whole, cut)


def assert_same_state(one: AffinityContrast, other: AffinityContrast) -> None:
    assert one.get_extra_state() == other.get_extra_state()
    for (name, a), b in zip(one.named_buffers(), other.buffers(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.parametrize("settings", [{}, OFFICIAL], ids=["default", "official"])
@pytest.mark.parametrize("stop", range(12))
def test_resumed_anywhere_goes_on_identically(settings, stop):
    """Three epochs of four steps; saved and loaded after `stop` of them."""

    def run(contrast: AffinityContrast, first: int, last: int) -> list[float]:
        losses = []
        for number in range(first, last):
            contrast.begin_epoch(number // 4 + 1, 3)
            losses.append(step(contrast, random_batch(number))[0].total.item())
            if number % 4 == 3:
                contrast.end_epoch()
        return losses

    uninterrupted = make(**settings)
    expected = run(uninterrupted, 0, 12)
    assert any(expected)
    first = make(**settings)
    losses = run(first, 0, stop)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = make(**settings)
    second.load_state_dict(torch.load(file, weights_only=True), strict=True)
    losses += run(second, stop, 12)
    assert losses == expected
    assert_same_state(second, uninterrupted)


class TestClock:
    def test_default_families_are_in_force_from_the_next_epoch(self):
        contrast = make(families={"start": 0.5})
        active = []
        for epoch in range(1, 6):
            contrast.begin_epoch(epoch, 4)
            contrast.observe(*random_batch(epoch))
            active.append(contrast.inter_active)
            contrast.end_epoch()
        assert active == [False, False, True, True, True]

    def test_official_families_are_rebuilt_in_the_first_step(self):
        contrast = make(**merge(OFFICIAL, {"families": {"start": 0.5}}))
        active = []
        for epoch in range(1, 5):
            contrast.begin_epoch(epoch, 4)
            active.append(contrast.inter_active)
            contrast.observe(*random_batch(epoch))
            active.append(contrast.inter_active)
            contrast.end_epoch()
        assert active == [False, False, False, False, False, True, True, True]

    def test_intra_starts_with_the_step_that_fills_the_memory(self):
        contrast = make(rows=16)
        active = []
        for seed in range(4):
            losses, _ = step(contrast, random_batch(seed))
            active.append(contrast.intra_active)
            assert bool(losses.intra) == contrast.intra_active
        assert active == [False, False, True, True]

    def test_validation_confusions(self):
        contrast = make(families={"source": "val"})
        contrast.begin_epoch(1, 1)
        contrast.observe(*random_batch(0))
        assert not contrast.counter.samples.any()
        contrast.count(logits_of(torch.tensor([1, 1]), 4), torch.tensor([0, 0]))
        contrast.end_epoch()
        assert contrast.families.member.nonzero().tolist() == [[0, 1], [1, 0]]


def test_memory_holds_the_last_rows():
    contrast = make(rows=16)
    for seed in range(5):
        contrast.observe(*random_batch(seed))
    last = torch.cat([random_batch(seed).keys for seed in range(5)])[-16:]
    assert sorted(contrast.memory_keys.tolist()) == sorted(last.tolist())


def test_a_term_switched_off_or_waiting_keeps_its_projection_in_the_graph():
    contrast = warm(make(inter_weight=0, rows=1000))
    assert not contrast.inter_active
    assert not contrast.intra_active
    contrast.observe(*random_batch(99))
    losses = contrast(random_batch(99).feature)
    losses.total.backward()
    assert losses.total == 0
    for name, parameter in contrast.named_parameters():
        assert parameter.grad is not None, name
        assert not parameter.grad.any(), name


def test_float32_under_autocast():
    contrast = warm(make()).float()
    batch = random_batch(99)
    batch = batch._replace(feature=batch.feature.bfloat16())
    plain = copy.deepcopy(contrast)
    with torch.autocast("cpu", torch.bfloat16):
        contrast.observe(*batch)
        losses = contrast(batch.feature)
    exact = batch._replace(feature=batch.feature.float())
    plain.observe(*exact)
    for actual, expected in zip(losses, plain(exact.feature), strict=True):
        assert actual.dtype == torch.float32
        assert torch.equal(actual, expected)


def test_a_batch_that_does_not_fit_the_memory():
    with pytest.raises(AclnetError, match="memory_rows"):
        make(rows=5).observe(*random_batch(0))


@pytest.mark.parametrize(
    ("given", "inter", "intra"),
    [
        ({}, 0.1, 0.1),
        ({"weight": 0.3}, 0.3, 0.3),
        ({"weight": 0.3, "inter_weight": 0}, 0, 0.3),
        ({"weight": 0.3, "intra_weight": 0.2}, 0.3, 0.2),
        ({"terms": "ce+inter", "weight": 0.3}, 0.3, 0),
        ({"terms": "ce+intra", "inter_weight": 0.2}, 0, 0.1),
        ({"terms": "ce", "inter_weight": 0.2, "intra_weight": 0.2}, 0, 0),
    ],
)
def test_terms_and_their_weights(given, inter, intra):
    contrast = warm(make(**given))
    losses, _ = step(contrast, random_batch(99))
    assert contrast.inter_active == (inter > 0)
    assert contrast.intra_active == (intra > 0)
    unweighted, _ = step(warm(make()), random_batch(99))
    torch.testing.assert_close(losses.total, inter * unweighted.inter + intra * unweighted.intra)


def test_unknown_settings_are_refused():
    with pytest.raises(ValidationError):
        ContrastSettings.model_validate({"lambda": 1})


@pytest.mark.parametrize(
    ("arguments", "rows"),
    [
        ((60, 40091, 16), 480),
        ((10, 1000, 16), 80),
        ((10, 60, 16), 30),
        ((10, 60, 64), 64),
        ((60, 40091, 600), 600),
    ],
)
def test_default_memory_rows(arguments, rows):
    assert default_memory_rows(*arguments) == rows
