"""Measures of robustness against their definitions, sample by sample."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aclnet.datasets.spec.layouts import get_layout
from aclnet.evaluation.outcomes import CLEAN, Outcome
from aclnet.evaluation.robustness import (
    Result,
    calibration_error,
    corruption_error,
    curves,
    per_class,
    per_family,
    resampled,
    table,
)
from aclnet.pipelines.inputs.protocols import open_protocol

NAMES = ("hands", "joints-v1/frame-0.5", "joints-v1/frame-0.1", "joints-v1/frame-0.2")
PROTOCOLS = [open_protocol(name, get_layout("nturgb+d")) for name in NAMES]


def outcome(found, labels=None, *, task="action", weight=None, predicted=None, confidence=None):
    n = len(found)
    labels = np.arange(n) % 3 if labels is None else np.asarray(labels)
    made = {"task": task, "protocol": CLEAN}
    weight = np.full(n, 1 / max(n, 1)) if weight is None else np.asarray(weight)
    predicted = labels if predicted is None else np.asarray(predicted)
    confidence = np.full(n, np.nan) if confidence is None else np.asarray(confidence)
    ids = np.array([f"s{i:04}" for i in range(n)])
    return Outcome(made, ids, labels, predicted, np.asarray(found, float), weight, confidence)


def result(name, shares, n=400, seed=0):
    """Outcomes whose samples are right with these probabilities, clean and by protocol."""
    rng = np.random.default_rng(seed)
    outcomes = [outcome(rng.random(n) < share) for share in shares]
    return Result.of(name, PROTOCOLS[: len(shares) - 1], outcomes)


values = st.lists(
    st.tuples(
        st.integers(0, 6), st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.sampled_from([1.0, 2.0])
    ),
    min_size=1,
    max_size=40,
)


@pytest.mark.slow
@settings(max_examples=20)
@given(values)
def test_the_interval_of_people_is_about_the_weighted_mean_of_all(rows):
    people, shares, weights = (np.array(column) for column in zip(*rows, strict=True))
    weights = weights / weights.sum()
    found = outcome(shares, people, task="gait", weight=weights)
    draws = resampled([found])
    assert draws[0, 0] == pytest.approx(sum(w * s for w, s in zip(weights, shares, strict=True)))
    low, high = np.quantile(draws[1:], [0.025, 0.975])
    of_each = [np.average(shares[people == p], weights=weights[people == p]) for p in {*people}]
    assert min(of_each) - 1e-12 <= low <= high <= max(of_each) + 1e-12
    np.testing.assert_array_equal(resampled([found]), draws)


def test_whole_people_are_drawn():
    """Two people: neither of them, one or both in turn; many samples make it no surer."""
    people, shares = np.repeat([7, 3], 500), np.repeat([0.0, 1.0], 500)
    for task, wanted in (("gait", (0.0, 1.0)), ("action", (0.47, 0.53))):
        low, high = np.quantile(resampled([outcome(shares, people, task=task)])[1:], [0.025, 0.975])
        assert (low, high) == pytest.approx(wanted, abs=0.01)


def test_the_interval_is_that_of_a_plain_bootstrap():
    rng = np.random.default_rng(3)
    people = rng.integers(40, size=300)
    shares = (rng.uniform(size=300) < rng.uniform(size=40)[people]).astype(float)
    groups = [shares[people == person] for person in np.unique(people)]
    means = []
    for _ in range(2000):
        drawn = [groups[i] for i in rng.integers(len(groups), size=len(groups))]
        means.append(np.concatenate(drawn).mean())
    found = resampled([outcome(shares, people, task="gait")])[1:, 0]
    for ends in ([0.025, 0.975], [0.25, 0.75]):
        np.testing.assert_allclose(np.quantile(found, ends), np.quantile(means, ends), atol=0.01)


def test_differences_are_paired():
    """A protocol that takes away one of ten right samples loses that share in nearly every draw."""
    right = np.ones(1000)
    worse = right.copy()
    worse[::10] = 0
    found = table(Result.of("run", PROTOCOLS[:1], [outcome(right), outcome(worse)]))
    assert found["lost"].tolist() == pytest.approx([0, 0.1])
    assert found["lost_low"][1] > 0.08
    assert found["lost_high"][1] < 0.125
    mixed = np.arange(1000) % 2 == 0
    same = table(Result.of("run", PROTOCOLS[:1], [outcome(mixed), outcome(mixed)]))
    assert (same["lost_low"][1], same["lost_high"][1]) == (0, 0)
    assert (same["kept_low"][1], same["kept_high"][1]) == (1, 1)


def test_the_rows_of_the_table():
    one, other = result("one", [0.8, 0.4, 0.2]), result("other", [0.7, 0.6, 0.1], seed=1)
    found = table(one, other)
    accuracies = [float(np.mean(o.found)) for o in one.outcomes]
    theirs = [float(np.mean(o.found)) for o in other.outcomes]
    assert found["run"].unique().tolist() == ["one"]
    assert found["protocol"].tolist() == [CLEAN, *(p.name for p in PROTOCOLS[:2])]
    assert found["severity"].tolist() == [0, 1, 0.5]
    assert found["accuracy"].tolist() == pytest.approx(accuracies)
    assert found["kept"].tolist() == pytest.approx([a / accuracies[0] for a in accuracies])
    assert found["lost"].tolist() == pytest.approx([accuracies[0] - a for a in accuracies])
    gains = [a - b for a, b in zip(accuracies, theirs, strict=True)]
    assert found["gain"].tolist() == pytest.approx(gains)
    for name in ("accuracy", "kept", "lost", "gain"):
        assert (found[f"{name}_low"] <= found[name] + 1e-12).all()
        assert (found[f"{name}_high"] >= found[name] - 1e-12).all()
    assert "gain" not in table(one)
    assert found["ece"].isna().all()


def test_the_area_under_a_curve_is_that_of_trapezia():
    found = curves(result("run", [0.9, 0.5, 0.2, 0.8, 0.7]))
    a = result("run", [0.9, 0.5, 0.2, 0.8, 0.7]).accuracies[0]
    wanted = (0.1 * (a[0] + a[3]) + 0.1 * (a[3] + a[4]) + 0.3 * (a[4] + a[2])) / 2 / 0.5
    assert found["curve"].tolist() == ["joints-v1/frame"]
    assert found["points"].tolist() == [3]
    assert found["area"].tolist() == pytest.approx([wanted])
    assert found["area_low"][0] < wanted < found["area_high"][0]
    assert len(curves(result("run", [0.9, 0.5, 0.2]))) == 0, "one severity is not a curve"


def test_the_mean_corruption_error():
    one, other = (
        result("one", [0.9, 0.5, 0.2, 0.8, 0.7]),
        result("other", [0.9, 0.6, 0.3, 0.7, 0.5]),
    )
    (_, *a), (_, *b) = one.accuracies[0], other.accuracies[0]
    ratios = [(1 - a[0]) / (1 - b[0]), (3 - sum(a[1:])) / (3 - sum(b[1:]))]
    mean, low, high = corruption_error(one, other)
    assert mean == pytest.approx(sum(ratios) / 2)
    assert low < mean < high
    assert corruption_error(one, one) == (1, 1, 1)
    perfect = Result.of("p", PROTOCOLS[:1], [outcome(np.ones(9)), outcome(np.ones(9))])
    assert all(math.isnan(value) for value in corruption_error(perfect, perfect))


def test_without_any_right_answer_nothing_is_kept():
    found = table(Result.of("run", PROTOCOLS[:1], [outcome(np.zeros(5)), outcome(np.zeros(5))]))
    assert found[["kept", "kept_low", "kept_high"]].iloc[1].isna().all()
    assert found["lost"].tolist() == [0, 0]


def test_without_anybody_there_is_no_figure():
    nobody = outcome([], [], task="gait")
    found = table(Result.of("run", PROTOCOLS[:1], [nobody, nobody]))
    assert found[["accuracy", "accuracy_low", "kept"]].iloc[1].isna().all()


def test_the_calibration_error_bin_by_bin():
    rng = np.random.default_rng(0)
    confidence, right = rng.random(500), rng.random(500) < 0.6
    confidence[:2] = 0, 1
    wanted = 0.0
    for k in range(15):
        inside = [
            i
            for i in range(500)
            if k / 15 <= confidence[i] < (k + 1) / 15 or (k, confidence[i]) == (14, 1)
        ]
        if inside:
            gap = np.mean([right[i] for i in inside]) - np.mean([confidence[i] for i in inside])
            wanted += len(inside) / 500 * abs(gap)
    assert calibration_error(outcome(right, confidence=confidence)) == pytest.approx(wanted)


def test_classes_and_families():
    labels = np.array([0, 0, 1, 1, 2, 3])
    predicted = np.array([0, 1, 2, 1, 1, 3])
    run = Result.of("run", [], [outcome(predicted == labels, labels, predicted=predicted)])
    names = ["a", "b", "c", "d", "e"]
    classes = per_class(run, names)
    assert classes["class"].tolist() == ["a", "b", "c", "d"]
    assert classes["samples"].tolist() == [2, 2, 1, 1]
    assert classes["accuracy"].tolist() == [0.5, 0.5, 0, 1]
    family = np.zeros((5, 5), bool)
    family[0, 1] = family[1, 0] = True  # the same family seen from both
    family[1, 2] = True
    found = per_family(run, family, names)
    wanted = pd.DataFrame(
        {
            "run": "run",
            "protocol": CLEAN,
            "family": ["a; b", "a; b; c"],
            "samples": [4, 5],
            "accuracy": [0.5, 0.4],
            "inside": [0.5, 1.0],
        }
    )
    # class 1 has both others in its family
    pd.testing.assert_frame_equal(found, wanted)
    assert len(per_family(run, np.zeros((5, 5), bool), names)) == 0
