"""Re-identification's protocols against plain loops; average precision against scikit-learn."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from aclnet.retrieval import reid_protocol
from aclnet.retrieval.ranking import Embeddings, rank, sequence_level
from aclnet.retrieval.reid_protocol import evaluate_reid, published

NAMES = ["rank1", "rank5", "rank10", "mAP"]


def random_side(rng, n, name, people=5, values=6):
    """Integers, so that many distances are equal."""
    return Embeddings(
        ids=np.array([f"{name}{i:04}" for i in range(n)], dtype="U8"),
        vectors=rng.integers(values, size=(n, 3)).astype(np.float32),
        label=rng.integers(people, size=n),
        condition=np.full(n, name, dtype="U2"),
        camera=np.full(n, -1),
    )


def naive_published(probe, gallery, batch, same_side):
    """Plain loops over whole batches; raises an exception if there is no result."""
    probe = probe[: len(probe) - len(probe) % batch]
    gallery = gallery[: len(gallery) - len(gallery) % batch]
    hits, precisions = {1: 0, 5: 0, 10: 0}, []
    for i in range(len(probe)):
        distance = np.linalg.norm(gallery.vectors.astype(float) - probe.vectors[i], axis=1)
        order = sorted(range(len(gallery)), key=lambda g: (distance[g], g))
        match = np.array([gallery.label[g] == probe.label[i] for g in order])
        start = 1 if same_side else 0
        for k in hits:
            hits[k] += bool(match[start : start + k].any())
        if match.any() and not (same_side and i == 0):
            with warnings.catch_warnings(action="ignore"):
                precisions.append(average_precision_score(match, -distance[order]))
    return [hits[k] / len(probe) for k in hits] + [sum(precisions) / len(precisions)]


@given(st.integers(0, 1 << 30), st.integers(4, 40), st.integers(4, 40), st.booleans())
def test_the_published_figures_are_those_of_plain_loops(seed, probes, entries, same_side):
    rng = np.random.default_rng(seed)
    probe = random_side(rng, probes, "p")
    gallery = probe if same_side else random_side(rng, entries, "g")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reid_protocol, "_BATCH", 4)
        found = published(probe, gallery)
    assert (found.probes, found.gallery) == (probes // 4 * 4, len(gallery) // 4 * 4)
    assert list(found.measures) == NAMES
    try:
        wanted = naive_published(probe, gallery, 4, same_side)
    except ZeroDivisionError:
        assert found.reason == "no probe has a match in the gallery"
        assert all(np.isnan(value) for value in found.measures.values())
    else:
        assert found.reason == ""
        assert list(found.measures.values()) == pytest.approx(wanted)


@pytest.mark.slow
def test_batches_are_of_256():
    rng = np.random.default_rng(1)
    probe, gallery = random_side(rng, 300, "p"), random_side(rng, 513, "g")
    found = published(probe, gallery)
    assert (found.probes, found.gallery) == (256, 512)
    wanted = naive_published(probe, gallery, 256, same_side=False)
    assert list(found.measures.values()) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("probes", "entries", "side"), [(255, 256, "probe"), (256, 255, "gallery"), (0, 0, "probe")]
)
def test_a_side_without_a_whole_batch_has_no_published_figures(probes, entries, side):
    rng = np.random.default_rng(2)
    found = published(random_side(rng, probes, "p"), random_side(rng, entries, "g"))
    wanted = f"the {side} has fewer than 256 windows, a batch of the published code"
    assert found.reason == wanted
    assert all(np.isnan(value) for value in found.measures.values())


def test_the_defects_of_the_published_evaluation(monkeypatch):
    """Two people side by side, in two windows each that are far apart.

    Nobody is found; in the published mAP every window finds itself.
    """
    monkeypatch.setattr(reid_protocol, "_BATCH", 4)
    places = [0, 100, 1, 101]
    windows = Embeddings(
        ids=np.array(["a", "b", "c", "d"]),
        vectors=np.array(places, np.float32)[:, None],
        label=np.array([0, 0, 1, 1]),
        condition=np.full(4, "nm"),
        camera=np.full(4, -1),
    )
    ours = evaluate_reid(windows, windows, "euclidean")["window"]
    assert ours["rank1"] == 0
    # at 0: c (1), b, d; at 100: d, c, a; at 1: a, b, d; at 101: b, c, a
    assert ours["mAP"] == pytest.approx((1 / 2 + 1 / 3 + 1 / 3 + 1 / 2) / 4)
    theirs = published(windows, windows).measures
    assert theirs["rank1"] == 0
    assert theirs["rank5"] == 1
    # each first finds itself; the first window does not count
    by_hand = [(1 + 2 / 4) / 2, (1 + 2 / 4) / 2, (1 + 2 / 3) / 2]
    assert theirs["mAP"] == pytest.approx(sum(by_hand) / 3)


@given(st.integers(0, 1 << 30), st.integers(0, 30), st.integers(1, 10))
def test_every_window_counts_and_no_recording_finds_itself(seed, windows, recordings):
    rng = np.random.default_rng(seed)
    code = np.sort(rng.integers(recordings, size=windows))
    side = dataclasses.replace(
        random_side(rng, windows, "p"),
        ids=np.array([f"r{c}" for c in code], dtype="U4"),
        label=rng.integers(3, size=recordings)[code],
    )
    result = evaluate_reid(side, side, "cosine")
    assert list(result) == ["window", "sequence"]
    counted = result["window"]["probes"] + result["window"]["without_match"]
    assert counted == windows
    counted = result["sequence"]["probes"] + result["sequence"]["without_match"]
    assert counted == len(set(code))
    matched = [
        any(side.ids[i] != side.ids[j] and side.label[i] == side.label[j] for j in range(windows))
        for i in range(windows)
    ]
    assert result["window"]["probes"] == sum(matched)
    means = sequence_level(side)
    assert result["sequence"] == pytest.approx(rank(means, means, "cosine").summary(), nan_ok=True)


def test_windows_of_one_recording_or_each_by_itself():
    """Two windows of a at 0, one of b at 1, a's other recording at 9."""
    side = Embeddings(
        ids=np.array(["x", "x", "y", "z"]),
        vectors=np.array([0, 0, 1, 9], np.float32)[:, None],
        label=np.array([0, 0, 1, 0]),
        condition=np.full(4, "nm"),
        camera=np.full(4, -1),
    )
    result = evaluate_reid(side, side, "euclidean")
    assert result["window"]["rank1"] == 0
    assert (result["window"]["probes"], result["window"]["without_match"]) == (3, 1)
    assert (result["sequence"]["probes"], result["sequence"]["without_match"]) == (2, 1)
    alone = dataclasses.replace(side, ids=np.array(["1", "2", "3", "4"]))
    result = evaluate_reid(alone, alone, "euclidean")
    assert result["window"]["rank1"] == pytest.approx(2 / 3)
    assert result["sequence"] == result["window"]
