"""Batches of P classes with K samples each: the plan by its promises, the stream on top of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import aclnet
from aclnet.datasets.spec import AclnetError
from aclnet.datasets.store.plan import EpochPlan, Share, plan_epoch, plan_identities
from aclnet.datasets.store.stream import Batch, Stream

SAMPLING = aclnet.UniformSampling(6)


@st.composite
def cases(draw):
    """Samples, shards, labels and settings; as many classes as a batch holds, or more."""
    count = draw(st.integers(1, 60))

    def integers(high):
        return np.array(draw(st.lists(st.integers(0, high), min_size=count, max_size=count)))

    shard_of, labels = np.sort(integers(9)), integers(draw(st.integers(0, 7))) * 10
    per_class = draw(st.integers(1, 4))
    settings = {
        "seed": draw(st.integers(0, 2**32)),
        "epoch": draw(st.integers(0, 5)),
        "batch": per_class * draw(st.integers(1, len(set(labels.tolist())))),
        "window": draw(st.integers(1, 12)),
        "per_class": per_class,
        "repeats": draw(st.integers(1, 3)),
    }
    return np.sort(draw(st.permutations(range(100)))[:count]), shard_of, labels, settings


def groups_of(plan: EpochPlan, samples, labels, per_class):
    """For each window: the classes in the order of their turns, and the samples of each turn."""
    label = dict(zip(samples.tolist(), labels.tolist(), strict=True))
    for first, end in zip([0, *plan.ends[:-1]], plan.ends, strict=True):
        turns = plan.order[first:end].reshape(-1, per_class).tolist()
        classes = [{label[sample] for sample in turn} for turn in turns]
        assert all(len(found) == 1 for found in classes)
        yield [found.pop() for found in classes], turns


@pytest.mark.slow
@given(cases())
def test_a_batch_is_so_many_samples_of_so_many_classes(case):
    samples, shard_of, labels, settings = case
    plan = plan_identities(samples, shard_of, labels, **settings)
    batch, per_class = settings["batch"], settings["per_class"]
    assert plan.steps == max(1, settings["repeats"] * len(samples) // batch)
    assert len(plan.order) == len(plan.occurrence) == plan.steps * batch
    assert not (plan.ends % batch).any()
    for classes, _ in groups_of(plan, samples, labels, per_class):
        assert classes
        for turns in np.reshape(classes, (-1, batch // per_class)):
            assert len(set(turns)) == len(turns)


@pytest.mark.slow
@given(cases())
def test_in_a_window_classes_and_their_samples_come_in_rounds(case):
    samples, shard_of, labels, settings = case
    plan = plan_identities(samples, shard_of, labels, **settings)
    per_class = settings["per_class"]
    found = groups_of(plan, samples, labels, per_class)
    for window, (classes, turns) in zip(plan.windows, found, strict=True):
        own = np.isin(shard_of, window)
        sizes = Counter(labels[own].tolist())
        in_rounds(classes, sizes)
        for name, size in sizes.items():
            drawn = [turn for c, turn in zip(classes, turns, strict=True) if c == name]
            in_rounds(np.ravel(drawn).tolist(), samples[own & (labels == name)].tolist())
            if size >= per_class:
                assert all(len(set(turn)) == per_class for turn in drawn)


def in_rounds(drawn, things):
    """No thing comes again before all others have come; what comes is one of them."""
    assert set(drawn) <= set(things)
    for first in range(0, len(drawn), len(things)):
        one = drawn[first : first + len(things)]
        assert len(set(one)) == len(one)


@pytest.mark.slow
@given(cases())
def test_occurrences_are_counted(case):
    samples, shard_of, labels, settings = case
    plan = plan_identities(samples, shard_of, labels, **settings)
    before: Counter[int] = Counter()
    for sample, occurrence in zip(plan.order.tolist(), plan.occurrence, strict=True):
        assert occurrence == before[sample]
        before[sample] += 1


@pytest.mark.slow
@given(cases())
def test_windows_are_those_of_any_epoch_joined_where_they_cannot_fill_a_batch(case):
    samples, shard_of, labels, settings = case
    plan = plan_identities(samples, shard_of, labels, **settings)
    per_class, batch = settings.pop("per_class"), settings["batch"]
    repeats = settings.pop("repeats")

    def content(shards):
        own = np.isin(shard_of, shards)
        return own.sum(), len(set(labels[own].tolist()))

    def fills(shards):
        size, classes = content(shards)
        return size >= batch and classes >= batch // per_class

    expected: list[list[int]] = []
    for window in plan_epoch(samples, shard_of, **settings).windows:
        if expected and not fills(expected[-1]):
            expected[-1] += window.tolist()
        else:
            expected.append(window.tolist())
    if len(expected) > 1 and not fills(expected[-1]):
        last = expected.pop()
        expected[-1] += last
    assert [window.tolist() for window in plan.windows] == expected
    steps = np.diff(plan.ends, prepend=0) // batch
    shares = np.array([content(window)[0] * repeats / batch for window in plan.windows])
    assert (np.abs(steps - shares) < 1).all() or len(samples) < batch


def test_a_class_of_one_sample_by_hand():
    """Three samples of class 5, one of class 7: two of the three, and the one twice."""
    samples, labels = np.array([2, 3, 4, 8]), np.array([5, 5, 5, 7])
    settings = {"seed": 0, "epoch": 0, "batch": 4, "window": 1, "per_class": 2}
    plan = plan_identities(samples, np.zeros(4, np.int64), labels, **settings)
    assert (plan.steps, plan.ends.tolist()) == (1, [4])
    pairs = sorted(sorted(pair) for pair in plan.order.reshape(2, 2).tolist())
    assert pairs[-1] == [8, 8]
    assert len(set(pairs[0])) == 2
    assert set(pairs[0]) < {2, 3, 4}
    assert plan.occurrence[plan.order == 8].tolist() == [0, 1]
    assert plan.occurrence[plan.order != 8].tolist() == [0, 0]


def epochs_of(samples, labels, epochs, **settings):
    """(epochs, draws): the orders of many epochs of one window."""
    shards = np.zeros(len(samples), np.int64)
    settings = {"seed": 3, "window": 1, **settings}
    return np.stack(
        [
            plan_identities(samples, shards, labels, epoch=epoch, **settings).order
            for epoch in range(epochs)
        ]
    )


def test_each_seed_and_epoch_is_an_order_of_its_own():
    settings = {"batch": 8, "per_class": 4}
    orders = [*epochs_of(np.arange(50), np.arange(50) % 5, 3, **settings)]
    orders += [*epochs_of(np.arange(50), np.arange(50) % 5, 3, seed=4, **settings)]
    assert len({tuple(order) for order in orders}) == 6


def test_equal_classes_draw_every_sample_equally_often():
    samples = np.arange(50)
    orders = epochs_of(samples, samples % 5, 800, batch=8, per_class=4)
    assert orders.shape == (800, 48)
    np.testing.assert_allclose(np.bincount(orders.ravel()) / 800, 48 / 50, rtol=0.08)


def test_every_two_classes_meet_equally_often():
    """Rounds of 5 in batches of 3: there are always classes that have to wait for their batch."""
    labels = np.arange(50) % 5
    orders = epochs_of(np.arange(50), labels, 600, batch=6, per_class=2)
    batches = np.sort(labels[orders.reshape(-1, 3, 2)[..., 0]], axis=1)
    counts = Counter(map(tuple, batches.tolist()))
    assert len(counts) == 10
    np.testing.assert_allclose(list(counts.values()), len(batches) / 10, rtol=0.15)


# The stream


@pytest.fixture(scope="module")
def store(people_store):
    return aclnet.open_store(people_store)


def open_stream(store, *, mask=None, batch_size=8, per_class=4, **options) -> Stream:
    mask = store.mask("xsub/train") if mask is None else mask
    settings = {"batch_size": batch_size, "per_class": per_class, "sampling": SAMPLING}
    return store.stream(mask, **{"window": 2, "seed": 5, **settings, **options})


def assert_same(first: list[Batch], second: list[Batch]) -> None:
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        for field in fields(Batch):
            np.testing.assert_array_equal(getattr(a, field.name), getattr(b, field.name))


@pytest.mark.parametrize("window", [1, 2, 100])
def test_batches_of_a_stream(store, window):
    source = open_stream(store, window=window)
    assert len(source) == 6
    shards = store.shard_of
    for batch, planned in zip(source, source.plan(0).order.reshape(-1, 8), strict=True):
        np.testing.assert_array_equal(batch.sample, planned)
        np.testing.assert_array_equal(batch.label, store.column("label")[planned])
        assert [len(set(part)) for part in batch.label.reshape(2, 4)] == [1, 1]
        assert len(set(batch.label)) == 2
        assert len(set(batch.key)) == 8
    inside = [shards[o] for o in np.split(source.plan(0).order, source.plan(0).ends[:-1])]
    windows = source.plan(0).windows
    assert all(set(o) <= set(w.tolist()) for o, w in zip(inside, windows, strict=True))


def test_samples_drawn_twice_are_seen_differently(store):
    labels = store.column("label")
    mask = (labels == 0) | (np.cumsum(labels == 49) == 1)
    (batch, *_) = open_stream(store, mask=mask, window=100)
    alone = batch.label == 49
    assert alone.sum() == 4
    assert len(set(batch.sample[alone])) == 1
    assert len(set(batch.key[alone])) == 4


def test_restored_at_every_step_the_rest_is_the_same(store):
    source = open_stream(store)
    states, batches = [source.state_dict()], []
    for _ in range(2):
        for batch in source:
            batches.append(batch)
            states.append(source.state_dict())
    assert [b.sample.tolist() for b in batches[:6]] != [b.sample.tolist() for b in batches[6:]]
    for step, state in enumerate(states):
        fresh = open_stream(store)
        fresh.load_state_dict(state)
        rest = []
        while fresh.epoch < 2:
            rest += fresh
        assert_same(rest, batches[step:])


@pytest.mark.parametrize("world", [2, 4])
def test_global_batches_do_not_depend_on_the_number_of_ranks(store, world):
    wanted = list(open_stream(store))
    settings = {"batch_size": 8 // world}
    ranks = [
        list(open_stream(store, share=Share(rank, world), **settings)) for rank in range(world)
    ]
    for batch, *parts in zip(wanted, *ranks, strict=True):
        for name in ("sample", "key", "keypoint"):
            joined = np.concatenate([getattr(part, name) for part in parts])
            np.testing.assert_array_equal(joined, getattr(batch, name))


@pytest.mark.parametrize("change", [{"per_class": 8}, {"per_class": None}])
def test_restoring_with_another_number_of_samples_is_refused(store, change):
    state = open_stream(store).state_dict()
    with pytest.raises(AclnetError, match="saved with per_class 4 and is now"):
        open_stream(store, **change).load_state_dict(state)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"per_class": 3}, "global batch of 8 cannot hold 3 samples of each class"),
        ({"per_class": 0}, "cannot hold 0 samples"),
        ({"per_class": -4}, "cannot hold -4 samples"),
        ({"per_class": 2}, "holds 4 classes, but this split has 3: lower the batch size or raise"),
        ({"balance": True}, "it needs shuffle=True, "),
        ({"shuffle": False}, "it needs shuffle=True, "),
    ],
)
def test_what_cannot_be_drawn_is_refused(store, options, message):
    with pytest.raises(AclnetError, match=message):
        open_stream(store, **options)
