"""Paired comparison against counting by hand, and the refusal of what is not a pair."""

import numpy as np
import pytest

from aclnet.compare import compare
from aclnet.datasets.errors import AclnetError
from aclnet.scores import Scores


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
    with pytest.raises(AclnetError, match="2 are in one only, for example h"):
        compare([scores("11111111")], [scores("11111111", "abcdefgx")])


def test_pairs_need_as_many():
    with pytest.raises(AclnetError, match="2 runs cannot be paired with 1"):
        compare([scores("1" * 8)] * 2, [scores("1" * 8)])
