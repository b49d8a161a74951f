"""Tables of occluded runs against means written out."""

from __future__ import annotations

import numpy as np
import pytest

from aclnet.evaluation.bootstrap import difference
from aclnet.evaluation.outcomes import CLEAN, Outcome
from aclnet.sweeps.occlusion import MEAN, Occluded, _join
from aclnet.sweeps.rows import Rows

FIRST, SECOND, THIRD = ("a",), ("b",), ("c",)


@pytest.fixture
def occluded() -> Occluded:
    """Two rows with two seeds in common, a third without any run; five samples of four people."""
    rng = np.random.default_rng(0)
    shape = (4, 5)
    keys = [(FIRST, 0), (FIRST, 1), (FIRST, 2), (SECOND, 1), (SECOND, 0)]
    found = {key: (rng.random(shape) < 0.5).astype(float) for key in keys}
    return Occluded(
        Rows(["row"], {FIRST: [], SECOND: [], THIRD: []}, [(FIRST, SECOND), (FIRST, THIRD)]),
        [CLEAN, MEAN, "hands", "legs"],
        found,
        np.array([0, 0, 1, 2, 3]),
        np.array([1.0, 1.0, 2.0, 3.0, 1.0]),
        {},
    )


def test_accuracies_are_means_over_seeds(occluded):
    table = occluded.accuracies()
    assert list(table.columns) == ["protocol", "a", "b"]
    hands = [occluded.found[FIRST, seed][2] for seed in (0, 1, 2)]
    expected = np.mean([np.average(one, weights=[1, 1, 2, 3, 1]) for one in hands])
    assert table["a"][2] == pytest.approx(expected)


def test_differences_pair_the_seeds(occluded):
    table = occluded.differences()
    assert table["second"].unique().tolist() == ["b"]
    assert table["protocol"].tolist() == [CLEAN, MEAN, "hands", "legs"]
    first, second = (
        np.stack([occluded.found[row, seed][3] for seed in (0, 1)]) for row in (FIRST, SECOND)
    )
    expected = difference(first, second, occluded.groups, occluded.weight)
    assert table.iloc[3][["difference", "low", "high"]].tolist() == pytest.approx(
        [expected.difference, expected.low, expected.high]
    )


def outcome(ids: str, found: list[float]) -> Outcome:
    size = len(ids)
    blank = np.zeros(size, np.int64)
    weight = np.full(size, 1 / size)
    made = {"task": "action"}
    return Outcome(made, np.array(list(ids)), blank, blank, np.array(found), weight, weight)


def test_folds_are_joined_and_the_mean_leaves_out_the_clean_line():
    """Two folds of two and one samples, clean and under two protocols."""
    first = {None: [1, 1], "hands": [1, 0], "legs": [0, 0]}
    second = {None: [0], "hands": [1], "legs": [0]}
    makers = [
        lambda protocol, _: outcome("ab", first[protocol]),
        lambda protocol, _: outcome("c", second[protocol]),
    ]
    groups, weight, found = _join(makers, ["hands", "legs"], lambda *_: None)
    assert groups.tolist() == [0, 1, 2]
    assert weight.tolist() == [1, 1, 1]
    # clean, mean of the protocols, hands, legs
    assert found.tolist() == [[1, 1, 0], [0.5, 0, 0.5], [1, 0, 1], [0, 0, 0]]
