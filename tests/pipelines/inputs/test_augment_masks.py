"""Masks of augmentation: the parts of the body and the frames that they hide, and how often."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from aclnet.datasets.spec import AclnetError
from aclnet.datasets.spec.layouts import Layout
from aclnet.datasets.store.keyed_random import fold, uniform
from aclnet.pipelines.inputs.augment import AugmentSpec
from tests.pipelines.inputs.tracks import LIMBS, NTU, Tracks, many


def two_joints(parts):
    """A layout of two joints."""
    return Layout(
        name="trunk",
        joints=("a", "b"),
        center=0,
        inward=((1, 0),),
        bone_parent=(0, 0),
        kbone_partner=(0, 1),
        mirror=(0, 1),
        parts=parts,
    )


def test_a_limb_mask_hides_one_limb_of_all_persons_and_frames():
    tracks = Tracks(persons=(2,) * 40)
    tracks.x = torch.ones_like(tracks.x)
    result = tracks.augmented(AugmentSpec(limb_mask=1.0))
    chosen = []
    for sample in range(40):
        rows = result[tracks.owner == sample]
        zero = (rows == 0).nonzero()[:, 2].unique().tolist()
        (limb,) = (limb for limb in LIMBS if sorted(NTU.parts[limb]) == zero)
        assert not rows[:, :, list(NTU.parts[limb])].any()
        chosen.append(limb)
    assert set(chosen) == set(LIMBS)


def test_limbs_are_hidden_equally_often():
    result = many(4000).augmented(AugmentSpec(limb_mask=1.0))
    counts = [int((result[:, 0, NTU.parts[limb][0], 0] == 0).sum()) for limb in LIMBS]
    assert sum(counts) == 4000
    assert stats.chisquare(counts).pvalue > 1e-3


def test_masks_become_likely_over_the_ramp():
    spec = AugmentSpec(rotate=0.2, limb_mask=0.8, joint_mask=0.4, time_mask=0.2, ramp=0.5)
    half = spec.at(0.25)
    assert (half.limb_mask, half.joint_mask, half.time_mask) == (0.4, 0.2, 0.1)
    assert half.rotate == 0.2
    assert spec.at(0).limb_mask == 0
    assert spec.at(0.5) == spec.at(1) == spec


def test_a_time_mask_may_hide_the_first_and_the_last_frame_and_is_never_cut_off():
    """A block lies inside the clip, so it hides as many frames as its share says."""
    tracks = Tracks(persons=(1,) * 2000, frames=60)
    tracks.frame = torch.arange(60).expand(2000, -1)
    tracks.x[:] = 1
    dark = (tracks.augmented(AugmentSpec(time_mask=1.0)) == 0).all(-1).all(-1)
    keys = fold(tracks.keys.numpy(), 2)
    np.testing.assert_allclose(dark.sum(1).numpy(), uniform(keys, 13) / 2 * 60, atol=1)
    assert dark[:, 0].any()
    assert dark[:, -1].any()


def test_without_names_every_part_of_the_layout_is_hidden_as_often():
    tracks = many(6500)
    hidden = (tracks.augmented(AugmentSpec(limb_mask=1.0, parts=())) == 0).all(-1)[:, 0]
    expected = [torch.tensor([v in part for v in range(25)]) for part in NTU.parts.values() if part]
    counts = [int((hidden == row).all(1).sum()) for row in expected]
    assert sum(counts) == 6500
    assert stats.chisquare(counts).pvalue > 1e-3
    bare = two_joints({})
    alone = Tracks(layout=bare)
    assert torch.equal(alone.augmented(AugmentSpec(limb_mask=1.0, parts=())), alone.x)


def test_a_part_that_is_the_whole_body_is_refused():
    spec = AugmentSpec(limb_mask=0.5, parts=("arms+legs+trunk+head",))
    with pytest.raises(AclnetError, match="contains every joint of layout nturgb"):
        Tracks().augmented(spec)


def test_a_layout_without_limbs_is_told():
    trunk = two_joints({"left_arm": (1,)})
    tracks = Tracks(layout=trunk)
    with pytest.raises(AclnetError, match="layout trunk lacks left_leg, right_arm, right_leg"):
        tracks.augmented(AugmentSpec(limb_mask=0.2))
