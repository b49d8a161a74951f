"""The batch-hard triplet term against loops, in parts, and beside the other terms."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from aclnet.losses.contrast import AffinityContrast
from aclnet.losses.settings import ContrastSettings

WIDTH = 7


def make(**settings) -> AffinityContrast:
    torch.manual_seed(0)
    settings = {"triplet": 0.5, "families": {"start": 0}, **settings}
    return AffinityContrast(WIDTH, 5, 12, ContrastSettings.model_validate(settings)).double()


def batch(seed: int, labels=(0, 0, 0, 1, 1, 1, 2, 2), keys=(0, 0, 1, 2, 3, 4, 5, 6)):
    """Feature, logits, labels and keys."""
    generator = torch.Generator().manual_seed(seed)
    feature = torch.randn(len(labels), WIDTH, generator=generator, dtype=torch.float64)
    labels = torch.tensor(labels)
    return feature, torch.eye(5)[labels.flip(0)], labels, torch.tensor(keys)


def naive(contrast: AffinityContrast, feature: Tensor, labels: Tensor, keys: Tensor) -> Tensor:
    u = contrast.intra_projection(feature)
    u = u / u.norm(dim=1, keepdim=True)
    keep = contrast.settings.same_sequence == "keep"
    losses = []
    for a in range(len(u)):
        positive, negative = [], []
        for i in range(len(u)):
            distance = (u[a] - u[i]).square().sum().sqrt()
            if labels[i] != labels[a]:
                negative.append(distance)
            elif i != a and (keep or keys[i] != keys[a]):
                positive.append(distance)
        if positive and negative:
            margin = contrast.settings.triplet_margin
            losses.append(torch.relu(margin + max(positive) - min(negative)))
    return sum(losses) / len(losses)


BATCHES = {
    "usual": {},
    "one class alone": {"labels": (0, 0, 0, 1, 1, 1, 1, 2)},
    "one sequence a class": {"keys": (0, 0, 0, 1, 2, 3, 4, 4)},
    "two classes": {"labels": (0, 1, 0, 1, 0, 1, 0, 1)},
}


@pytest.mark.parametrize("case", BATCHES.values(), ids=BATCHES)
@pytest.mark.parametrize("same_sequence", ["keep", "exclude"])
@pytest.mark.parametrize("margin", [0.2, 1.5])
def test_by_loops(case, same_sequence, margin):
    contrast = make(same_sequence=same_sequence, triplet_margin=margin)
    feature, logits, labels, keys = batch(1, **case)
    feature.requires_grad_()
    contrast.observe(feature, logits, labels, keys)
    losses = contrast(feature)
    expected = naive(contrast, feature, labels, keys)
    assert expected > 0
    torch.testing.assert_close(losses.triplet, expected)
    sources = [feature, *contrast.intra_projection.parameters()]
    for given, wanted in zip(
        torch.autograd.grad(losses.triplet, sources, retain_graph=True),
        torch.autograd.grad(expected, sources),
        strict=True,
    ):
        torch.testing.assert_close(given, wanted)


def test_two_pairs_by_hand():
    """Unit vectors in a plane at 0, 60, 90 and 240 degrees; t degrees are 2 sin(t / 2) apart."""
    contrast = make(triplet_margin=0.1, same_sequence="keep")
    with torch.no_grad():
        contrast.intra_projection.weight.zero_()
        contrast.intra_projection.weight[:2, :2] = torch.eye(2)
        contrast.intra_projection.bias.zero_()
    angle = torch.tensor([0.0, 60, 90, 240], dtype=torch.float64).deg2rad()
    feature = torch.zeros(4, WIDTH, dtype=torch.float64)
    feature[:, 0], feature[:, 1] = angle.cos(), angle.sin()
    labels = torch.tensor([0, 0, 1, 1])
    contrast.observe(feature, torch.eye(5)[labels], labels, labels)

    def chord(degrees):
        return 2 * math.sin(math.radians(degrees / 2))

    each = [
        max(0, 0.1 + chord(60) - chord(90)),
        0.1 + chord(60) - chord(30),
        0.1 + chord(150) - chord(30),
        0.1 + chord(150) - chord(120),
    ]
    torch.testing.assert_close(contrast(feature).triplet.item(), sum(each) / 4)


@pytest.mark.parametrize("settings", [{}, {"same_sequence": "keep"}, {"terms": "ce"}])
@pytest.mark.parametrize("cuts", [[0, 4, 8], [0, 1, 3, 8], range(9)])
def test_parts_add_up_to_the_batch(settings, cuts):
    found = []
    for slices in ([slice(None)], [slice(a, b) for a, b in pairwise(cuts)]):
        contrast = make(**settings)
        contrast.observe(*batch(0))  # the memory holds more than a batch
        contrast.observe(*batch(2, labels=(1, 1, 0, 3, 0, 1, 3, 3)))
        feature, *rest = batch(1)
        feature.requires_grad_()
        contrast.observe(feature, *rest)
        triplet, total = [], []
        for rows in slices:
            part = contrast(feature[rows], rows)
            part.total.backward()
            triplet.append(part.triplet.detach())
            total.append(part.total.detach())
        gradients = {name: p.grad for name, p in contrast.named_parameters()}
        found.append((sum(triplet), sum(total), {"feature": feature.grad, **gradients}))
    assert found[0][0] > 0
    torch.testing.assert_close(found[1], found[0])


@pytest.mark.parametrize(
    "case",
    [
        {"labels": (0,) * 8},
        {"labels": (0, 0, 0, 0, 1, 1, 1, 1), "keys": (0, 0, 0, 0, 1, 1, 1, 1)},
        {"labels": (0, 1, 2, 3), "keys": (0, 1, 2, 3)},
    ],
    ids=["no negative", "one sequence of each", "no positive"],
)
def test_no_anchor_no_loss(case):
    contrast = make(terms="ce")
    feature, *rest = batch(1, **case)
    feature.requires_grad_()
    contrast.observe(feature, *rest)
    losses = contrast(feature)
    losses.total.backward()
    assert losses.triplet == losses.total == 0
    assert not feature.grad.any()


@pytest.mark.parametrize("same", [slice(0, 3), slice(0, 4), slice(None)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_embeddings_have_a_gradient(same, dtype):
    """Distances of 0: inside a class, between a positive and a negative, and between all."""
    contrast = make(same_sequence="keep").to(dtype)
    feature, *rest = batch(1)
    feature[same] = feature[0].clone()
    feature = feature.to(dtype).requires_grad_()
    contrast.observe(feature, *rest)
    losses = contrast(feature)
    losses.triplet.backward()
    assert losses.triplet.isfinite()
    assert feature.grad.isfinite().all()
    for parameter in contrast.intra_projection.parameters():
        assert parameter.grad.isfinite().all()
    if same == slice(None):
        torch.testing.assert_close(losses.triplet.item(), 0.2)


@pytest.mark.parametrize("terms", ["ce", "ce+inter", "ce+intra", "acl"])
def test_the_term_is_added_to_whichever_others_there_are(terms):
    totals, triplet = [], None
    for weight in (0, 0.5):
        contrast = make(terms=terms, triplet=weight)
        for epoch in (1, 2, 3):
            contrast.begin_epoch(epoch, 3)
            contrast.observe(*batch(epoch))
            contrast.end_epoch()
        losses = contrast(batch(3)[0])
        totals.append(losses.total)
        triplet = losses.triplet
        assert bool(losses.triplet) == (weight > 0)
        assert bool(losses.intra) == (terms in ("ce+intra", "acl"))
        assert bool(losses.inter) == (terms in ("ce+inter", "acl"))
    torch.testing.assert_close(totals[1], totals[0] + 0.5 * triplet)


def test_the_term_is_there_from_the_first_step_on_and_projects():
    feature, *rest = batch(0)
    for weight, projects in ((0, False), (0.5, True)):
        contrast = make(triplet=weight)
        assert contrast.projects_intra == projects
        contrast.observe(feature, *rest)
        assert not contrast.intra_active  # 8 of 12 rows
        contrast(feature).total.backward()
        assert contrast.intra_projection.weight.grad.any() == projects
        contrast.observe(feature, *rest)
        assert contrast.intra_active
        assert contrast.projects_intra


@pytest.mark.parametrize("wrong", [{"triplet": -0.1}, {"triplet_margin": 0}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        ContrastSettings.model_validate(wrong)
