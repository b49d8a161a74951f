"""Measurements of a store; the rates themselves are not checked."""

from __future__ import annotations

import numpy as np
import pytest

from aclnet.bench import Speed, shuffle_quality
from aclnet.datasets.store.plan import plan_epoch

SHARDS, EACH = 16, 200
SAMPLES = np.arange(SHARDS * EACH)
SHARD_OF = SAMPLES // EACH


def plan(window: int, *, shuffle: bool = True):
    return plan_epoch(SAMPLES, SHARD_OF, seed=1, epoch=0, batch=64, window=window, shuffle=shuffle)


def test_an_epoch_of_one_window_is_drawn_from_the_whole():
    distance, entropy = shuffle_quality(plan(SHARDS), SHARD_OF)
    assert distance == pytest.approx(1, abs=0.05)
    assert entropy == pytest.approx(1, abs=0.02)


def test_smaller_windows_mix_fewer_shards():
    entropies = [shuffle_quality(plan(window), SHARD_OF)[1] for window in (1, 2, 4, 8, SHARDS)]
    assert entropies == sorted(entropies)
    # a batch is of two shards at the most now and then, of 16 alike by drawing from the whole
    assert entropies[0] < 0.1
    assert entropies[1] == pytest.approx(np.log(2) / np.log(SHARDS), abs=0.1)


def test_the_order_of_the_store_moves_nothing():
    distance, entropy = shuffle_quality(plan(SHARDS, shuffle=False), SHARD_OF)
    assert distance == 0
    assert entropy < 0.1


def test_one_shard_is_as_mixed_as_it_can_be():
    order = plan_epoch(
        SAMPLES, np.zeros_like(SAMPLES), seed=1, epoch=0, batch=64, window=1, shuffle=True
    )
    assert shuffle_quality(order, np.zeros_like(SAMPLES))[1] == 1


def speed(**values: float) -> Speed:
    names = ("read", "read_mb", "first", "again", "made", "trained", "load", "epoch", "distance")
    known = dict.fromkeys(names, 1.0) | {"entropy": 1.0, "shards": 8, "window": 8, "load": 0.1}
    return Speed(**(known | values))


def test_advice_names_what_holds_training_up():
    assert "the network is slower than the data" in speed().advice()[0]
    assert "the data is slower" in speed(load=1.5).advice()[0]
    assert len(speed(window=2).advice()) == 1
    assert "2 of 8 shards" in speed(window=2, entropy=0.5).advice()[1]
