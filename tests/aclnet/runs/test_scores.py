"""Accuracies against scikit-learn, intervals against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import binom
from sklearn.metrics import confusion_matrix, recall_score, top_k_accuracy_score

from aclnet.datasets.spec import AclnetError
from aclnet.runs.scores import Scores, mcnemar


def random_scores(seed: int, samples: int, classes: int, occurring: int) -> Scores:
    rng = np.random.default_rng(seed)
    labels = rng.integers(occurring, size=samples)
    raw = rng.random((samples, classes)).astype(np.float32)
    raw[np.arange(samples), labels] += 0.3
    ids = np.array([f"s{i:04}" for i in rng.permutation(samples)])
    return Scores.sorted(ids, raw / raw.sum(1, keepdims=True), labels)


@pytest.mark.slow
@given(
    seed=st.integers(0, 1 << 30),
    samples=st.integers(1, 60),
    classes=st.integers(6, 20),
    data=st.data(),
)
def test_accuracies_equal_those_of_scikit_learn(seed, samples, classes, data):
    scores = random_scores(seed, samples, classes, data.draw(st.integers(1, classes)))
    every = list(range(classes))
    result = scores.result()
    assert result["top1"] == np.mean(scores.scores.argmax(1) == scores.labels)
    top5 = top_k_accuracy_score(scores.labels, scores.scores, k=5, labels=every)
    assert result["top5"] == pytest.approx(top5)
    recall = recall_score(
        scores.labels,
        scores.predictions,
        labels=np.unique(scores.labels),
        average="macro",
        zero_division=0,
    )
    assert result["mean_class"] == pytest.approx(recall)
    wanted = confusion_matrix(scores.labels, scores.predictions, labels=every)
    np.testing.assert_array_equal(scores.confusion(), wanted)
    assert result["samples"] == samples


def test_mean_class_accuracy_is_over_the_classes_that_occur():
    scores = Scores(np.array(["a", "b", "c"]), np.eye(4)[[0, 3, 1]], np.array([0, 0, 1]))
    assert scores.mean_class == pytest.approx((1 / 2 + 1) / 2)
    assert scores.top5 == 1


def test_the_table_of_classes():
    labels = np.array([0, 0, 0, 1, 1, 3])
    predicted = np.array([0, 2, 2, 1, 1, 0])
    scores = Scores(np.array(list("abcdef")), np.eye(4)[predicted], labels)
    table = scores.per_class(["sit", "stand", "walk", "run"])
    assert table["samples"].tolist() == [3, 2, 0, 1]
    assert table["taken_for"].tolist() == ["walk", "", "", "sit"]
    assert table["times"].tolist() == [2, 0, 0, 1]
    np.testing.assert_array_equal(table["accuracy"], [1 / 3, 1, np.nan, 0])


@given(right=st.integers(0, 40), wrong=st.integers(1, 40))
def test_interval_solves_the_equation_of_wilson(right, wrong):
    """Its ends are the p at which the observed share is 1.96 standard errors of p away."""
    n = right + wrong
    predicted = np.array([0] * right + [1] * wrong)
    ids = np.array([f"{i:03}" for i in range(n)])
    low, high = Scores(ids, np.eye(2)[predicted], np.zeros(n, np.int64)).interval()
    share = right / n
    for p in (low, high):
        assert (share - p) ** 2 == pytest.approx(1.959963985**2 * p * (1 - p) / n, abs=1e-9)
    assert low <= share <= high


@given(arrays(bool, 30), arrays(bool, 30))
def test_mcnemar_is_the_sign_test_of_the_discordant_pairs(a, b):
    only_a = sum(x and not y for x, y in zip(a, b, strict=True))
    only_b = sum(y and not x for x, y in zip(a, b, strict=True))
    found = mcnemar(a, b)
    assert found[:2] == (only_a, only_b)
    n = only_a + only_b
    wanted = min(1.0, 2 * binom.cdf(min(only_a, only_b), n, 0.5)) if n else 1.0
    assert found[2] == pytest.approx(wanted)


def test_a_file_gives_back_what_was_written(tmp_path):
    scores = random_scores(1, 20, 7, 5)
    path = tmp_path / "deep" / "scores.npz"
    scores.save(path)
    again = Scores.load(path)
    for name in ("ids", "scores", "labels"):
        found, wanted = getattr(again, name), getattr(scores, name)
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)
    assert [p.name for p in path.parent.iterdir()] == ["scores.npz"]
    assert list(scores.ids) == sorted(scores.ids)


def test_damaged_files(tmp_path):
    path = tmp_path / "scores.npz"
    with pytest.raises(AclnetError, match="there are no scores; `aclnet evaluate` writes them"):
        Scores.load(path)
    random_scores(1, 20, 7, 5).save(path)
    whole = path.read_bytes()
    for damaged in (b"", b"not a file of numpy", whole[:40], whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(AclnetError, match="is damaged"):
            Scores.load(path)
    np.savez(path, other=np.arange(3))
    with pytest.raises(AclnetError, match="is damaged"):
        Scores.load(path)
