"""Recordings of synthetic people: joints of a layout in metres, or in pixels of a video."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aclnet.datasets.spec.layouts import get_layout
from aclnet.datasets.synth.filming import coco, filmed
from aclnet.datasets.synth.kinect import KINECT_V1, sensed

if TYPE_CHECKING:
    from collections.abc import Callable

    from aclnet.datasets.synth.body import FloatArray

    Look = Callable[[FloatArray, np.random.Generator, int, str], FloatArray]
    """A function that makes a recording (T, V, C) of joints (T, 25, 3), given a random generator,
    the seed and the file."""

WIDTH, HEIGHT = 1280, 720
"""Size of the videos in pixels."""


def depth(joints: FloatArray, rng: np.random.Generator, seed: int, path: str) -> FloatArray:
    """Kinect v2's joints, with its noise."""
    return np.asarray(sensed(seed, joints[None], 1, path)[0])


def depth_v1(joints: FloatArray, rng: np.random.Generator, seed: int, path: str) -> FloatArray:
    """Kinect v1's joints."""
    return depth(joints, rng, seed, path)[:, KINECT_V1]


def video(joints: FloatArray, rng: np.random.Generator, seed: int, path: str) -> FloatArray:
    """COCO's joints in a video."""
    return _pixels(coco(joints), rng)


def body25(joints: FloatArray, rng: np.random.Generator, seed: int, path: str) -> FloatArray:
    """OpenPose's BODY_25 in a video."""
    return _pixels(_body25(joints), rng)


def world(joints: FloatArray, rng: np.random.Generator, seed: int, path: str) -> FloatArray:
    """MediaPipe's 33 landmarks in metres from the middle of the hips, y down, with visibility."""
    points = _landmarks33(joints) - joints[:, [12, 16]].mean(axis=1, keepdims=True)
    points = points * [1, -1, 1] + rng.normal(0, 0.008, points.shape)
    visibility = np.clip(rng.normal(0.9, 0.08, points.shape[:2]), 0, 1)
    return np.concatenate([points, visibility[..., None]], axis=-1)


def filmed_as(layout: str) -> Look:
    """A video of the joints of a layout."""
    return lambda joints, rng, seed, path: _pixels(_joints_of(layout, joints), rng)


def measured_as(layout: str) -> Look:
    """Joints of a layout in metres, with noise."""

    def look(joints: FloatArray, rng: np.random.Generator, seed: int, path: str) -> FloatArray:
        points = _joints_of(layout, joints)
        return np.asarray(points + rng.normal(0, 0.005, points.shape) + [0, 0, 3])

    return look


_SAME = {
    "Pelvis": "SpineBase", "Hip": "SpineBase", "Spine": "SpineMid", "SpineNavel": "SpineMid",
    "Spine1": "SpineMid", "Spine2": "SpineMid", "Spine3": "SpineShoulder",
    "SpineChest": "SpineShoulder", "Thorax": "SpineShoulder", "LFoot": "FootLeft",
    "RFoot": "FootRight", "LHand": "HandLeft", "RHand": "HandRight", "EyeLeft": "LEye",
    "EyeRight": "REye", "EarLeft": "LEar", "EarRight": "REar", "Wrist": "WristRight",
}  # fmt: skip
"""Joints of other layouts that correspond to a Kinect's or COCO's joint."""


def _joints_of(name: str, joints: FloatArray) -> FloatArray:
    """(T, V, 3) joints of a layout from Kinect's (T, 25, 3).

    Fingers and similar joints are invented around the joint that they are attached to.
    """
    layout = get_layout(name)
    others = {
        "coco": coco(joints),
        "mediapipe": _landmarks33(joints),
        "openpose25": _body25(joints),
        "nturgb+d": joints,
    }
    known: dict[str, FloatArray] = {}
    for other, points in others.items():
        known |= dict(zip(get_layout(other).joints, np.moveaxis(points, 1, 0), strict=True))
    known |= {other: known[same] for other, same in _SAME.items()}
    found: dict[int, FloatArray] = {}

    def place(joint: int) -> FloatArray:
        if joint not in found:
            label, parent = layout.joints[joint], layout.bone_parent[joint]
            beside = 0.02 * np.array([np.cos(joint), np.sin(joint), 0])
            found[joint] = known[label] if label in known else place(parent) + beside
        return found[joint]

    return np.stack([place(joint) for joint in range(layout.num_joints)], axis=1)


def _pixels(points: FloatArray, rng: np.random.Generator) -> FloatArray:
    """(..., V, 3) x and y in pixels and confidence."""
    pixels, score = filmed(points, WIDTH, HEIGHT, rng)
    return np.concatenate([pixels, score[..., None]], axis=-1).astype(np.float64)


def _feet(joints: FloatArray) -> list[FloatArray]:
    """Invented heel, small and big toe of the left foot, then of the right."""
    across = joints[:, 8] - joints[:, 4]
    across = across / np.linalg.norm(across, axis=-1, keepdims=True)
    found = []
    for ankle, foot, side in ((14, 15, -1), (18, 19, 1)):
        toe, joint = joints[:, foot], joints[:, ankle]
        found += [joint - 0.4 * (toe - joint), toe + 0.04 * side * across, toe]
    return found


def _body25(joints: FloatArray) -> FloatArray:
    """(T, 25, 3) OpenPose's BODY_25 from Kinect's joints (T, 25, 3)."""
    c = coco(joints)
    left_heel, left_small, left_big, right_heel, right_small, right_big = _feet(joints)
    neck, hips = (c[:, pair].mean(axis=1) for pair in ([5, 6], [11, 12]))
    arms = [c[:, j] for j in (6, 8, 10, 5, 7, 9)]
    legs = [c[:, j] for j in (12, 14, 16, 11, 13, 15)]
    face = [c[:, j] for j in (2, 1, 4, 3)]
    left, right = [left_big, left_small, left_heel], [right_big, right_small, right_heel]
    return np.stack([c[:, 0], neck, *arms, hips, *legs, *face, *left, *right], axis=1)


def _landmarks33(joints: FloatArray) -> FloatArray:
    """(T, 33, 3) MediaPipe's landmarks from Kinect's joints (T, 25, 3)."""
    c = coco(joints)
    nose, left_eye, right_eye, left_ear, right_ear = (c[:, j] for j in range(5))
    aside = 0.25 * (right_eye - left_eye)
    mouth = nose - 0.5 * ((left_eye + right_eye) / 2 - nose) * [0, 1, 0]
    face = [
        *(nose, left_eye + aside, left_eye, left_eye - aside),
        *(right_eye - aside, right_eye, right_eye + aside),
        *(left_ear, right_ear, mouth - aside, mouth + aside),
    ]
    left_heel, _, left_toe, right_heel, _, right_toe = _feet(joints)
    limbs = [c[:, j] for j in range(5, 11)]
    fingers = [joints[:, j] for j in (7, 11, 21, 23, 22, 24)]
    legs = [c[:, j] for j in range(11, 17)]
    return np.stack(
        [*face, *limbs, *fingers, *legs, left_heel, right_heel, left_toe, right_toe], axis=1
    )
