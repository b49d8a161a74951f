"""An articulated body with the 25 joints of Kinect v2.

A pose gives the place and the angles of the trunk and the targets of hands and feet. Elbows and
knees follow from two-bone inverse kinematics, so that every bone keeps its length in any pose.

Axes of the body and of the stage it stands on: x to the person's right, y up, z backwards; metres.
They are the sensor's own axes when the person faces it. Sides are indexed 0 left, 1 right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from typing import Self

FloatArray = NDArray[np.float64]

NUM_JOINTS = 25
PARENT = (0, 0, 20, 2, 20, 4, 5, 6, 20, 8, 9, 10, 0, 12, 13, 14, 0, 16, 17, 18, 1, 7, 7, 11, 11)
"""Parent of each joint in the kinematic tree, whose root is SpineBase."""
SIDES = np.array([-1.0, 1.0])

# Bone lengths in parts of stature. They are those that Kinect v2 reports, which differ from
# anatomy: its hips sit close together and its head joint lies in the middle of the head.
_LENGTHS = {
    "spine_low": 0.170,
    "spine_high": 0.125,
    "neck": 0.043,
    "head": 0.078,
    "shoulder": 0.092,
    "upper_arm": 0.158,
    "forearm": 0.142,
    "hand": 0.040,
    "fingertip": 0.028,
    "thumb": 0.026,
    "hip": 0.044,
    "thigh": 0.215,
    "shank": 0.208,
    "foot": 0.066,
    "ankle": 0.048,
}
_VARY_TOGETHER = (
    (("upper_arm", "forearm"), 0.04),
    (("thigh", "shank"), 0.04),
    (("shoulder", "hip"), 0.07),
)
"""Bones whose lengths vary together, and the standard deviation of the common factor."""


@dataclass(frozen=True, slots=True)
class Proportions:
    """Bone lengths of one person in metres; `ankle` is the height of the ankle above the floor."""

    stature: float
    spine_low: float
    spine_high: float
    neck: float
    head: float
    shoulder: float
    upper_arm: float
    forearm: float
    hand: float
    fingertip: float
    thumb: float
    hip: float
    thigh: float
    shank: float
    foot: float
    ankle: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Self:
        """A person: stature first, then limbs and breadth that vary about it."""
        stature = float(np.clip(rng.normal(1.70, 0.09), 1.48, 1.95))
        lengths = {
            bone: part * stature * float(rng.normal(1, 0.02)) for bone, part in _LENGTHS.items()
        }
        for bones, spread in _VARY_TOGETHER:
            factor = float(rng.normal(1, spread))
            lengths |= {bone: factor * lengths[bone] for bone in bones}
        return cls(stature=stature, **lengths)

    @property
    def arm(self) -> float:
        """Length from shoulder to hand, stretched."""
        return self.upper_arm + self.forearm + self.hand

    @property
    def leg(self) -> float:
        """Length from hip to ankle, stretched."""
        return self.thigh + self.shank


@dataclass(slots=True)
class Pose:
    """Movement of a body over T frames. Angles in radians; every array may be changed in place.

    Angles turn as follows: heading to the person's left about the vertical, pitch forwards, roll to
    the person's right, twist of the chest like heading; `nod` and `tilt` are pitch and roll of the
    head relative to the chest.
    """

    root: FloatArray
    """(T, 3) SpineBase on the stage."""
    heading: FloatArray
    pitch: FloatArray
    roll: FloatArray
    twist: FloatArray
    nod: FloatArray
    tilt: FloatArray
    hands: FloatArray
    """(2, T, 3) targets of the hands relative to SpineShoulder in the axes of the chest."""
    elbows: FloatArray
    """(2, T) sideways lift of the elbows: 0 hanging, 1 level with the shoulder."""
    feet: FloatArray
    """(2, T, 3) targets of the ankles on the stage."""
    toes: FloatArray
    """(2, T) angle of the feet below the horizontal."""

    @property
    def num_frames(self) -> int:
        return len(self.root)

    @classmethod
    def standing(cls, body: Proportions, frames: int, stance: float) -> Self:
        """Upright at the origin, arms hanging, feet `stance` metres apart."""
        knees_soft = 0.985
        root = np.zeros((frames, 3))
        root[:, 1] = body.ankle + knees_soft * body.leg
        hands = np.empty((2, frames, 3))
        feet = np.empty((2, frames, 3))
        for side in (0, 1):
            hands[side] = rest_hand(body, side)
            feet[side] = (SIDES[side] * stance / 2, body.ankle, 0.0)
        angles = np.zeros((6, frames))
        return cls(
            root=root,
            heading=angles[0],
            pitch=angles[1],
            roll=angles[2],
            twist=angles[3],
            nod=angles[4],
            tilt=angles[5],
            hands=hands,
            elbows=np.full((2, frames), 0.15),
            feet=feet,
            toes=np.full((2, frames), 0.45),
        )


def rest_hand(body: Proportions, side: int) -> FloatArray:
    """(3,) target of a hanging hand in the axes of the chest."""
    return np.array([SIDES[side] * (body.shoulder + 0.07), -0.965 * body.arm, -0.05])


def solve(body: Proportions, pose: Pose) -> FloatArray:
    """(T, 25, 3) joints on the stage, in metres, by forward kinematics from the root."""
    joints = np.empty((pose.num_frames, NUM_JOINTS, 3))
    heading = turn_about_y(pose.heading)
    # The pelvis takes a part of the trunk's inclination, the chest all of it.
    pelvis = heading @ _incline(0.5 * pose.pitch, 0.5 * pose.roll)
    chest = heading @ _incline(pose.pitch, pose.roll) @ turn_about_y(pose.twist)
    skull = chest @ _incline(pose.nod, pose.tilt)

    joints[:, 0] = pose.root
    joints[:, 1] = joints[:, 0] + body.spine_low * pelvis[:, :, 1]
    joints[:, 20] = joints[:, 1] + body.spine_high * chest[:, :, 1]
    joints[:, 2] = joints[:, 20] + body.neck * chest[:, :, 1]
    joints[:, 3] = joints[:, 2] + body.head * skull[:, :, 1]
    for side in (0, 1):
        _solve_arm(body, pose, joints, chest, side)
        _solve_leg(body, pose, joints, pelvis, heading, side)
    return joints


def turn_about_y(angle: FloatArray) -> FloatArray:
    """(T, 3, 3) rotations about the vertical, positive to the person's left."""
    c, s, zero, one = np.cos(angle), np.sin(angle), np.zeros_like(angle), np.ones_like(angle)
    return _matrices([[c, zero, s], [zero, one, zero], [-s, zero, c]])


def _solve_arm(
    body: Proportions, pose: Pose, joints: FloatArray, chest: FloatArray, side: int
) -> None:
    shoulder, sign = 4 + 4 * side, SIDES[side]
    across = chest[:, :, 0] * sign
    joints[:, shoulder] = joints[:, 20] + body.shoulder * across
    target = joints[:, 20] + _apply(chest, pose.hands[side])
    lift = pose.elbows[side][:, None]
    pole = lift * across - (1 - lift) * chest[:, :, 1] + 0.35 * chest[:, :, 2]
    forearm = body.forearm + body.hand  # the wrist is kept straight
    elbow, hand = _two_bones(joints[:, shoulder], target, body.upper_arm, forearm, pole)
    along = (hand - elbow) / forearm
    joints[:, shoulder + 1] = elbow
    joints[:, shoulder + 2] = elbow + body.forearm * along
    joints[:, shoulder + 3] = hand
    joints[:, 21 + 2 * side] = hand + body.fingertip * along
    sideways = _unit(np.cross(along, pole)) * -sign
    joints[:, 22 + 2 * side] = hand + body.thumb * _unit(0.6 * along + 0.8 * sideways)


def _solve_leg(
    body: Proportions,
    pose: Pose,
    joints: FloatArray,
    pelvis: FloatArray,
    heading: FloatArray,
    side: int,
) -> None:
    hip, sign = 12 + 4 * side, SIDES[side]
    joints[:, hip] = joints[:, 0] + body.hip * sign * pelvis[:, :, 0]
    forwards = -heading[:, :, 2]
    pole = forwards + 0.15 * sign * heading[:, :, 0]
    knee, ankle = _two_bones(joints[:, hip], pose.feet[side], body.thigh, body.shank, pole)
    joints[:, hip + 1] = knee
    joints[:, hip + 2] = ankle
    down = pose.toes[side][:, None]
    toe = np.cos(down) * _unit(pole) - np.sin(down) * heading[:, :, 1]
    joints[:, hip + 3] = ankle + body.foot * toe


def _two_bones(
    start: FloatArray, target: FloatArray, first: float, second: float, pole: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Middle and end of a chain of two bones that points at `target` and bends towards `pole`.

    A target out of reach is approached along the straight line to it.
    """
    reach = target - start
    distance = np.linalg.norm(reach, axis=-1, keepdims=True)
    along = reach / np.maximum(distance, 1e-9)
    distance = np.clip(distance, 1.05 * abs(first - second) + 1e-3, 0.999 * (first + second))
    # law of cosines
    forth = (first**2 - second**2 + distance**2) / (2 * distance)
    bend = _unit(pole - (pole * along).sum(-1, keepdims=True) * along)
    out = np.sqrt(np.maximum(first**2 - forth**2, 0.0))
    return start + forth * along + out * bend, start + distance * along


def _incline(pitch: FloatArray, roll: FloatArray) -> FloatArray:
    """(T, 3, 3) rotations: roll to the person's right, then pitch forwards."""
    zero, one = np.zeros_like(pitch), np.ones_like(pitch)
    c, s = np.cos(pitch), np.sin(pitch)
    forwards = _matrices([[one, zero, zero], [zero, c, s], [zero, -s, c]])
    c, s = np.cos(roll), np.sin(roll)
    return forwards @ _matrices([[c, s, zero], [-s, c, zero], [zero, zero, one]])


def _matrices(rows: list[list[FloatArray]]) -> FloatArray:
    return np.moveaxis(np.array(rows), -1, 0)


def _apply(rotation: FloatArray, points: FloatArray) -> FloatArray:
    applied: FloatArray = np.einsum("tij,tj->ti", rotation, points)
    return applied


def _unit(vector: FloatArray) -> FloatArray:
    norm = np.linalg.norm(vector, axis=-1, keepdims=True)
    unit: FloatArray = vector / np.maximum(norm, 1e-9)
    return unit
