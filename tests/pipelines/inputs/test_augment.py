"""Augmentation: every operation against its definition, sample by sample, with the same draws."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import ndtri

from aclnet.datasets.spec import AclnetError
from aclnet.datasets.spec.layouts import get_layout
from aclnet.datasets.store.keyed_random import fold, integers, uniform
from aclnet.pipelines.inputs.augment import AugmentSpec, augment
from aclnet.pipelines.inputs.features import make_features
from tests.pipelines.inputs.tracks import LIMBS, NTU, PARTS, Tracks, many

OPERATIONS = {
    "rotate": 0.3,
    "mirror": 0.5,
    "swap_sides": 0.5,
    "limb_mask": 0.5,
    "joint_mask": 0.5,
    "time_mask": 0.5,
    "jitter": 0.01,
    "scale": 0.1,
}
ALL = AugmentSpec(**OPERATIONS)
EACH = [
    *(AugmentSpec(**{name: value}) for name, value in OPERATIONS.items()),
    AugmentSpec(limb_mask=0.5, parts=PARTS),
]
each = pytest.mark.parametrize("spec", EACH, ids=str)
every_spec = pytest.mark.parametrize("spec", [*EACH, ALL], ids=str)


def draw(key, number):
    return float(uniform(np.array([key]), number)[0])


def rotation(x, y, z):
    """Rz Ry Rx in the convention of PYSKL's RandomRot."""
    c, s = math.cos, math.sin
    rx = np.array([[1, 0, 0], [0, c(x), s(x)], [0, -s(x), c(x)]])
    ry = np.array([[c(y), 0, -s(y)], [0, 1, 0], [s(y), 0, c(y)]])
    rz = np.array([[c(z), s(z), 0], [-s(z), c(z), 0], [0, 0, 1]])
    return rz @ ry @ rx


def naive(tracks, spec):
    """The specification, joint by joint; the draw numbers must never change."""
    result = np.zeros(tracks.x.shape)
    persons = {}
    for p, owner in enumerate(tracks.owner.tolist()):
        person = persons[owner] = persons.get(owner, -1) + 1
        key = int(fold(tracks.keys.numpy()[owner : owner + 1], 2)[0])
        turn = rotation(*(spec.rotate * (2 * draw(key, d) - 1) for d in (0, 1, 2)))
        size = 1 + spec.scale * (2 * draw(key, 3) - 1)
        mirrored, swapped = draw(key, 4) < spec.mirror, draw(key, 5) < spec.swap_sides
        part = spec.parts[int(integers(np.array([key]), 7, len(spec.parts))[0])]
        hidden = set(NTU.resolve(part)) if draw(key, 6) < spec.limb_mask else set()
        if draw(key, 9) < spec.joint_mask:
            key_of_joints = int(fold(np.array([key]), 11)[0])
            hidden |= {v for v in range(25) if draw(key_of_joints, v) < draw(key, 10) / 2}
        dark = range(0)
        if draw(key, 12) < spec.time_mask:
            first, length = int(tracks.frame[p].min()), int(np.ptp(tracks.frame[p].numpy())) + 1
            share = draw(key, 13) / 2
            start = first + draw(key, 14) * (1 - share) * length
            dark = range(math.ceil(start - 0.5), math.ceil(start + share * length - 0.5))
        for n, frame in enumerate(tracks.frame[p].tolist()):
            pose = size * tracks.x[p, n].numpy().astype(np.float64) @ turn.T
            if mirrored:
                pose = pose[list(NTU.mirror)] * [-1, 1, 1]
            if swapped:
                pose = pose[list(NTU.mirror)]
            noise_key = fold(fold(np.array([key]), 8, person), frame)
            for v in range(25):
                if v in hidden or frame in dark or not pose[v].any():
                    continue
                draws = np.concatenate([uniform(noise_key, v * 3 + c) for c in range(3)])
                result[p, n, v] = pose[v] + spec.jitter * ndtri(draws + 2.0**-54)
    return result


@every_spec
@pytest.mark.parametrize("seed", [0, 1])
def test_equals_the_specification_computed_joint_by_joint(spec, seed):
    tracks = Tracks(seed=seed)
    ours = tracks.augmented(spec)
    assert ours.dtype == torch.float32
    np.testing.assert_allclose(ours.numpy(), naive(tracks, spec), rtol=0, atol=2e-6)


@every_spec
def test_missing_joints_and_absent_persons_stay_zero(spec):
    others = ("limb_mask", "joint_mask", "time_mask", "mirror", "swap_sides")
    only_there = spec.model_copy(update=dict.fromkeys(others, 0.0))
    tracks = Tracks()
    before = (tracks.x == 0).all(dim=-1)
    assert before.any()
    assert torch.equal((tracks.augmented(only_there) == 0).all(dim=-1), before)
    assert not tracks.augmented(spec)[~tracks.present].any()


@every_spec
def test_a_sample_is_augmented_alike_in_any_batch(spec, assert_alike):
    tracks = Tracks()
    together = tracks.augmented(spec)
    for sample, key in enumerate(tracks.keys):
        rows = tracks.owner == sample
        alone = tracks.augmented(
            spec, rows, owner=torch.zeros(int(rows.sum()), dtype=torch.int64), keys=key[None]
        )
        assert_alike(alone, together[rows])


@every_spec
def test_the_input_is_left_alone(spec):
    tracks = Tracks()
    before = tracks.x.clone()
    tracks.augmented(spec)
    assert torch.equal(tracks.x, before)


def test_nothing_switched_on_changes_nothing():
    tracks = Tracks()
    assert torch.equal(tracks.augmented(AugmentSpec()), tracks.x)


def test_samples_differ_and_so_do_keys():
    tracks = many(2)
    one, two = tracks.augmented(AugmentSpec(rotate=0.3))
    assert not torch.equal(one, two)
    other = tracks.augmented(AugmentSpec(rotate=0.3), keys=tracks.keys + 1)
    assert not torch.equal(one, other[0])


@each
def test_switching_an_operation_on_leaves_the_draws_of_the_others(spec):
    """The same limb is hidden and the same samples are flipped whatever else is on."""
    tracks = many(64)
    limb = AugmentSpec(limb_mask=0.5)
    hidden = (tracks.augmented(limb) == 0).all(dim=-1)
    others = {"parts": LIMBS, "joint_mask": 0.0, "time_mask": 0.0}
    both = tracks.augmented(spec.model_copy(update={"limb_mask": 0.5, **others}))
    assert torch.equal((both == 0).all(dim=-1), hidden)


@given(
    theta=st.floats(0.01, math.pi),
    name=st.sampled_from(["rotate", "mirror"]),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=30)
def test_rotation_and_mirror_keep_distances(theta, name, seed):
    tracks = Tracks(seed=seed)
    tracks.x = torch.randn(tracks.x.shape, generator=torch.Generator().manual_seed(seed))
    moved = tracks.augmented(AugmentSpec(**{name: theta if name == "rotate" else 1.0}))
    order = list(NTU.mirror) if name == "mirror" else slice(None)
    before = torch.cdist(tracks.x[:, :, order], tracks.x[:, :, order])
    torch.testing.assert_close(torch.cdist(moved, moved), before, rtol=0, atol=5e-5)


def test_rotation_turns_the_frame_of_reference():
    """A positive angle about z alone takes +y towards +x: the convention of RandomRot."""
    np.testing.assert_allclose(rotation(0, 0, math.pi / 2) @ [0, 1, 0], [1, 0, 0], atol=1e-12)
    tracks = many(200)
    basis = torch.eye(3).repeat(9, 1)[:25]
    tracks.x = basis.expand(200, 1, 25, 3).contiguous()
    matrices = tracks.augmented(AugmentSpec(rotate=0.3))[:, 0, :3].mT.double()
    assert torch.linalg.det(matrices).sub(1).abs().max() < 1e-6
    # R = Rz Ry Rx gives back its three angles
    about_x = torch.atan2(-matrices[:, 2, 1], matrices[:, 2, 2])
    about_y = torch.asin(matrices[:, 2, 0])
    about_z = torch.atan2(-matrices[:, 1, 0], matrices[:, 0, 0])
    for angles in (about_x, about_y, about_z):
        assert stats.kstest(angles.numpy(), stats.uniform(-0.3, 0.6).cdf).pvalue > 1e-3


def test_mirror_is_an_involution_that_keeps_bone_lengths():
    tracks = Tracks()
    tracks.x = torch.randn(tracks.x.shape, generator=torch.Generator().manual_seed(0))
    before = tracks.x
    lengths = make_features(before, None, NTU, "b").norm(dim=-1)
    tracks.x = tracks.augmented(AugmentSpec(mirror=1.0))
    assert not torch.equal(tracks.x, before)
    mirrored = make_features(tracks.x, None, NTU, "b").norm(dim=-1)
    torch.testing.assert_close(mirrored, lengths[..., list(NTU.mirror)])
    assert torch.equal(tracks.augmented(AugmentSpec(mirror=1.0)), before)


def test_swapped_sides_are_the_permutation():
    tracks = Tracks()
    swapped = tracks.augmented(AugmentSpec(swap_sides=1.0))
    assert torch.equal(swapped, tracks.x[:, :, list(NTU.mirror)])


@pytest.mark.parametrize(("name", "probability"), [("limb_mask", 0.2), ("swap_sides", 0.7)])
def test_as_many_samples_are_changed_as_the_probability_says(name, probability):
    tracks = many(4000)
    tracks.x[..., 0] = torch.arange(25)
    result = tracks.augmented(AugmentSpec(**{name: probability}))
    changed = int((result != tracks.x).flatten(1).any(dim=1).sum())
    assert stats.binomtest(changed, 4000, probability).pvalue > 1e-3


def test_scale_is_one_factor_for_a_sample_uniform_in_its_range():
    result = many(4000, value=2.0).augmented(AugmentSpec(scale=0.25)).flatten(1) / 2
    assert (result == result[:, :1]).all()
    assert stats.kstest(result[:, 0].double().numpy(), stats.uniform(0.75, 0.5).cdf).pvalue > 1e-3


def test_jitter_is_gaussian_and_differs_in_every_coordinate():
    tracks = many(400)
    noise = (tracks.augmented(AugmentSpec(jitter=0.02)) - tracks.x).double().flatten().numpy()
    assert stats.kstest(noise / 0.02, "norm").pvalue > 1e-3
    exact = augment(
        torch.full((1, 50, 25, 3), 1e-3),
        torch.zeros(1, dtype=torch.int64),
        tracks.keys[:1],
        AugmentSpec(jitter=1.0),
        NTU,
        frame=torch.arange(50)[None],
    )
    assert len(exact.unique()) == exact.numel()


def test_jitter_is_for_those_who_are_there():
    tracks = many(2)
    tracks.present[1] = False
    changed = tracks.augmented(AugmentSpec(jitter=0.02)) != tracks.x
    assert changed[0].all()
    assert not changed[1].any()


def test_the_rarest_draws_give_finite_and_symmetric_jitter(monkeypatch):
    tracks = many(1)
    noise = []
    for rarest in (0.0, 1 - 2.0**-53):
        monkeypatch.setattr(
            "aclnet.pipelines.inputs.augment.uniform",
            lambda key, draw, u=rarest: torch.full(
                torch.broadcast_shapes(key.shape, draw.shape), u, dtype=torch.float64
            ),
        )
        noise.append(tracks.augmented(AugmentSpec(jitter=1.0)) - tracks.x)
    assert noise[0].isfinite().all()
    assert noise[0].max() < -8
    torch.testing.assert_close(noise[0], -noise[1])


def test_a_frame_gets_the_same_jitter_wherever_it_is_sampled():
    jitter = AugmentSpec(jitter=0.02)
    tracks = Tracks(persons=(2,), frames=4)
    tracks.x = torch.ones_like(tracks.x)
    tracks.present = torch.ones_like(tracks.present)
    tracks.frame = torch.tensor([[3, 7, 7, 12], [3, 7, 7, 12]])
    now = tracks.augmented(jitter)
    assert torch.equal(now[:, 1], now[:, 2])
    assert not torch.equal(now[:, 0], now[:, 1])
    assert not torch.equal(now[0], now[1])
    tracks.frame = torch.tensor([[7, 8, 8, 12], [7, 8, 8, 12]])
    following = tracks.augmented(jitter)
    assert torch.equal(following[:, 0], now[:, 1])
    motion = make_features(now, following, NTU, "jm")
    assert not motion[:, 3].any()
    assert motion[:, 1].all()


@every_spec
def test_motion_of_an_augmented_sequence_is_that_of_its_frames(spec, assert_alike):
    """Frames and following frames are augmented apart; together they are one changed recording."""
    tracks = Tracks(persons=(2, 1), frames=8)
    tracks.frame = torch.arange(8).expand(3, -1)
    whole = tracks.augmented(spec)
    after = torch.arange(1, 9).clamp(max=7)
    x, frame = (torch.cat([v, v[:, after]], 1) for v in (tracks.x, tracks.frame))
    both = augment(x, tracks.owner, tracks.keys, spec, NTU, frame=frame)
    assert_alike(both[:, :8], whole)
    assert_alike(both[:, 8:], whole[:, after])


@every_spec
def test_autocast_does_not_round_coordinates(spec):
    tracks = Tracks()
    expected = tracks.augmented(spec)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = tracks.augmented(spec)
    assert result.dtype == torch.float32
    assert torch.equal(result, expected)


@pytest.mark.parametrize("name", ["rotate", "jitter", "scale"])
def test_pixels_are_not_moved_in_space(name):
    tracks = Tracks(coordinates=2, layout=get_layout("coco"))
    with pytest.raises(AclnetError, match=f"augmentation {name}=0.1 .* has 2 coordinates"):
        tracks.augmented(AugmentSpec(**{name: 0.1}))


def test_pixels_can_be_exchanged_and_hidden():
    coco = get_layout("coco")
    tracks = Tracks(coordinates=2, layout=coco)
    swapped = tracks.augmented(AugmentSpec(swap_sides=1.0))
    assert torch.equal(swapped, tracks.x[:, :, list(coco.mirror)])
    masked = tracks.augmented(AugmentSpec(limb_mask=1.0))
    assert (masked == 0).sum() > (tracks.x == 0).sum()


def test_the_mirror_image_of_pixels_is_taken_from_the_width():
    coco = get_layout("coco")
    tracks = Tracks(coordinates=2, layout=coco)
    width = torch.tensor([640, 320, 1280, 100])
    spec = AugmentSpec(mirror=0.5)
    found = tracks.augmented(spec, width=width)
    chosen = uniform(fold(tracks.keys.numpy(), 2), 4) < 0.5
    assert 0 < chosen.sum() < len(chosen)
    for p, owner in enumerate(tracks.owner.tolist()):
        expected = tracks.x[p].clone()
        if chosen[owner]:
            across = expected[..., 0]
            expected[..., 0] = torch.where(across != 0, width[owner] - across, 0)
            expected = expected[:, list(coco.mirror)]
        assert torch.equal(found[p], expected)
    with pytest.raises(AclnetError, match="needs the width of the image"):
        tracks.augmented(spec)


@pytest.mark.parametrize(("name", "coordinates"), [("coco", 2), ("nturgb+d", 3)])
def test_confidence_goes_with_its_joint(name, coordinates, assert_alike):
    layout = get_layout(name)
    tracks = Tracks(coordinates=coordinates, layout=layout)
    options = {"rotate": 0.3, "scale": 0.1, "jitter": 0.01} if coordinates == 3 else {}
    spec = AugmentSpec(mirror=0.5, swap_sides=0.5, limb_mask=0.5, **options)
    width = torch.full((4,), 500) if coordinates == 2 else None
    plain = tracks.augmented(spec, width=width)
    score = torch.rand(tracks.x.shape[:3], generator=torch.Generator().manual_seed(0)) + 0.1
    tracks.x = torch.cat([tracks.x, score[..., None]], -1)
    found = tracks.augmented(spec, width=width, scored=True)
    assert_alike(found[..., :-1], plain)
    keys = fold(tracks.keys.numpy(), 2)
    exchanged = (uniform(keys, 4) < 0.5) ^ (uniform(keys, 5) < 0.5)
    hides, limb = uniform(keys, 6) < 0.5, integers(keys, 7, 4)
    for p, owner in enumerate(tracks.owner.tolist()):
        expected = score[p][:, list(layout.mirror)] if exchanged[owner] else score[p].clone()
        if hides[owner]:
            expected[:, list(layout.parts[LIMBS[limb[owner]]])] = 0
        assert torch.equal(found[p, ..., -1], expected)
    assert exchanged.any()
    assert hides.any()


def test_confidence_is_lowered_by_a_factor_of_each_joint_and_person():
    tracks = Tracks(frames=3)
    ones = torch.ones(*tracks.x.shape[:3], 1)
    tracks.x = torch.cat([tracks.x, ones], -1)
    found = tracks.augmented(AugmentSpec(confidence=0.4), scored=True)
    assert torch.equal(found[..., :-1], tracks.x[..., :-1])
    factors = found[..., -1]
    assert torch.equal(factors, factors[:, :1].expand_as(factors))
    assert stats.kstest(factors[:, 0].flatten().numpy(), stats.uniform(0.6, 0.4).cdf).pvalue > 1e-3
    with pytest.raises(AclnetError, match=r"this data has no confidences.*augment\.confidence=0"):
        Tracks().augmented(AugmentSpec(confidence=0.4))
