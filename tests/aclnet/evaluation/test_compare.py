"""Paired comparison against counting by hand, and the refusal of what is not a pair."""

import numpy as np
import pytest

from aclnet.datasets.spec import AclnetError
from aclnet.evaluation.bootstrap import difference, draw_groups, part_differences
from aclnet.evaluation.compare import compare, compare_seeds
from aclnet.runs.scores import Scores


def scores(right: str, ids: str = "abcdefgh") -> Scores:
    """Class 1 is always true; `right` says 1 where it has the higher score."""
    high = np.array([int(c) for c in right], dtype=np.float32)
    return Scores(
        np.array(list(ids)), np.stack([1 - high, high], axis=1), np.ones(len(ids), dtype=np.int64)
    )


def test_pairs_are_counted_and_taken_together():
    a, b = scores("11111100"), scores("00001111")
    found = compare([a, b], [b, b])
    first, second = found["pairs"]
    assert (first["only_first"], first["only_second"]) == (4, 2)
    assert (first["first"], first["second"]) == (6 / 8, 4 / 8)
    # of 6 discordant, 4 or more on one side: 2 * (15 + 6 + 1) / 64
    assert first["p"] == pytest.approx(44 / 64)
    assert (second["only_first"], second["only_second"], second["p"]) == (0, 0, 1.0)
    together = found["together"]
    assert (together["seeds"], together["first"], together["second"]) == (2, 10 / 16, 8 / 16)
    assert together["low"] <= together["difference"] == -2 / 16 <= together["high"]
    assert found["samples"] == 8


def test_other_samples_are_named():
    message = (
        r"pair 2 have different samples: 1 in the first only \(h\); 1 in the second only \(x\)"
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


def test_pairs_are_of_the_same_samples():
    first, second = scores("11111111"), scores("11111111", "abcdefgx")
    with pytest.raises(AclnetError, match="the scores of pairs 1 and 2 have different samples"):
        compare([first, second], [first, second])


def test_people_are_drawn_whole():
    labels = np.repeat([0, 1], 4)
    sides = [scores("11111111"), scores("00001111")]
    for side in sides:
        side.labels[:] = labels
    found = compare_seeds(*([side] for side in sides), people=True)
    # side 0 is right about person 1 alone, and side 1 about both: draws of two people
    assert (found.first, found.second) == (0.5, 1.0)
    assert (found.low, found.high) == (0.0, 1.0)


def of(predicted: str, labels: str) -> Scores:
    """Scores of three classes: predictions and labels as digits."""
    high = np.eye(3, dtype=np.float32)[[int(c) for c in predicted]]
    ids = np.array([chr(97 + n) for n in range(len(labels))])
    return Scores(ids, high, np.array([int(c) for c in labels], dtype=np.int64))


def test_classes_families_and_predictions_are_counted():
    labels = "00001111"
    a, b = of("00120012", labels), of("00001212", labels)
    found = compare([a], [b], ["sit", "stand", "walk"], {"sit": ["walk"], "walk": ["sit"]})
    gain, loss = found["classes"]
    assert (gain["class"], gain["samples"], gain["first"], gain["second"]) == ("sit", 4, 0.5, 1.0)
    assert (loss["class"], loss["first"], loss["second"]) == ("stand", 0.25, 0.5)
    assert gain["low"] <= gain["difference"] == 0.5 <= gain["high"]
    (family,) = found["families"]
    assert (family["family"], family["samples"]) == (["sit", "walk"], 4)
    assert family["difference"] == 0.5
    (pair,) = found["pairs"]
    # alike: a, b, g, h; wrong in both: f (0 and 2) and h (2 and 2)
    assert pair["same_prediction"] == 4 / 8
    assert (pair["both_right"], pair["same_mistake"], pair["other_mistake"]) == (3, 1, 1)
    with pytest.raises(AclnetError, match="the scores have 3 classes, and the run 2"):
        compare([a], [b], ["sit", "stand"])


def test_a_part_of_all_samples_has_the_interval_of_all():
    rng = np.random.default_rng(0)
    first, second = (rng.integers(2, size=(3, 40)).astype(float) for _ in range(2))
    whole = difference(first, second, np.arange(40))
    parts = np.zeros((3, 40), bool)
    parts[0] = parts[1, :20] = True
    low, high = part_differences(first, second, parts)
    assert (low[0], high[0]) == pytest.approx((whole.low, whole.high))
    assert np.isnan([low[2], high[2]]).all()
    # naive: the same draws, sample by sample
    seeds = np.random.default_rng(1)
    drawn = []
    for counts in draw_groups(40):
        chosen = seeds.integers(3, size=3)
        times = np.repeat(np.arange(40), counts)
        inside = times[times < 20]
        drawn.append((second - first)[chosen][:, inside].mean())
    assert (low[1], high[1]) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])))
