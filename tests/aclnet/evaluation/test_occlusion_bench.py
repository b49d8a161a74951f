"""The occlusion bench against its parts, and its interval against its definition."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from aclnet.evaluation.figures import draw_bench
from aclnet.evaluation.occlusion_bench import (
    CLEAN,
    occlusion_bench,
    paired_difference,
    people_drawn_again,
)
from aclnet.evaluation.scorer import Scorer
from aclnet.pipelines.inputs.occlusion import Drop
from aclnet.runs.inference import Pass


def pair(both: int, first: int, second: int, neither: int):
    """Two paired lists of right and wrong of these counts."""
    a = np.array([True] * (both + first) + [False] * (second + neither))
    b = np.array([True] * both + [False] * first + [True] * second + [False] * neither)
    return a, b


cells = st.integers(0, 50)


@given(cells, cells, cells, cells)
def test_interval_is_that_of_agresti_and_min(both, first, second, neither):
    assume(both + first + second + neither)
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
        scores = scorer.score(Pass(drop))
        assert row["top1"] == scores.top1
        assert (row["low"], row["high"]) == scores.interval()
        assert row["lost"] == pytest.approx(clean.top1 - scores.top1)
        assert row["lost_low"] <= row["lost"] <= row["lost_high"]
        assert (row["samples"], row["clips"]) == (12, 2)


def test_what_is_dropped_matters(quick_run, store, assert_alike):
    """All limbs gone is not the same as nothing gone: the corruption reaches the network."""
    scorer = Scorer(quick_run, store)
    by_meaning = [
        scorer.score(Pass(Drop.of("arms+legs", store.layout, missing))).scores
        for missing in ("centre", "camera", "feature")
    ]
    clean = scorer.score().scores
    assert not np.allclose(by_meaning[0], clean)
    assert not np.allclose(by_meaning[0], by_meaning[1])
    assert_alike(by_meaning[0], by_meaning[2], "the two meanings are one for joints")


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


# People


def test_people_lose_rank_one_in_a_clean_gallery(gait_run, gait_store, assert_alike):
    drops = [Drop.of(name, gait_store.layout) for name in ("head", "legs")]
    name, table = occlusion_bench(gait_run, gait_store, drops, accelerator="cpu")
    assert name == "gait-probe"
    assert table["corruption"].tolist() == [CLEAN, "head (centre)", "legs (centre)"]
    scorer = Scorer(gait_run, gait_store, accelerator="cpu")
    clean = scorer.recognise()
    people, before = clean.found()
    for (_, row), drop in zip(table.iterrows(), [None, *drops], strict=True):
        found = scorer.recognise(Pass(drop))
        assert_alike(found.gallery.vectors, clean.gallery.vectors)
        shares = found.found()[1]
        assert row["top1"] == pytest.approx(shares.mean())
        assert (row["low"], row["high"]) == people_drawn_again(people, shares)[1:]
        lost = (row["lost"], row["lost_low"], row["lost_high"])
        assert lost == pytest.approx(people_drawn_again(people, before - shares))
        assert (row["samples"], row["clips"]) == (len(shares), 2) == (12, 2)
    assert table["lost"].iloc[0] == 0
    assert table["top1"].nunique() > 1, "nothing that is dropped matters"


values = st.lists(
    st.tuples(st.integers(0, 6), st.sampled_from([0.0, 0.25, 0.5, 1.0])), min_size=1, max_size=40
)


@given(values)
def test_the_interval_is_about_the_mean_of_all(pairs):
    people, shares = (np.array(column) for column in zip(*pairs, strict=True))
    mean, low, high = people_drawn_again(people, shares)
    assert mean == pytest.approx(sum(shares.tolist()) / len(pairs))
    assert low - 1e-12 <= mean <= high + 1e-12
    assert people_drawn_again(people, shares) == (mean, low, high), "it is drawn the same again"
    of_each = [shares[people == person].mean() for person in set(people.tolist())]
    assert min(of_each) - 1e-12 <= low <= high <= max(of_each) + 1e-12


def test_whole_people_are_drawn():
    """Two people: neither of them, one or both in turn; many samples make it no surer."""
    people, shares = np.repeat([7, 3], 500), np.repeat([0.0, 1.0], 500)
    assert people_drawn_again(people, shares) == (0.5, 0, 1)
    _, low, high = people_drawn_again(np.arange(1000), shares)
    assert 0.46 < low < 0.48
    assert 0.52 < high < 0.54


def test_the_interval_of_many_people_is_that_of_a_plain_bootstrap():
    rng = np.random.default_rng(3)
    people = rng.integers(40, size=300)
    shares = (rng.uniform(size=300) < rng.uniform(size=40)[people]).astype(float)
    groups = [shares[people == person] for person in np.unique(people)]
    means = []
    for _ in range(2000):
        drawn = [groups[i] for i in rng.integers(len(groups), size=len(groups))]
        means.append(np.concatenate(drawn).mean())
    for level in (0.95, 0.5):
        wanted = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
        np.testing.assert_allclose(people_drawn_again(people, shares, level)[1:], wanted, atol=0.01)


@pytest.mark.parametrize("people", [[4, 4, 4], [1, 2, 3]])
def test_where_people_agree_the_interval_has_no_width(people):
    assert people_drawn_again(np.array(people), np.full(3, 0.25)) == (0.25, 0.25, 0.25)
    one = people_drawn_again(np.array([9, 9]), np.array([0.0, 1.0]))
    assert one == (0.5, 0.5, 0.5), "of one person nothing is known about others"


def test_without_anybody_there_is_no_interval():
    nothing = people_drawn_again(np.empty(0, np.int64), np.empty(0))
    assert all(math.isnan(value) for value in nothing)
