"""Filling of missing joints, compared with loops over single joints."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from aclnet.pipelines.choices import Missing
from aclnet.pipelines.inputs.corruptions.fill import clear, corrupt, fill
from aclnet.pipelines.inputs.corruptions.joints import Drop
from aclnet.pipelines.steps.normalise import denormalise


@pytest.fixture
def masked(make_scene):
    """Joints, their batch, and a random half of them as missing."""
    x, scene = make_scene(scored=True)
    draws = np.random.default_rng(2).random((len(x), 90, x.shape[2]))
    missing = torch.from_numpy(draws < 0.5)
    missing = missing[torch.arange(len(x))[:, None], scene.frame]
    return x, scene, missing & scene.present[..., None]


@pytest.mark.parametrize("missing", get_args(Missing))
def test_other_joints_stay_and_the_input_is_left_alone(missing, make_scene):
    x, scene = make_scene()
    before = x.clone()
    drop = Drop.of("hands+Head", scene.layout, missing)
    kept = [j for j in range(25) if j not in drop.joints]
    result, gone = corrupt(drop, x, scene)
    assert_close(result[:, :, kept], before[:, :, kept], rtol=0, atol=0)
    assert_close(x, before, rtol=0, atol=0)
    assert not gone[:, :, kept].any()
    assert torch.equal(gone[:, :, list(drop.joints)].all(-1), scene.present), "all persons"


@pytest.mark.parametrize("meaning", get_args(Missing))
def test_the_confidence_of_a_missing_joint_is_zero(meaning, masked):
    x, scene, missing = masked
    filled = fill(x, missing, meaning, scene)
    if meaning == "feature":
        filled = clear(filled, missing)
    assert not filled[missing][:, -1].any()
    assert_close(filled[~missing], x[~missing], rtol=0, atol=0)


def test_centre_and_feature_are_zero(masked):
    x, scene, missing = masked
    assert not fill(x, missing, "centre", scene)[missing].any()
    assert fill(x, missing, "feature", scene) is x
    assert not clear(x, missing)[missing].any()


def test_camera_puts_joints_where_camera_space_is_zero(masked):
    x, scene, missing = masked
    filled = fill(x, missing, "camera", scene).numpy()
    for p in range(len(x)):
        rotation = scene.rotation[p].numpy()
        centre = -(scene.origin[p].numpy() @ rotation)
        raw = denormalise(
            filled[p : p + 1, ..., :3], scene.present[p : p + 1].numpy(), centre, rotation
        )
        np.testing.assert_allclose(raw[0][missing[p].numpy()], 0, atol=2e-6)
    assert not filled[~scene.present.numpy()].any(), "who is not there has no joints to lose"


@pytest.mark.parametrize("meaning", ["hold", "interpolate"])
def test_joints_out_of_other_frames(meaning, masked):
    x, scene, missing = masked
    missing = missing.clone()
    missing[0, :, 4] = True
    missing[2, 8:, 5] = True
    filled = fill(x, missing, meaning, scene).numpy()[..., :3]
    joints, frame = x.numpy()[..., :3], scene.frame.numpy()
    seen = ~missing.numpy() & joints.any(-1)
    cases = set()
    for p, n, v in np.argwhere(missing.numpy()):
        clip = range(n // 8 * 8, n // 8 * 8 + 8)
        known = {int(frame[p, i]): joints[p, i, v] for i in clip if seen[p, i, v]}
        before = [f for f in known if f < frame[p, n]]
        after = [f for f in known if f > frame[p, n]]
        if before and (meaning == "hold" or not after):
            wanted = known[max(before)]
        elif before:
            a, b = max(before), min(after)
            share = (frame[p, n] - a) / (b - a)
            wanted = known[a] + share * (known[b] - known[a])
        else:
            wanted = known[min(after)] if after else np.zeros(3)
        cases.add((bool(before), bool(after)))
        np.testing.assert_allclose(filled[p, n, v], wanted, atol=1e-5)
    assert len(cases) == 4


def test_what_follows_the_frames_is_part_of_the_clip(make_scene):
    """The frame after the clip's last one is known to whoever needs it for a motion."""
    x, scene = make_scene(samples=(2,))
    following = torch.full_like(x[:, 8:], 3.0)
    both = torch.cat([x[:, :8], following], 1)
    frame = torch.cat([scene.frame[:, :8], scene.frame[:, :8] + 1], 1)
    scene = replace(
        scene,
        frame=frame,
        clip=torch.zeros(16, dtype=torch.int64),
        present=torch.ones(len(x), 16, dtype=torch.bool),
    )
    missing = torch.zeros(both.shape[:3], dtype=torch.bool)
    missing[:, 8:15, 4] = missing[:, 7, 4] = True
    held = fill(both, missing, "interpolate", scene)
    assert_close(held[0, 7, 4], (both[0, 6, 4] + 3.0) / 2)
    assert_close(held[0, 14, 4], held[0, 7, 4])
