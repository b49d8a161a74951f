"""People recognised by retrieval: the tables of a test, and runs that are trained for it."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch

from aclnet.datasets.spec import AclnetError
from aclnet.evaluation.scorer import Scorer
from aclnet.pipelines.inputs.corruptions.joints import Drop
from aclnet.retrieval.embedder import Embedder
from aclnet.retrieval.gait_protocol import evaluate_gait
from aclnet.retrieval.identify import threshold_of
from aclnet.retrieval.ranking import Embeddings, equal_error_threshold
from aclnet.retrieval.recognition import FIGURES, Recogniser, Recognition
from aclnet.retrieval.reid_protocol import evaluate_reid
from aclnet.runs.inference import Pass
from aclnet.runs.network import load_model
from aclnet.runs.scores import Scores


def side(name, seed, *, people=4, recordings=9, windows=1, views=(0, 54, 90)):
    """Made-up embeddings; of several windows of a recording all but the vector is the same."""
    rng = np.random.default_rng(seed)
    code = np.repeat(np.arange(recordings), windows)
    return Embeddings(
        ids=np.array([f"{name}{i}" for i in code]),
        vectors=rng.normal(size=(len(code), 3)).astype(np.float32),
        label=(np.arange(recordings) % people)[code],
        condition=rng.choice(["bg", "nm"], recordings)[code],
        camera=rng.choice(views, recordings)[code],
    )


def recognition(task, *, metric="euclidean", windows=1, people=(4, 4), views=(0, 54, 90)):
    probe = side("p", 1, people=people[0], windows=windows, views=views)
    gallery = side("g", 2, people=people[1], windows=windows, views=views)
    return Recognition(task, metric, probe, gallery, short=2)


def means_of_recordings(embeddings):
    """Vector and label of each recording."""
    found = {}
    for sample_id in embeddings.ids.tolist():
        own = [row for row in range(len(embeddings)) if embeddings.ids[row] == sample_id]
        vectors = [embeddings.vectors[row].astype(float) for row in own]
        found[sample_id] = (sum(vectors) / len(own), int(embeddings.label[own[0]]))
    return found


def views_of(embeddings):
    """View of each recording."""
    return dict(zip(embeddings.ids.tolist(), embeddings.camera.tolist(), strict=True))


def test_tables_of_gait_are_those_of_the_protocol():
    found = recognition("gait")
    expected = evaluate_gait(found.probe, found.gallery, "euclidean")
    tables = found.tables()
    assert list(tables) == ["conditions", "views", "cells"]
    pd.testing.assert_frame_equal(tables["cells"], expected.cells)
    conditions = tables["conditions"].set_index("condition")
    assert conditions.index.tolist() == ["bg", "nm", "mean"]
    pd.testing.assert_frame_equal(conditions.loc[["bg", "nm"]], expected.conditions)
    assert conditions.loc["mean"].to_dict() == pytest.approx(expected.mean)
    assert tables["views"]["probe_view"].tolist() == [0, 54, 90]
    for condition in ("bg", "nm"):
        by_view = expected.by_view().loc[condition].tolist()
        np.testing.assert_array_equal(tables["views"][condition], by_view)
    counts = {"probes": 9, "gallery": 9, "short": 2}
    assert found.result() == pytest.approx(expected.mean | counts)


def test_tables_of_re_identification_are_those_of_the_protocol():
    found = recognition("reid", windows=3)
    expected = evaluate_reid(found.probe, found.gallery, "euclidean")
    tables = found.tables()
    assert list(tables) == ["levels", "conditions"]
    levels = tables["levels"].set_index("level")
    for level in ("window", "sequence"):
        assert levels.loc[level].to_dict() == pytest.approx(expected[level])
    assert (levels.loc["window", "probes"], levels.loc["sequence", "probes"]) == (27, 9)
    windows = {f"window_{name}": expected["window"][name] for name in FIGURES}
    assert found.result() == pytest.approx(expected["sequence"] | windows | {"short": 2})


def test_every_condition_is_looked_for_in_every_condition():
    found = recognition("reid", windows=2)
    table = found.tables()["conditions"]
    pairs = table[["probe_condition", "gallery_condition"]].to_numpy().tolist()
    assert pairs == [["bg", "bg"], ["bg", "nm"], ["nm", "bg"], ["nm", "nm"]]
    for row in table.to_dict("records"):
        probe, gallery = (
            means_of_recordings(embeddings[embeddings.condition == row[f"{name}_condition"]])
            for name, embeddings in (("probe", found.probe), ("gallery", found.gallery))
        )
        hits = []
        for vector, label in probe.values():
            near = sorted((math.dist(vector, other), who) for other, who in gallery.values())
            if label in {who for _, who in near}:
                hits.append(near[0][1] == label)
        assert (row["probes"], row["without_match"]) == (len(hits), len(probe) - len(hits))
        assert row["rank1"] == pytest.approx(sum(hits) / len(hits))


def test_the_published_way_of_counting_is_of_re_identification_alone():
    tables = recognition("reid").tables(as_published=True)
    (row,) = tables["published"].to_dict("records")
    assert "fewer than 256 windows" in row["remark"]
    assert list(tables) == ["levels", "conditions", "published"]
    assert "published" not in recognition("gait").tables(as_published=True)


@pytest.mark.parametrize("windows", [1, 3])
def test_who_is_found_in_re_identification(windows):
    """Probes without a person in the gallery are left out."""
    found = recognition("reid", windows=windows, people=(5, 3))
    gallery = means_of_recordings(found.gallery)
    expected = []
    for vector, label in means_of_recordings(found.probe).values():
        near = min((math.dist(vector, other), who) for other, who in gallery.values())
        if label in {who for _, who in gallery.values()}:
            expected.append((label, float(near[1] == label)))
    _, people, share, weight = found.found()
    assert list(zip(people.tolist(), share.tolist(), strict=True)) == expected
    assert (weight * share).sum() == pytest.approx(found.result()["rank1"])
    assert len(expected) < len(means_of_recordings(found.probe))
    assert set(share.tolist()) == {0, 1}


def test_who_is_found_by_gait_is_a_share_of_views():
    found = recognition("gait", people=(5, 3))
    _, people, share, weight = found.found()
    expected = []
    for p in range(9):
        hits = []
        for view in {*found.gallery.camera.tolist()} - {int(found.probe.camera[p])}:
            near = [
                (
                    math.dist(found.probe.vectors[p], found.gallery.vectors[g]),
                    found.gallery.label[g],
                )
                for g in range(9)
                if found.gallery.camera[g] == view
            ]
            if found.probe.label[p] in {label for _, label in near}:
                hits.append(min(near)[1] == found.probe.label[p])
        if hits:
            expected.append((int(found.probe.label[p]), sum(hits) / len(hits)))
    assert people.tolist() == [person for person, _ in expected]
    assert share.tolist() == pytest.approx([value for _, value in expected])
    assert (weight * share).sum() == pytest.approx(found.result()["rank1"])
    assert 0 < len(expected) < 9


def test_what_there_is_nothing_to_measure_of_is_none():
    strangers = recognition("reid")
    strangers.gallery.label[:] += 10
    result = strangers.result()
    for name in FIGURES:
        assert result[name] is result[f"window_{name}"] is None
    assert (result["probes"], result["without_match"], result["short"]) == (0, 9, 2)
    one_view = recognition("gait", views=(90,)).result()
    assert one_view["rank1"] is one_view["mAP"] is None
    assert one_view["rank1_all_views"] is not None
    for figures in (result, one_view):
        json.dumps(figures, allow_nan=False)
    assert [len(values) for values in strangers.found()] == [0, 0, 0, 0]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize(("task", "windows"), [("gait", 1), ("reid", 3)])
def test_scores_are_of_the_nearest_sequence_of_each(task, windows, metric):
    """Sequences of the same person in the same view do not count for gait."""
    found = recognition(task, metric=metric, windows=windows, people=(5, 3), views=(-1, 0, 90))
    probe, gallery = map(means_of_recordings, (found.probe, found.gallery))
    view = views_of(found.probe) | views_of(found.gallery)
    scores = found.scores(6)
    assert scores.ids.tolist() == sorted(probe)
    assert scores.scores.shape == (9, 6)
    for sample_id, row, label in zip(
        scores.ids.tolist(), scores.scores, scores.labels, strict=True
    ):
        a, own = probe[sample_id]
        assert label == own
        for person in range(6):
            near = [
                a @ b / (math.hypot(*a) * math.hypot(*b))
                if metric == "cosine"
                else 1 / (1 + math.dist(a, b))
                for name, (b, who) in gallery.items()
                if who == person
                and not (task == "gait" and who == own and view[name] == view[sample_id] != -1)
            ]
            least = -1 if metric == "cosine" else 0
            assert row[person] == pytest.approx(max(near, default=least), abs=1e-5)


# Runs


@pytest.fixture(scope="module", params=["gait", "reid"])
def trained(request):
    """A run and its store."""
    return tuple(request.getfixturevalue(f"{request.param}_{what}") for what in ("run", "store"))


@pytest.fixture(scope="module")
def tested(trained):
    """A trained run, its test, and the results for clean probes."""
    run, store = trained
    scorer = Scorer(run, store, accelerator="cpu")
    return run, store, scorer, scorer.recognise()


def test_a_run_ends_with_the_figures_of_its_protocol(tested, assert_alike):
    run, store, scorer, found = tested
    assert scorer.name == f"{run.protocol}-probe" == run.test_scores.stem
    assert run.record.split.side == "probe"
    result = run.result
    for name in ("rank1", "rank5", "mAP", "mINP", "short", "probes"):
        assert name in result
    scores = found.scores(len(store.class_names))
    about = {"select": run.config.select, "clips": 2}
    expected = about | found.result() | scorer.result(scores)
    recorded = {name: value for name, value in result.items() if name != "unknown"}
    assert recorded == pytest.approx(expected)
    people = set(store.column("label")[store.mask(f"{run.protocol}/gallery")].tolist())
    assert result["chance"] == 1 / len(people)
    kept = Scores.load(run.test_scores)
    assert_alike(kept.scores, scores.scores)
    for field in ("ids", "labels"):
        np.testing.assert_array_equal(getattr(kept, field), getattr(scores, field))
    assert kept.ids.tolist() == sorted(store.column("id")[store.mask(f"{run.protocol}/probe")])


def test_the_tables_lie_beside_the_scores(tested):
    run, _, _, found = tested
    kept, tables = run.load_tables(run.test_scores), found.tables()
    assert sorted(kept) == sorted(tables)
    for name, table in tables.items():
        assert run.test_scores.with_suffix(f".{name}.csv").is_file()
        pd.testing.assert_frame_equal(kept[name], table, check_names=False)


def test_the_classes_are_the_people_who_train(trained):
    run, store = trained
    splits = store.mask(f"{run.protocol}/train")
    people = sorted({store.class_names[label] for label in store.column("label")[splits]})
    held_out = (run.record.split.held_out or "people ").removeprefix("people ").split(", ")
    assert run.class_names == [name for name in people if name not in held_out]
    assert load_model(run).fc_cls.out_features == len(run.class_names)
    assert run.history.read_all("confusion/train").shape[1:] == (len(run.class_names),) * 2


def test_confusions_are_of_the_people_who_train(gait_run):
    """Their labels in the store have gaps: each of the six has two recordings."""
    counts = gait_run.history.read_all("confusion/train")
    assert counts.sum(axis=2).max() <= 2
    # a batch of 8 of the 12 in each of two epochs
    assert counts.sum(axis=(1, 2)).tolist() == [8, 8]


@pytest.mark.slow
def test_people_who_are_held_out_select_and_tell_whom_to_call_unknown(
    gait_run, gait_store, assert_alike
):
    names = gait_run.record.split.held_out.removeprefix("people ").split(", ")
    scorer = Scorer(gait_run, gait_store, "val", accelerator="cpu")
    assert scorer.name == "gait-val"
    held_out = {gait_store.class_names[label] for label in gait_store.column("label")[scorer.mask]}
    assert held_out == set(names)
    assert len(held_out) == 2
    assert not held_out & set(gait_run.class_names)
    found = scorer.recognise()
    expected = equal_error_threshold(found.probe, "cosine")
    assert expected.threshold > 0
    recorded = gait_run.result["unknown"]
    assert recorded.keys() == set(expected._fields)
    assert_alike([recorded[name] for name in expected._fields], expected)
    assert threshold_of(gait_run) == recorded["threshold"]
    rows = pd.read_csv(gait_run.path / "metrics.csv")
    assert "eval_accuracy" not in rows
    one_clip = Scorer(gait_run, gait_store, "val", clips=1, accelerator="cpu").recognise()
    figures = one_clip.ranking()[1].summary()
    best = rows.loc[rows["eval_mAP"].idxmax()]
    assert best["eval_mAP"] == pytest.approx(figures["mAP"])
    assert best["eval_rank1"] == pytest.approx(figures["rank1"])


def test_without_anybody_held_out_there_is_no_threshold(reid_run):
    assert "unknown" not in reid_run.result
    assert threshold_of(reid_run) is None
    assert "eval_mAP" not in pd.read_csv(reid_run.path / "metrics.csv")


@pytest.mark.slow
def test_people_with_one_recording_each_select_nothing(train_quickly, reid_store, tmp_path):
    """Nobody who is held out can be found, so that no epoch is better than another."""
    settings = ("task=reid", "data.frames=8", "loss.terms=ce", "optim.epochs=2")
    run = train_quickly(tmp_path / "run", *settings, store=reid_store, select="val")
    rows = pd.read_csv(run.path / "metrics.csv")
    assert rows["eval_mAP"].isna().all()
    assert run.load("best")["stream"]["epoch"] == 1
    assert run.result["unknown"] is None
    assert threshold_of(run) is None


@pytest.fixture(scope="module")
def own_run(train_quickly, reid_store, tmp_path_factory):
    """Two people train and are known, by a file; of three who are looked for one is a stranger."""
    folder = tmp_path_factory.mktemp("own")
    file = folder / "mine.csv"
    lines = [f"train/person{n},train+gallery" for n in (2, 4)]
    lines += [f"a/person{n},probe" for n in (1, 2, 4)]
    file.write_text("\n".join(["id,split", *lines]))
    settings = ("task=reid", "data.frames=8", "loss.terms=ce", "optim.epochs=1")
    options = {"store": reid_store, "split_file": file, "select": "test"}
    return train_quickly(folder / "run", *settings, **options)


@pytest.mark.slow
def test_a_file_says_who_trains_and_who_is_known(own_run, reid_store):
    assert own_run.class_names == ["person2", "person4"]
    assert load_model(own_run).fc_cls.out_features == 2
    assert (own_run.result["probes"], own_run.result["without_match"]) == (2, 1)
    found = Scorer(own_run, reid_store, accelerator="cpu").recognise()
    assert sorted(set(found.gallery.ids)) == ["train/person2", "train/person4"]
    assert sorted(set(found.probe.ids)) == ["a/person1", "a/person2", "a/person4"]
    figures = found.result()
    assert {name: own_run.result[name] for name in figures} == pytest.approx(figures)


@pytest.mark.slow
def test_the_test_may_select(own_run):
    """It is compared with its gallery then, and not with itself."""
    rows = pd.read_csv(own_run.path / "metrics.csv")
    assert rows["eval_mAP"].tolist() == pytest.approx([own_run.result["mAP"]])


@pytest.mark.slow
def test_a_side_without_gallery_is_compared_with_itself(gait_run, gait_store):
    scorer = Scorer(gait_run, gait_store, "gait/test", accelerator="cpu")
    found = scorer.recognise()
    assert found.probe is found.gallery
    assert len(found.probe) == 21
    scores = found.scores(len(gait_store.class_names))
    for sample_id, row in zip(scores.ids, scores.scores, strict=True):
        p = found.probe.ids.tolist().index(sample_id)
        label, view = found.probe.label, found.probe.camera
        for person in (75, 79, 98):
            # of oneself, the other views; that leaves out one's own recording as well
            others = [
                g
                for g in range(21)
                if label[g] == person and (label[p] != person or view[p] != view[g])
            ]
            a, b = found.probe.vectors[p].astype(float), found.probe.vectors[others].astype(float)
            near = b @ a / (np.linalg.norm(a) * np.linalg.norm(b, axis=1))
            assert row[person] == pytest.approx(near.max(), abs=1e-6)


def test_the_gallery_is_never_corrupted(tested, assert_alike):
    _, store, scorer, clean = tested
    missing = scorer.recognise(Pass(Drop.of("legs", store.layout)))
    assert_alike(clean.gallery.vectors, missing.gallery.vectors)
    np.testing.assert_array_equal(clean.probe.ids, missing.probe.ids)
    assert not np.allclose(clean.probe.vectors, missing.probe.vectors)


@pytest.mark.slow
def test_probes_of_a_gallery_with_itself_are_corrupted_and_it_is_not(
    gait_run, gait_store, assert_alike
):
    scorer = Scorer(gait_run, gait_store, "gait/gallery", accelerator="cpu")
    missing = scorer.recognise(Pass(Drop.of("legs", gait_store.layout)))
    clean = scorer.recognise()
    assert_alike(clean.probe.vectors, missing.gallery.vectors)
    assert not np.allclose(missing.probe.vectors, missing.gallery.vectors)


@pytest.mark.slow
def test_how_probes_are_compared_can_be_changed(tested, assert_alike):
    run, store, _, plain = tested
    for changes, words in (
        ({"embedding": "pooled", "flip": True}, "-flip"),
        ({"metric": None, "flip": False}, ""),
        ({"metric": "euclidean"}, "-euclidean"),
    ):
        retrieval = run.config.retrieval.changed(**changes)
        scorer = Scorer(run, store, retrieval=retrieval, accelerator="cpu")
        assert scorer.name == f"{run.protocol}-probe{words}"
    found = scorer.recognise()
    assert found.metric == "euclidean" != plain.metric
    assert_alike(found.probe.vectors, plain.probe.vectors)


@pytest.mark.slow
def test_sequences_shorter_than_a_clip_are_counted(reid_run, reid_store):
    sides = [reid_store.mask(f"a/{side}") for side in ("probe", "gallery")]
    config = reid_run.config.model_copy(
        update={"data": reid_run.config.data.model_copy(update={"frames": 40})}
    )
    embedder = Embedder.of_run(reid_run, reid_store, config, torch.device("cpu"))
    found = Recogniser(embedder, reid_store, *sides, config)()
    lengths = [
        int(reid_store.column("n_frames")[row]) for row in np.flatnonzero(sides[0] | sides[1])
    ]
    assert found.short == found.result()["short"] == sum(n < 40 for n in lengths) > 0


def test_sides_that_cannot_be_tested(gait_run, gait_store, reid_run, reid_store):
    for run, store, split, message in (
        (reid_run, reid_store, "val", "held no samples out of training"),
        (gait_run, gait_store, "gait/nobody", "has no split 'gait/nobody'"),
        (gait_run, reid_store, "a/probe", "was trained on layout coco"),
    ):
        with pytest.raises(AclnetError, match=message):
            Scorer(run, store, split, accelerator="cpu")
