"""What dropped joints become, against loops over joints."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from aclnet.datasets.spec import AclnetError
from aclnet.datasets.spec.layouts import get_layout
from aclnet.pipelines.choices import Missing
from aclnet.pipelines.inputs.occlusion import Drop
from aclnet.pipelines.steps.normalise import denormalise

LAYOUT = get_layout("nturgb+d")


@pytest.fixture
def tracks():
    """Two normalised tracks, the second absent in frame 1, and where their cameras are."""
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(2, 4, 25, 3)).astype(np.float32))
    origin = torch.from_numpy(rng.normal(size=(2, 3)).astype(np.float32))
    present = torch.ones(2, 4, dtype=torch.bool)
    present[1, 1] = False
    x[~present] = 0
    return x, origin, present


@pytest.mark.parametrize("missing", get_args(Missing))
def test_other_joints_stay_and_the_input_is_left_alone(tracks, missing):
    x, origin, present = tracks
    before = x.clone()
    drop = Drop.of("hands+Head", LAYOUT, missing)
    kept = [j for j in range(25) if j not in drop.joints]
    for result in (drop.on_joints(x, origin, present), drop.on_features(x)):
        assert_close(result[:, :, kept], before[:, :, kept], rtol=0, atol=0)
    assert_close(x, before, rtol=0, atol=0)


def test_centre_puts_joints_on_the_body_centre(tracks):
    x, origin, present = tracks
    drop = Drop.of("left_arm", LAYOUT)
    assert drop.missing == "centre"
    result = drop.on_joints(x, origin, present)
    assert not result[:, :, list(drop.joints)].any()
    assert drop.on_features(x) is x


def test_camera_puts_joints_where_camera_space_is_zero(tracks):
    x, _, present = tracks
    rng = np.random.default_rng(1)
    centre = rng.normal(size=(2, 3)).astype(np.float32)
    rotation = np.stack([np.linalg.qr(rng.normal(size=(3, 3)))[0] for _ in range(2)])
    rotation = rotation.astype(np.float32)
    origin = torch.from_numpy(np.einsum("pij,pj->pi", rotation, -centre))
    drop = Drop.of("legs", LAYOUT, "camera")
    result = drop.on_joints(x, origin, present).numpy()
    for track in range(2):
        raw = denormalise(
            result[track : track + 1],
            present[track : track + 1].numpy(),
            centre[track],
            rotation[track],
        )
        np.testing.assert_allclose(raw[:, :, list(drop.joints)], 0, atol=1e-6)
    assert not result[1, 1].any()  # who is not there has no joints to lose
    assert drop.on_features(x) is x


def test_feature_clears_features_alone(tracks):
    x, origin, present = tracks
    drop = Drop.of("legs", LAYOUT, "feature")
    assert drop.on_joints(x, origin, present) is x
    assert not drop.on_features(x)[:, :, list(drop.joints)].any()


def test_the_name_says_what_missing_means():
    assert [Drop.of("hands", LAYOUT, missing).name for missing in get_args(Missing)] == [
        "hands (centre)",
        "hands (camera)",
        "hands (feature)",
    ]


def test_parts_are_those_of_the_layout():
    assert set(Drop.of("hands", LAYOUT).joints) == set(LAYOUT.resolve("hands"))
    assert len(Drop.of("hands", LAYOUT).joints) == 8


def test_unknown_names_and_whole_bodies_are_refused():
    with pytest.raises(AclnetError, match="'wings' is no part or joint"):
        Drop.of("wings", LAYOUT)
    with pytest.raises(AclnetError, match="is every joint of layout"):
        Drop.of("arms+legs+trunk+head", LAYOUT)
