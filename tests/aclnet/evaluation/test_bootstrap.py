"""Bootstrap of differences against formulas, enumeration and simulation."""

from itertools import product

import numpy as np
import pytest

from aclnet.evaluation import bootstrap
from aclnet.evaluation.bootstrap import difference


def test_with_one_seed_the_interval_is_that_of_a_mean():
    rng = np.random.default_rng(3)
    first, second = (rng.random((2, 400)) < np.array([[0.6], [0.7]])).astype(float)
    found = difference(first[None], second[None], np.arange(400))
    gain = second - first
    error = gain.std() / 20
    assert found.difference == pytest.approx(gain.mean())
    assert found.low == pytest.approx(gain.mean() - 1.96 * error, abs=0.15 * error)
    assert found.high == pytest.approx(gain.mean() + 1.96 * error, abs=0.15 * error)
    assert found.visible == pytest.approx(2.8016 * error, rel=0.06)
    assert found.seeds == 1


def test_with_equal_samples_only_the_seeds_are_drawn():
    gains = np.array([0.0, 0.1, 0.5])
    first = np.zeros((3, 50))
    found = difference(first, first + gains[:, None], np.arange(50))
    drawn = [np.mean(seeds) for seeds in product(gains, repeat=3)]
    assert found.difference == pytest.approx(0.2)
    assert found.low == pytest.approx(min(drawn))  # 1 of 27 draws, more than 2.5 %
    assert found.high == pytest.approx(max(drawn))
    assert found.visible == pytest.approx(2.8016 * np.std(drawn), rel=0.06)


def test_samples_of_a_person_are_drawn_together():
    rng = np.random.default_rng(5)
    first, second = (rng.random((2, 3, 30)) < 0.5).astype(float)
    people = difference(first, second, np.arange(30))
    many = difference(
        *(np.repeat(side, 4, axis=1) for side in (first, second)), np.arange(120) // 4
    )
    assert (many.low, many.high) == pytest.approx((people.low, people.high))
    alone = difference(*(np.repeat(side, 4, axis=1) for side in (first, second)), np.arange(120))
    assert alone.high - alone.low < 0.7 * (people.high - people.low)


def test_weights_are_those_of_the_accuracy():
    rng = np.random.default_rng(6)
    first, second = (rng.random((2, 2, 20)) < 0.5).astype(float)
    times = rng.integers(1, 4, 20)
    weighted = difference(first, second, np.arange(20), times.astype(float))
    repeated = [np.repeat(side, times, axis=1) for side in (first, second)]
    plain = difference(*repeated, np.repeat(np.arange(20), times))
    assert weighted == plain


def test_the_same_is_no_difference():
    same = np.ones((3, 10))
    found = difference(same, same, np.arange(10))
    assert (found.difference, found.low, found.high, found.effect, found.visible) == (0,) * 5


def test_effect():
    """0.2014 is the h of 50 and 60 % in the tables of Cohen's book."""
    first, second = np.array([[1.0] * 5 + [0.0] * 5]), np.array([[1.0] * 6 + [0.0] * 4])
    assert difference(first, second, np.arange(10)).effect == pytest.approx(0.2014, abs=1e-4)


@pytest.mark.slow
def test_intervals_hold_what_they_promise_for_other_seeds_and_samples(monkeypatch):
    """Seeds and samples with effects of their own around a known difference."""
    monkeypatch.setattr(bootstrap, "DRAWS", 300)
    rng = np.random.default_rng(7)
    held, worlds = 0, 150
    for _ in range(worlds):
        seed, sample = rng.normal(0, 0.05, (8, 1)), rng.normal(0, 0.3, (1, 60))
        gains = 0.1 + seed + sample + rng.normal(0, 0.2, (8, 60))
        found = difference(np.full((8, 60), 0.4), 0.4 + gains, np.arange(60))
        held += found.low <= 0.1 <= found.high
    assert 0.88 <= held / worlds <= 0.99
