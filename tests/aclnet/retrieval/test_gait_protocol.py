"""CASIA-B's protocol against plain loops and matrices made by hand."""

from __future__ import annotations

import dataclasses
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aclnet.retrieval.gait_protocol import evaluate_gait, parts_of_rank_one
from aclnet.retrieval.ranking import Embeddings, distances

MEASURES = ["rank1", "rank5", "mAP", "mINP"]
VIEWS = range(0, 181, 18)


def table(rows):
    """Embeddings of rows (label, condition, view, vector)."""
    label, condition, camera, vectors = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Embeddings(
        ids=np.array([f"{i:04}" for i in range(len(rows))], dtype="U4"),
        vectors=np.array(vectors, np.float32).reshape(len(rows), -1 if rows else 2),
        label=np.array(label, np.int64),
        condition=np.array(condition, "U2"),
        camera=np.array(camera, np.int64),
    )


def named(side, embeddings):
    ids = np.array([f"{side}{i}" for i in embeddings.ids], dtype="U8")
    return dataclasses.replace(embeddings, ids=ids)


def random_side(rng, n, conditions, views, people=3):
    return table(
        [
            (
                int(rng.integers(people)),
                str(rng.choice(conditions)),
                int(rng.choice(views)),
                rng.integers(5, size=2).astype(float),
            )
            for _ in range(n)
        ]
    )


def naive_cell(probe, gallery, condition, probe_view, gallery_view):
    """Ranks of the matches of each probe of one cell."""
    among = [g for g in range(len(gallery)) if gallery.camera[g] == gallery_view]
    found = []
    for p in range(len(probe)):
        if probe.condition[p] == condition and probe.camera[p] == probe_view:
            d = distances(probe.vectors[p : p + 1], gallery.vectors, "euclidean")[0]
            order = sorted((d[g], bool(gallery.label[g] == probe.label[p])) for g in among)
            found.append([place for place, (_, match) in enumerate(order, 1) if match])
    return found


def naive_mean(values):
    values = [v for v in values if not np.isnan(v)]
    return sum(values) / len(values) if values else np.nan


def naive_measures(cell):
    there = [ranks for ranks in cell if ranks]
    return {
        "rank1": naive_mean([ranks[0] <= 1 for ranks in there]),
        "rank5": naive_mean([ranks[0] <= 5 for ranks in there]),
        "mAP": naive_mean([naive_mean([k / r for k, r in enumerate(ranks, 1)]) for ranks in there]),
        "mINP": naive_mean([len(ranks) / ranks[-1] for ranks in there]),
        "theirs": naive_mean([bool(ranks) and ranks[0] == 1 for ranks in cell]),
        "probes": len(there),
        "without_match": len(cell) - len(there),
    }


def naive_condition(found, probe_views, gallery_views):
    def over_views(value):
        return naive_mean([naive_mean([value(p, g) for g in gallery_views]) for p in probe_views])

    def apart(name, p, g):
        return np.nan if p == g != -1 else found[p, g][name]

    def theirs(p, g):
        share = found[p, g]["theirs"]
        return share * 0 if p == g != -1 else share

    wanted = {name: over_views(partial(apart, name)) for name in MEASURES}
    wanted["rank1_all_views"] = over_views(lambda p, g: found[p, g]["rank1"])
    wanted["rank1_theirs"] = over_views(theirs)
    return wanted


@given(
    st.integers(0, 1 << 30),
    st.integers(1, 40),
    st.integers(1, 30),
    st.sampled_from([["nm"], ["nm", "bg", "cl"]]),
    st.sampled_from([[0], [0, 18, 90], [-1, 0, 18], [-1]]),
)
def test_all_figures_are_those_of_plain_loops(seed, probes, entries, conditions, views):
    rng = np.random.default_rng(seed)
    probe = named("p", random_side(rng, probes, conditions, views))
    gallery = named("g", random_side(rng, entries, ["nm"], views))
    result = evaluate_gait(probe, gallery, "euclidean")
    cells = {
        (row["condition"], row["probe_view"], row["gallery_view"]): row
        for row in result.cells.to_dict("records")
    }
    probe_views, gallery_views = sorted(set(probe.camera)), sorted(set(gallery.camera))
    there = sorted(set(probe.condition))
    assert list(cells) == [(c, p, g) for c in there for p in probe_views for g in gallery_views]
    assert result.conditions.index.tolist() == there
    for condition in there:
        found = {
            (p, g): naive_measures(naive_cell(probe, gallery, condition, p, g))
            for p in probe_views
            for g in gallery_views
        }
        for (p, g), wanted in found.items():
            for name in [*MEASURES, "probes", "without_match"]:
                cell = cells[condition, p, g][name]
                assert cell == pytest.approx(wanted[name], nan_ok=True), (p, g, name)
        wanted = naive_condition(found, probe_views, gallery_views)
        assert result.conditions.loc[condition].to_dict() == pytest.approx(wanted, nan_ok=True)
    for name in result.conditions:
        wanted = naive_mean(result.conditions[name].tolist())
        assert result.mean[name] == pytest.approx(wanted, nan_ok=True)


def perfect(views, condition="nm", people=4):
    return [(k, condition, view, (10.0 * k, 0.0)) for k in range(people) for view in views]


def test_the_trap_of_ten_elevenths():
    """Everybody is found in every view."""
    result = evaluate_gait(
        named("p", table(perfect(VIEWS))), named("g", table(perfect(VIEWS))), "euclidean"
    )
    assert len(result.cells) == 121
    means = result.conditions.loc["nm"]
    assert means[[*MEASURES, "rank1_all_views"]].tolist() == [1] * 5
    assert means["rank1_theirs"] == pytest.approx(10 / 11)
    assert result.mean["rank1_theirs"] == pytest.approx(10 / 11)


def test_identical_views_are_left_out():
    """The probe of view 0 is found at 0 and 18, not at 36. The probe of view 18 is found only at
    18.

    Person 0 is looked for at 0 on the line. A gallery of each view has persons 0 and 1.
    """
    probe = named("p", table([(0, "nm", 0, (0.0, 0.0)), (0, "nm", 18, (0.0, 5.0))]))
    gallery = named(
        "g",
        table(
            [
                *((0, "nm", 0, (0.0, 1.0)), (1, "nm", 0, (0.0, 4.0))),
                *((0, "nm", 18, (1.0, 2.0)), (1, "nm", 18, (9.0, 0.0))),
                *((0, "nm", 36, (9.0, 0.0)), (1, "nm", 36, (0.0, 2.0))),
            ]
        ),
    )
    result = evaluate_gait(probe, gallery, "euclidean")
    assert result.cells["rank1"].tolist() == [1, 1, 0, 0, 1, 0]
    assert result.cells["mAP"].tolist() == [1, 1, 1 / 2, 1 / 2, 1, 1 / 2]
    means = result.conditions.loc["nm"]
    assert means["rank1"] == ((1 + 0) / 2 + (0 + 0) / 2) / 2
    assert means["rank1_all_views"] == pytest.approx((2 / 3 + 1 / 3) / 2)
    assert means["rank1_theirs"] == pytest.approx((1 / 3 + 0) / 2)
    assert means["mAP"] == ((1 + 1 / 2) / 2 + (1 / 2 + 1 / 2) / 2) / 2
    assert means["rank5"] == 1


def test_views_that_are_missing_do_not_count():
    """In a coat nobody walked at 18, and the gallery lacks 0."""
    probe = named("p", table(perfect([0, 18]) + perfect([0], "cl")))
    gallery = named("g", table(perfect([18, 36])))
    result = evaluate_gait(probe, gallery, "euclidean")
    absent = result.cells.query("condition == 'cl' and probe_view == 18")
    assert absent["probes"].tolist() == [0, 0]
    assert absent[MEASURES].isna().all(axis=None)
    assert result.conditions["rank1"].tolist() == [1, 1]
    assert result.conditions["rank1_theirs"].tolist() == [1, (1 + 1 / 2) / 2]
    assert result.mean["rank1"] == 1


def test_a_probe_without_a_match_in_a_view_does_not_count_there():
    """Person 1 is not in the gallery at 18; to code that counts it, it is a mistake."""
    probe = named("p", table(perfect([0], people=2)))
    gallery = named("g", table([(0, "nm", 18, (0.0, 0.0)), (2, "nm", 18, (10.0, 0.0))]))
    result = evaluate_gait(probe, gallery, "euclidean")
    assert result.cells[["rank1", "probes", "without_match"]].values.tolist() == [[1, 1, 1]]
    assert result.mean["rank1"] == 1
    assert result.mean["rank1_theirs"] == 0.5


def test_where_no_view_is_known_one_cell_is_the_whole():
    probe = named("p", table(perfect([-1])))
    result = evaluate_gait(probe, named("g", table(perfect([-1]))), "euclidean")
    assert result.cells[["probe_view", "gallery_view"]].values.tolist() == [[-1, -1]]
    assert {*result.mean.values()} == {1.0}


def test_with_identical_views_alone_nothing_is_left():
    probe = named("p", table(perfect([90])))
    result = evaluate_gait(probe, named("g", table(perfect([90]))), "euclidean")
    assert all(np.isnan(result.mean[name]) for name in MEASURES)
    assert result.mean["rank1_all_views"] == 1
    assert result.mean["rank1_theirs"] == 0


@pytest.mark.parametrize("empty", ["probe", "gallery"])
def test_an_empty_side_has_no_cells(empty):
    people, nobody = table(perfect(VIEWS)), table([])
    sides = (nobody, people) if empty == "probe" else (people, nobody)
    result = evaluate_gait(*sides, "euclidean")
    assert len(result.cells) == len(result.conditions) == 0
    assert list(result.mean) == result.conditions.columns.tolist()
    assert all(np.isnan(value) for value in result.mean.values())


@pytest.mark.slow
@given(
    st.integers(0, 1 << 30),
    st.integers(0, 15),
    st.integers(0, 20),
    st.sampled_from([[0], [0, 18, 90], [-1, 0, 18], [-1]]),
)
def test_the_parts_of_the_probes_in_rank_one(seed, probes, entries, views):
    rng = np.random.default_rng(seed)
    probe = named("p", random_side(rng, probes, ["nm", "bg"], views))
    gallery = named("g", random_side(rng, entries, ["nm"], views))
    share, weight = parts_of_rank_one(probe, gallery, "euclidean")
    hits = {}
    for p in range(probes):
        for view in {*gallery.camera.tolist()}:
            near = [
                (np.hypot(*(probe.vectors[p] - gallery.vectors[g])), gallery.label[g])
                for g in range(entries)
                if gallery.camera[g] == view
            ]
            same = [d for d, label in near if label == probe.label[p]]
            others = [d for d, label in near if label != probe.label[p]]
            if same and not view == probe.camera[p] != -1:
                # who is as near as another is not found
                place = (probe.condition[p], probe.camera[p], view)
                hits.setdefault(place, {})[p] = min(same) < min(others, default=np.inf)
    total, found = np.zeros(probes), np.zeros(probes)
    for (condition, at, _), cell in hits.items():
        conditions = len({c for c, *_ in hits})
        probe_views = len({a for c, a, _ in hits if c == condition})
        gallery_views = len([v for c, a, v in hits if (c, a) == (condition, at)])
        for p, hit in cell.items():
            part = 1 / (conditions * probe_views * gallery_views * len(cell))
            total[p] += part
            found[p] += part * hit
    np.testing.assert_allclose(weight, total)
    np.testing.assert_allclose(share[total > 0], found[total > 0] / total[total > 0])
    assert np.isnan(share[total == 0]).all()
    wanted = evaluate_gait(probe, gallery, "euclidean").mean["rank1"]
    assert (np.nansum(weight * share) if hits else np.nan) == pytest.approx(wanted, nan_ok=True)


def test_where_all_views_are_complete_the_mean_share_is_the_rank_one():
    rng = np.random.default_rng(7)
    people, views = range(5), (0, 36, 90)
    sides = [
        named(
            name, table([(k, c, v, rng.normal(k, 2, 2)) for k in people for v in views for c in cs])
        )
        for name, cs in (("p", ["bg", "nm"]), ("g", ["nm"]))
    ]
    share, _ = parts_of_rank_one(*sides, "euclidean")
    conditions = evaluate_gait(*sides, "euclidean").conditions
    for condition in ("bg", "nm"):
        mean = share[sides[0].condition == condition].mean()
        assert mean == pytest.approx(conditions.loc[condition, "rank1"])
        assert 0 < mean < 1


@given(st.integers(0, 1 << 30), st.integers(1, 30), st.integers(1, 30))
def test_rank_one_by_the_view_of_the_probe(seed, probes, entries):
    rng = np.random.default_rng(seed)
    views = [-1, 0, 18]
    probe = named("p", random_side(rng, probes, ["nm", "bg"], views))
    gallery = named("g", random_side(rng, entries, ["nm"], views))
    found = evaluate_gait(probe, gallery, "euclidean").by_view()
    assert found.index.tolist() == sorted(set(probe.condition))
    assert found.columns.tolist() == sorted(set(probe.camera))
    for condition in found.index:
        for view in found.columns:
            shares = [
                naive_measures(naive_cell(probe, gallery, condition, view, other))["rank1"]
                for other in sorted(set(gallery.camera))
                if not view == other != -1
            ]
            wanted = naive_mean(shares)
            assert found.loc[condition, view] == pytest.approx(wanted, nan_ok=True)
