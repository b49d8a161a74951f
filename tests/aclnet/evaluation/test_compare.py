"""Paired comparison against counting by hand, and the refusal of what is not a pair."""

from math import isnan

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from aclnet.datasets.spec import AclnetError
from aclnet.evaluation.compare import compare, smallest_difference
from aclnet.runs.scores import Scores


def scores(right: str, ids: str = "abcdefgh") -> Scores:
    """Class 1 is always true; `right` says 1 where it has the higher score."""
    high = np.array([int(c) for c in right], dtype=np.float32)
    return Scores(
        np.array(list(ids)), np.stack([1 - high, high], axis=1), np.ones(len(ids), dtype=np.int64)
    )


def test_pairs_and_their_pool_are_counted():
    a, b = scores("11111100"), scores("00001111")
    found = compare([a, b], [b, b])
    first, second = found["pairs"]
    assert (first["only_first"], first["only_second"]) == (4, 2)
    assert (first["first"], first["second"]) == (6 / 8, 4 / 8)
    # of 6 discordant, 4 or more on one side: 2 * (15 + 6 + 1) / 64
    assert first["p"] == pytest.approx(44 / 64)
    assert (second["only_first"], second["only_second"], second["p"]) == (0, 0, 1.0)
    assert found["pooled"]["only_first"] == 4
    assert found["pooled"]["first"] == (6 + 4) / 16
    assert found["samples"] == 8


def test_other_samples_are_named():
    message = (
        r"pair 2 are of different samples: 1 in the first only \(h\); 1 in the second only \(x\)"
    )
    same, other = scores("11111111"), scores("11111111", "abcdefgx")
    with pytest.raises(AclnetError, match=message):
        compare([same, same], [same, other])
    less = scores("11", "ab")
    with pytest.raises(AclnetError, match=r"samples: 6 in the first only \(c, d, e and 3 more\)$"):
        compare([same], [less])


def test_other_labels_are_named():
    other = scores("11111111")
    other.labels[4:6] = 0
    with pytest.raises(AclnetError, match="on the class of 2 samples, first e: 1 and 0, counting"):
        compare([scores("11111111")], [other])


def test_pairs_need_as_many():
    with pytest.raises(AclnetError, match="2 runs cannot be paired with 1"):
        compare([scores("1" * 8)] * 2, [scores("1" * 8)])


@pytest.mark.parametrize(("discordant", "samples"), [(82, 1290), (40, 100), (500, 60000)])
def test_the_smallest_difference_is_found_in_four_of_five_cases(discordant, samples):
    """By the exact test, on as many discordant pairs that are divided as the difference says."""
    difference = smallest_difference(discordant, samples)
    share = (1 + difference * samples / discordant) / 2
    found = sum(
        binom.pmf(k, discordant, share)
        for k in range(discordant + 1)
        if binomtest(k, discordant).pvalue <= 0.05
    )
    assert found == pytest.approx(0.8, abs=0.06)


def test_with_few_discordant_pairs_no_difference_is_found():
    assert all(isnan(smallest_difference(n, 1000)) for n in range(8))
    assert smallest_difference(8, 1000) <= 8 / 1000
