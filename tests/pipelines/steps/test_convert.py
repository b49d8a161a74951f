"""Conversion of layouts, joint by joint."""

from __future__ import annotations

import numpy as np
import pytest

from aclnet.datasets.registry import get_dataset
from aclnet.datasets.spec import AclnetError, SkeletonSequence
from aclnet.datasets.spec.layouts import get_layout
from aclnet.pipelines.steps.convert import CONVERSIONS, approximated, convert, summary, with_layout


def sequence_of(layout: str, *, scored: bool = True) -> SkeletonSequence:
    rng = np.random.default_rng(0)
    shape = (2, 5, get_layout(layout).num_joints)
    return SkeletonSequence(
        sample_id="a",
        keypoint=rng.normal(size=(*shape, 2)).astype(np.float32),
        label=0,
        present=np.ones(shape[:2], np.bool_),
        frame_index=np.arange(5, dtype=np.int32),
        score=rng.random(shape).astype(np.float32) if scored else None,
    )


def test_coco_gets_the_middles_of_hips_torso_and_shoulders():
    before = sequence_of("coco")
    after = convert(before, "coco", "coco_new")
    for source, target in ((before.keypoint, after.keypoint), (before.score, after.score)):
        np.testing.assert_array_equal(target[:, :, :17], source)
        hips, shoulders = (source[:, :, pair].mean(axis=2) for pair in ([11, 12], [5, 6]))
        np.testing.assert_allclose(target[:, :, 17], hips, atol=1e-6)
        np.testing.assert_allclose(target[:, :, 19], shoulders, atol=1e-6)
        np.testing.assert_allclose(target[:, :, 18], (hips + shoulders) / 2, atol=1e-6)
    assert after.keypoint.dtype == after.score.dtype == np.float32


def test_every_conversion_ends_in_its_layout_with_or_without_scores():
    for source, target in CONVERSIONS:
        for scored in (True, False):
            after = convert(sequence_of(source, scored=scored), source, target)
            assert after.keypoint.shape[2] == get_layout(target).num_joints
            assert (after.score is not None) == scored


def joint(sequence: SkeletonSequence, layout: str, name: str) -> np.ndarray:
    """(M, T, C + 1) a joint by name, with its score."""
    j = get_layout(layout).joints.index(name)
    return np.concatenate([sequence.keypoint[:, :, j], sequence.score[:, :, [j]]], axis=-1)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("openpose", "coco"),
        ("openpose25", "openpose"),
        ("openpose25", "coco"),
        ("halpe26", "coco"),
        ("halpe26", "openpose"),
        ("mediapipe", "coco"),
        ("nturgb+d", "kinect18"),
        ("kinect_v1", "utd_mhad"),
        ("utd_mhad", "kinect_v1"),
    ],
)
def test_joints_of_one_name_are_one_joint(source, target):
    before = sequence_of(source)
    after = convert(before, source, target)
    for name in get_layout(target).joints:
        np.testing.assert_array_equal(joint(after, target, name), joint(before, source, name))
    assert approximated(source, target) == ()


def test_a_kinect_of_the_second_kind_becomes_one_of_the_first():
    before = sequence_of("nturgb+d")
    after = convert(before, "nturgb+d", "kinect_v1")
    order = [0, 1, 20, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]
    np.testing.assert_array_equal(after.keypoint, before.keypoint[:, :, order])
    np.testing.assert_array_equal(after.score, before.score[:, :, order])


def test_a_chain_is_the_shortest_and_keeps_account_of_what_is_approximated():
    before = sequence_of("mediapipe")
    after = convert(before, "mediapipe", "openpose_new")
    shoulders = [joint(before, "mediapipe", n) for n in ("LShoulder", "RShoulder")]
    hips = [joint(before, "mediapipe", n) for n in ("LHip", "RHip")]
    neck, mid_hip = np.mean(shoulders, axis=0), np.mean(hips, axis=0)
    np.testing.assert_allclose(joint(after, "openpose_new", "Neck"), neck, atol=1e-6)
    torso = joint(after, "openpose_new", "MidTorso")
    np.testing.assert_allclose(torso, (neck + mid_hip) / 2, atol=1e-6)
    assert approximated("mediapipe", "openpose_new") == ("Neck", "MidTorso")
    spec = with_layout(get_dataset("finegym"), "openpose_new")
    assert summary(spec) == {
        "layouts": ["coco", "openpose", "openpose_new"],
        "approximated": ["Neck", "MidTorso"],
    }


def test_what_is_made_of_a_missing_joint_is_missing():
    before = sequence_of("coco")
    left = get_layout("coco").joints.index("LShoulder")
    before.keypoint[0, 1, left] = 0
    before.score[0, 1, left] = 0
    neck = joint(convert(before, "coco", "openpose"), "openpose", "Neck")
    assert (neck[0, 1] == 0).all()
    assert (neck[0, [0, 2, 3, 4]] != 0).all()
    shoulders = joint(convert(before, "coco", "coco_new"), "coco_new", "MidShoulder")
    right = joint(before, "coco", "RShoulder")
    np.testing.assert_array_equal(shoulders[0, 1], right[0, 1] / 2)  # the released code's rule


def test_a_joint_with_one_coordinate_of_zero_is_not_missing():
    before = sequence_of("coco")
    before.keypoint[..., get_layout("coco").joints.index("LShoulder"), 0] = 0
    assert (joint(convert(before, "coco", "openpose"), "openpose", "Neck")[..., 0] != 0).all()


def test_the_table_names_joints_of_its_layouts():
    for (source, target), conversion in CONVERSIONS.items():
        known = {*get_layout(source).joints, *conversion.joints}
        assert {*conversion.joints, *conversion.approximated} <= set(get_layout(target).joints)
        for name in get_layout(target).joints:
            made_of = conversion.joints.get(name, name)
            assert {made_of} <= known if isinstance(made_of, str) else set(made_of) <= known


def test_what_cannot_be_converted_is_answered_with_what_can():
    with pytest.raises(
        AclnetError, match=r"nturgb\+d cannot be converted to coco; .*: kinect18, kinect_v1"
    ):
        with_layout(get_dataset("ntu60"), "coco")
    with pytest.raises(KeyError):
        convert(sequence_of("nturgb+d"), "nturgb+d", "coco")


def test_a_dataset_that_is_converted_may_be_left_in_its_raw_layout():
    spec = with_layout(get_dataset("finegym"), "coco")
    assert (spec.layout, spec.raw_layout, summary(spec)) == ("coco", None, {})
