"""Who is it? Against a loop over the embeddings, and what is refused."""

from __future__ import annotations

import math
import shutil

import numpy as np
import pandas as pd
import pytest

from aclnet.datasets.spec import AclnetError
from aclnet.datasets.store.store import Store
from aclnet.evaluation.scorer import choose_device
from aclnet.retrieval.embedder import Embedder
from aclnet.retrieval.identify import UNKNOWN, identify, open_probes, threshold_of
from aclnet.retrieval.ranking import sequence_level

ROUNDING = 1e-6
"""Distances of a probe may differ by so much with what else is embedded in its batch."""
COLUMNS = ["store", "probe", "answer", "place", "person", "distance", "recording"]


@pytest.fixture(scope="module")
def vectors(request):
    """Embedding of every original of both stores, by id."""
    found = {}
    for kind in ("gait", "reid"):
        run, store = (request.getfixturevalue(f"{kind}_{what}") for what in ("run", "store"))
        embedder = Embedder.of_run(run, store, run.config, choose_device("cpu"))
        embeddings = sequence_level(embedder(store, np.ones(len(store), bool)))
        rows = zip(embeddings.ids.tolist(), embeddings.vectors.astype(float), strict=True)
        found[kind] = dict(rows)
    return found


def naive(own, known, vectors, person_of, top):
    """Nearest recording of each person, without the probe's own: (distance, person, recording)."""
    nearest = {}
    for name in known:
        if name != own:
            a, b = vectors[own], vectors[name]
            distance = 1 - a @ b / (math.sqrt(a @ a) * math.sqrt(b @ b))
            nearest.setdefault(person_of(name), []).append((distance, name))
    return sorted((*min(near), person) for person, near in nearest.items())[:top]


def assert_answers(found, probes, known, vectors, person_of, top):
    """Every probe has the rows of a plain loop, in order of its id."""
    assert found.columns.tolist() == COLUMNS
    assert found["probe"].drop_duplicates().tolist() == sorted(probes)
    for own, rows in found.groupby("probe", sort=False):
        expected = naive(own, known, vectors, person_of, top)
        assert rows["place"].tolist() == list(range(1, len(expected) + 1))
        assert rows["recording"].tolist() == [name for _, name, _ in expected]
        assert rows["person"].tolist() == [person for _, _, person in expected]
        np.testing.assert_allclose(
            rows["distance"], [near for near, _, _ in expected], atol=ROUNDING
        )


def walker(name):
    return name[:3]


def actor(name):
    return name.rpartition("/")[2]


@pytest.mark.slow
@pytest.mark.parametrize("top", [1, 20])
def test_the_nearest_people_of_a_side(top, gait_run, gait_store, vectors):
    """The probes are not in the gallery; of its three people no more than three are told."""
    known = gait_store.column("id")[gait_store.mask("gait/gallery")].tolist()
    probes = ["080-bg-01-054", "002-nm-01-090"]
    found = identify(gait_run, gait_store, probes, side="gait/gallery", top=top, threshold=2)
    assert_answers(found, probes, known, vectors["gait"], walker, top)
    assert len(found) == 2 * min(top, 3)
    nearest = found[found["place"] == 1]
    assert nearest["answer"].tolist() == nearest["person"].tolist()
    assert (found.groupby("probe")["answer"].nunique() == 1).all()


@pytest.mark.slow
def test_ones_own_recording_is_not_compared(gait_run, gait_store, vectors):
    known = gait_store.column("id").tolist()
    probes = ["099-nm-05-000", "076-nm-01-054"]
    found = identify(gait_run, gait_store, probes, top=20)
    assert_answers(found, probes, known, vectors["gait"], walker, 20)
    assert (found["recording"] != found["probe"]).all()
    # eleven people, whoever they are
    assert len(found) == 22


@pytest.mark.slow
def test_a_store_is_all_of_its_originals(reid_run, reid_store, vectors):
    """The gallery's variants are nobody either."""
    originals = reid_store.column("id")[reid_store.column("variant") == 0].tolist()
    assert len(originals) < len(reid_store)
    found = identify(reid_run, reid_store, [reid_store], top=4)
    assert_answers(found, originals, originals, vectors["reid"], actor, 4)
    names = ["b/person1", "a/person3"]
    mixed = identify(reid_run, reid_store, [*names, reid_store], side="a/train", top=2)
    assert mixed["probe"].drop_duplicates(keep="last").tolist() == sorted(originals)
    assert mixed["probe"].iloc[:4].tolist() == ["a/person3"] * 2 + ["b/person1"] * 2
    assert set(mixed["recording"]) <= {f"train/person{n}" for n in range(1, 5)}


@pytest.mark.slow
def test_who_is_further_than_the_threshold_is_unknown(reid_run, reid_store):
    found = identify(reid_run, reid_store, [reid_store], side="a/gallery", top=2)
    # without a threshold nobody is unknown
    assert threshold_of(reid_run) is None
    assert UNKNOWN not in set(found["answer"])
    nearest = found[found["place"] == 1].set_index("probe")
    limit = float(nearest["distance"].median())
    again = identify(reid_run, reid_store, [reid_store], side="a/gallery", top=2, threshold=limit)
    plain, told = (table.drop(columns="answer") for table in (found, again))
    pd.testing.assert_frame_equal(told, plain, rtol=0, atol=ROUNDING)
    answers = again.groupby("probe")["answer"].first()
    for probe, answer in answers.items():
        beyond = nearest.loc[probe, "distance"] > limit
        assert answer == (UNKNOWN if beyond else nearest.loc[probe, "person"])
    assert 0 < (answers == UNKNOWN).sum() < len(answers)
    for away, unknown in ((-ROUNDING, True), (ROUNDING, False)):
        threshold = float(nearest.loc["a/person1", "distance"]) + away
        alone = identify(reid_run, reid_store, ["a/person1"], side="a/gallery", threshold=threshold)
        assert (set(alone["answer"]) == {UNKNOWN}) == unknown


@pytest.mark.slow
def test_the_threshold_is_that_of_the_run_unless_another_is_given(gait_run, gait_store):
    probes = gait_store.column("id")[gait_store.mask("gait/probe")].tolist()
    chosen = threshold_of(gait_run)
    by_run = identify(gait_run, gait_store, probes, side="gait/gallery", top=1)
    far = by_run["distance"] > chosen
    assert (by_run["answer"] == UNKNOWN).tolist() == far.tolist()
    given = identify(gait_run, gait_store, probes[:2], side="gait/gallery", top=1, threshold=-1)
    assert (given["answer"] == UNKNOWN).all()


def test_progress_tells_of_both_sides(reid_run, reid_store):
    told = []
    probes = ["a/person1"]
    identify(
        reid_run,
        reid_store,
        probes,
        side="b/probe",
        progress=lambda title, *counts: told.append((title, counts)),
    )
    assert [title for title, _ in told] == ["gallery", "probes"]
    assert all(done == total > 0 for _, (done, total) in told)


def test_probes_are_stores_where_one_lies_there(reid_store, tmp_path):
    shutil.copytree(reid_store.path, tmp_path / "copy.zarr")
    found = open_probes([str(tmp_path / "copy.zarr"), "a/person1", str(tmp_path)])
    assert isinstance(found[0], Store)
    assert found[0].digest == reid_store.digest
    assert found[1:] == ["a/person1", str(tmp_path)]


@pytest.mark.slow
def test_what_is_refused(
    gait_run, gait_store, reid_run, reid_store, reid_raw, prepare_raw, tmp_path
):
    prepare_raw(reid_raw, tmp_path / "turned.zarr", dataset="ias-lab", align=True)
    turned = Store(tmp_path / "turned.zarr")
    for run, gallery, probes, side, message in (
        (reid_run, reid_store, ["a/nobody"], None, r"a/nobody is neither a store nor the id of"),
        (reid_run, reid_store, ["a/person1"], "a/x", "has no split 'a/x'"),
        (reid_run, reid_store, [gait_store], None, r"was trained on layout kinect_v1.*layout coco"),
        (gait_run, reid_store, ["a/person1"], None, r"was trained on layout coco"),
        (reid_run, reid_store, [turned], None, r"centre-first-frame/1, but those .*turned\.zarr"),
        (reid_run, turned, ["a/person1"], None, r"centre-first-frame/1, but those .*turned\.zarr"),
    ):
        with pytest.raises(AclnetError, match=message):
            identify(run, gallery, probes, side=side)


@pytest.mark.slow
def test_the_same_name_in_another_store_is_another_recording(
    reid_run, reid_store, reid_raw, prepare_raw, tmp_path
):
    prepare_raw(reid_raw, tmp_path / "other.zarr", dataset="ias-lab")
    other = Store(tmp_path / "other.zarr")
    assert other.digest != reid_store.digest
    found = identify(reid_run, reid_store, [other], side="a/probe", top=1)
    own = found[found["probe"].str.startswith("a/")]
    assert len(own) == 4
    assert (own["recording"] == own["probe"]).all(), "the very same recording is the nearest"
    np.testing.assert_allclose(own["distance"], 0, atol=1e-5)


def test_nobody_else_is_there(reid_run, reid_store):
    store = reid_store
    only = np.flatnonzero(store.mask("a/train") & (store.column("variant") == 0))[0]
    alone = store.column("id") == store.column("id")[only]

    class One:
        def __getattr__(self, name):
            return getattr(store, name)

        def __len__(self):
            return len(store)

        def mask(self, _):
            return alone

    (row,) = identify(reid_run, One(), [store.column("id")[only]], side="only").to_dict("records")
    assert (row["answer"], row["person"], row["place"]) == (UNKNOWN, "", 1)


@pytest.mark.slow
def test_a_stored_variant_is_no_probe(reid_run, reid_store):
    variant = reid_store.column("id")[reid_store.column("variant") == 1][0]
    with pytest.raises(AclnetError, match="neither a store nor the id"):
        identify(reid_run, reid_store, [variant])
