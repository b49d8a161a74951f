"""Batches as the network takes them, against loops over single sequences."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch

from aclnet.datasets.spec import AclnetError
from aclnet.datasets.store.keyed_random import sample_keys
from aclnet.datasets.store.store import Store
from aclnet.pipelines.choices import Missing
from aclnet.pipelines.inputs.augment import AugmentSpec
from aclnet.pipelines.inputs.corruptions.frames import CentredFrames
from aclnet.pipelines.inputs.corruptions.joints import Drop
from aclnet.pipelines.inputs.corruptions.persons import LostPersons
from aclnet.pipelines.inputs.features import make_features
from aclnet.pipelines.inputs.sampling import ClipSampling, UniformSampling
from aclnet.pipelines.steps.normalise import denormalise
from aclnet.runs.config import DataConfig, build_config
from aclnet.runs.inputs import MakeInputs, camera_origin, channels

CPU = torch.device("cpu")
FRAMES = 12
IN_ORDER = {"motion": True, "shuffle": False}


def of(modality: str, **data) -> DataConfig:
    return DataConfig(modality=modality, frames=FRAMES, **data)


def batches(store, sampling, **options):
    return list(store.stream("xsub/train", batch_size=5, sampling=sampling, **options))


def in_a_row(n_frames, keys):
    """The first frames of each sequence."""
    return np.tile(np.arange(FRAMES), (len(keys), 1))


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
    make = MakeInputs(store, of(modality), CPU)
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
    make = MakeInputs(store, of("j"), CPU)
    for batch in batches(store, UniformSampling(FRAMES)):
        inputs = make(batch)
        persons = store.column("n_persons")[batch.sample]
        assert inputs.first_track.tolist() == [0, *np.cumsum(persons).tolist()]


def test_augmentation_is_the_same_for_frames_and_those_that_follow(store):
    """Motion is the difference of augmented frames, each with its own noise."""

    spec = AugmentSpec(rotate=0.5, mirror=0.5, scale=0.2, jitter=0.05, limb_mask=0.5)
    joints, motions = (
        [
            make(batch).tracks
            for make in [MakeInputs(store, of(modality), CPU, spec=spec)]
            for batch in batches(store, in_a_row, motion=make.motion)
        ]
        for modality in ("j", "jm")
    )
    for x, motion in zip(joints, motions, strict=True):
        torch.testing.assert_close(motion[:, :-1], x[:, 1:] - x[:, :-1], rtol=0, atol=1e-5)
        assert x.diff(dim=1).abs().max() > 0.05


@pytest.mark.parametrize("modality", ["j", "b", "k", "jm", "bm", "km"])
def test_one_channel_more_tells_what_is_there(modality, store):
    """A joint with its coordinates, a bone with both its joints, a motion with both its frames."""
    spec = AugmentSpec(joint_mask=1.0, time_mask=1.0)
    joints = MakeInputs(store, of("j"), CPU, spec=spec)
    make = MakeInputs(store, of(modality, presence=True), CPU, spec=spec)
    assert channels(store, of(modality, presence=True)) == 4
    layout = store.layout
    partner = {"j": range(25), "b": layout.bone_parent, "k": layout.kbone_partner}[modality[0]]
    told = set()
    for batch in batches(store, in_a_row, motion=True):
        given = batch if make.motion else replace(batch, following=None)
        there = (joints(given).tracks != 0).any(-1).numpy()[:, :-1]
        after = (joints(given).tracks != 0).any(-1).numpy()[:, 1:]
        found = make(given).tracks[:, :-1, :, 3].numpy()
        for v in range(25):
            expected = there[..., v] & there[..., partner[v]]
            if modality.endswith("m"):
                expected = expected & after[..., v] & after[..., partner[v]]
            assert (found[..., v] == expected).all()
            told |= set(expected.flatten().tolist())
    assert told == {True, False}


@pytest.mark.parametrize("modality", ["b", "k", "bm", "km"])
def test_bones_keep_the_path_of_the_root_on_request(modality, store):
    """The root has its joint instead of a zero, in motions the joint's motion."""
    make, plain = (MakeInputs(store, of(modality, root_path=x), CPU) for x in (True, False))
    joints = MakeInputs(store, of("jm" if make.motion else "j"), CPU)
    root = 20
    assert store.layout.bone_parent[root] == root
    for batch in batches(store, in_a_row, motion=make.motion):
        found, expected = make(batch).tracks, plain(batch).tracks
        assert not expected[:, :, root].any()
        expected[:, :, root] = joints(batch).tracks[:, :, root]
        assert torch.equal(found, expected)
        assert found[:, :, root].any()


@pytest.mark.parametrize("missing", get_args(Missing))
def test_a_dropped_joint_is_told_as_missing_whatever_stands_for_it(missing, store):
    drop = Drop.of("hands", store.layout, missing)
    make = MakeInputs(store, of("j", presence=True), CPU, corruption=drop)
    clean = MakeInputs(store, of("j", presence=True), CPU)
    hands = list(store.layout.parts["hands"])
    for batch in batches(store, UniformSampling(FRAMES)):
        told, before = make(batch).tracks[..., 3], clean(batch).tracks[..., 3]
        assert before[..., hands].any()
        before[..., hands] = 0
        assert torch.equal(told, before)


def test_masks_are_rare_at_the_beginning_of_the_ramp(store):
    spec = AugmentSpec(limb_mask=1.0, ramp=1.0)
    make, plain = MakeInputs(store, of("j"), CPU, spec=spec), MakeInputs(store, of("j"), CPU)
    (batch, *_) = batches(store, UniformSampling(FRAMES))
    assert torch.equal(make(batch, 0.0).tracks, plain(batch).tracks)
    assert not torch.equal(make(batch, 1.0).tracks, plain(batch).tracks)


def test_keys_are_those_of_the_recording(store):
    class WithPieces:
        """The store, but that samples are pieces and variants of two recordings."""

        layout, coordinates, has_score, column = store.layout, 3, False, store.column
        recording_keys = sample_keys(np.array(["one", "two"])[np.arange(len(store)) % 2])

    make = MakeInputs(WithPieces(), of("j"), CPU)
    (first, *_) = batches(store, UniformSampling(FRAMES))
    originals = sample_keys(store.column("original"))
    np.testing.assert_array_equal(store.recording_keys, originals)
    one, two = sample_keys(["one", "two"]).tolist()
    assert make(first).key.tolist() == [(one, two)[s % 2] for s in first.sample.tolist()]


@pytest.mark.parametrize("modality", ["j", "b", "jm", "km"])
@pytest.mark.parametrize("missing", ["centre", "camera", "feature"])
def test_missing_joints_against_masks_on_raw_joints(missing, modality, store):
    """`camera`: zeroed in camera space, then normalised; `centre`: zeroed after that; `feature`:
    zeroed after bones and motions are made."""
    drop = Drop.of("hands+Head", store.layout, missing)
    make = MakeInputs(store, of(modality), CPU, corruption=drop)
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


@pytest.mark.parametrize("modality", ["j", "bm", "km"])
@pytest.mark.parametrize("missing", ["centre", "feature", "hold"])
def test_missing_frames_against_changes_of_whole_recordings(missing, modality, store):
    """The clip has all frames, so that `hold` finds the last one seen.

    A motion whose end is missing is missing too.
    """

    def every_frame(n_frames, keys):
        return np.tile(np.arange(40), (len(keys), 1)) % n_frames[:, None]

    corruption = CentredFrames(60, missing=missing)  # frames 20 to 80
    make = MakeInputs(store, DataConfig(modality=modality, frames=40), CPU, corruption=corruption)
    changed = 0
    for batch in batches(store, every_frame, motion=make.motion, shuffle=False):
        rows = []
        for sample in batch.sample.tolist():
            sequence = store.sequence(sample)
            n = sequence.keypoint.shape[1]
            gone = np.arange(n) >= 20
            for person, there in zip(sequence.keypoint, sequence.present, strict=True):
                joints = person.copy()
                if missing == "centre":
                    joints[gone] = 0
                if missing == "hold":
                    last = joints[np.flatnonzero(there[:20])[-1]] if there[:20].any() else 0
                    joints[gone & there] = last
                feature = naive_feature(joints, store.layout, modality)
                if missing == "feature":
                    ends = gone & there
                    if modality.endswith("m"):
                        ends[:-1] |= ends[1:].copy()
                    feature[ends] = 0
                rows.append(feature[np.arange(40) % n])
                changed += not np.array_equal(joints, person) or missing == "feature"
        np.testing.assert_allclose(make(batch).tracks.numpy(), np.stack(rows), atol=2e-6)
    assert changed > 10


def test_a_lost_person_is_as_if_it_had_never_been_there(store):
    make = MakeInputs(store, of("jm"), CPU, corruption=LostPersons())
    plain = MakeInputs(store, of("jm"), CPU)
    for batch in batches(store, ClipSampling(FRAMES, 2), motion=True, shuffle=False):
        found, all_persons = make(batch), plain(batch)
        first = np.flatnonzero(np.diff(all_persons.owner.numpy(), prepend=-1))
        assert torch.equal(found.tracks, all_persons.tracks[first])
        assert found.owner.tolist() == list(range(2 * len(batch)))
        assert found.first_track.tolist() == list(range(len(batch) + 1))


def test_some_persons_are_absent_for_some_frames(store):
    """Preconditions of the test above, so that it tests presence too."""
    absent = [not store.sequence(i).present.all() for i in range(len(store))]
    assert any(absent)


def test_camera_origin_is_where_the_raw_zero_lies(store):
    origin = camera_origin(store)
    for row in range(len(store)):
        centre, rotation = (store.column(n)[row] for n in ("centre", "rotation"))
        np.testing.assert_allclose(origin[row], rotation @ (0 - centre), rtol=1e-6)
    assert np.linalg.norm(origin, axis=1).min() > 1, "people stand before the camera"


# Gaps in the numbers of frames

SEEN = [0, 1, 2, 7, 8, 300, 301, 310]
"""Numbers of the frames of a recording in which somebody is seen."""


@pytest.fixture(scope="module")
def gap_store(prepare_raw, make_once):
    """One person whose joints move steadily, each at its own speed, and who is not always seen."""

    def fill(folder):
        speed = np.random.default_rng(0).uniform(-0.01, 0.01, (20, 3))
        start = np.random.default_rng(1).uniform(0.5, 1.5, (20, 3))
        frames = np.array(SEEN)[:, None, None]
        rows = [
            ",".join(map(str, [n, *joints.ravel()]))
            for n, joints in zip(SEEN, start + frames * speed, strict=True)
        ]
        raw = folder / "raw"
        raw.mkdir()
        (raw / "a.csv").write_text("\n".join(rows))
        (raw / "index.csv").write_text("id,file,label,split\na,a.csv,walk,train\n")
        (raw / "dataset.toml").write_text('layout = "kinect_v1"')
        np.save(folder / "speed.npy", speed)
        prepare_raw(raw, folder / "gaps.zarr", dataset="custom")

    folder = make_once("gaps", fill)
    return Store(folder / "gaps.zarr"), np.load(folder / "speed.npy")


def every_frame(n_frames, keys):
    return np.tile(np.arange(len(SEEN)), (len(keys), 1))


@pytest.mark.parametrize("modality", ["jm", "bm", "km"])
def test_timed_motion_is_a_speed_across_gaps_too(modality, gap_store):
    store, speed = gap_store
    (batch,) = store.stream("own/train", batch_size=1, sampling=every_frame, **IN_ORDER)
    assert store.sequence("a").frame_index.tolist() == SEEN
    data = DataConfig(modality=modality, frames=len(SEEN), motion="timed")
    found = MakeInputs(store, data, CPU)(batch).tracks[0].numpy()
    wanted = naive_feature(speed[None], store.layout, modality[0])
    np.testing.assert_allclose(found[:-1], np.repeat(wanted, len(SEEN) - 1, 0), atol=1e-5)
    assert not found[-1].any()


def test_motion_to_the_next_frame_of_a_recording_steps_over_gaps(gap_store):
    store, speed = gap_store
    (batch,) = store.stream("own/train", batch_size=1, sampling=every_frame, **IN_ORDER)
    data = DataConfig(modality="jm", frames=len(SEEN), motion="next")
    found = MakeInputs(store, data, CPU)(batch).tracks[0].numpy()
    wanted = np.diff(SEEN)[:, None, None] * speed
    np.testing.assert_allclose(found[:-1], wanted, atol=1e-5)


@pytest.mark.parametrize("modality", ["jm", "bm"])
def test_without_gaps_timed_motion_is_that_to_the_next_frame(modality, pixel_store):
    sampling = ClipSampling(FRAMES, 1)
    options = {"batch_size": 3, "sampling": sampling, "motion": True, "score": True}
    for batch in pixel_store.stream("own/train", shuffle=False, **options):
        batch.elapsed[:] = np.minimum(batch.elapsed, 1)
        timed, following = (
            MakeInputs(pixel_store, of(modality, motion=motion), CPU)(batch).tracks
            for motion in ("timed", "next")
        )
        assert torch.equal(timed, following)


def test_motion_is_timed_where_frames_of_ones_own_may_be_missing():
    """The recipes of published configurations step over missing frames, as the released code."""
    assert {build_config(name).data.motion for name in ("default", "default-2d", "demo")} == {
        "timed"
    }


# Pixels


def pixel_batches(store, clips=2, **options):
    sampling = ClipSampling(FRAMES, clips, "spread")
    return list(store.stream("own/train", batch_size=3, sampling=sampling, score=True, **options))


@pytest.mark.parametrize("modality", ["j", "b", "k", "jm", "bm", "km"])
def test_motion_of_sampled_frames(modality, pixel_store):
    """The difference to the next frame that was sampled, across clips too, and 0 after the last."""
    store = pixel_store
    make = MakeInputs(store, of(modality, motion="sampled"), CPU)
    assert not make.motion
    assert make.score
    for batch in pixel_batches(store):
        joints = torch.from_numpy(batch.keypoint)
        following = torch.cat([joints[:, 1:], joints[:, -1:]], 1)
        wanted = make_features(joints, following, store.layout, modality, scored=True)
        P = len(batch.owner)
        found = make(batch).tracks.view(2, P, FRAMES, 20, 3)
        assert torch.equal(found.transpose(0, 1).flatten(1, 2), wanted)


def test_scores_are_a_channel_unless_they_are_not_wanted(pixel_store, store):
    assert channels(pixel_store, of("j")) == 3
    assert channels(pixel_store, of("j", score=False)) == 2
    assert channels(store, of("j")) == 3
    make = MakeInputs(pixel_store, of("j", score=False), CPU)
    assert not make.score
    sampling = ClipSampling(FRAMES, 1)
    for batch in pixel_store.stream("own/train", batch_size=3, sampling=sampling):
        assert make(batch).tracks.shape[2:] == (20, 2)


def test_pixels_are_mirrored_by_the_width_of_their_image(pixel_store):
    make = MakeInputs(pixel_store, of("j"), CPU, spec=AugmentSpec(mirror=1.0))
    mirror = list(pixel_store.layout.mirror)
    for batch in pixel_batches(pixel_store, clips=1):
        width = pixel_store.column("width")[batch.sample][batch.owner][:, None, None]
        wanted = batch.keypoint.copy()
        wanted[..., 0] = np.where(wanted[..., 0] != 0, width - wanted[..., 0], 0)
        found = make(batch).tracks.numpy()
        np.testing.assert_allclose(found, wanted[:, :, mirror], rtol=1e-6)


def test_mirror_images_of_pixels_without_a_width_are_refused(pixel_store):
    class WithoutWidth:
        layout, coordinates, has_score = pixel_store.layout, 2, True
        attributes, path = pixel_store.attributes, pixel_store.path
        recording_keys = pixel_store.recording_keys

        def column(self, name):
            return np.zeros(len(pixel_store)) if name == "width" else pixel_store.column(name)

    MakeInputs(WithoutWidth(), of("j"), CPU)
    with pytest.raises(AclnetError, match=r"need the width of the image.*retrieval\.flip=false"):
        MakeInputs(WithoutWidth(), of("j"), CPU, flipped=True)
    with pytest.raises(AclnetError, match=r"width and height .*set data\.image_scale=false"):
        MakeInputs(WithoutWidth(), of("j", image_scale=True), CPU)


def test_joints_in_space_have_no_image_to_be_scaled_to(store):
    plain, scaled = (MakeInputs(store, of("j", image_scale=on), CPU) for on in (False, True))
    for batch in store.stream("xsub/test", batch_size=3, sampling=ClipSampling(FRAMES, 1)):
        assert torch.equal(plain(batch).tracks, scaled(batch).tracks)


def test_of_the_last_frame_all_of_a_motion_is_zero(pixel_store):
    """The mean of two confidences too, in layouts where motions carry it."""
    make = MakeInputs(pixel_store, of("jm"), CPU)
    make.layout = pixel_store.layout.model_copy(update={"name": "coco"})
    lasts = 0
    for batch in pixel_batches(pixel_store, motion=True):
        tracks = make(batch).tracks.unflatten(0, (2, -1)).transpose(0, 1).flatten(1, 2)
        is_last = torch.from_numpy(batch.frame == (batch.n_frames - 1)[batch.owner, None])
        assert (tracks[is_last] == 0).all()
        assert (tracks[~is_last][..., 2] != 0).any()
        lasts += is_last.sum().item()
    assert lasts > 0


@pytest.mark.parametrize("missing", get_args(Missing))
def test_a_missing_joint_has_no_confidence(missing, pixel_store):
    drop = Drop.of("hands", pixel_store.layout, missing)
    make = MakeInputs(pixel_store, of("j"), CPU, corruption=drop)
    for batch in pixel_batches(pixel_store, clips=1):
        found = make(batch).tracks.numpy()
        assert not found[:, :, list(drop.joints)].any()
        kept = [v for v in range(20) if v not in drop.joints]
        np.testing.assert_array_equal(found[:, :, kept], batch.keypoint[:, :, kept])
