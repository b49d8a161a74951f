"""Mixup against loops over samples and persons, and what counts as a mistake."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from aclnet.datasets.store.keyed_random import fold, sample_keys, uniform
from aclnet.runs.inputs import Inputs
from aclnet.runs.mixup import Mixture, mix_up

KEYS = torch.from_numpy(sample_keys(f"sample {n}" for n in range(40)))
PERSONS = np.random.default_rng(0).integers(1, 4, len(KEYS))


@pytest.fixture
def inputs() -> Inputs:
    """40 samples of one to three persons, of five classes."""
    first = np.concatenate([[0], np.cumsum(PERSONS)])
    generator = torch.Generator().manual_seed(1)
    return Inputs(
        tracks=torch.randn(int(first[-1]), 6, 4, 3, generator=generator),
        owner=torch.from_numpy(np.repeat(np.arange(len(PERSONS)), PERSONS)),
        label=torch.arange(len(PERSONS)) % 5,
        key=KEYS,
        first_track=first,
    )


def draws(number: int) -> list[float]:
    return uniform(fold(KEYS.numpy(), 4), number).tolist()


def test_equals_a_loop_over_samples_and_persons(inputs):
    found = mix_up(inputs, KEYS, 0.6)
    share = [
        weight / 2 if draw < 0.6 else 0.0 for draw, weight in zip(draws(0), draws(1), strict=True)
    ]
    ring = np.argsort(draws(2))
    other = {int(ring[n]): int(ring[n - 1]) for n in range(len(ring))}
    tracks = []
    for sample, first in enumerate(inputs.first_track[:-1]):
        people = inputs.tracks[inputs.first_track[other[sample]] :][: PERSONS[other[sample]]]
        for person in range(PERSONS[sample]):
            own, theirs = inputs.tracks[first + person], people[person % len(people)]
            tracks.append((1 - share[sample]) * own + share[sample] * theirs)
    torch.testing.assert_close(found.tracks, torch.stack(tracks))
    np.testing.assert_allclose(found.mixture.share, share, rtol=1e-6)
    assert found.mixture.label.tolist() == [n % 5 for n in map(other.get, range(len(ring)))]
    assert torch.equal(found.label, inputs.label)
    assert 0.4 < np.mean(np.array(share) > 0) < 0.8


def test_each_sample_is_the_other_one_of_exactly_one_sample(inputs):
    inputs.label.copy_(torch.arange(len(KEYS)))
    other = mix_up(inputs, KEYS, 1.0).mixture.label
    assert sorted(other.tolist()) == list(range(len(KEYS)))
    assert (other != inputs.label).all()


def test_without_it_the_input_stays_as_it_is(inputs):
    assert torch.equal(mix_up(inputs, KEYS, 0.0).tracks, inputs.tracks)


def test_parts_of_a_batch_keep_their_mixtures(inputs):
    whole = mix_up(inputs, KEYS, 0.6)
    parts = whole.micro_batches(3)
    for name in ("share", "label"):
        joined = torch.cat([getattr(part.mixture, name) for part in parts])
        assert torch.equal(joined, getattr(whole.mixture, name))


@pytest.fixture
def mixture() -> Mixture:
    """A mixture of four samples of the classes 0, 1, 2 and 2. The second is not mixed."""
    return Mixture(torch.tensor([0.5, 0.0, 0.25, 0.125]), torch.tensor([3, 3, 2, 1]))


OWN = torch.tensor([0, 1, 2, 2])


def test_the_loss_is_that_of_soft_targets(mixture):
    logits = torch.randn(4, 5, generator=torch.Generator().manual_seed(2))
    found = mixture.loss(lambda y: functional.cross_entropy(logits, y, reduction="none"), OWN)
    target = torch.zeros(4, 5)
    for row, (share, other) in enumerate(zip(mixture.share, mixture.label, strict=True)):
        target[row, OWN[row]] += 1 - share
        target[row, other] += share
    torch.testing.assert_close(found, functional.cross_entropy(logits, target, reduction="none"))


def test_the_class_of_the_other_sample_is_no_mistake(mixture):
    logits = torch.tensor(
        [
            [1.0, 0.0, 0.0, 2.0, 0.0],  # sees the other sample
            [0.0, 1.0, 0.0, 2.0, 0.0],  # is not mixed, so this is a mistake
            [0.0, 0.0, 2.0, 1.0, 0.0],  # is mixed with its own class
            [0.0, 2.0, 0.0, 0.0, 1.0],  # sees the other sample, and is also wrong
        ]
    )
    assert mixture.judged(logits, OWN).argmax(1).tolist() == [0, 3, 2, 4]
    assert logits.isfinite().all()
