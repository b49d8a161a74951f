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
    lanes = draw(st.integers(1, 6))
    settings = {
        "seed": draw(st.integers(0, 2**32)),
        "epoch": draw(st.integers(0, 5)),
        "batch": lanes * draw(st.integers(1, 6)),
        "window": draw(st.integers(1, 12)),
        "lanes": lanes,
        "shuffle": draw(st.booleans()),
    }
    return np.sort(draw(st.permutations(range(100)))[:count]), np.sort(shard_of), settings


@st.composite
def repeated_plans(draw):
    samples, shard_of, settings = draw(plans())
    some = st.lists(st.integers(0, 3), min_size=len(samples), max_size=len(samples))
    repeats = np.array(draw(some.filter(any)))
    return samples, shard_of, {**settings, "shuffle": True, "repeats": repeats}


def naive(samples, shard_of, *, seed, epoch, batch, window, lanes, shuffle, repeats=None):
    """Windows of each lane: their shards, and the number of each draw's entry in order."""
    repeats = np.ones(len(samples), int) if repeats is None else repeats
    shard = [s for s, times in zip(shard_of.tolist(), repeats, strict=True) for _ in range(times)]
    draws = keyed_random.generator(seed, epoch, 4).random(len(shard)) if shuffle else [0] * 200
    shards = sorted(set(shard_of.tolist()))
    line = [s for lane in range(lanes) for s in shards[lane::lanes]] if shuffle else shards
    turns = keyed_random.generator(seed, epoch, 1).permutation(shards) if shuffle else shards
    entries = sorted(range(len(shard)), key=lambda entry: line.index(shard[entry]))
    found = []
    for lane in range(lanes):
        own = entries[len(shard) * lane // lanes : len(shard) * (lane + 1) // lanes]
        inside = [s for s in turns if s in {shard[entry] for entry in own}]
        size = max(1, window // lanes)
        windows = [inside[first : first + size] for first in range(0, len(inside), size)]
        found.append(
            [
                (w, sorted((e for e in own if shard[e] in w), key=lambda entry: draws[entry]))
                for w in windows
            ]
        )
    return found


@pytest.mark.slow
@given(plans())
def test_any_plan_is_the_naive_one(plan):
    samples, shard_of, settings = plan
    expected = naive(samples, shard_of, **settings)
    found = plan_epoch(samples, shard_of, **settings)
    windows = [window for lane in expected for window in lane]
    assert [w.tolist() for w in found.windows] == [list(shards) for shards, _ in windows]
    assert found.lane_of.tolist() == [n for n, lane in enumerate(expected) for _ in lane]
    order = [entry for _, entries in windows for entry in entries]
    np.testing.assert_array_equal(found.order, samples[order])
    assert found.ends.tolist() == np.cumsum([len(entries) for _, entries in windows]).tolist()
    assert not found.occurrence.any()


@pytest.mark.slow
@given(repeated_plans())
def test_repeated_samples_are_drawn_as_in_the_naive_plan(plan):
    samples, shard_of, settings = plan
    found = plan_epoch(samples, shard_of, **settings)
    repeats = settings["repeats"]
    sample_of = np.repeat(samples, repeats)
    first_of = np.repeat(np.cumsum(repeats) - repeats, repeats)
    expected = naive(samples, shard_of, **settings)
    order = np.array([entry for lane in expected for _, own in lane for entry in own])
    np.testing.assert_array_equal(found.order, sample_of[order])
    np.testing.assert_array_equal(found.occurrence, order - first_of[order])


@pytest.mark.slow
@given(plans())
def test_any_plan_holds_every_sample_once_window_by_window(plan):
    samples, shard_of, settings = plan
    found = plan_epoch(samples, shard_of, **settings)
    assert sorted(found.order) == samples.tolist()
    assert {s for w in found.windows for s in w} == set(shard_of)
    shard = dict(zip(samples.tolist(), shard_of.tolist(), strict=True))
    first = 0
    for window, end in zip(found.windows, found.ends, strict=True):
        assert len(window) <= max(1, settings["window"] // settings["lanes"])
        assert {shard[s] for s in found.order[first:end]} == set(window.tolist())
        first = end
    n, batch, lanes = len(samples), settings["batch"], settings["lanes"]
    longest = -(-n // lanes) * lanes
    assert found.steps == (max(1, n // batch) if settings["shuffle"] else -(-longest // batch))
    np.testing.assert_array_equal(found.order, plan_epoch(samples, shard_of, **settings).order)


@given(plans())
def test_a_batch_takes_equally_many_samples_from_each_lane(plan):
    samples, shard_of, settings = plan
    found = plan_epoch(samples, shard_of, **settings)
    lanes, batch = settings["lanes"], settings["batch"]
    lane_of = np.repeat(found.lane_of, np.diff(found.ends, prepend=0))
    seen = []
    for step in range(found.steps):
        positions = found.step(step)
        counts = np.bincount(lane_of[positions], minlength=lanes)
        assert np.ptp(counts) <= (len(positions) < batch)
        seen += positions.tolist()
    left_out = len(samples) - len(seen)
    assert len(set(seen)) == len(seen)
    assert left_out == (
        len(samples) % batch if settings["shuffle"] and len(samples) >= batch else 0
    )


@given(plans(), st.integers(1, 6))
def test_the_parts_of_ranks_make_up_the_step(plan, world):
    samples, shard_of, settings = plan
    settings["batch"] *= world
    found = plan_epoch(samples, shard_of, **settings)
    shares = [Share(rank, world) for rank in range(world)]
    for step in range(found.steps):
        parts = [found.step(step, share) for share in shares]
        np.testing.assert_array_equal(np.concatenate(parts), found.step(step))
        assert max(map(len, parts)) <= settings["batch"] // world
    assert np.ptp([found.steps_of(share) for share in shares]) <= 1


@given(plans(), st.sampled_from([1, 2, 3]))
def test_ranks_read_the_shards_of_their_lanes_alone(plan, world):
    samples, shard_of, settings = plan
    lanes = settings["lanes"] = settings["batch"] = 6
    found = plan_epoch(samples, shard_of, **settings)
    touched = 0
    for rank in range(world):
        steps = [found.step(step, Share(rank, world)) for step in range(found.steps)]
        numbers = np.unique(np.searchsorted(found.ends, np.concatenate(steps), side="right"))
        assert set(found.lane_of[numbers] // (lanes // world)) <= {rank}
        touched += len({s for n in numbers for s in found.windows[n].tolist()})
    # only the shard where the lanes of two ranks meet is of both
    assert touched <= len(set(shard_of)) + world - 1


def test_a_lane_has_shards_of_all_parts_of_the_store_in_each_epoch():
    shard_of = np.repeat(np.arange(64), 10)
    for epoch in range(2):
        settings = {"seed": 1, "epoch": epoch, "batch": 8, "window": 8, "lanes": 8}
        found = plan_epoch(np.arange(640), shard_of, **settings)
        for lane in range(8):
            own = np.concatenate([found.windows[n] for n in np.flatnonzero(found.lane_of == lane)])
            assert sorted(own) == list(range(lane, 64, 8))


@given(st.integers(0, 40), st.integers(0, 20), st.integers(0, 2**32))
def test_a_part_of_random_draws_is_that_of_all_of_them(start, length, seed):
    whole = keyed_random.generator(seed, 3).random(start + length)
    part = keyed_random.part_of_random((seed, 3), start, start + length)
    np.testing.assert_array_equal(part, whole[start:])


def _identities(samples, shard_of, **settings):
    return plan_identities(samples, shard_of, samples % 3, per_class=1, **settings)


@pytest.mark.parametrize("plan", [plan_epoch, _identities])
def test_no_two_draws_of_an_epoch_come_from_the_same_seed(plan, monkeypatch):
    """numpy takes (seed, epoch, 1) and (seed, epoch, 1, 0) for one."""
    used, make = [], np.random.SeedSequence

    def remembered(words):
        used.append(tuple(make(words).generate_state(4)))
        return make(words)

    monkeypatch.setattr(np.random, "SeedSequence", remembered)
    for epoch in range(3):
        found = plan(np.arange(6), np.arange(6), seed=1, epoch=epoch, batch=2, window=6)
        assert len(found.order) == 6
        # shards once, and samples once or once for each shard
        assert len(set(used)) == 2 * (epoch + 1)


def test_of_balanced_classes_every_sample_is_drawn_once():
    repeats = balanced_repeats(np.array([0, 1, 0, 1]), np.arange(4), epoch=5)
    assert repeats.tolist() == [1, 1, 1, 1]
