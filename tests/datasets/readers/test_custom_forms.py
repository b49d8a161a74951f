"""Every form of custom data that can be generated is read as it was written."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path

import numpy as np
import pytest

from aclnet.datasets.readers import bvh, c3d, yolo_text
from aclnet.datasets.readers.poses import Asked
from aclnet.datasets.registry import get_dataset, open_raw
from aclnet.datasets.spec import AclnetError, DamageError, Rejection, SkeletonSequence
from aclnet.datasets.spec.layouts import get_layout
from aclnet.datasets.synth import Request, looks, pose_files
from aclnet.datasets.synth.custom import FORMS, _clips, _recorded

LOOKS = {
    "openpose-face": ("openpose137", "px", looks.filmed_as("openpose137")),
    "mediapipe-tasks": ("mediapipe", "m", looks.world),
    "mediapipe-js": ("mediapipe", "m", looks.world),
    "mediapipe-csv": ("mediapipe", "m", looks.world),
    "mediapipe-hands": ("hand21", "m", looks.measured_as("hand21")),
    "halpe136": ("halpe136", "px", looks.filmed_as("halpe136")),
    "skeleton": ("nturgb+d", "m", looks.depth),
    "coco-annotations": ("coco", "px", looks.video),
    "mmpose": ("coco", "px", looks.video),
    "mmpose-images": ("coco", "px", looks.video),
    "wholebody": ("coco_wholebody", "px", looks.filmed_as("coco_wholebody")),
    "alphapose": ("halpe26", "px", looks.filmed_as("halpe26")),
    "alphapose-images": ("openpose", "px", looks.filmed_as("openpose")),
    "yolo": ("coco", "px", looks.video),
    "deeplabcut": ("coco", "px", looks.video),
    "holistic": ("mediapipe_holistic", "px", looks.filmed_as("mediapipe_holistic")),
    "stgcn": ("openpose", "px", looks.filmed_as("openpose")),
    "azure-kinect": ("azure_kinect", "m", looks.measured_as("azure_kinect")),
    "kinect-v2": ("nturgb+d", "m", looks.depth),
    "h36m": ("h36m", "m", looks.measured_as("h36m")),
    "smpl": ("smpl24", "m", looks.measured_as("smpl24")),
    "long-csv": ("kinect_v1", "m", looks.depth_v1),
    "bvh": ("kinect_v1", "m", looks.depth_v1),
    "c3d": ("kinect_v1", "m", looks.depth_v1),
    "pyskl": ("coco", "px", looks.video),
    "ctr-npz": ("nturgb+d", "m", looks.depth),
}
MOVEMENT_NAMES = {0: "drink water", 4: "clapping", 5: "reading"}
SUFFIXES = {
    "skeleton": ".skeleton",
    "mediapipe-csv": ".csv",
    "bvh": ".bvh",
    "c3d": ".c3d",
    "long-csv": ".csv",
    "deeplabcut": ".csv",
    "h36m": ".npy",
    "smpl": ".npy",
}
FOLDERS = ("openpose-face", "mmpose-images", "alphapose-images", "yolo", "pyskl", "ctr-npz")
NO_DAMAGE = {
    "yolo": ("empty",),
    "long-csv": ("joint count",),
    "kinect-v2": ("joint count",),
    "c3d": ("not finite",),
}
"""Damage that is none: nobody in a frame, a joint that is missing."""


OLDER = {
    "npy": "nturgb+d",
    "csv": "kinect_v1",
    "openpose": "openpose25",
    "mediapipe": "mediapipe",
    "coco": "coco",
}
"""Forms that test_custom_generated.py reads, and their layouts."""
REASONS = {
    "truncated": r"not JSON|\d+ (values|numbers)( in|,|;)|bytes follow$|file ends before",
    "joint count": r"\d+ (joints|columns|values|numbers|landmarks)|`keypoint` is \(1, ",
    "not finite": r"not finite|is nan",
    "empty": r"the file is empty",
    "garbage": r"not (JSON|text|a \.npy|a line of)|no C3D|not allowed in a h|in the line; 1",
    "text": "not an array of numbers",
    "label": "`label` is -1",
}
"""The messages for each kind of damage."""


def test_all_forms_are_tested():
    assert {*LOOKS} | {*OLDER} == {*FORMS["custom"]}


def read_all(folder: Path):
    source = open_raw(get_dataset("custom"), folder)
    items, rejections = source.scan()
    assert not rejections
    return source, {item.sample_id: source.read(item) for item in items}


@pytest.mark.parametrize("form", LOOKS)
def test_a_form_is_read_as_it_was_written(tmp_path, form):
    """The recorded joints are read, to the digits of the file; missing joints are zero."""
    request = Request(sequences=3, subjects=2, seed=4)
    FORMS["custom"][form](tmp_path, request)
    source, found = read_all(tmp_path)
    layout, units, look = LOOKS[form]
    assert (source.spec.layout, source.spec.units) == (layout, units)
    suffix = "" if form in FOLDERS else SUFFIXES.get(form, ".json")
    clips = {clip.name: clip for clip in _clips(request, suffix).values()}
    if form == "ctr-npz":  # without names: in the order of each side
        sides = {side: [n for n in clips if clips[n].split == side] for side in ("train", "test")}
        found = {
            name: found[f"{side}-{row:06}"]
            for side, names in sides.items()
            for row, name in enumerate(names)
        }
    assert found.keys() == clips.keys()
    for name, clip in clips.items():
        sequence = found[name]
        assert isinstance(sequence, SkeletonSequence), sequence
        joints = _recorded(request.seed, clip, look)
        if form == "wholebody":
            assert sequence.keypoint.shape[2] == 133
        scale = 0.02 if units == "px" else 2e-4
        points = np.nan_to_num(joints[..., :2] if units == "px" else joints[..., :3])
        np.testing.assert_allclose(sequence.keypoint[0], points, atol=scale)
        assert not sequence.present[1:].any()
        assert sequence.present[0].tolist() == (points != 0).any(axis=(1, 2)).tolist()
        if sequence.score is not None and form not in ("coco-annotations", "holistic"):
            np.testing.assert_allclose(sequence.score[0], joints[..., -1], atol=1e-3)
        names = source.spec.class_names
        assert names[sequence.label] == MOVEMENT_NAMES[clip.movement]


@pytest.mark.parametrize("form", sorted({**LOOKS, **OLDER}.keys() - {"ctr-npz"}))
def test_damage_of_a_form_is_rejected_for_its_reason(tmp_path, form):
    request = Request(sequences=12, subjects=3, seed=1, damage=0.5)
    summary = FORMS["custom"][form](tmp_path, request)
    source, found = read_all(tmp_path)
    none = NO_DAMAGE.get(form, ())
    damaged = {Path(f).stem: kind for f, kind in summary.damaged.items() if kind not in none}
    bad = {name: result for name, result in found.items() if isinstance(result, Rejection)}
    assert bad.keys() == damaged.keys()
    for name, kind in damaged.items():
        assert re.search(REASONS[kind], bad[name].reason), f"{kind}: {bad[name]}"
    assert source.spec.layout == (OLDER[form] if form in OLDER else LOOKS[form][0])


# One file for other training code


def test_classes_of_an_archive_are_named_by_the_file_beside_it_or_numbers(tmp_path):
    FORMS["custom"]["pyskl"](tmp_path, Request(sequences=8, subjects=3, seed=1))
    source = open_raw(get_dataset("custom"), tmp_path / "mine.pkl")
    assert source.spec.class_names[0] == "drink water"
    assert {*source.splits()} == {"train", "test"}
    before = source.fingerprint()
    (tmp_path / "classes.txt").unlink()
    source = open_raw(get_dataset("custom"), tmp_path)
    assert source.spec.class_names == tuple("012345")
    assert source.fingerprint() != before
    (tmp_path / "classes.txt").write_text("a\nb\n")
    with pytest.raises(AclnetError, match=r"classes\.txt must name the 6 classes"):
        open_raw(get_dataset("custom"), tmp_path)


def test_ntu_refuses_a_pickle_whose_recordings_are_not_called_as_its_own(tmp_path):
    FORMS["custom"]["pyskl"](tmp_path, Request(sequences=2, subjects=2, seed=1))
    with pytest.raises(AclnetError, match="aclnet prepare custom --raw"):
        open_raw(get_dataset("ntu60"), tmp_path / "mine.pkl")


def test_archives_of_joints_that_nothing_tells_are_asked_about(tmp_path):
    x = np.zeros((2, 4, 2 * 31 * 3), np.float32)
    np.savez(tmp_path / "mine.npz", x_train=x, y_train=np.eye(2), x_test=x, y_test=np.eye(2))
    with pytest.raises(
        AclnetError, match="has 31 joints, and their layout is not known; give --layout"
    ):
        open_raw(get_dataset("custom"), tmp_path)
    np.savez(tmp_path / "mine.npz", x_train=x[0], y_train=np.eye(2))
    with pytest.raises(AclnetError, match="one-hot"):
        open_raw(get_dataset("custom"), tmp_path)


# BVH

BVH = """HIERARCHY
ROOT Hips
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT Spine
  {
    OFFSET 0 10 0
    CHANNELS 3 Zrotation Xrotation Yrotation
    JOINT Head
    {
      OFFSET 0 20 0
      CHANNELS 3 Zrotation Xrotation Yrotation
      End Site
      {
        OFFSET 0 5 0
      }
    }
  }
  JOINT LeftUpLeg
  {
    OFFSET 8 0 0
    CHANNELS 3 Zrotation Xrotation Yrotation
    End Site
    {
      OFFSET 0 -40 0
    }
  }
}
MOTION
Frames: 2
Frame Time: 0.033
100 90 50 0 0 0 0 0 0 0 0 0 0 0 0
0 0 0 90 0 0 0 90 0 0 0 0 0 0 0
"""


def test_bvh_angles_become_positions():
    """By hand: the second frame turns the body a quarter about z, and the spine about x."""
    motion = bvh.parse(BVH.encode())
    assert motion.hierarchy.joints == ["Hips", "Spine", "Head", "LeftUpLeg"]
    assert motion.hierarchy.parents == [0, 0, 1, 0]
    still = [[1, 0.9, 0.5], [1, 1, 0.5], [1, 1.2, 0.5], [1.08, 0.9, 0.5]]
    np.testing.assert_allclose(bvh.METRES * motion.positions[0], still, atol=1e-9)
    # up (y) turns to -x; the spine's own turn about x leads y to z
    turned = [[0, 0, 0], [-0.1, 0, 0], [-0.1, 0, 0.2], [0, 0.08, 0]]
    np.testing.assert_allclose(bvh.METRES * motion.positions[1], turned, atol=1e-9)


def test_bvh_rotations_are_applied_as_scipy_applies_them():
    from scipy.spatial.transform import Rotation

    angles = np.random.default_rng(0).uniform(-180, 180, 6)
    line = " ".join(map(str, [0, 0, 0, *angles, 0, 0, 0, 0, 0, 0]))
    motion = bvh.parse((BVH.split("Frames:")[0] + f"Frames: 1\nFrame Time: 1\n{line}\n").encode())
    hips, spine = (Rotation.from_euler("ZXY", a, degrees=True) for a in (angles[:3], angles[3:]))
    expected = hips.apply([0, 0.1, 0]) + (hips * spine).apply([0, 0.2, 0])
    np.testing.assert_allclose(bvh.METRES * motion.positions[0, 2], expected, atol=1e-9)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("MOTION", "MOVES", "30: 'MOVES' is not allowed"),
        ("OFFSET 0 10 0", "OFFSET 0 x 0", "8: 'x' is not a number"),
        ("OFFSET 0 10 0", "OFFSET 0 10", "8: 'OFFSET 0 10' is not allowed"),
        ("    OFFSET 0 10 0\n", "", "joint Spine has no OFFSET"),
        ("CHANNELS 3 Zr", "CHANNELS 3 Wr", "channel 'Wrotation' is not known"),
        ("Frames: 2", "Frames: 3", "2 frames, but `Frames:` is 3"),
        ("0 0 0 90", "0 0 90", "34: 13 values; 15 are expected"),
        ("0 0 0 90", "0 0 nan 90", "'nan' is not finite"),
        (BVH, "", "no MOTION after the hierarchy"),
    ],
)
def test_damaged_bvh_is_told_with_its_line(old, new, said):
    with pytest.raises(DamageError) as caught:
        bvh.parse(BVH.replace(old, new).encode())
    assert said in f"{caught.value.line}: {caught.value.reason}"


def test_units_of_bvh_can_be_told(tmp_path):
    FORMS["custom"]["bvh"](tmp_path, Request(sequences=2, subjects=2, seed=1))
    first = read_all(tmp_path)[1]["clip_00000"].keypoint
    (tmp_path / "dataset.toml").write_text('layout = "kinect_v1"\nunits = "mm"\n')
    np.testing.assert_allclose(read_all(tmp_path)[1]["clip_00000"].keypoint, first / 10, rtol=1e-5)


def test_the_joints_of_bvh_become_a_layout_by_the_command_of_the_message(tmp_path):
    (tmp_path / "a.bvh").write_text(BVH)
    (tmp_path / "index.csv").write_text("id,file,label\na,a.bvh,x\n")
    with pytest.raises(AclnetError) as caught:
        open_raw(get_dataset("custom"), tmp_path)
    assert f"`aclnet layouts {tmp_path / 'a.bvh'} --json > mine.json`" in str(caught.value)


# C3D


def c3d_of(values: np.ndarray, **changed: int) -> bytes:
    """A file of integers, as older software writes it, with two analogue channels."""
    frames, points = values.shape[:2]
    data = bytearray(pose_files.c3d(values[:1, :, :3]))
    blocks = data[514]
    struct.pack_into("<HHHH", data, 2, points, 2, 11, 10 + frames)
    struct.pack_into("<f", data, 12, 0.5)
    words = np.concatenate([values.reshape(frames, -1), np.full((frames, 2), 77)], axis=1)
    for place, byte in changed.items():
        data[int(place[1:])] = byte
    return bytes(data[: 512 * (1 + blocks)]) + words.astype("<i2").tobytes()


def test_c3d_of_integers_with_missing_markers():
    values = np.random.default_rng(0).integers(-900, 900, (3, 5, 4))
    values[..., 3] = 0
    values[1, 2, 3] = -1
    found = c3d.parse(c3d_of(values))
    assert found.labels == list(get_layout("kinect_v1").joints[:5])
    assert found.units == "mm"
    expected = 0.5 * values[..., :3]
    expected[1, 2] = np.nan
    np.testing.assert_array_equal(found.positions, expected)


@pytest.mark.parametrize(
    ("place", "byte", "said"),
    [
        ("b1", 0, "no C3D file"),
        ("b515", 85, "is not that of a PC"),
        ("b0", 99, "the parameters lie outside the file"),
        ("b3", 1, "the file ends before its 3 frames of 261 markers"),
        ("b2", 9, "the file ends before its 3 frames of 9 markers"),
    ],
)
def test_damaged_c3d_is_refused(place, byte, said):
    data = c3d_of(np.zeros((3, 5, 4), np.int64), **{place: byte})
    with pytest.raises(DamageError) as caught:
        c3d.parse(data)
    assert said in caught.value.reason


# Ultralytics


def line(joints: np.ndarray, *extras: float) -> bytes:
    return " ".join(map(str, [0, 0.5, 0.5, 1, 1, *joints.ravel(), *extras])).encode()


def test_labels_of_ultralytics_with_and_without_confidences_and_tracks():
    joints = np.random.default_rng(0).uniform(0.1, 0.9, (2, 2, 17, 3))
    for extras in ([], [0.8]):
        for size in (2, 3):
            contents = [(t, line(joints[0, t, :, :size], *extras)) for t in range(2)]
            poses = yolo_text.frames_of_files(contents)
            np.testing.assert_allclose(poses.keypoint[0], joints[0, ..., :2])
            assert poses.identities == ()
    swapped = [
        (t, b"\n".join(line(joints[m, t], 0.8, 1 + m) for m in ((0, 1) if t else (1, 0))))
        for t in range(2)
    ]
    poses = yolo_text.frames_of_files(swapped)
    for identity, keypoint in zip(poses.identities, poses.keypoint, strict=True):
        np.testing.assert_allclose(keypoint, joints[int(identity) - 1, ..., :2])
    own = yolo_text.frames_of_files([(0, line(joints[0, 0, :4]))], Asked(joints=4))
    assert own.keypoint.shape == (1, 1, 4, 2)
    with pytest.raises(DamageError, match="frame 3, line 1: 9 numbers; a class, a box and 17"):
        yolo_text.frames_of_files([(3, b"0 1 2 3 4 5 6 7 8")])


def test_ultralytics_json_of_frames(tmp_path):
    frames = [
        [
            {
                "name": "person",
                "box": {"x1": 0},
                "track_id": 4,
                "keypoints": {"x": [float(t)] * 17, "y": [2.0] * 17, "visible": [0.5] * 17},
            }
        ]
        for t in (1, 2)
    ]
    (tmp_path / "a.json").write_text(json.dumps(frames))
    (tmp_path / "index.csv").write_text("id,file,label\na,a.json,x\n")
    source, found = read_all(tmp_path)
    assert (source.spec.layout, source.spec.units) == ("coco", "px")
    assert found["a"].keypoint[0, :, 0].tolist() == [[1, 2], [2, 2]]


# Kinect


def test_skeleton_files_of_ones_own(tmp_path):
    from aclnet.datasets.synth import get_generator

    get_generator("ntu60", "skeleton")(tmp_path / "raw", Request(2, 2, 1))
    files = sorted((tmp_path / "raw").rglob("*.skeleton"))
    rows = [f"{n},raw/{file.relative_to(tmp_path / 'raw')},x" for n, file in enumerate(files)]
    (tmp_path / "index.csv").write_text("\n".join(["id,file,label", *rows]))
    source, found = read_all(tmp_path)
    ntu = open_raw(get_dataset("ntu60"), tmp_path / "raw")
    assert source.spec.layout == "nturgb+d"
    for item, sequence in zip(ntu.scan()[0], found.values(), strict=True):
        expected = ntu.read(item)
        assert sorted(sequence.body_ids) == sorted(expected.body_ids)
        for identity, keypoint in zip(sequence.body_ids, sequence.keypoint, strict=True):
            same = expected.keypoint[expected.body_ids.index(identity)]
            np.testing.assert_array_equal(keypoint, same)
        assert (np.diff(sequence.present.sum(axis=1)) <= 0).all()


def test_hands_and_face_of_openpose_follow_the_layout(tmp_path):
    rng = np.random.default_rng(0)
    parts = {"pose": 25, "hand_left": 21, "hand_right": 21, "face": 70}
    values = {name: rng.uniform(1, 9, (n, 3)).round(2) for name, n in parts.items()}
    person = {f"{name}_keypoints_2d": value.ravel().tolist() for name, value in values.items()}
    absent = {**person, "hand_left_keypoints_2d": []}
    for t, one in enumerate([person, absent]):
        (tmp_path / "a").mkdir(exist_ok=True)
        (tmp_path / "a" / f"{t:012}_keypoints.json").write_text(json.dumps({"people": [one]}))
    (tmp_path / "index.csv").write_text("id,file,label\na,a,x\n")
    for layout, joints in {"openpose137": 137, "openpose67": 67, "openpose25": 25}.items():
        (tmp_path / "dataset.toml").write_text(f'layout = "{layout}"')
        found = read_all(tmp_path)[1]["a"]
        expected = np.concatenate([*values.values()])[:joints]
        np.testing.assert_allclose(found.keypoint[0, 0], expected[:, :2], rtol=1e-6)
        if joints > 25:
            left = [name.startswith("LHand") for name in get_layout(layout).joints]
            assert sum(left) == 21
            assert not found.keypoint[0, 1, left].any()
            np.testing.assert_array_equal(
                found.keypoint[0, 1, ~np.array(left)], found.keypoint[0, 0, ~np.array(left)]
            )
