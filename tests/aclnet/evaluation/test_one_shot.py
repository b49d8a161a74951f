"""Recognition by the nearest exemplar, against loops over single pairs and single clips."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from aclnet.cli import evaluate
from aclnet.datasets.spec import AclnetError
from aclnet.datasets.store.store import Store
from aclnet.datasets.synth import ntu
from aclnet.evaluation.scorer import Scorer
from aclnet.pipelines.inputs.corruptions.joints import Drop
from aclnet.pipelines.inputs.features import make_features
from aclnet.pipelines.inputs.sampling import clip_frames
from aclnet.retrieval.ranking import Embeddings, nearest_of_each
from aclnet.retrieval.recognition import chance
from aclnet.runs.inference import Pass
from aclnet.runs.network import load_model
from aclnet.runs.scores import Scores

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aclnet.runs.run import Run

NEW = (1, 37)
OTHERS = (3, 10, 24)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_the_nearest_of_each_class(metric):
    rng = np.random.default_rng(0)
    known, found = rng.normal(size=(6, 5)), rng.normal(size=(7, 5))
    labels = [4, 0, 4, 2, 0, 4]
    found[4:] = known[2:5]  # samples that are in the gallery are compared with the others there
    own = ["0", "1", "2", "3", "12", "13", "14"]
    gallery, probe = embeddings(known, labels, range(10, 16)), embeddings(found, [0] * 7, own)
    scores = nearest_of_each(probe, gallery, metric, 5)
    for row, feature in enumerate(found):
        for label in range(5):
            near = [
                cosine(feature, known[g])
                if metric == "cosine"
                else 1 / (1 + np.linalg.norm(feature - known[g]))
                for g in range(6)
                if labels[g] == label and str(10 + g) != own[row]
            ]
            expected = max(near, default=-1 if metric == "cosine" else 0)
            assert scores[row, label] == pytest.approx(expected, abs=1e-6)
    assert nearest_of_each(probe[:0], gallery, metric, 5).shape == (0, 5)


def embeddings(vectors: np.ndarray, labels: list[int], ids: Iterable[object]) -> Embeddings:
    return Embeddings(
        ids=np.array([str(i) for i in ids]),
        vectors=vectors.astype(np.float32),
        label=np.array(labels, np.int64),
        condition=np.full(len(vectors), ""),
        camera=np.full(len(vectors), -1),
    )


@pytest.fixture(scope="module")
def new_classes(prepare_raw, tmp_path_factory) -> Store:
    """Two new classes with an exemplar each and 6 probes together, three others that train."""
    folder = tmp_path_factory.mktemp("one-shot")
    (folder / "raw").mkdir()
    for subject, camera, action in [
        (subject, camera, action)
        for subject in (1, 8)
        for camera in (1, 3)
        for action in (*NEW, *OTHERS)
    ]:
        name = f"S001C{camera:03}P{subject:03}R001A{action:03}"
        content = ntu.encode(ntu.synthesise(name, seed=0))
        (folder / "raw" / f"{name}.skeleton").write_bytes(content)
    prepare_raw(folder / "raw", folder / "n.zarr", dataset="ntu120")
    return Store(folder / "n.zarr")


@pytest.fixture(scope="module")
def run(new_classes, train_quickly, tmp_path_factory) -> Run:
    out = tmp_path_factory.mktemp("runs") / "one-shot"
    settings = ("data.protocol=one-shot", "optim.epochs=1", "optim.batch_size=4")
    return train_quickly(out, *settings, store=new_classes)


def naive_feature(run: Run, store: Store, row: int) -> np.ndarray:
    """Mean of the pooled features of single clips."""
    model, frames, clips = load_model(run), run.config.data.frames, run.config.data.clips
    keypoint = torch.from_numpy(store.sequence(row).keypoint.copy())
    total = np.zeros(model.fc_cls.in_features)
    for chosen in clip_frames(np.array([keypoint.shape[1]]), frames, clips).reshape(clips, frames):
        x = make_features(keypoint[:, chosen], None, store.layout, "j")
        with torch.no_grad():
            total += model(x, torch.zeros(len(x), dtype=torch.int64), 1).pooled[0].numpy()
    return total / clips


@pytest.mark.slow
def test_probes_have_the_class_of_the_nearest_exemplar(run, new_classes):
    store = new_classes
    label, ids = store.column("label"), store.column("id")
    gallery = np.flatnonzero(store.mask("one-shot/gallery"))
    assert sorted(ids[gallery]) == [f"S001C003P008R001A{a:03}" for a in NEW]
    known = {int(label[row]): naive_feature(run, store, row) for row in gallery}
    scorer = Scorer(run, store)
    scores = scorer.score()
    assert sorted(scores.ids) == sorted(ids[store.mask("one-shot/probe")])
    assert len(scores) == 6
    for sample, row_scores in zip(scores.ids, scores.scores, strict=True):
        feature = naive_feature(run, store, int(np.flatnonzero(ids == sample)[0]))
        for new in NEW:
            expected = cosine(feature, known[new - 1])
            assert row_scores[new - 1] == pytest.approx(expected, abs=1e-5)
        assert (np.delete(row_scores, [a - 1 for a in NEW]) == -1).all()
    assert scorer.result(scores) == scores.result() | {"chance": 0.5}
    assert (scorer.split, scorer.name) == ("one-shot/probe", "one-shot-probe")
    per_class = scores.per_class(scorer.class_names)
    assert per_class.loc[per_class["samples"] > 0, "samples"].tolist() == [3, 3]


@pytest.mark.slow
def test_training_ends_with_the_scores_of_evaluation(run, new_classes, assert_alike):
    kept = Scores.load(run.test_scores)
    assert run.test_scores == run.scores("one-shot-probe")
    again = Scorer(run, new_classes).score()
    assert_alike(kept.scores, again.scores)
    expected = {"select": "last", "clips": 2, "chance": 0.5, **again.result()}
    assert run.result == pytest.approx(expected)
    assert json.loads((run.path / "run.json").read_text())["split"]["side"] == "probe"


@pytest.mark.slow
def test_two_processes_count_each_probe_once(run, tmp_path):
    copy = shutil.copytree(run.path, tmp_path / "run")
    command = [sys.executable, "-m", "aclnet", "evaluate", copy, "--json", "--devices", "2"]
    done = subprocess.run(
        [*command, "--accelerator", "cpu"], capture_output=True, text=True, check=True, timeout=300
    )
    assert json.loads(done.stdout)["samples"] == 6
    kept, again = Scores.load(run.test_scores), Scores.load(copy / "scores/one-shot-probe.npz")
    np.testing.assert_array_equal(again.ids, kept.ids)
    np.testing.assert_allclose(again.scores, kept.scores, atol=1e-5)


@pytest.mark.slow
def test_the_weights_may_be_selected_on_probes_and_on_held_out_training(
    new_classes, train_quickly, tmp_path
):
    settings = ("data.protocol=one-shot", "optim.epochs=1", "optim.batch_size=4")
    for select in ("test", "val"):
        run = train_quickly(tmp_path / select, *settings, store=new_classes, select=select)
        assert run.result["select"] == select
        assert run.result["chance"] == 0.5


@pytest.mark.slow
def test_the_gallery_is_never_corrupted(run, new_classes, assert_alike):
    scorer = Scorer(run, new_classes)
    clean, missing = scorer.score(), scorer.score(Pass(Drop(tuple(range(25)))))
    assert not np.allclose(clean.scores, missing.scores)
    same = missing.scores[:, [a - 1 for a in NEW]]
    # all input is gone: every probe is alike, and the two exemplars are still not
    assert_alike(same, same[:1].repeat(len(same), axis=0))
    assert (same[:, 0] != same[:, 1]).all()


@pytest.mark.slow
def test_a_probe_of_classes_that_the_run_does_not_know(new_classes, train_quickly, tmp_path):
    few = train_quickly(
        tmp_path / "few", "data.protocol=ntu60-xview", "optim.epochs=1", store=new_classes
    )
    assert len(few.class_names) == 60
    scorer = Scorer(few, new_classes, "one-shot/probe")
    assert len(scorer.class_names) == scorer.score().scores.shape[1] == 120


def test_a_gallery_without_samples(run, store):
    with pytest.raises(AclnetError, match="has no split"):
        Scorer(run, store, "one-shot/probe")


@pytest.mark.slow
def test_the_command_shows_chance_and_each_new_class(run, new_classes):
    arguments = [str(run.path), "--store", str(new_classes.path), "--accelerator", "cpu"]
    told = CliRunner().invoke(evaluate.command, arguments, catch_exceptions=False).output
    for words in ("one-shot/probe", "chance", "50.0 %", "drink water", "wipe face"):
        assert words in told
    answer = CliRunner().invoke(evaluate.command, [*arguments, "--json"], catch_exceptions=False)
    assert json.loads(answer.stdout)["chance"] == 0.5


def test_chance_is_that_of_the_classes_in_the_gallery(new_classes):
    assert chance(new_classes, new_classes.mask("one-shot/gallery")) == 0.5
    assert chance(new_classes, new_classes.mask("one-shot/train")) == pytest.approx(1 / 3)
