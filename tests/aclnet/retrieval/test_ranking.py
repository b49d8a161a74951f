"""Distances, rankings and the threshold against plain loops and cases made by hand."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from aclnet.datasets.spec import AclnetError
from aclnet.retrieval import ranking
from aclnet.retrieval.ranking import (
    Embeddings,
    distance_rows,
    distances,
    equal_error_threshold,
    nearest_entries,
    rank,
    sequence_level,
)

MEASURES = {"rank1", "rank5", "rank10", "mAP", "mINP"}


def at(*positions, labels, ids=None, cameras=None):
    """Embeddings at places of a line."""
    n = len(positions)
    return Embeddings(
        ids=np.array(ids or [f"{labels}{i}" for i in range(n)], str),
        vectors=np.array(positions, np.float32).reshape(n, 1),
        label=np.array([ord(label) for label in labels], np.int64),
        condition=np.full(n, "nm"),
        camera=np.array(cameras or [-1] * n, np.int64),
    )


def random_embeddings(rng, n, people=4, recordings=None, dimensions=2, values=4):
    """Integers, so that many distances are equal; rows of one recording agree in the rest."""
    recordings = recordings or n
    code = rng.integers(recordings, size=n)
    label, camera = rng.integers(people, size=recordings), rng.integers(-1, 3, size=recordings)
    return Embeddings(
        ids=np.array([f"r{c}" for c in code], dtype="U8"),
        vectors=rng.integers(values, size=(n, dimensions)).astype(np.float32),
        label=label[code],
        condition=np.full(n, "nm"),
        camera=camera[code],
    )


@st.composite
def sides(draw):
    """Probe and gallery: two, with recordings in both, or the same."""
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    whole = random_embeddings(rng, draw(st.integers(1, 30)), recordings=draw(st.integers(1, 20)))
    if draw(st.booleans()):
        return whole, whole
    return whole[: len(whole) // 2], whole[len(whole) // 3 :]


def naive_distance(a, b, metric):
    a, b = [float(v) for v in a], [float(v) for v in b]
    if metric == "euclidean":
        return math.dist(a, b)
    product = sum(x * y for x, y in zip(a, b, strict=True))
    return 1 - product / (math.hypot(*a) * math.hypot(*b))


def naive_ranks(probe, gallery, row, other_views=False):
    """Ranks of a probe's matches: places in a list in which matches stand last among equals."""
    found = []
    for g in range(len(gallery)):
        match = probe.label[row] == gallery.label[g]
        same_view = probe.camera[row] == gallery.camera[g] != -1
        if probe.ids[row] != gallery.ids[g] and not (other_views and match and same_view):
            d = naive_distance(probe.vectors[row], gallery.vectors[g], "euclidean")
            found.append((d, bool(match)))
    return [place for place, (_, match) in enumerate(sorted(found), 1) if match]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize(("probes", "gallery", "dimensions"), [(7, 11, 5), (1, 1, 1), (4, 1, 300)])
def test_distances_are_those_of_the_definition(metric, probes, gallery, dimensions):
    rng = np.random.default_rng(1)
    a = rng.normal(0.3, 0.1, (probes, dimensions)).astype(np.float32)
    b = rng.normal(3, 1, (gallery, dimensions)).astype(np.float32)
    wanted = [[naive_distance(x, y, metric) for y in b] for x in a]
    np.testing.assert_allclose(distances(a, b, metric), wanted, rtol=1e-9, atol=1e-12)


def test_little_is_lost_where_much_cancels():
    """Vectors that differ in the seventh digit."""
    rng = np.random.default_rng(2)
    base = rng.normal(0, 1, 128)
    vectors = (base + 1e-6 * rng.normal(0, 1, (20, 128))).astype(np.float32)
    found = distances(vectors, vectors, "euclidean")
    wanted = np.linalg.norm(vectors[:, None].astype(float) - vectors.astype(float), axis=2)
    assert found.diagonal().max() < 1e-6
    np.testing.assert_allclose(found, wanted, rtol=1e-2, atol=1e-6)
    assert np.abs(distances(vectors, vectors, "cosine").diagonal()).max() < 1e-12


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_equal_vectors_are_at_equal_distances(metric):
    """Galleries of many sizes: a matrix product may sum equal values in another order at its
    edges."""
    for seed in range(40):
        rng = np.random.default_rng(seed)
        probes, entries, dimensions = rng.integers((1, 20, 1), (12, 400, 300))
        distinct = rng.normal(0, 1, (3, dimensions)).astype(np.float32)
        place = rng.integers(3, size=entries)
        probe = rng.normal(0, 1, (probes, dimensions)).astype(np.float32)
        found = distances(probe, distinct[place], metric)
        for vector in range(3):
            assert (np.ptp(found[:, place == vector], axis=1) == 0).all()


def test_a_vector_of_zeros_has_no_direction():
    vectors = np.array([[0, 0], [3, 4]], np.float32)
    np.testing.assert_allclose(distances(vectors, vectors, "cosine"), [[1, 1], [1, 0]], atol=1e-15)


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(4)
    probe, gallery = random_embeddings(rng, 23), random_embeddings(rng, 10)
    whole = distances(probe.vectors, gallery.vectors, "euclidean")
    for at_once in (1, 35, 1000):
        monkeypatch.setattr(ranking, "_AT_ONCE", at_once)
        rows = list(distance_rows(probe, gallery, "euclidean"))
        np.testing.assert_array_equal(rows, whole)


@given(sides(), st.booleans(), st.integers(0, 1 << 30))
def test_nearest_entries_are_those_of_a_loop(sides, other_views, seed):
    probe, gallery = sides
    people = np.random.default_rng(seed).integers(5, size=(len(probe), 2))
    found = nearest_entries(probe, gallery, "euclidean", people, other_views=other_views)
    for row in range(len(probe)):
        for person, entry in zip(people[row].tolist(), found[row].tolist(), strict=True):
            own_view = probe.label[row] == person and probe.camera[row] != -1
            known = {
                g: naive_distance(probe.vectors[row], gallery.vectors[g], "euclidean")
                for g in range(len(gallery))
                if gallery.label[g] == person
                and gallery.ids[g] != probe.ids[row]
                and not (other_views and own_view and gallery.camera[g] == probe.camera[row])
            }
            if known:
                assert known[entry] == pytest.approx(min(known.values()))
            else:
                assert entry == -1


@given(sides(), st.booleans())
def test_rankings_are_those_of_a_sorted_list(sides, other_views):
    probe, gallery = sides
    found = rank(probe, gallery, "euclidean", other_views=other_views)
    first, ap, inp = [], [], []
    for row in range(len(probe)):
        ranks = naive_ranks(probe, gallery, row, other_views)
        assert found.first[row] == (ranks[0] if ranks else 0)
        if ranks:
            first.append(ranks[0])
            ap.append(sum(k / r for k, r in enumerate(ranks, 1)) / len(ranks))
            inp.append(len(ranks) / ranks[-1])
            assert found.ap[row] == pytest.approx(ap[-1])
            assert found.inp[row] == pytest.approx(inp[-1])
        else:
            assert np.isnan(found.ap[row])
            assert np.isnan(found.inp[row])
    summary = found.summary()
    assert summary["probes"] == len(first)
    assert summary["without_match"] == len(probe) - len(first)
    if first:
        for k in (1, 5, 10):
            assert summary[f"rank{k}"] == pytest.approx(sum(r <= k for r in first) / len(first))
        assert summary["mAP"] == pytest.approx(sum(ap) / len(ap))
        assert summary["mINP"] == pytest.approx(sum(inp) / len(inp))
    else:
        assert all(np.isnan(summary[name]) for name in MEASURES)


@given(sides(), st.sampled_from(["cosine", "euclidean"]), st.randoms(use_true_random=False))
def test_the_order_of_the_gallery_changes_nothing(sides, metric, random):
    probe, gallery = sides
    order = np.array(random.sample(range(len(gallery)), len(gallery)), np.int64)
    a, b = rank(probe, gallery, metric), rank(probe, gallery[order], metric)
    for name in ("first", "ap", "inp"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_without_ties_average_precision_is_that_of_scikit_learn():
    rng = np.random.default_rng(5)
    probe, gallery = (
        dataclasses.replace(
            random_embeddings(rng, 40),
            ids=np.array([f"{side}{i}" for i in range(40)]),
            vectors=rng.normal(0, 1, (40, 8)).astype(np.float32),
        )
        for side in "pg"
    )
    scores = -distances(probe.vectors, gallery.vectors, "cosine")
    wanted = [
        average_precision_score(gallery.label == label, row)
        for label, row in zip(probe.label, scores, strict=True)
    ]
    np.testing.assert_allclose(rank(probe, gallery, "cosine").ap, wanted)


def test_the_measures_of_a_case_made_by_hand():
    """a at 0 finds b, a, b, a, c: ranks 2 and 4."""
    found = rank(at(0, labels="a"), at(1, 2, 3, 4, 5, labels="babac"), "euclidean")
    assert found.first.tolist() == [2]
    assert found.ap.tolist() == [(1 / 2 + 2 / 4) / 2]
    assert found.inp.tolist() == [2 / 4]
    measures = {"rank1": 0.0, "rank5": 1.0, "rank10": 1.0, "mAP": 0.5, "mINP": 0.5}
    assert found.summary() == measures | {"probes": 1, "without_match": 0}


def test_at_equal_distances_matches_stand_last():
    """At 1: b, a, a; at 2: a, b. Ranks 2, 3 and 5."""
    gallery = at(1, -1, 1, 2, -2, labels="abaab")
    found = rank(at(0, labels="a"), gallery, "euclidean")
    assert found.first.tolist() == [2]
    assert found.ap[0] == pytest.approx((1 / 2 + 2 / 3 + 3 / 5) / 3)
    assert found.inp[0] == 3 / 5


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_a_network_that_makes_all_the_same_finds_nobody(metric):
    same = np.random.default_rng(6).normal(5, 1, (1, 33)).astype(np.float32)
    people = at(*range(40), labels="abcd" * 10)
    people = dataclasses.replace(people, vectors=np.repeat(same, 40, axis=0))
    found = rank(people, people, metric)
    assert found.first.tolist() == [31] * 40
    assert found.summary()["rank10"] == 0


def test_what_is_excluded_is_neither_match_nor_mistake():
    """The probe's recording (0 and 1, the latter another's) and its view of a are passed over."""
    probe = at(0, labels="a", ids=["own"], cameras=[90])
    gallery = at(
        *(0, 1, 2, 3, 4),
        labels="abbaa",
        ids=["own", "own", "x", "y", "z"],
        cameras=[0, 0, 90, 90, -1],
    )
    assert rank(probe, gallery, "euclidean").first.tolist() == [2]
    assert rank(probe, gallery, "euclidean").inp.tolist() == [2 / 3]
    assert rank(probe, gallery, "euclidean", other_views=True).inp.tolist() == [1 / 2]
    unknown = dataclasses.replace(probe, camera=np.array([-1]))
    assert rank(unknown, gallery, "euclidean", other_views=True).inp.tolist() == [2 / 3]


def test_probes_without_a_match_are_counted_and_left_out():
    found = rank(at(0, 9, labels="ac"), at(1, 2, labels="ab"), "euclidean")
    assert found.first.tolist() == [1, 0]
    assert np.isnan(found.ap[1])
    summary = found.summary()
    assert (summary["rank1"], summary["mAP"], summary["mINP"]) == (1, 1, 1)
    assert (summary["probes"], summary["without_match"]) == (1, 1)


def test_one_person_only_is_always_found():
    one = at(0, 3, 9, labels="aaa")
    assert {rank(one, one, "euclidean").summary()[name] for name in MEASURES} == {1.0}


@pytest.mark.parametrize(("probes", "gallery"), [(2, 0), (0, 2), (0, 0)])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_an_empty_side_has_no_measures(probes, gallery, metric):
    people = at(0, 1, labels="ab")
    summary = rank(people[:probes], people[:gallery], metric).summary()
    assert all(np.isnan(summary[name]) for name in MEASURES)
    assert (summary["probes"], summary["without_match"]) == (0, probes)
    assert distances(people[:probes].vectors, people[:gallery].vectors, metric).shape == (
        probes,
        gallery,
    )


def test_embeddings_that_are_not_finite_are_named():
    with pytest.raises(AclnetError, match="of 1 samples are not finite, first bad; the network"):
        at(1, np.nan, labels="ab", ids=["good", "bad"])


def test_some_of_the_embeddings():
    people = at(3, 4, 5, labels="abc", ids=["x", "y", "z"], cameras=[0, 18, 36])
    for rows in (np.array([True, False, True]), np.array([0, 2]), slice(0, 3, 2)):
        some = people[rows]
        assert len(some) == 2
        assert some.ids.tolist() == ["x", "z"]
        assert some.vectors.tolist() == [[3], [5]]
        assert some.label.tolist() == [ord("a"), ord("c")]
        assert some.camera.tolist() == [0, 36]


@given(st.integers(0, 1 << 30), st.integers(0, 25), st.integers(1, 8))
def test_a_recording_is_the_mean_of_its_windows(seed, windows, recordings):
    rng = np.random.default_rng(seed)
    embeddings = random_embeddings(rng, windows, recordings=recordings)
    found = sequence_level(embeddings)
    assert found.ids.tolist() == list(dict.fromkeys(embeddings.ids.tolist()))
    assert found.vectors.dtype == np.float32
    for row, sample_id in enumerate(found.ids):
        own = [i for i in range(windows) if embeddings.ids[i] == sample_id]
        mean = sum(embeddings.vectors[i].astype(float) for i in own) / len(own)
        np.testing.assert_allclose(found.vectors[row], mean, rtol=1e-6)
        for name in ("label", "condition", "camera"):
            assert getattr(found, name)[row] == getattr(embeddings, name)[own[0]]


def naive_nearest(embeddings, metric):
    """The nearest of the same and of another identity, of every row, in other recordings."""
    table = distances(embeddings.vectors, embeddings.vectors, metric)
    genuine, impostor = [], []
    for i in range(len(embeddings)):
        others = [j for j in range(len(embeddings)) if embeddings.ids[i] != embeddings.ids[j]]
        same = [table[i, j] for j in others if embeddings.label[i] == embeddings.label[j]]
        other = [table[i, j] for j in others if embeddings.label[i] != embeddings.label[j]]
        genuine += [min(same)] if same else []
        impostor += [min(other)] if other else []
    return genuine, impostor


@given(st.integers(0, 1 << 30), st.integers(0, 20), st.sampled_from(["cosine", "euclidean"]))
def test_no_threshold_makes_the_two_errors_more_equal(seed, n, metric):
    embeddings = random_embeddings(np.random.default_rng(seed), n, 3, max(1, n // 2), values=9)
    genuine, impostor = naive_nearest(embeddings, metric)
    found = equal_error_threshold(embeddings, metric)
    if not genuine or not impostor:
        assert all(np.isnan(value) for value in found)
    assume(genuine and impostor)

    def errors(threshold):
        rejected = sum(d > threshold for d in genuine) / len(genuine)
        return rejected, sum(d <= threshold for d in impostor) / len(impostor)

    assert (found.rejected, found.accepted) == pytest.approx(errors(found.threshold))
    gap = abs(found.rejected - found.accepted)
    for threshold in genuine + impostor:
        rejected, accepted = errors(threshold)
        assert gap <= abs(rejected - accepted) + 1e-12


def test_the_threshold_of_cases_made_by_hand():
    """Genuine nearest 1, 1, 2, 2; of another 9, 8, 8, 10: the middle of 2 and 8."""
    apart = at(0, 1, 9, 11, labels="aabb")
    assert equal_error_threshold(apart, "euclidean") == (5, 0, 0)
    # genuine 10, 10, 1, 1; of another 5, 4, 5, 4
    mixed = at(0, 10, 5, 6, labels="aabb")
    assert equal_error_threshold(mixed, "euclidean") == (4.5, 0.5, 0.5)


def test_windows_of_one_recording_are_not_looked_for_among_themselves():
    windows = at(0, 0, 4, 10, labels="aaab", ids=["x", "x", "y", "z"])
    found = equal_error_threshold(windows, "euclidean")
    # genuine 4, 4, 4; impostors 10, 10, 6, 6
    assert found == (5, 0, 0)


@pytest.mark.parametrize("labels", ["aaa", "abc", ""])
def test_without_both_kinds_there_is_no_threshold(labels):
    people = at(*range(len(labels)), labels=labels)
    assert all(np.isnan(value) for value in equal_error_threshold(people, "cosine"))
