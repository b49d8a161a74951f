"""Features: the official arrays, a naive recomputation, and what may be missing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aclnet.datasets.spec import AclnetError
from aclnet.datasets.spec.layouts import get_layout, registry
from aclnet.pipelines.inputs.features import MODALITIES, make_features, needs_following

NTU = get_layout("nturgb+d")
GOLDEN = ["b", "k", "jm", "bm", "km"]


def successors(x):
    """The following frame of each of (M, T, V, C), the last one again at the end."""
    return torch.cat([x[:, 1:], x[:, -1:]], dim=1)


def samples(golden):
    return sorted({name.split("/")[0] for name in golden.files})


@pytest.mark.parametrize("modality", GOLDEN)
def test_features_of_tricky_recordings_match_the_official_code(goldens, modality):
    with np.load(goldens / "preprocess_tricky.npz") as golden:
        for sample in samples(golden):
            x = torch.from_numpy(golden[f"{sample}/prenorm"])
            ours = make_features(x, successors(x), NTU, modality).numpy()
            np.testing.assert_allclose(
                ours, golden[f"{sample}/{modality}"], rtol=0, atol=1e-6, err_msg=sample
            )


@pytest.mark.parametrize("modality", GOLDEN)
def test_features_of_real_recordings_match_the_official_code(goldens, modality):
    with np.load(goldens / "ntu_preprocess.npz") as golden:
        for sample in samples(golden):
            x, expected = (golden[f"{sample}/{name}"] for name in ("prenorm", modality))
            x = torch.from_numpy(x)
            ours = make_features(x, successors(x), NTU, modality)
            np.testing.assert_allclose(ours, expected, rtol=0, atol=2e-3, err_msg=sample)
            # the official code rounds bones to float16 and takes their motion in float32; joints
            # are float16 as they come, and so is their motion
            exact = make_features(x, None, NTU, modality[0]).half().float()
            if needs_following(modality):
                exact = make_features(exact, successors(exact), NTU, "jm")
            if modality == "jm":
                exact = exact.half().float()
            np.testing.assert_array_equal(exact, expected, err_msg=sample)


@given(
    name=st.sampled_from(sorted(registry())),
    modality=st.sampled_from(MODALITIES),
    leading=st.lists(st.integers(0, 3), max_size=3),
    coordinates=st.integers(2, 3),
    root_path=st.booleans(),
    seed=st.integers(0, 2**32),
)
@settings(deadline=None)
def test_features_are_differences_to_the_joint_inward_and_the_frame_before(
    name, modality, leading, coordinates, root_path, seed
):
    layout = get_layout(name)
    rng = np.random.default_rng(seed)
    shape = (*leading, layout.num_joints, coordinates)
    now, after = (rng.normal(size=shape).astype(np.float32) for _ in range(2))

    def still(x):
        feature = np.empty_like(x)
        for v in range(layout.num_joints):
            inward = {"b": layout.bone_parent[v], "k": layout.kbone_partner[v]}
            kept = modality[0] == "j" or (root_path and layout.bone_parent[v] == v)
            origin = 0 if kept else x[..., inward[modality[0]], :]
            feature[..., v, :] = x[..., v, :] - origin
        return feature

    expected = still(after) - still(now) if modality.endswith("m") else still(now)
    x, following = torch.from_numpy(now), torch.from_numpy(after)
    ours = make_features(x, following, layout, modality, root_path=root_path)
    assert ours.dtype == torch.float32
    exact = still(after - now) if modality.endswith("m") else expected
    np.testing.assert_array_equal(ours.numpy(), exact)
    # it is the motion of the feature, but for what is rounded on the way
    np.testing.assert_allclose(exact, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("modality", [m for m in MODALITIES if m.endswith("m")])
def test_a_motion_is_zero_where_nothing_follows(modality):
    x = torch.randn(2, 5, 25, 3, generator=torch.Generator().manual_seed(0))
    assert not make_features(x, x, NTU, modality).any()
    assert make_features(x, successors(x), NTU, modality)[:, -1].eq(0).all()


def test_only_motions_need_the_following_frame():
    assert [m for m in MODALITIES if needs_following(m)] == ["jm", "bm", "km"]
    x = torch.ones(1, 25, 3)
    for modality in MODALITIES:
        if needs_following(modality):
            with pytest.raises(ValueError, match=f"modality {modality} needs the next"):
                make_features(x, None, NTU, modality)
        else:
            assert make_features(x, None, NTU, modality).shape == x.shape


@pytest.mark.parametrize("modality", ["", "m", "x", "jj", "bone"])
def test_an_unknown_modality_is_answered_with_the_known_ones(modality):
    with pytest.raises(AclnetError, match="known: j, b, k, jm, bm, km"):
        make_features(torch.ones(1, 25, 3), None, NTU, modality)


def test_gradients_flow_after_a_first_use_in_inference_mode():
    bones = tuple(reversed(range(25)))  # of no other test, so that nothing has cached them
    layout = NTU.model_copy(update={"bone_parent": bones})
    with torch.inference_mode():
        make_features(torch.ones(2, 25, 3), None, layout, "b")
    x = torch.ones(2, 25, 3, requires_grad=True)
    make_features(x, None, layout, "b").square().sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize("root_path", [False, True])
@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("name", ["openpose", "openpose_new", "coco", "coco_new", "nturgb+d"])
def test_the_confidence_of_a_feature(name, modality, root_path):
    """formats.md 9.5: the mean of both scores, but a difference in k-bones and motions of the two
    layouts with joints added."""
    layout = get_layout(name)
    rng = np.random.default_rng(0)
    now, after = (rng.random((4, layout.num_joints, 3)).astype(np.float32) for _ in range(2))
    differs = name in ("coco_new", "openpose_new")

    def still(score):
        if modality[0] == "j":
            return score
        inward = {"b": layout.bone_parent, "k": layout.kbone_partner}[modality[0]]
        other = score[:, list(inward)]
        return score - other if differs and modality[0] == "k" else (score + other) / 2

    expected = still(now[..., 2])
    if modality.endswith("m"):
        first, second = expected, still(after[..., 2])
        expected = second - first if differs else (first + second) / 2
    x, following = torch.from_numpy(now), torch.from_numpy(after)
    found = make_features(x, following, layout, modality, scored=True, root_path=root_path)
    np.testing.assert_allclose(found[..., 2], expected, atol=1e-6)
    plain = make_features(x[..., :2], following[..., :2], layout, modality, root_path=root_path)
    assert torch.equal(found[..., :2], plain), "coordinates do not depend on scores"
