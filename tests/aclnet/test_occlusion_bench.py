"""The occlusion bench against its parts, and its interval against its definition."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aclnet.evaluate import Scorer
from aclnet.figures import draw_bench
from aclnet.occlusion_bench import CLEAN, occlusion_bench, paired_difference
from aclnet.pipelines.occlusion import Drop


def pair(both: int, first: int, second: int, neither: int):
    """Two paired lists of right and wrong of these counts."""
    a = np.array([True] * (both + first) + [False] * (second + neither))
    b = np.array([True] * both + [False] * first + [True] * second + [False] * neither)
    return a, b


cells = st.integers(0, 50)


@given(cells, cells, cells, cells)
def test_interval_is_that_of_agresti_and_min(both, first, second, neither):
    if not both + first + second + neither:
        return
    # the four cells of the table, half a count in each
    p = np.array([both, first, second, neither]) + 0.5
    n = p.sum()
    p = p / n
    difference = p[1] - p[2]
    error = math.sqrt(((p[1] + p[2]) - difference**2) / n)
    found, low, high = paired_difference(*pair(both, first, second, neither))
    assert found == pytest.approx((first - second) / (n - 2))
    assert low == pytest.approx(max(-1, difference - 1.959964 * error), abs=1e-6)
    assert high == pytest.approx(min(1, difference + 1.959964 * error), abs=1e-6)


def test_interval_agrees_with_a_bootstrap():
    a, b = pair(300, 90, 30, 80)
    rng = np.random.default_rng(0)
    draws = rng.integers(len(a), size=(4000, len(a)))
    resampled = a[draws].mean(1) - b[draws].mean(1)
    _, low, high = paired_difference(a, b)
    np.testing.assert_allclose([low, high], np.quantile(resampled, [0.025, 0.975]), atol=0.004)
    _, narrow_low, narrow_high = paired_difference(a, b, level=0.5)
    np.testing.assert_allclose(
        [narrow_low, narrow_high], np.quantile(resampled, [0.25, 0.75]), atol=0.004
    )


def test_interval_covers_the_truth_in_small_samples():
    rng = np.random.default_rng(1)
    shares = np.array([0.55, 0.25, 0.05, 0.15])
    tables = rng.multinomial(25, shares, size=4000)
    covered = 0
    for table in tables.tolist():
        _, low, high = paired_difference(*pair(*table))
        covered += low <= 0.2 <= high
    assert 0.94 < covered / len(tables) < 0.98


def test_rows_are_the_scores_of_each_corruption(quick_run, store):
    drops = [Drop.of(name, store.layout, m) for name in ("hands",) for m in ("centre", "feature")]
    told = []
    name, table = occlusion_bench(quick_run, store, drops, progress=lambda *a: told.append(a))
    assert name == "xsub-test"
    assert table["corruption"].tolist() == [CLEAN, "hands (centre)", "hands (feature)"]
    assert {stage for stage, *_ in told} == set(table["corruption"])
    scorer = Scorer(quick_run, store)
    clean = scorer.score()
    for (_, row), drop in zip(table.iterrows(), [None, *drops], strict=True):
        scores = scorer.score(corruption=drop)
        assert row["top1"] == scores.top1
        assert (row["low"], row["high"]) == scores.interval()
        assert row["lost"] == pytest.approx(clean.top1 - scores.top1)
        assert row["lost_low"] <= row["lost"] <= row["lost_high"]
        assert (row["samples"], row["clips"]) == (12, 2)


def test_what_is_dropped_matters(quick_run, store):
    """All limbs gone is not the same as nothing gone: the corruption reaches the network."""
    scorer = Scorer(quick_run, store)
    by_meaning = [
        scorer.score(corruption=Drop.of("arms+legs", store.layout, missing)).scores
        for missing in ("centre", "camera", "feature")
    ]
    clean = scorer.score().scores
    assert not np.allclose(by_meaning[0], clean)
    assert not np.allclose(by_meaning[0], by_meaning[1])
    np.testing.assert_allclose(by_meaning[0], by_meaning[2], atol=1e-6)  # alike for joints alone


def test_figure(tmp_path):
    rows = pd.DataFrame(
        {
            "corruption": [CLEAN, "hands (centre)"],
            "top1": [0.9, 0.0],
            "low": [0.8, 0.0],
            "high": [0.95, 0.1],
        }
    )
    path = draw_bench(rows, "run", tmp_path / "new" / "bench.png")
    assert path.read_bytes().startswith(b"\x89PNG")
