"""A model predicts what `evaluate` scores, whatever recordings are given as."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from aclnet.datasets.spec import AclnetError, AclnetWarning
from aclnet.datasets.store.store import Store
from aclnet.evaluation.scorer import score
from aclnet.prediction.model import Model, load
from aclnet.retrieval.embedder import Embedder
from aclnet.runs.network import load_model
from aclnet.runs.run import Run
from aclnet.runs.scores import Scores

CPU = torch.device("cpu")


def by_id(predictions):
    return {one.id: one.probabilities for one in predictions}


@pytest.mark.slow
def test_recordings_have_the_scores_that_evaluate_gives_them(known):
    """Scores were written by the training, which read the store from disk."""
    expected = Scores.load(known.run.test_scores)
    found = by_id(known.model.predict(known.raw))
    assert len(found) == len(known.store)
    for sample_id, scores in zip(expected.ids.tolist(), expected.scores, strict=True):
        np.testing.assert_allclose(found[sample_id], scores, atol=1e-5)


def test_a_store_is_read_in_its_own_space(known):
    """From where it is normalised again."""
    expected = Scores.load(known.run.test_scores)
    found = by_id(known.model.predict(known.store.path))
    for sample_id, scores in zip(expected.ids.tolist(), expected.scores, strict=True):
        np.testing.assert_allclose(found[sample_id], scores, atol=1e-5)


@pytest.mark.slow
def test_real_recordings_have_the_scores_of_their_store(ntu, real_data, prepare_raw, tmp_path):
    raw = real_data / "ntu_raw"
    prepare_raw(raw, tmp_path / "s.zarr")
    store = Store(tmp_path / "s.zarr")
    expected = score(
        load_model(ntu.run), store, np.ones(len(store), bool), ntu.run.config.data, CPU
    )
    found = by_id(ntu.model.predict(raw))
    assert len(found) == len(expected) > 3
    for sample_id, scores in zip(expected.ids.tolist(), expected.scores, strict=True):
        np.testing.assert_allclose(found[sample_id], scores, atol=1e-5)


def test_an_imported_2d_network_predicts_what_evaluate_scores(zoo, tmp_path, change_record):
    """The dataset of the import has joints in space, but the network takes pixels."""
    older = shutil.copytree(zoo.run.path, tmp_path / "run")
    change_record(older, preparation=None)
    data, everything = zoo.run.config.data, np.ones(len(zoo.store), bool)
    expected = score(load_model(zoo.run), zoo.store, everything, data, CPU, clips=1)
    for run in (zoo.run.path, older):
        model = load(run, clips=1, accelerator="cpu")
        found = by_id(model.predict(model.read(zoo.raw, dataset="finegym")))
        for sample_id, scores in zip(expected.ids.tolist(), expected.scores, strict=True):
            np.testing.assert_allclose(found[sample_id], scores, atol=1e-5)


def test_pixels_are_not_cleaned_like_the_bodies_of_a_sensor(zoo, tmp_path):
    """NTU's step, for joints in space, rejects short bodies."""
    joints = np.random.default_rng(0).uniform(50, 400, (2, 10, 17, 3)).astype(np.float32)
    np.save(tmp_path / "short.npy", joints)
    (found,) = zoo.model.read(tmp_path / "short.npy")
    np.testing.assert_array_equal(found.keypoint, joints[..., :2])


def test_one_file_is_enough(ntu):
    file = next(ntu.raw.glob("*.skeleton"))
    (found,) = ntu.model.predict(file)
    assert found.id == file.stem
    np.testing.assert_allclose(
        found.probabilities, by_id(ntu.model.predict(ntu.raw))[found.id], atol=1e-5
    )


def joints_of(sequence):
    """(M, T, V, C) coordinates, with the confidence as the last one where there is one."""
    if sequence.score is None:
        return sequence.keypoint
    return np.concatenate([sequence.keypoint, sequence.score[..., None]], axis=-1)


def test_arrays_in_files_need_no_index_and_nothing_that_tells_their_joints(
    known, tmp_path, assert_alike
):
    """Layout and units are those of the run: metres of a Kinect, or pixels with confidences."""
    joints = joints_of(known.model.read(known.raw)[0])[:1]
    expected = known.model.predict(joints).probabilities
    (tmp_path / "deep").mkdir()
    np.save(tmp_path / "deep" / "walk.npy", joints)
    (found,) = known.model.predict(tmp_path)
    assert found.id == "deep/walk"
    assert_alike(found.probabilities, expected)
    (alone,) = known.model.predict(tmp_path / "deep" / "walk.npy")
    assert alone.id == "walk"
    assert_alike(alone.probabilities, expected)


def test_sequences_arrays_and_lists_are_the_same_recording(known, assert_alike):
    model = known.model
    sequences = model.read(known.raw)[:3]
    found = model.predict(sequences)
    assert [one.id for one in found] == [s.sample_id for s in sequences]
    for sequence, expected in zip(sequences, found, strict=True):
        joints = joints_of(sequence)
        assert_alike(model.predict(sequence).probabilities, expected.probabilities)
        assert_alike(model.predict(joints).probabilities, expected.probabilities)
        if len(joints) == 1:
            assert_alike(model.predict(joints[0]).probabilities, expected.probabilities)


def test_the_best_classes_come_first_with_their_family(ntu):
    model = ntu.model
    found = model.predict(ntu.raw)[0]
    top = found.top(60)
    assert [p for _, p in top] == sorted(found.probabilities.tolist(), reverse=True)
    assert top[0] == (found.label, found.probability)
    assert model.classes[int(found.probabilities.argmax())] == found.label
    last = ntu.run.history.read("family", -1)
    own = model.classes.index(found.label)
    assert {*found.family} == {model.classes[c] for c in np.flatnonzero(last[own])}


@pytest.mark.slow
def test_several_runs_are_the_weighted_mean(ntu, train_once, assert_alike):
    other = train_once("bones", "data.modality=b", "optim.epochs=1")
    paths = [ntu.run.path, other.path]
    file = next(ntu.raw.glob("*.skeleton"))
    first, second = (load(p, accelerator="cpu").predict(file)[0].probabilities for p in paths)
    together = load(paths, weights=[3, 1], accelerator="cpu").predict(file)[0].probabilities
    assert_alike(together, 0.75 * first + 0.25 * second)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0], "1 weights for 2 runs"),
        ([-1.0, 2.0], "must not be negative"),
        ([0.0, 0.0], "not all of them 0"),
        ([float("nan"), 1.0], "must not be negative"),
    ],
)
def test_weights_that_are_none_are_refused(weights, message, ntu):
    with pytest.raises(AclnetError, match=message):
        Model([ntu.run, ntu.run], weights, accelerator="cpu")


def test_runs_of_other_classes_are_no_ensemble(ntu, openpose):
    with pytest.raises(AclnetError, match="differ in their classes"):
        Model([ntu.run, openpose.run], accelerator="cpu")


@pytest.mark.slow
def test_embeddings_are_those_of_the_store(known, assert_alike):
    """In the order in which recordings are read, which is not that of the store."""
    run, store = known.run, known.store
    expected = Embedder.of_run(run, store, run.config, CPU)(store, np.ones(len(store), bool))
    vectors = dict(zip(expected.ids.tolist(), expected.vectors, strict=True))
    sequences = known.model.read(known.raw)
    found = known.model.embed(sequences)
    assert_alike(found, np.array([vectors[s.sample_id] for s in sequences]))
    assert_alike(known.model.embed(sequences[1]), found[1])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones((5, 25)), r"\(T, V, C\) or \(M, T, V, C\) is expected"),
        (np.ones((5, 20, 3)), "20 joints with 3 coordinates; run .* was trained on"),
        (np.ones((5, 25, 2)), "25 joints with 2 coordinates"),
        (np.zeros((5, 25, 3)), "shows no person"),
        (np.full((5, 25, 3), np.nan), "shows no person"),
        (np.full((5, 25, 3), np.inf), "infinite"),
    ],
)
def test_arrays_that_are_no_input_are_refused(array, message, ntu):
    with pytest.raises(AclnetError, match=message):
        ntu.model.predict(array)


def test_arrays_are_refused_where_the_run_scales_joints_to_the_image(zoo):
    with pytest.raises(AclnetError, match="arrays and streams do not have them"):
        zoo.model.predict(np.ones((5, 17, 3)))
    with pytest.raises(AclnetError, match="arrays and streams do not have them"):
        zoo.model.stream(window=5)


def test_a_recording_without_confidences_is_refused_where_the_run_takes_them(openpose):
    (sequence, *_) = openpose.model.read(openpose.raw)
    sequence.score = None
    with pytest.raises(AclnetError, match="no confidences"):
        openpose.model.predict(sequence)


@pytest.mark.slow
def test_a_run_that_recognises_people_has_no_classes_but_embeddings(gait_run, gait_store):
    model = Model([gait_run], accelerator="cpu")
    with pytest.raises(AclnetError, match="recognises people"):
        model.predict(np.ones((4, 17, 3)))
    expected = Embedder.of_run(gait_run, gait_store, gait_run.config, CPU)
    rows = np.arange(len(gait_store)) == 3
    raw = gait_store.path.parent / "raw"
    wanted = str(gait_store.column("id")[3])
    (sequence,) = [s for s in model.read(raw) if s.sample_id == wanted]
    found = model.embed(sequence)
    np.testing.assert_allclose(found, expected(gait_store, rows).vectors[0], atol=1e-4)


def test_damaged_recordings_are_warnings_unless_all_are(ntu, tmp_path):
    names = ("S001C001P001R001A001", "S001C001P001R001A003")
    source = next(ntu.raw.glob("*.skeleton")).read_bytes()
    (tmp_path / f"{names[0]}.skeleton").write_bytes(source[: len(source) // 2])
    with pytest.raises(AclnetError, match="no recording can be used"):
        ntu.model.predict(tmp_path)
    (tmp_path / f"{names[1]}.skeleton").write_bytes(source)
    with pytest.warns(AclnetWarning, match=names[0]):
        (found,) = ntu.model.predict(tmp_path)
    assert found.id == names[1]


@pytest.mark.slow
def test_runs_of_earlier_versions_ask_their_store(ntu, tmp_path, change_record):
    """They did not record how the store was prepared."""
    copy = tmp_path / "run"
    shutil.copytree(ntu.run.path, copy)
    change_record(copy, preparation=None)
    file = next(ntu.raw.glob("*.skeleton"))
    (expected,) = ntu.model.predict(file)
    (found,) = load(copy, accelerator="cpu").predict(file)
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)
    assert Run(copy).record.preparation is None
