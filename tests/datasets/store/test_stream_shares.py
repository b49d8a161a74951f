"""Streams that resume, that processes share, and that repeat or balance samples."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import aclnet
from aclnet.datasets.spec import AclnetError
from aclnet.datasets.store import stream
from aclnet.datasets.store.plan import Share
from tests.datasets.store.streams import (
    assert_same,
    count_calls,
    open_stream,
    samples_of,
    take,
)


@pytest.fixture(scope="module")
def store(people_store):
    return aclnet.open_store(people_store)


# Restoring


def settings_with_and_without(*names):
    return [{}, *({name: True} for name in names), {"shuffle": False}]


@pytest.mark.parametrize(
    "options",
    [*settings_with_and_without("balance", "motion"), {"lanes": 3}, {"repeats": 2, "lanes": 3}],
)
def test_restored_at_every_step_the_rest_is_the_same(store, options):
    settings = {"window": 2, "batch_size": 9, "seed": 3, **options}
    source = open_stream(store, **settings)
    states, batches = [source.state_dict()], []
    for _ in range(2):
        for batch in source:
            batches.append(batch)
            states.append(source.state_dict())
    for step, state in enumerate(states):
        fresh = open_stream(store, **settings)
        fresh.load_state_dict(state)
        rest = []
        while fresh.epoch < 2:
            rest += fresh
        assert_same(rest, batches[step:])


def test_restored_twice_in_a_row(store):
    settings = {"window": 2, "batch_size": 9, "seed": 3}
    wanted = list(open_stream(store, **settings))
    first = open_stream(store, **settings)
    got = take(iter(first), 2)
    second = open_stream(store, **settings)
    second.load_state_dict(first.state_dict())
    got += take(iter(second), 1)
    third = open_stream(store, **settings)
    third.load_state_dict(second.state_dict())
    assert_same(got + list(third), wanted)


def test_left_early_the_next_loop_goes_on(store):
    source = open_stream(store)
    got = take(iter(source), 2)
    assert_same(got + list(source), list(open_stream(store)))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 9}, "seed"),
        ({"batch_size": 4}, "batch"),
        ({"window": 3}, "window"),
        ({"lanes": 2}, "lanes"),
        ({"shuffle": False}, "shuffle"),
        ({"balance": True}, "balance"),
        ({"repeats": 2}, "repeats"),
        ({"split": "xview/train"}, "split"),
    ],
)
def test_restoring_with_other_settings_is_refused(store, change, named):
    state = open_stream(store, window=2).state_dict()
    other = open_stream(store, **{"window": 2, **change})
    with pytest.raises(AclnetError, match=f"saved with {named} .* resume with the same settings"):
        other.load_state_dict(state)


@pytest.mark.slow
def test_restoring_on_another_store_is_refused(store, people, tmp_path, prepare_raw):
    prepare_raw(people, tmp_path / "o.zarr", align=True)
    state = open_stream(store).state_dict()
    with pytest.raises(AclnetError, match="saved with store"):
        open_stream(aclnet.open_store(tmp_path / "o.zarr")).load_state_dict(state)


def test_a_state_of_a_version_without_lanes_is_that_of_one_lane(store):
    state = open_stream(store, window=2).state_dict()
    del state["lanes"], state["repeats"]
    open_stream(store, window=2).load_state_dict(state)
    with pytest.raises(AclnetError, match="saved with lanes 1 and is now 2"):
        open_stream(store, window=2, lanes=2).load_state_dict(state)


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 4), (4, 1), (2, 8)])
def test_restoring_among_other_ranks_goes_on_with_the_same_global_batches(
    store, lanes, before, after
):
    def ranks(world):
        settings = {"batch_size": 8 // world, "window": 4, "lanes": lanes}
        return [open_stream(store, share=Share(rank, world), **settings) for rank in range(world)]

    wanted = list(*ranks(1))[3:]
    started, resumed = ranks(before), ranks(after)
    for source in started:
        take(iter(source), 3)
    states = [source.state_dict() for source in started]
    assert states == states[:1] * before
    for source in resumed:
        source.load_state_dict(states[0])
    for batch, *parts in zip(wanted, *resumed, strict=True):
        np.testing.assert_array_equal(np.concatenate([p.sample for p in parts]), batch.sample)


# Ranks


@pytest.mark.slow
@pytest.mark.parametrize("lanes", [1, 2, 4])
@pytest.mark.parametrize("options", settings_with_and_without("balance"))
def test_global_batches_do_not_depend_on_the_number_of_ranks(store, options, lanes):
    options = {**options, "lanes": lanes}
    wanted = list(open_stream(store, batch_size=8, window=2, **options))
    for world in (2, 4):
        settings = {"batch_size": 8 // world, "window": 2, **options}
        ranks = [
            list(open_stream(store, share=Share(rank, world), **settings)) for rank in range(world)
        ]
        assert len({len(batches) for batches in ranks}) == 1
        assert len(ranks[0]) == len(wanted)
        for batch, *parts in zip(wanted, *ranks, strict=True):
            for name in ("sample", "key", "keypoint"):
                joined = np.concatenate([getattr(part, name) for part in parts])
                np.testing.assert_array_equal(joined, getattr(batch, name))


@pytest.mark.parametrize("world", [1, 2, 4])
def test_a_rank_decodes_the_shards_of_its_lanes_alone(store, world, monkeypatch):
    """The shard where two lanes meet is of both."""
    mask = store.mask("xsub/train")
    mask = mask & (np.cumsum(mask) <= 48)
    shards, read_shard = set(store.shard_of[mask]), store.read_shard
    touched = []
    for rank in range(world):
        read = []
        monkeypatch.setattr(store, "read_shard", count_calls(read_shard, read))
        settings = {"window": 4, "lanes": 4, "cache": 0, "batch_size": 8 // world}
        list(open_stream(store, mask, share=Share(rank, world), **settings))
        assert len(read) <= len(set(read)) + 4 // world - 1
        touched += set(read)
    assert set(touched) == shards
    assert len(touched) <= len(shards) + world - 1


def test_evaluation_by_lanes_decodes_every_shard_once(store, monkeypatch):
    read = []
    monkeypatch.setattr(store, "read_frame_numbers", count_calls(store.read_frame_numbers, read))
    for rank in range(2):
        settings = {"batch_size": 5, "shuffle": False, "lanes": 2, "share": Share(rank, 2)}
        list(open_stream(store, "xsub/test", **settings))
    assert len(read) <= len(set(read)) + 1
    assert set(read) == set(store.shard_of[store.mask("xsub/test")])


@pytest.mark.parametrize(
    ("batch_size", "window", "lanes"),
    [
        *((64, 8, 8), (50, 8, 5), (9, 8, 3), (7, 8, 7), (11, 8, 1), (4, 8, 4), (1, 8, 1)),
        (64, 3, 2),  # a window of no more shards than with one lane
        (64, 20, 8),  # three shards for each lane
        (64, 26, 1),  # all in one window
    ],
)
def test_the_default_lanes(store, monkeypatch, batch_size, window, lanes):
    assert len(np.unique(store.shard_of[store.mask("xsub/train")])) == 26
    settings = {"batch_size": batch_size, "window": window}
    assert open_stream(store, **settings).lanes == 1  # too few shards
    monkeypatch.setattr(stream, "_SHARDS_PER_LANE", 3)
    assert open_stream(store, **settings).lanes == lanes
    assert open_stream(store, shuffle=False, **settings).lanes == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lanes": 3}, "a global batch of 8 does not divide into 3 lanes"),
        ({"lanes": 2, "per_class": 4}, "balance=False and lanes=1"),
        ({"lanes": 64, "batch_size": 64}, "54 samples, too few to train with 64 lanes"),
    ],
)
def test_lanes_that_do_not_fit_are_refused(store, options, message):
    with pytest.raises(AclnetError, match=message):
        open_stream(store, **options)


def test_classes_are_drawn_from_one_lane(store, monkeypatch):
    monkeypatch.setattr(stream, "_SHARDS_PER_LANE", 3)
    assert open_stream(store, window=8, per_class=4).lanes == 1


def test_lanes_mix_the_shards_of_a_window_in_each_batch(store):
    source = open_stream(store, batch_size=8, window=4, lanes=4)
    for batch in source:
        assert len(np.unique(store.shard_of[batch.sample])) >= 3


@pytest.mark.parametrize("lanes", [1, None])
@pytest.mark.parametrize("batch_size", [1, 2, 5, 17, 100])
@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_evaluation_counts_every_sample_once(store, world, batch_size, lanes):
    settings = {"batch_size": batch_size, "shuffle": False, "lanes": lanes or world}
    ranks = [
        open_stream(store, "xsub/test", share=Share(r, world), **settings) for r in range(world)
    ]
    promised = [len(r) for r in ranks]
    batches = [list(r) for r in ranks]
    assert [len(b) for b in batches] == promised
    assert max(promised) - min(promised) <= 1
    assert sorted(s for b in batches for s in samples_of(b)) == ranks[0].samples.tolist()


def test_more_ranks_than_samples_cannot_train(store):
    mask = np.zeros(len(store), dtype=bool)
    mask[:3] = True
    with pytest.raises(AclnetError, match="3 samples, too few to train with 4 processes"):
        open_stream(store, mask, share=Share(0, 4))


# Repeats and balance


@pytest.mark.parametrize("lanes", [1, 3])
def test_repeated_samples_have_other_frames_each_time(store, lanes):
    source = open_stream(
        store, batch_size=9, repeats=3, lanes=lanes, sampling=aclnet.UniformSampling(4)
    )
    plan = source.plan(0)
    assert Counter(plan.order.tolist()) == dict.fromkeys(source.samples.tolist(), 3)
    batches = list(source)
    assert len(batches) == len(source.samples) * 3 // 9
    keys = np.concatenate([batch.key for batch in batches])
    assert len(np.unique(keys)) == len(keys) == 9 * len(batches)
    frames = [batch.frame[batch.owner == i][0] for batch in batches for i in range(len(batch.key))]
    drawn = np.column_stack([samples_of(batches), frames])
    assert len(np.unique(drawn, axis=0)) > 0.9 * len(drawn)


def test_repeated_and_balanced_draws_multiply(store):
    """All classes are drawn equally often, in an epoch six times as long."""
    labels = store.column("label")
    mask = (labels == 0) | (np.cumsum(labels == 49) == 1)
    source = open_stream(store, mask, batch_size=2, balance=True, repeats=6)
    orders = [source.plan(epoch).order for epoch in range(40)]
    _, counts = np.unique(labels[np.concatenate(orders)], return_counts=True)
    np.testing.assert_allclose(counts / 40, mask.sum() * 6 / len(counts), rtol=0.1)


@pytest.mark.slow
def test_balance_draws_classes_equally(store):
    labels = store.column("label")
    mask = (
        (labels == 0) | ((labels == 9) & (np.arange(72) % 3 == 0)) | (np.cumsum(labels == 49) == 1)
    )
    counts = np.zeros(60)
    source = open_stream(store, mask, batch_size=4, balance=True)
    epochs, draws = 600, 0
    for _ in range(epochs):
        plan = source.plan(source.epoch)
        counts += np.bincount(labels[plan.order], minlength=60)
        draws += len(plan.order)
        source.epoch += 1
    assert draws / epochs == pytest.approx(mask.sum(), rel=0.02)
    np.testing.assert_allclose(counts[[0, 9, 49]] / draws, 1 / 3, rtol=0.03)


def test_occurrences_of_one_sample_have_keys_of_their_own(store):
    mask = np.cumsum(store.column("label") == 49) == 1
    mask |= store.column("label") == 0
    source = open_stream(store, mask, batch_size=1000, balance=True)
    (batch,) = source
    sample, count = np.unique(batch.sample, return_counts=True)
    assert count.max() > 5
    assert len(np.unique(batch.key)) == len(batch.key)
    most = batch.sample == sample[count.argmax()]
    drawn = batch.frame[np.isin(batch.owner, np.flatnonzero(most))]
    assert len(np.unique(drawn, axis=0)) > 3
