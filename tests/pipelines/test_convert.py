"""Conversion of layouts, joint by joint."""

from __future__ import annotations

import numpy as np

from aclnet.datasets.layouts import get_layout
from aclnet.datasets.sequence import Sequence
from aclnet.pipelines.convert import CONVERSIONS, convert


def sequence_of(layout: str, *, scored: bool = True) -> Sequence:
    rng = np.random.default_rng(0)
    shape = (2, 5, get_layout(layout).num_joints)
    return Sequence(
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
