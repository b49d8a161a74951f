"""Body size taken out: against loops over single frames, and what must make no difference."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aclnet.datasets.spec import AclnetError
from aclnet.datasets.spec.layouts import get_layout, registry
from aclnet.pipelines.inputs.augment import AugmentSpec, augment
from aclnet.pipelines.steps import normalise as module
from aclnet.pipelines.steps.body_size import bone_directions, by_height, outwards
from aclnet.pipelines.steps.normalise import denormalise, is_sizeless, normalisation_name, normalise

COCO = get_layout("coco")
SHOULDERS = [5, 6]
LAYOUTS = ("coco", "coco_new", "openpose14", "nturgb+d", "kinect_v1", "mediapipe")
seeds = st.integers(0, 2**32)


def bodies(layout, coordinates, seed, gone=0.0, persons=2, frames=4):
    """(persons, frames, V, coordinates) of joints far from zero, a share of them missing."""
    rng = np.random.default_rng(seed)
    middle, spread = [160.0, 120.0, 300.0][:coordinates], [20.0, 40.0, 20.0][:coordinates]
    shape = (persons, frames, layout.num_joints)
    keypoint = rng.normal(middle, spread, (*shape, coordinates)).astype(np.float32)
    keypoint[rng.random(shape) < gone] = 0
    return keypoint


def missing(keypoint):
    return (keypoint == 0).all(axis=-1)


def everywhere(keypoint):
    return np.ones(keypoint.shape[:2], bool)


def each_frame(keypoint, rule):
    """`rule` of the (V, C) joints of every person and frame."""
    return np.array([[rule(frame) for frame in track] for track in keypoint.astype(np.float64)])


def naive_height(frame):
    there = [v for v in range(len(frame)) if frame[v].any()]
    result = np.zeros_like(frame)
    if not there:
        return result
    xs, ys = [frame[v][0] for v in there], [frame[v][1] for v in there]
    size = max(max(ys) - min(ys), (max(xs) - min(xs)) / 10)
    about = [v for v in SHOULDERS if v in there] or there
    origin = sum(frame[v] for v in about) / len(about)
    for v in there:
        result[v] = (frame[v] - origin) * (225 / size if size else 1)
    return result


def naive_directions(layout):
    """The rule of one layout, by recursion from every joint inwards."""

    def rule(frame):
        there = [v for v in range(len(frame)) if frame[v].any()]

        def inwards(v):
            while layout.bone_parent[v] != v:
                v = layout.bone_parent[v]
                if v in there:
                    return v
            return None

        hanging = [frame[v] for v in there if inwards(v) is None]

        def put(v):
            inner = inwards(v)
            was = sum(hanging) / len(hanging) if inner is None else frame[inner]
            comes = np.zeros(frame.shape[1]) if inner is None else put(inner)
            bone = frame[v] - was
            return comes + bone / np.linalg.norm(bone) if bone.any() else comes

        return np.array([put(v) if v in there else 0 * frame[v] for v in range(len(frame))])

    return rule


@given(seed=seeds, gone=st.sampled_from([0, 0.3, 0.8, 0.95]))
def test_height_against_loops(seed, gone):
    keypoint = bodies(COCO, 2, seed, gone)
    found = by_height(keypoint, COCO)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, each_frame(keypoint, naive_height), rtol=1e-5, atol=1e-4)


@given(
    name=st.sampled_from(LAYOUTS),
    coordinates=st.sampled_from([2, 3]),
    seed=seeds,
    gone=st.sampled_from([0, 0.3, 0.8]),
)
def test_directions_against_loops(name, coordinates, seed, gone):
    layout = get_layout(name)
    keypoint = bodies(layout, coordinates, seed, gone, persons=1, frames=3)
    found = bone_directions(keypoint, layout)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, each_frame(keypoint, naive_directions(layout)), atol=1e-5)


@given(seed=seeds, size=st.floats(0.2, 5), gone=st.sampled_from([0, 0.3]))
def test_height_knows_neither_distance_nor_place(seed, size, gone):
    keypoint = bodies(COCO, 2, seed, gone)
    place = np.random.default_rng(seed).uniform(50, 500, (2, 4, 1, 2))
    elsewhere = np.where(missing(keypoint)[..., None], 0, size * keypoint + place)
    moved = by_height(elsewhere.astype(np.float32), COCO)
    np.testing.assert_allclose(moved, by_height(keypoint, COCO), rtol=1e-3, atol=0.05)


def test_every_body_is_as_high_and_its_neck_is_the_origin():
    found = by_height(bodies(COCO, 2, seed=0), COCO)
    np.testing.assert_allclose(np.ptp(found[..., 1], axis=-1), 225, rtol=1e-5)
    np.testing.assert_allclose(found[:, :, SHOULDERS].mean(axis=2), 0, atol=1e-4)


@given(name=st.sampled_from(LAYOUTS), coordinates=st.sampled_from([2, 3]), seed=seeds)
def test_directions_know_no_lengths(name, coordinates, seed):
    """Bodies whose bones point the same way, each bone of each frame with two lengths."""
    layout, rng = get_layout(name), np.random.default_rng(seed)
    order = outwards(layout)
    bones = rng.normal(size=(1, 5, layout.num_joints, coordinates))
    bones /= np.linalg.norm(bones, axis=-1, keepdims=True)
    found = []
    for _ in range(2):
        length = rng.uniform(5, 50, bones.shape[:3])
        keypoint = rng.uniform(200, 300, bones.shape)  # that of the root stays
        for joint in order[1:]:
            bone = bones[:, :, joint] * length[:, :, joint, None]
            keypoint[:, :, joint] = keypoint[:, :, layout.bone_parent[joint]] + bone
        found.append(bone_directions(keypoint.astype(np.float32), layout))
    np.testing.assert_allclose(*found, atol=1e-3)
    rebuilt = found[0] - found[0][:, :, list(layout.bone_parent)]
    rebuilt[:, :, order[0]] = bones[:, :, order[0]]
    np.testing.assert_allclose(rebuilt, bones, atol=1e-3)


@given(
    by=st.sampled_from(["height", "directions"]),
    seed=seeds,
    gone=st.sampled_from([0.1, 0.5, 0.9, 1.0]),
)
def test_missing_joints_stay_missing_and_no_others_become_so(by, seed, gone):
    keypoint = bodies(COCO, 2, seed, gone)
    result = normalise(keypoint, everywhere(keypoint), COCO, by=by)
    np.testing.assert_array_equal(missing(result.keypoint), missing(keypoint))
    assert np.isfinite(result.keypoint).all()


def test_bones_back_and_forth_meet_the_origin():
    """Nose to shoulder down, shoulder to elbow up: the elbow comes to lie on the origin too."""
    keypoint = np.zeros((1, 1, 17, 2), np.float32)
    keypoint[0, 0, [0, 5, 7]] = [[9, 9], [9, 29], [9, 19]]
    found = normalise(keypoint, everywhere(keypoint), COCO, by="directions").keypoint[0, 0]
    np.testing.assert_allclose(found[[0, 5, 7]], [[0, 0], [0, 1], [0, 0]], atol=1e-8)
    assert not missing(found[[0, 5, 7]]).any()


def test_a_bone_without_length_and_one_without_its_inner_end():
    keypoint = np.zeros((1, 1, 17, 2), np.float32)
    nose, shoulder, elbow, wrist, knee = 0, 5, 7, 9, 13
    keypoint[0, 0, [nose, shoulder, elbow, wrist]] = [[9, 9], [9, 29], [9, 29], [19, 29]]
    keypoint[0, 0, knee] = [9, 99]  # without a hip
    found = bone_directions(keypoint, COCO)[0, 0]
    wanted = [[0, 0], [0, 1], [0, 1], [1, 1], [0, 1]]
    np.testing.assert_allclose(found[[nose, shoulder, elbow, wrist, knee]], wanted, atol=1e-6)


def test_without_a_root_the_middle_of_what_hung_on_it_is_one():
    keypoint = np.zeros((1, 1, 17, 2), np.float32)
    keypoint[0, 0, [5, 6, 11, 12]] = [[40, 10], [20, 10], [40, 50], [20, 50]]
    found = bone_directions(keypoint, COCO)[0, 0, [5, 6, 11, 12]]
    wanted = np.array([[10, -20], [-10, -20], [10, 20], [-10, 20]]) / np.hypot(10, 20)
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_a_frame_without_height_does_not_blow_up():
    keypoint = np.zeros((1, 2, 17, 2), np.float32)
    keypoint[0, 0, SHOULDERS] = [[90, 50], [50, 50.001]]
    keypoint[0, 1, 3] = [70, 70]  # one joint alone
    found = normalise(keypoint, everywhere(keypoint), COCO, by="height").keypoint[0]
    np.testing.assert_allclose(found[0, SHOULDERS], [[1125, 0], [-1125, 0]], atol=0.1)
    np.testing.assert_allclose(found[1, 3], 0, atol=1e-8)
    assert found[1, 3].all()


def test_one_shoulder_is_the_origin_and_without_any_the_mean_is():
    keypoint = bodies(COCO, 2, seed=1, persons=1, frames=2)
    keypoint[0, 0, 5] = keypoint[0, 1, 5] = keypoint[0, 1, 6] = 0
    found = by_height(keypoint, COCO)[0]
    np.testing.assert_array_equal(found[0, 6], 0)
    np.testing.assert_allclose(found[1].sum(axis=0), 0, atol=1e-3)


@pytest.mark.parametrize("by", ["height", "directions"])
def test_blocks_of_frames_make_no_difference(by, assert_alike, monkeypatch):
    keypoint = bodies(COCO, 2, seed=2, gone=0.2, frames=11)
    whole = normalise(keypoint, everywhere(keypoint), COCO, by=by).keypoint
    monkeypatch.setattr(module, "_BLOCK", 4)
    blocks = normalise(keypoint, everywhere(keypoint), COCO, by=by).keypoint
    assert_alike(blocks, whole)


@pytest.mark.parametrize("align", [False, True])
def test_persons_and_frames_in_space_are_those_of_the_default(align):
    ntu = get_layout("nturgb+d")
    keypoint = bodies(ntu, 3, seed=3)
    present = np.array([[True, False, True, False], [True, True, True, False]])
    keypoint[~present] = 0
    default = normalise(keypoint, present, ntu, align=align)
    result = normalise(keypoint, present, ntu, align=align, by="directions")
    assert result.order.tolist() == [1, 0]
    assert result.kept.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(result.present, default.present)
    expected = bone_directions(default.keypoint, ntu)
    np.testing.assert_allclose(result.keypoint, expected, atol=1e-8)
    back = denormalise(result.keypoint, result.present, result.centre, result.rotation)
    np.testing.assert_array_equal(back, result.keypoint)


@pytest.mark.parametrize("by", ["height", "directions"])
def test_the_mirror_image_is_that_of_the_mirrored_pixels(by):
    keypoint = bodies(COCO, 2, seed=4, gone=0.1)
    swapped = keypoint[:, :, list(COCO.mirror)]
    swapped[..., 0] = np.where(missing(swapped), 0, 640 - swapped[..., 0])
    expected = normalise(swapped, everywhere(keypoint), COCO, by=by).keypoint
    found = augment(
        torch.from_numpy(normalise(keypoint, everywhere(keypoint), COCO, by=by).keypoint),
        torch.tensor([0, 0]),
        torch.tensor([1]),
        AugmentSpec(mirror=1.0),
        COCO,
        frame=torch.arange(4).expand(2, -1),
        width=torch.tensor([0]),
    )
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-3)


@pytest.mark.parametrize(
    ("layout", "options", "name"),
    [
        ("coco", {"by": "height", "coordinates": 2}, "height-centre/1"),
        ("coco", {"by": "directions", "coordinates": 2}, "bone-directions/1"),
        ("nturgb+d", {"by": "directions"}, "bone-directions/1"),
        ("nturgb+d", {"by": "directions", "align": True}, "bone-directions-aligned/1"),
    ],
)
def test_the_recipe_has_a_name(layout, options, name):
    assert normalisation_name(get_layout(layout), **options) == name
    assert is_sizeless(name)


def test_the_other_recipes_keep_the_size():
    names = ("none/1", "centre-first-frame/1", "centre-first-frame-aligned/1")
    assert not any(map(is_sizeless, names))


@pytest.mark.parametrize(
    ("layout", "options", "message"),
    [
        ("nturgb+d", {"by": "height"}, "use --normalise directions"),
        ("coco", {"by": "height", "coordinates": 2, "align": True}, "turns 3-D bodies"),
        ("coco", {"by": "directions", "coordinates": 2, "align": True}, "turns 3-D bodies"),
        ("mediapipe", {"by": "directions", "align": True}, "layout mediapipe"),
    ],
)
def test_what_makes_no_sense_is_refused(layout, options, message):
    with pytest.raises(AclnetError, match=message):
        normalisation_name(get_layout(layout), **options)


def test_a_layout_must_have_what_a_rule_needs():
    plain = COCO.model_copy(update={"shoulders": None})
    with pytest.raises(AclnetError, match="layout coco names no shoulders"):
        normalisation_name(plain, coordinates=2, by="height")
    parents = (*COCO.bone_parent[:11], 11, *COCO.bone_parent[12:])
    forest = COCO.model_copy(update={"bone_parent": parents})
    with pytest.raises(
        AclnetError, match="do not form a tree: `bone_parent` has the roots Nose, LHip"
    ):
        normalisation_name(forest, coordinates=2, by="directions")


@pytest.mark.parametrize("name", registry())
def test_every_shipped_layout_is_a_tree(name):
    layout = get_layout(name)
    order = outwards(layout)
    assert sorted(order) == list(range(layout.num_joints))
    behind = [order.index(layout.bone_parent[joint]) < n for n, joint in enumerate(order)]
    assert behind == [False] + [True] * (layout.num_joints - 1)
