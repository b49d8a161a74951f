"""Batches as the network takes them, against loops over single sequences."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aclnet.datasets.random import sample_keys
from aclnet.inputs import MakeInputs, camera_origin
from aclnet.pipelines.augment import AugmentSpec
from aclnet.pipelines.normalise import denormalise
from aclnet.pipelines.occlusion import Drop
from aclnet.pipelines.sampling import ClipSampling, UniformSampling

CPU = torch.device("cpu")
FRAMES = 12


def batches(store, sampling, **options):
    return list(store.stream("xsub/train", batch_size=5, sampling=sampling, **options))


def naive_feature(joints: np.ndarray, layout, modality: str) -> np.ndarray:
    """(T, V, C) one person's feature over the whole recording."""
    partner = {"j": None, "b": layout.bone_parent, "k": layout.kbone_partner}[modality[0]]
    still = joints.copy()
    for v in range(layout.num_joints):
        if partner is not None:
            still[:, v] = joints[:, v] - joints[:, partner[v]]
    if modality.endswith("m"):
        moved = np.zeros_like(still)
        moved[:-1] = still[1:] - still[:-1]
        return moved
    return still


@pytest.mark.parametrize("modality", ["j", "b", "k", "jm", "bm", "km"])
@pytest.mark.parametrize("clips", [1, 3])
def test_tracks_are_the_persons_of_each_clip(modality, clips, store):
    make = MakeInputs(store, modality, FRAMES, CPU)
    for batch in batches(store, ClipSampling(FRAMES, clips), motion=make.motion, shuffle=False):
        inputs = make(batch)
        rows, owners = [], []
        for clip in range(clips):
            for b, sample in enumerate(batch.sample.tolist()):
                sequence = store.sequence(sample)
                track = int(np.flatnonzero(batch.owner == b)[0])
                frames = batch.frame[track, clip * FRAMES : (clip + 1) * FRAMES]
                for person in sequence.keypoint:
                    rows.append(naive_feature(person, store.layout, modality)[frames])
                    owners.append(clip * len(batch) + b)
        np.testing.assert_allclose(inputs.tracks.numpy(), np.stack(rows), atol=1e-6)
        assert inputs.owner.tolist() == owners
        assert inputs.label.tolist() == store.column("label")[batch.sample].tolist()
        assert len(inputs) == len(batch)


def test_first_track_of_each_sample(store):
    make = MakeInputs(store, "j", FRAMES, CPU)
    for batch in batches(store, UniformSampling(FRAMES)):
        inputs = make(batch)
        persons = store.column("n_persons")[batch.sample]
        assert inputs.first_track.tolist() == [0, *np.cumsum(persons).tolist()]


def test_augmentation_is_the_same_for_frames_and_those_that_follow(store):
    """Motion is the difference of augmented frames, each with its own noise."""

    def consecutive(n_frames, keys):
        return np.tile(np.arange(FRAMES), (len(keys), 1))

    spec = AugmentSpec(rotate=0.5, mirror=0.5, scale=0.2, jitter=0.05, limb_mask=0.5)
    joints, motions = (
        [
            make(batch).tracks
            for make in [MakeInputs(store, modality, FRAMES, CPU, spec=spec)]
            for batch in batches(store, consecutive, motion=make.motion)
        ]
        for modality in ("j", "jm")
    )
    for x, motion in zip(joints, motions, strict=True):
        torch.testing.assert_close(motion[:, :-1], x[:, 1:] - x[:, :-1], rtol=0, atol=1e-5)
        assert x.diff(dim=1).abs().max() > 0.05


def test_keys_are_those_of_the_recording(store):
    class WithPieces:
        """The store, but that samples are pieces and variants of two recordings."""

        layout = store.layout

        def column(self, name):
            if name == "original":
                return np.array(["one", "two"])[np.arange(len(store)) % 2]
            return store.column(name)

    make = MakeInputs(WithPieces(), "j", FRAMES, CPU)
    (first, *_) = batches(store, UniformSampling(FRAMES))
    one, two = sample_keys(["one", "two"]).tolist()
    assert make(first).key.tolist() == [(one, two)[s % 2] for s in first.sample.tolist()]


@pytest.mark.parametrize("modality", ["j", "b", "jm", "km"])
@pytest.mark.parametrize("missing", ["centre", "camera", "feature"])
def test_missing_joints_against_masks_on_raw_joints(missing, modality, store):
    """`camera`: zeroed in camera space, then normalised; `centre`: zeroed after that; `feature`:
    zeroed after bones and motions are made."""
    drop = Drop.of("hands+Head", store.layout, missing)
    make = MakeInputs(store, modality, FRAMES, CPU, corruption=drop)
    gone = list(drop.joints)
    assert len(gone) == 9
    for batch in batches(store, ClipSampling(FRAMES, 1), motion=make.motion, shuffle=False):
        rows = []
        for b, sample in enumerate(batch.sample.tolist()):
            sequence = store.sequence(sample)
            centre, rotation = (store.column(n)[sample] for n in ("centre", "rotation"))
            frames = batch.frame[int(np.flatnonzero(batch.owner == b)[0])]
            raw = denormalise(sequence.keypoint, sequence.present, centre, rotation)
            for person, there in zip(raw, sequence.present, strict=True):
                person = person.copy()
                if missing == "camera":
                    person[:, gone] = 0
                joints = ((person - centre) @ rotation.T) * there[:, None, None]
                if missing == "centre":
                    joints[:, gone] = 0
                feature = naive_feature(joints, store.layout, modality)
                if missing == "feature":
                    feature[:, gone] = 0
                rows.append(feature[frames])
        np.testing.assert_allclose(make(batch).tracks.numpy(), np.stack(rows), atol=2e-5)


def test_some_persons_are_absent_for_some_frames(store):
    """What the test above needs to be about presence too."""
    absent = [not store.sequence(i).present.all() for i in range(len(store))]
    assert any(absent)


def test_camera_origin_is_where_the_raw_zero_lies(store):
    origin = camera_origin(store)
    for row in range(len(store)):
        centre, rotation = (store.column(n)[row] for n in ("centre", "rotation"))
        np.testing.assert_allclose(origin[row], rotation @ (0 - centre), rtol=1e-6)
    assert np.linalg.norm(origin, axis=1).min() > 1, "people stand before the camera"
