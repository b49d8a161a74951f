"""Normalisation: PreNormalize3D's results, its way back, and what it must never do to zeros."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from aclnet.datasets.spec import AclnetError
from aclnet.datasets.spec.layouts import get_layout
from aclnet.pipelines.steps.normalise import (
    denormalise,
    normalisation_name,
    normalise,
)

NTU = get_layout("nturgb+d")
SPINE_MID = 1
REAL = [f"S001C001P001R001A00{a}" for a in range(1, 7)] + ["S001C003P008R002A058"]
TRICKY = [
    "long",
    "very_long_two",
    "short",
    "frames_without_first",
    "second_seen_longer",
    "zero_joints",
    "empty_second",
]


@st.composite
def recordings(draw, max_persons=3):
    """(keypoint, present) of people in camera space with missing joints and absent frames."""
    persons, frames = draw(st.integers(1, max_persons)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    present = rng.random((persons, frames)) < draw(st.sampled_from([0.3, 0.8, 1.0]))
    keypoint = rng.normal([0, 0, 3], 0.5, (persons, frames, 25, 3)).astype(np.float32)
    keypoint[rng.random(keypoint.shape[:3]) < draw(st.sampled_from([0, 0.2]))] = 0
    return keypoint * present[..., None, None], present


def person(frames=4, seed=0):
    """(1, frames, 25, 3) of somebody three metres away."""
    rng = np.random.default_rng(seed)
    return rng.normal([0, 0, 3], 0.5, (1, frames, 25, 3)).astype(np.float32)


def everywhere(keypoint):
    return np.ones(keypoint.shape[:2], bool)


def missing(keypoint):
    return (keypoint == 0).all(axis=-1)


def presence_from_zeros(keypoint):
    """A person whose joints all lie at zero is absent, as PYSKL takes it: to numpy's closeness."""
    return ~np.isclose(keypoint, 0).all(axis=(2, 3))


def rounded(keypoint):
    return keypoint.astype(np.float16).astype(np.float32)


@pytest.mark.parametrize("sample", REAL)
def test_real_recordings_match_the_official_code(goldens, sample):
    with np.load(goldens / "ntu_preprocess.npz") as golden:
        raw = rounded(golden[f"{sample}/raw"])
        plain, aligned = golden[f"{sample}/prenorm"], golden[f"{sample}/prenorm_aligned"]
    present = presence_from_zeros(raw)
    # the official code subtracts in float16, which is float32 subtraction rounded
    np.testing.assert_array_equal(rounded(normalise(raw, present, NTU).keypoint), plain)
    ours = normalise(raw, present, NTU, align=True).keypoint
    np.testing.assert_allclose(ours, aligned, rtol=0, atol=2e-3)


@pytest.mark.parametrize("sample", TRICKY)
@pytest.mark.parametrize(("align", "key"), [(False, "prenorm"), (True, "prenorm_aligned")])
def test_tricky_recordings_match_the_official_code(goldens, sample, align, key):
    with np.load(goldens / "preprocess_tricky.npz") as golden:
        raw, expected = golden[f"{sample}/input"], golden[f"{sample}/{key}"]
    result = normalise(raw, presence_from_zeros(raw), NTU, align=align)
    assert result.keypoint.dtype == np.float32
    np.testing.assert_allclose(result.keypoint, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("sample", REAL)
@pytest.mark.parametrize("align", [False, True])
def test_camera_space_of_real_recordings_comes_back(goldens, sample, align):
    with np.load(goldens / "ntu_preprocess.npz") as golden:
        raw = rounded(golden[f"{sample}/raw"])  # coarse, so that joints do meet the origin
    result = normalise(raw, presence_from_zeros(raw), NTU, align=align)
    back = denormalise(result.keypoint, result.present, result.centre, result.rotation)
    np.testing.assert_allclose(back, raw[result.order][:, result.kept], rtol=0, atol=1e-6)


@given(recording=recordings(), align=st.booleans())
@settings(deadline=None)
def test_camera_space_comes_back_and_missing_joints_stay_missing(recording, align):
    keypoint, present = recording
    result = normalise(keypoint, present, NTU, align=align)
    expected = keypoint[result.order][:, result.kept]
    np.testing.assert_array_equal(missing(result.keypoint), missing(expected))
    np.testing.assert_array_equal(result.present, present[result.order][:, result.kept])
    back = denormalise(result.keypoint, result.present, result.centre, result.rotation)
    assert back.dtype == np.float32
    np.testing.assert_array_equal(missing(back), missing(expected))
    np.testing.assert_allclose(back, expected, rtol=0, atol=5e-6)


@given(recording=recordings(max_persons=4))
@settings(deadline=None)
def test_the_main_person_is_the_one_of_the_first_two_seen_longer(recording):
    keypoint, present = recording
    result = normalise(keypoint, present, NTU)
    counts = present.sum(axis=1)
    swapped = len(counts) > 1 and counts[1] > counts[0]
    main = 1 if swapped else 0
    if counts[main] == 0:
        np.testing.assert_array_equal(result.keypoint, keypoint)
        np.testing.assert_array_equal(result.kept, np.arange(present.shape[1]))
    assume(counts[main])
    assert result.order.tolist() == ([1, 0] if swapped else [0, 1])[: len(counts)] + list(
        range(2, len(counts))
    )
    assert result.kept.tolist() == [t for t in range(present.shape[1]) if present[main, t]]
    assert result.present[0].all()


@given(recording=recordings())
@settings(deadline=None)
def test_all_persons_and_frames_move_by_the_same_vector(recording):
    keypoint, present = recording
    result = normalise(keypoint, present, NTU)
    assume(result.present[0].any())
    raw = keypoint[result.order][:, result.kept]
    np.testing.assert_array_equal(result.centre, raw[0, 0, SPINE_MID])
    moved = np.where(missing(raw)[..., None], 0, raw - result.centre)
    np.testing.assert_allclose(result.keypoint, moved, rtol=0, atol=1e-8)


def test_presence_tells_who_is_there_not_the_zeros():
    keypoint = person(frames=3)
    keypoint[0, 1] = 0  # there, with every joint hidden
    result = normalise(keypoint, np.array([[True, True, False]]), NTU)
    assert result.kept.tolist() == [0, 1]


def test_presence_from_zeros_ignores_what_isclose_does():
    keypoint = np.zeros((2, 3, 25, 3), np.float32)
    keypoint[0, 1, 24, 2] = 1e-3
    keypoint[1, 2, 0, 0] = -1e-3
    keypoint[1, 0, 0, 0] = 1e-9
    assert presence_from_zeros(keypoint).tolist() == [[False, True, False], [False, False, True]]


def test_a_joint_on_the_origin_is_not_a_missing_one():
    keypoint = person()
    keypoint[0, 2, 7] = keypoint[0, 0, SPINE_MID]
    result = normalise(keypoint, everywhere(keypoint), NTU)
    assert not missing(result.keypoint).any()
    assert abs(result.keypoint[0, [0, 2], [SPINE_MID, 7]]).max() < 1e-6


def test_a_missing_centre_joint_leaves_the_recording_where_it_is():
    keypoint = person()
    keypoint[0, 0, SPINE_MID] = 0
    result = normalise(keypoint, everywhere(keypoint), NTU)
    np.testing.assert_array_equal(result.keypoint, keypoint)
    np.testing.assert_array_equal(result.centre, 0)


@given(recording=recordings(max_persons=4))
@settings(deadline=None)
def test_twice_is_once(recording):
    once = normalise(*recording, NTU)
    if once.present[0].any():  # else nobody is there in the frames that would count
        assert normalise(once.keypoint, once.present, NTU).centre.tolist() == [0, 0, 0]
    twice = normalise(once.keypoint, once.present, NTU)
    assert twice.keypoint.tobytes() == once.keypoint.tobytes()
    np.testing.assert_array_equal(twice.present, once.present)
    assert twice.kept.tolist() == list(range(once.present.shape[1]))
    assert twice.order.tolist() == list(range(len(once.present)))


def test_the_input_is_left_alone():
    keypoint = person()
    before = keypoint.copy()
    normalise(keypoint, everywhere(keypoint), NTU, align=True)
    np.testing.assert_array_equal(keypoint, before)


@given(seed=st.integers(0, 2**32))
@example(seed=445)
@settings(deadline=None)
def test_alignment_is_the_two_smallest_rotations(seed):
    keypoint = person(seed=seed)
    result = normalise(keypoint, everywhere(keypoint), NTU, align=True)
    centred = keypoint - keypoint[0, 0, 1]  # in float32, as the result is
    first = centred[0, 0].astype(np.float64)

    def smallest(vector, target):
        axis = np.cross(vector, target)
        angle = np.arctan2(np.linalg.norm(axis), vector @ target)
        return Rotation.from_rotvec(axis / np.linalg.norm(axis) * angle)

    upright = smallest(first[1] - first[0], [0, 0, 1])
    facing = smallest(upright.apply(first[8] - first[4]), [1, 0, 0])
    np.testing.assert_allclose(result.rotation, (facing * upright).as_matrix(), atol=1e-6)
    expected = (facing * upright).apply(centred.reshape(-1, 3))
    np.testing.assert_allclose(result.keypoint.reshape(-1, 3), expected, atol=1e-5)


@pytest.mark.parametrize("tilt", [0, 1e-7, 2e-6, 1e-3])
@pytest.mark.parametrize("direction", [1, -1])
def test_a_spine_along_z_is_turned_upright_even_if_it_is_upside_down(direction, tilt):
    keypoint = person()
    keypoint[0, 0, [0, 1]] = [[0, 0, 3], [0, 0.25 * tilt, 3 + 0.25 * direction]]
    keypoint[0, 0, [4, 8]] = [[0.25, 0, 3], [-0.25, 0, 3]]
    result = normalise(keypoint, everywhere(keypoint), NTU, align=True)
    pose = result.keypoint[0, 0]
    np.testing.assert_allclose(pose[1] - pose[0], [0, 0, 0.25], atol=1e-6)
    np.testing.assert_allclose(pose[8] - pose[4], [0.5, 0, 0], atol=1e-6)
    np.testing.assert_allclose(result.rotation @ result.rotation.T, np.eye(3), atol=1e-6)
    assert np.linalg.det(result.rotation) == pytest.approx(1)


def test_a_missing_spine_is_not_aligned():
    keypoint = person()
    keypoint[0, 0, [0, 1, 4, 8]] = 0
    result = normalise(keypoint, everywhere(keypoint), NTU, align=True)
    np.testing.assert_array_equal(result.rotation, np.eye(3))


def test_alignment_needs_a_spine():
    openpose = get_layout("openpose")
    keypoint = person()[:, :, :18]
    with pytest.raises(AclnetError, match="layout openpose names no spine"):
        normalise(keypoint, everywhere(keypoint), openpose, align=True)


@pytest.mark.parametrize(
    ("layout", "shape"),
    [("coco", (2, 3, 17, 3)), ("coco_new", (2, 3, 20, 2)), ("nturgb+d", (0, 0, 25, 3))],
)
def test_what_cannot_be_normalised_is_unchanged(layout, shape):
    keypoint = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    present = np.random.default_rng(1).random(shape[:2]) < 0.5
    result = normalise(keypoint, present, get_layout(layout))
    np.testing.assert_array_equal(result.keypoint, keypoint)
    np.testing.assert_array_equal(result.present, present)
    assert result.kept.tolist() == list(range(shape[1]))
    np.testing.assert_array_equal(result.centre, np.zeros(shape[3]))
    np.testing.assert_array_equal(result.rotation, np.eye(shape[3]))


def test_pixels_come_back_as_they_are():
    keypoint = np.random.default_rng(0).normal(size=(1, 3, 20, 2)).astype(np.float32)
    result = normalise(keypoint, everywhere(keypoint), get_layout("coco_new"))
    back = denormalise(result.keypoint, result.present, result.centre, result.rotation)
    np.testing.assert_array_equal(back, keypoint)


@pytest.mark.parametrize(
    ("layout", "options", "name"),
    [
        ("nturgb+d", {}, "centre-first-frame/1"),
        ("nturgb+d", {"align": True}, "centre-first-frame-aligned/1"),
        ("coco", {"align": True}, "none/1"),
        ("coco_new", {"coordinates": 2}, "none/1"),
    ],
)
def test_the_recipe_has_a_name(layout, options, name):
    assert normalisation_name(get_layout(layout), **options) == name
