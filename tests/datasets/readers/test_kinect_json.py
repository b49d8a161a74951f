"""Bodies of the SDKs of Kinect v1 and v2, as programs in C# and JavaScript serialise them."""

from __future__ import annotations

import contextlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aclnet.datasets.readers import keypoint_json
from aclnet.datasets.readers.poses import Asked, Poses
from aclnet.datasets.spec import DamageError
from aclnet.datasets.spec.layouts import get_layout

NAMES = {name: get_layout(name).joints for name in ("nturgb+d", "kinect_v1")}
VALUES = np.random.default_rng(0).normal(0, 1, (2, 3, 25, 3)).round(4)
"""Two persons in three frames."""


def parse(content: object, **asked) -> Poses:
    return keypoint_json.parse(json.dumps(content).encode(), Asked(**asked))


def position(values: np.ndarray) -> dict[str, float]:
    return dict(zip("XYZ", values.tolist(), strict=True))


def of_sdk(person: int, t: int, layout: str = "nturgb+d") -> dict[str, object]:
    """As Newtonsoft serialises a `Body`: joints by name, an id of 57 bits."""
    joints = {
        name: {"JointType": v, "Position": position(VALUES[person, t, v]), "TrackingState": 2}
        for v, name in enumerate(NAMES[layout])
    }
    return {"Joints": joints, "IsTracked": True, "TrackingId": 72057594037930000 + person}


def of_node(person: int, t: int) -> dict[str, object]:
    """As kinect2 of Node.js gives it."""
    joints = [
        {"depthX": 0.5, "colorX": 0.4, **{f"camera{axis}": v for axis, v in position(one).items()}}
        for one in VALUES[person, t]
    ]
    return {"bodyIndex": person, "tracked": True, "trackingId": f"7205{person}", "joints": joints}


NOBODY = {"bodyIndex": 5, "tracked": False}
UNTRACKED = {"Joints": {"Head": {"JointType": 3, "Position": position(np.zeros(3))}},
             "IsTracked": False, "TrackingId": 0}  # fmt: skip


def expect(poses: Poses, layout: str = "nturgb+d", joints: int = 25) -> None:
    assert (poses.tool, poses.layout, poses.units, poses.score) == ("Kinect", layout, "m", None)
    order = [int(identity[-1]) for identity in poses.identities]
    assert sorted(order) == [0, 1]
    np.testing.assert_array_equal(poses.keypoint[order], VALUES[:, :, :joints])


@pytest.mark.parametrize("one", [of_sdk, of_node])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda frames: frames,
        lambda frames: {"frames": frames},
        lambda frames: [{"Bodies": bodies} for bodies in frames],
        lambda frames: {"Frames": [{"frame": t, "skeletons": b} for t, b in enumerate(frames)]},
    ],
)
def test_bodies_of_kinect_v2(one, wrap):
    """In another order in each frame, beside bodies that are not tracked."""
    order = [(0, 1), (1, 0), (0, 1)]
    frames = [[NOBODY, *(one(m, t) for m in both), UNTRACKED] for t, both in enumerate(order)]
    expect(parse(wrap(frames)))


def test_joints_of_kinect_v1_by_their_numbers():
    def body(person: int, t: int) -> dict[str, object]:
        joints = [
            {"JointType": v, "TrackingState": 2, "Position": position(VALUES[person, t, v])}
            for v in np.random.default_rng(t).permutation(20).tolist()
        ]
        return {"TrackingId": 10 + person, "Joints": joints}

    expect(parse([[body(0, t), body(1, t)] for t in range(3)]), "kinect_v1", 20)


def test_joints_of_kinect_v1_by_their_names():
    frames = [[of_sdk(m, t, "kinect_v1") for m in (0, 1)] for t in range(3)]
    expect(parse(frames), "kinect_v1", 20)


def test_a_body_a_frame_and_joints_that_were_not_tracked():
    frames = [of_sdk(0, t) for t in range(3)]
    for state in (0, "NotTracked"):
        frames[1]["Joints"]["Head"]["TrackingState"] = state
        frames[2]["Joints"].pop("Head", None)
        poses = parse(frames)
        expected = VALUES[:1].copy()
        expected[0, 1:, 3] = np.nan
        np.testing.assert_array_equal(poses.keypoint, expected)


@pytest.mark.parametrize(
    ("joints", "said"),
    [
        ([{"x": 1, "y": 2, "z": 3}] * 25, "frame 0: a joint has the keys x, y, z; `JointType` "),
        ([{"name": "head", "x": 1, "y": 2, "z": 3}], "a joint has the keys name, x, y, z"),
        ([{"Position": {"X": 1, "Y": 2, "Z": 3}}], "a joint has the keys position"),
        (
            {"Tail": {"Position": {"X": 1, "Y": 2, "Z": 3}}},
            "joint tail is not a joint of Kinect v1",
        ),
        (
            [{"JointType": 25, "Position": {"X": 1, "Y": 2, "Z": 3}}],
            "joint number 25 is not a joint of",
        ),
        (
            [{"JointType": -1, "Position": {"X": 1, "Y": 2, "Z": 3}}],
            "joint number -1 is not a joint of",
        ),
        ([{"JointType": 2, "Position": {"X": 1, "Y": 2, "Z": 3}}] * 2, "joint 2 occurs twice"),
        ({"Head": {"Position": {"X": 1, "Y": "2", "Z": 3}}}, "a list of numbers is expected"),
    ],
)
def test_joints_that_are_not_certain_are_refused_with_what_they_are(joints, said):
    with pytest.raises(DamageError) as caught:
        parse([[{"joints": joints}]])
    assert said in caught.value.reason


JOINT = st.fixed_dictionaries(
    {},
    optional={
        "JointType": st.sampled_from([0, 24, -1, "Head", "spine", "7", None, 2**70]),
        "Position": st.sampled_from([{"X": 1, "Y": 2.5, "Z": 3}, {"X": 1}, None, 4]),
        "cameraX": st.sampled_from([1, None, "a"]),
        "TrackingState": st.sampled_from([0, 2, "Tracked", []]),
    },
)
BODY = st.fixed_dictionaries(
    {"Joints": st.lists(JOINT, max_size=3) | st.dictionaries(st.text(max_size=4), JOINT)},
    optional={"TrackingId": st.sampled_from([0, 2**56, -1, "a", [1]]), "tracked": st.booleans()},
)


@given(st.lists(st.lists(BODY, max_size=2) | BODY | st.none(), max_size=3))
def test_any_bodies_are_poses_or_damage(content):
    with contextlib.suppress(DamageError):
        assert parse(content).keypoint.ndim == 4
