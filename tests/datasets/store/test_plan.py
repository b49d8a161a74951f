"""The order of an epoch as a pure function; batches of identities are in test_identities.py."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aclnet.datasets.store import keyed_random
from aclnet.datasets.store.plan import Share, balanced_repeats, plan_epoch, plan_identities


@st.composite
def plans(draw):
    count = draw(st.integers(1, 40))
    shard_of = np.array(draw(st.lists(st.integers(0, 9), min_size=count, max_size=count)))
    settings = {
        "seed": draw(st.integers(0, 2**32)),
        "epoch": draw(st.integers(0, 5)),
        "batch": draw(st.integers(1, 12)),
        "window": draw(st.integers(1, 12)),
        "shuffle": draw(st.booleans()),
    }
    return np.sort(draw(st.permutations(range(100)))[:count]), np.sort(shard_of), settings


@given(plans())
def test_any_plan_holds_every_sample_once_window_by_window(plan):
    samples, shard_of, settings = plan
    found = plan_epoch(samples, shard_of, **settings)
    assert sorted(found.order) == samples.tolist()
    assert sorted(s for w in found.windows for s in w) == sorted(set(shard_of))
    shard = dict(zip(samples.tolist(), shard_of.tolist(), strict=True))
    first = 0
    for window, end in zip(found.windows, found.ends, strict=True):
        assert len(window) <= settings["window"]
        assert {shard[s] for s in found.order[first:end]} == set(window.tolist())
        first = end
    n, batch = len(samples), settings["batch"]
    assert found.steps == (max(1, n // batch) if settings["shuffle"] else -(-n // batch))
    np.testing.assert_array_equal(found.order, plan_epoch(samples, shard_of, **settings).order)


@given(plans(), st.integers(1, 6))
def test_the_parts_of_ranks_make_up_the_step(plan, world):
    samples, shard_of, settings = plan
    found = plan_epoch(samples, shard_of, **settings)
    for step in range(found.steps):
        parts = [found.step(step, Share(rank, world)) for rank in range(world)]
        np.testing.assert_array_equal(np.concatenate(parts), found.step(step))
        assert np.ptp([len(p) for p in parts]) <= 1


def _identities(samples, shard_of, **settings):
    return plan_identities(samples, shard_of, samples % 3, per_class=1, **settings)


@pytest.mark.parametrize("plan", [plan_epoch, _identities])
def test_no_two_draws_of_an_epoch_come_from_the_same_seed(plan, monkeypatch):
    """numpy takes (seed, epoch, 1) and (seed, epoch, 1, 0) for one."""
    used = []

    def generator(*words):
        used.append(tuple(np.random.SeedSequence(words).generate_state(4)))
        return np.random.default_rng(words)

    monkeypatch.setattr(keyed_random, "generator", generator)
    for epoch in range(3):
        plan(np.arange(6), np.arange(6), seed=1, epoch=epoch, batch=2, window=2)
    assert len(used) == len(set(used)) == 6


def test_of_balanced_classes_every_sample_is_drawn_once():
    repeats = balanced_repeats(np.array([0, 1, 0, 1]), np.arange(4), epoch=5)
    assert repeats.tolist() == [1, 1, 1, 1]
