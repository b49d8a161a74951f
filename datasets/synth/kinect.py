"""The output of a simulated Kinect v2: views, occlusion, noise, lost bodies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from aclnet.datasets.synth.acting import act
from aclnet.datasets.synth.body import (
    NUM_JOINTS,
    FloatArray,
    Pose,
    Proportions,
    solve,
    turn_about_y,
)
from aclnet.datasets.synth.motion import drift
from aclnet.datasets.synth.seeding import rng_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

INFERRED, TRACKED = 1, 2
KINECT_V1 = (0, 1, 20, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19)
"""Kinect v1's 20 joints, in the order of layout `kinect_v1`, among the 25 of Kinect v2."""

_AZIMUTH = {1: 0.0, 2: -np.pi / 4, 3: np.pi / 4}

# Standard deviation of white noise in millimetres: small for the trunk, large for hands and feet,
# as measured on original recordings by second differences.
_JITTER_MM = np.array(
    [3, 3, 3, 4, 5, 6, 8, 9, 5, 6, 8, 9, 3, 6, 8, 12, 3, 6, 8, 12, 3, 12, 12, 12, 12], float
)
_DEPTH_JITTER = 1.5
"""Factor by which depth is noisier than the image plane."""
_DRIFT_MM = 5.0
_INFERRED_JITTER = 2.0
_INFERRED_DRIFT_MM = 25.0
"""Drift of an inferred joint in millimetres."""

_HANDS = [6, 7, 10, 11, 21, 22, 23, 24]
_SHADES = (
    (0, 20, 0.14),
    (2, 3, 0.10),
    (12, 13, 0.08),
    (13, 14, 0.06),
    (16, 17, 0.08),
    (17, 18, 0.06),
)
"""Bones that hide joints behind them: two joints and a radius in metres."""
_BEHIND = 0.12
"""Distance in metres behind the bone's axis from which a joint counts as hidden."""

# Probability of each mishap in a recording.
_LOST_FRAMES = 0.10
_NEW_ID = 0.06
_LEAVES = 0.06
_SPURIOUS = 0.08
_FIRST_ID = 2**56 + 3000


@dataclass(frozen=True, slots=True)
class Camera:
    """Position of a sensor: azimuth and tilt in radians, distance and height in metres."""

    azimuth: float
    distance: float
    height: float
    tilt: float

    @classmethod
    def draw(cls, number: int, rng: np.random.Generator) -> Self:
        """Camera 1, 2 or 3 of a setup whose random numbers `rng` gives."""
        distance, height = rng.uniform(2.4, 4.0), rng.uniform(0.9, 2.0)
        tilt = np.arctan2(height - 0.9, distance) + rng.normal(0, 0.03)
        azimuth = _AZIMUTH[number] + rng.normal(0, 0.05)
        return cls(float(azimuth), float(distance), float(height), float(tilt))

    def see(self, points: FloatArray) -> FloatArray:
        """(..., 3) points of the stage in camera space: x lateral, y up, z away, metres."""
        turned = points @ turn_about_y(np.array([-self.azimuth]))[0].T
        x, y, z = np.moveaxis(turned, -1, 0)
        y, z = y - self.height, z + self.distance
        c, s = np.cos(self.tilt), np.sin(self.tilt)
        return np.stack([x, c * y + s * z, c * z - s * y], axis=-1)


@dataclass(slots=True)
class TrackedBody:
    """One body as the sensor reports it, in n frames."""

    body_id: int
    frames: NDArray[np.int64]
    """(n,) ascending frame numbers from 0."""
    joints: NDArray[np.float32]
    """(n, 25, 3) camera space, metres."""
    tracking: NDArray[np.uint8]
    """(n, 25) state: 1 inferred, 2 tracked."""


def sensed(seed: int, scene: FloatArray, camera: int, take: str) -> FloatArray:
    """(M, T, 25, 3) scene in the space of sensor 1, 2 or 3, with its noise, no body lost."""
    view = Camera.draw(camera, rng_for(seed, "camera", str(camera)))
    rng = rng_for(seed, "noise", take, str(camera))
    return view.see(scene) + rng.normal(0, 0.005, scene.shape)


def sense_one(
    seed: int, name: str, movement: int, joints: Sequence[int], camera: int = 1
) -> FloatArray:
    """(T, V, 3) joints in metres of the person in a recording `ACTION_SUBJECT_TAKE...`.

    joints: V of the 25. movement: a movement of a single person, as for `act`.
    """
    action, who, take = name.split("_")[:3]
    scene = act(seed, who, movement, f"{action} {take}")
    return np.asarray(sensed(seed, scene, camera, name)[0][:, list(joints)])


def record(
    scene: FloatArray, camera: Camera, rng: np.random.Generator
) -> tuple[int, list[TrackedBody]]:
    """The number of frames and the bodies reported, in the order of the file."""
    seen = camera.see(scene)
    num_people, num_frames = seen.shape[:2]
    hidden = _hidden(seen)
    present = np.ones((num_people, num_frames), bool)
    if rng.random() < _LOST_FRAMES:
        present[:, _gap(num_frames, 2, 9, rng)] = False
    if rng.random() < _LEAVES:
        present[rng.integers(num_people), _gap(num_frames, 5, 16, rng)] = False
    ids = _FIRST_ID + np.cumsum(rng.integers(1, 4000, size=num_people + 2))
    bodies: list[TrackedBody] = []
    for person in range(num_people):
        joints, tracking = _sense(seen[person], hidden[person], rng)
        bodies.append(_tracked(int(ids[person]), present[person], joints, tracking))
    if rng.random() < _NEW_ID:
        bodies += _renamed(bodies.pop(0), int(ids[num_people]))
    if rng.random() < _SPURIOUS:
        bodies.append(_furniture(int(ids[num_people + 1]), num_frames, camera, rng))
    return num_frames, [bodies[i] for i in rng.permutation(len(bodies))]


def _hidden(seen: FloatArray) -> NDArray[np.bool_]:
    """(M, T, 25) whether a thick bone of any person is between the joint and the camera."""
    image = seen[..., :2] / seen[..., 2:]
    hidden = np.zeros(seen.shape[:-1], bool)
    for person in range(len(seen)):
        for first, last, radius in _SHADES:
            start, end = image[person, :, None, first], image[person, :, None, last]
            bone = end - start
            along = ((image - start) * bone).sum(-1) / np.maximum((bone**2).sum(-1), 1e-9)
            along = np.clip(along, 0.0, 1.0)
            miss = image - start - along[..., None] * bone
            near, far = seen[person, :, None, first, 2], seen[person, :, None, last, 2]
            depth = near + along * (far - near)
            covered = (miss**2).sum(-1) * depth**2 < radius**2
            hidden |= covered & (seen[..., 2] > depth + _BEHIND)
    return hidden


def _sense(
    joints: FloatArray, hidden: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[FloatArray, NDArray[np.uint8]]:
    """Noisy (T, 25, 3) joints and their tracking states."""
    num_frames = len(joints)
    inferred = hidden.copy()
    inferred[:, _HANDS] |= drift(rng, num_frames, len(_HANDS), 8) > 1.9
    white = rng.standard_normal(joints.shape) * (_JITTER_MM[:, None] / 1000)
    slow = drift(rng, num_frames, 2 * joints[0].size, 18).reshape(2, *joints.shape)
    lost = inferred[..., None]
    noise = white * np.where(lost, _INFERRED_JITTER, 1.0)
    noise += slow[0] * (_DRIFT_MM / 1000) + lost * slow[1] * (_INFERRED_DRIFT_MM / 1000)
    noise[..., 2] *= _DEPTH_JITTER
    return joints + noise, np.where(inferred, INFERRED, TRACKED).astype(np.uint8)


def _tracked(
    body_id: int, present: NDArray[np.bool_], joints: FloatArray, tracking: NDArray[np.uint8]
) -> TrackedBody:
    frames = np.flatnonzero(present)
    return TrackedBody(body_id, frames, joints[frames].astype(np.float32), tracking[frames])


def _renamed(body: TrackedBody, other_id: int) -> Iterable[TrackedBody]:
    """The body under two ids, one after the other."""
    cut = len(body.frames) // 2
    for body_id, part in ((body.body_id, slice(None, cut)), (other_id, slice(cut, None))):
        yield TrackedBody(body_id, body.frames[part], body.joints[part], body.tracking[part])


def _furniture(
    body_id: int, num_frames: int, camera: Camera, rng: np.random.Generator
) -> TrackedBody:
    """A false body that the sensor sees for a while in a chair or a bag: broad and at rest."""
    body = Proportions.draw(rng)
    present = np.zeros(num_frames, bool)
    present[_gap(num_frames, 4, 31, rng)] = True
    upright = solve(body, Pose.standing(body, 1, 0.3))
    squat = upright * np.array([1.6, 0.45, 1.0])
    spot = np.array([rng.choice([-1, 1]) * rng.uniform(0.7, 1.2), 0.0, rng.uniform(0.2, 0.9)])
    seen = np.tile(camera.see(squat + spot), (num_frames, 1, 1))
    joints, tracking = _sense(seen, rng.random((num_frames, NUM_JOINTS)) < 0.7, rng)
    return _tracked(body_id, present, joints, tracking)


def _gap(num_frames: int, shortest: int, longest: int, rng: np.random.Generator) -> slice:
    """A stretch inside the recording, `longest` excluded."""
    length = int(rng.integers(shortest, longest))
    start = int(rng.integers(1, num_frames - length))
    return slice(start, start + length)
