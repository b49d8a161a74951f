"""Body shape against loops over recordings, scikit-learn, and its own promises."""

from __future__ import annotations

import json
import shutil
from itertools import combinations

import numpy as np
import pytest
import torch
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from aclnet.datasets.spec import AclnetError
from aclnet.pipelines.inputs.corruptions.joints import Drop
from aclnet.prediction.model import Model
from aclnet.retrieval.body_shape import HARDLY, BodyShape, _ledoit_wolf, discriminants, measure
from aclnet.retrieval.embedder import Embedder
from aclnet.retrieval.ranking import sequence_level
from aclnet.runs.config import build_config
from aclnet.runs.inference import Pass
from aclnet.runs.record import record_digest
from aclnet.runs.run import Run

CPU = torch.device("cpu")
FRAMES = 8


def embedder_of(run, store, embedding, **retrieval):
    changed = run.config.retrieval.changed(embedding=embedding, **retrieval)
    return Embedder.of_run(run, store, run.config.model_copy(update={"retrieval": changed}), CPU)


def windows_of(store, row):
    joints = store.sequence(row).keypoint[0].astype(np.float64)
    count = max(1, len(joints) // FRAMES)
    return [joints[w * FRAMES : (w + 1) * FRAMES] for w in range(count)]


def lengths_of(joints, pairs):
    """Medians of each distance over the frames that have both joints, one pair after another."""
    found = []
    for first, second in pairs:
        both = (joints[:, first] != 0).any(1) & (joints[:, second] != 0).any(1)
        distance = [np.sqrt(((f[first] - f[second]) ** 2).sum()) for f in joints[both]]
        found.append(np.median(distance) if distance else np.nan)
    return np.array(found)


def test_lengths_are_medians_of_frames_that_have_both_joints():
    generator = np.random.default_rng(0)
    pairs = np.array([(0, 1), (1, 2), (0, 3)])
    for frames in (1, 6, 7):
        joints = generator.normal(size=(5, frames, 4, 3)).astype(np.float32)
        joints[generator.random((5, frames, 4)) < 0.3] = 0
        joints[2, :, 3] = 0
        x = torch.from_numpy(joints)
        found = measure(x, (x != 0).any(-1), pairs).numpy()
        expected = np.stack([lengths_of(clip, pairs) for clip in joints.astype(np.float64)])
        np.testing.assert_allclose(found, expected, rtol=1e-5)
        assert np.isnan(found[2, 2])


def test_turning_and_moving_a_body_changes_nothing():
    generator = np.random.default_rng(1)
    joints = generator.normal(size=(4, FRAMES, 5, 3))
    turn, _ = np.linalg.qr(generator.normal(size=(3, 3)))
    pairs, there = np.array([*combinations(range(5), 2)]), torch.ones(4, FRAMES, 5, dtype=bool)
    people = np.arange(40) % 8
    shape = BodyShape.fit(pairs, generator.normal(size=(40, len(pairs))), people)
    plain, moved = (
        shape.embedding(measure(torch.from_numpy(x.astype(np.float32)), there, pairs)).numpy()
        for x in (joints, joints @ turn.T + generator.normal(size=3))
    )
    np.testing.assert_allclose(moved, plain, rtol=1e-3, atol=1e-4)
    larger = measure(torch.from_numpy(1.1 * joints), there, pairs)
    assert not np.allclose(shape.embedding(larger.float()).numpy(), plain, atol=0.01)


def test_discriminants_are_those_of_scikit_learn():
    generator = np.random.default_rng(2)
    people = np.repeat(np.arange(5), (4, 9, 12, 7, 8))
    values = generator.normal(size=(40, 6)) @ generator.normal(size=(6, 6))
    values += 2 * generator.normal(size=(5, 6))[people]
    values -= values.mean(0)
    theirs = LinearDiscriminantAnalysis(solver="eigen").fit(values, people)
    found = discriminants(values, people, shrinkage=0.0)
    assert found.shape == (6, 4)
    np.testing.assert_allclose(np.abs(found), np.abs(theirs.scalings_[:, :4]), rtol=1e-6)
    centres = np.stack([values[people == p].mean(0) for p in range(5)])
    within = values - centres[people]
    share = ledoit_wolf_shrinkage(within, assume_centered=True)
    assert 0 < share < 1
    assert _ledoit_wolf(within, within.T @ within / 40) == pytest.approx(share)
    shrunk = discriminants(values, people)
    expected = discriminants(values, people, shrinkage=share)
    np.testing.assert_allclose(shrunk, expected, rtol=1e-6)
    assert not np.allclose(shrunk, found, rtol=0.01)


def test_people_with_one_recording_each_and_lengths_without_variation():
    """Nothing is known of the variation within people, and of a length that is always the same."""
    lengths = np.random.default_rng(3).normal(size=(6, 4))
    lengths[:, 3] = 0.25
    pairs = np.array([(0, 1), (0, 2), (1, 2), (0, 3)])
    shape = BodyShape.fit(pairs, lengths, np.arange(6))
    assert np.isfinite(shape.directions).all()
    changed = torch.from_numpy(lengths.astype(np.float32))
    plain = shape.embedding(changed)
    changed[:, 3] += 1
    torch.testing.assert_close(shape.embedding(changed), plain)
    with pytest.raises(ValueError, match="two people"):
        BodyShape.fit(pairs, lengths, np.zeros(6, np.int64))


@pytest.mark.slow
def test_a_run_keeps_the_shape_of_those_who_train_alone(reid_run, reid_store):
    """Against loops over the originals that train: variants, gallery and probes are not used."""
    shape, layout = BodyShape.of_run(reid_run), reid_store.layout
    side = f"{reid_run.protocol}/train"
    rows = np.flatnonzero(reid_store.mask(side) & (reid_store.column("variant") == 0)).tolist()
    assert 0 < len(rows) < reid_store.mask(side).sum()
    expected = []
    for pair in combinations(range(layout.num_joints), 2):
        deviations = []
        for row in rows:
            joints = reid_store.sequence(row).keypoint[0].astype(np.float64)
            length = np.linalg.norm(joints[:, pair[0]] - joints[:, pair[1]], axis=1)
            deviations.append(length.std() / length.mean() if length.any() else np.nan)
        bone = layout.bone_parent[pair[0]] == pair[1] or layout.bone_parent[pair[1]] == pair[0]
        if bone or np.nanmedian(deviations) < HARDLY:
            expected.append(pair)
    assert [tuple(pair) for pair in shape.pairs.tolist()] == expected
    assert layout.num_joints - 1 < len(expected) < layout.num_joints * (layout.num_joints - 1) / 2
    windows = [(row, window) for row in rows for window in windows_of(reid_store, row)]
    lengths = np.stack([lengths_of(window, expected) for _, window in windows])
    np.testing.assert_allclose(shape.mean, np.nanmean(lengths, 0), rtol=1e-5)
    people = reid_store.column("label")[[row for row, _ in windows]].astype(np.int64)
    again = BodyShape.fit(shape.pairs, lengths.astype(np.float32), people)
    np.testing.assert_allclose(again.directions, shape.directions, rtol=0.01, atol=1e-3)
    assert shape.width == 3, "four people"
    assert reid_run.record.files.keys() >= {"shape.npz"}


@pytest.mark.slow
def test_a_window_is_the_unit_vector_of_its_lengths(reid_run, reid_store):
    shape, mask = BodyShape.of_run(reid_run), reid_store.mask("a/probe")
    found = embedder_of(reid_run, reid_store, "shape").windows(reid_store, mask)
    place = {sample_id: row for row, sample_id in enumerate(reid_store.column("id").tolist())}
    lengths = np.stack(
        [
            lengths_of(window, shape.pairs)
            for sample_id in dict.fromkeys(found.ids.tolist())
            for window in windows_of(reid_store, place[sample_id])
        ]
    )
    vectors = np.nan_to_num((lengths - shape.mean) / shape.scale) @ shape.directions
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(found.vectors, vectors, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("flip", [False, True])
def test_joined_are_unit_vectors_of_both(flip, reid_run, reid_store, assert_alike):
    mask = reid_store.mask("a/gallery")
    shape, pooled, joined = (
        embedder_of(reid_run, reid_store, name, flip=flip).windows(reid_store, mask).vectors
        for name in ("shape", "pooled", "shape+pooled")
    )
    width = shape.shape[1]
    assert joined.shape == (len(shape), width + pooled.shape[1])
    assert_alike(joined[:, :width], shape / np.linalg.norm(shape, axis=1, keepdims=True))
    motion = joined[:, width:]
    np.testing.assert_allclose(np.linalg.norm(motion, axis=1), 1, rtol=1e-5)
    if not flip:  # else it is the mean of two unit vectors
        assert_alike(motion, pooled / np.linalg.norm(pooled, axis=1, keepdims=True))


@pytest.mark.slow
def test_parts_of_a_sequence_are_unit_vectors_too(reid_run, reid_store):
    """Means of the windows, and of clips, part by part against numpy."""
    mask = reid_store.mask("a/gallery")
    embedder = embedder_of(reid_run, reid_store, "shape+pooled")
    windows = embedder.windows(reid_store, mask)
    assert len(windows.parts) == 2
    assert sum(windows.parts) == windows.vectors.shape[1]
    for found in (sequence_level(windows), embedder.sequences(reid_store, mask, clips=3)):
        for part in np.split(found.vectors, [windows.parts[0]], axis=1):
            np.testing.assert_allclose(np.linalg.norm(part, axis=1), 1, rtol=1e-5)
    recordings = sequence_level(windows)
    for row in (recordings[n : n + 1] for n in range(3)):
        mean = windows.vectors[windows.ids == row.ids[0]].mean(0)
        expected = [p / np.linalg.norm(p) for p in np.split(mean, [windows.parts[0]])]
        np.testing.assert_allclose(row.vectors[0], np.concatenate(expected), atol=1e-5)


@pytest.mark.slow
def test_one_recording_has_the_same_vector_alone_and_in_a_model(reid_run, reid_store, assert_alike):
    run = Run(reid_run.path)
    retrieval = run.config.retrieval.changed(embedding="shape+pooled")
    run.config = run.config.model_copy(update={"retrieval": retrieval})
    mask = reid_store.mask("a/probe")
    together = Embedder.of_run(run, reid_store, run.config, CPU)(reid_store, mask)
    recordings = sequence_level(together)
    embedder, model = Embedder.of_run(run, reid_store, run.config, CPU), Model([run])
    for row in np.flatnonzero(mask)[:3].tolist():
        of = reid_store.column("id")[row]
        alone = embedder(reid_store, np.arange(len(reid_store)) == row)
        assert_alike(alone.vectors, together.vectors[together.ids == of])
        sequence = reid_store.sequence(row)
        assert_alike(model.embed(sequence), recordings.vectors[recordings.ids == of][0])


@pytest.mark.slow
@pytest.mark.parametrize("missing", ["centre", "feature", "hold", "camera"])
def test_lengths_of_missing_joints_count_as_the_mean(missing, reid_run, reid_store):
    store, shape, mask = reid_store, BodyShape.of_run(reid_run), reid_store.mask("a/probe")
    embedder = embedder_of(reid_run, store, "shape")
    arm = store.layout.resolve("left_arm")
    found = embedder.windows(store, mask, how=Pass(Drop(arm, missing=missing)))
    place = {sample_id: row for row, sample_id in enumerate(store.column("id").tolist())}
    row = place[str(found.ids[0])]
    lengths = lengths_of(windows_of(store, row)[0], shape.pairs)
    gone = np.isin(shape.pairs, arm).any(axis=1)
    assert 0 < gone.sum() < len(gone)
    vector = np.where(gone, 0, (lengths - shape.mean) / shape.scale) @ shape.directions
    np.testing.assert_allclose(found.vectors[0], vector / np.linalg.norm(vector), atol=1e-3)
    everything = Drop(tuple(range(store.layout.num_joints)), missing=missing)
    assert not embedder.windows(store, mask, how=Pass(everything)).vectors.any()


# Runs and settings that have no shape


@pytest.fixture
def copied(reid_run, tmp_path):
    return Run(shutil.copytree(reid_run.path, tmp_path / "copy"))


@pytest.mark.slow
def test_a_run_of_an_earlier_version_is_refused(copied, reid_store):
    (copied.path / "shape.npz").unlink()
    with pytest.raises(AclnetError, match=r"shape\.npz is missing; restore it"):
        embedder_of(copied, reid_store, "shape")
    record = json.loads((copied.path / "run.json").read_text())
    del record["files"]["shape.npz"], record["sha256"]
    text = json.dumps({**record, "sha256": record_digest(record)})
    (copied.path / "run.json").write_text(text)
    old = Run(copied.path)
    for embedding in ("shape", "shape+pooled"):
        with pytest.raises(AclnetError, match=r"no body shape.*train it again.*--embedding pooled"):
            embedder_of(old, reid_store, embedding)
    mask = reid_store.mask("a/probe")
    assert len(embedder_of(old, reid_store, "pooled")(reid_store, mask))


def test_a_changed_shape_is_refused(copied, reid_store):
    file = copied.path / "shape.npz"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(AclnetError, match=r"shape\.npz differs from what was written"):
        embedder_of(copied, reid_store, "shape")


def test_joints_in_images_have_no_shape(gait_run, gait_store, train_quickly, tmp_path):
    assert gait_run.load_shape() is None
    with pytest.raises(AclnetError, match="no body shape: its joints have two coordinates"):
        embedder_of(gait_run, gait_store, "shape+pooled")
    settings = ("task=gait", "data.sampling=consecutive", "retrieval.embedding=shape+pooled")
    with pytest.raises(AclnetError, match="needs joints in metres"):
        train_quickly(tmp_path / "run", *settings, store=gait_store)
    assert not (tmp_path / "run").exists()


def test_actions_have_no_shape():
    with pytest.raises(AclnetError, match=r"shape compares bodies.*task=gait or reid"):
        build_config("default", ["retrieval.embedding=shape"])
    with pytest.raises(AclnetError, match=r"shape\+both is trained by the intra-class"):
        build_config("reid", ["retrieval.embedding=shape+both", "loss.terms=ce"])
