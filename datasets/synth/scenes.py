"""Performances of made-up people as joints, for the generators of all formats.

Randomness is keyed by the seed and by what is drawn, so that a person is the same in every
recording and a recording the same whichever others are written with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aclnet.datasets.store.keyed_random import generator, sample_keys
from aclnet.datasets.synth import kinect
from aclnet.datasets.synth.motion import MOVEMENTS, Person, num_people, perform

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aclnet.datasets.synth.body import FloatArray

KINECT_V1 = (0, 1, 20, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19)
"""Kinect v1's 20 joints, in the order of layout `kinect_v1`, among the 25 of Kinect v2."""
_ACTIONS = tuple(MOVEMENTS)
_FACE = 0.06
"""Metres from the middle of the head to eyes, ears and nose."""
_LENS = 1.1
"""Focal length of the made-up video cameras in image widths."""
_PIXEL_NOISE = 0.004
"""Standard deviation of a keypoint in image heights."""


def rng_for(seed: int, *what: str) -> np.random.Generator:
    """Random numbers that depend on nothing but the seed and the words."""
    key = int(sample_keys(["/".join(what)])[0])
    return generator(seed, key & (2**64 - 1))


def person(seed: int, who: str) -> Person:
    """The same body and habits under the same name."""
    return Person.draw(rng_for(seed, "person", who, "0"))


def act(seed: int, who: str, movement: int, take: str, *, partner: str = "") -> FloatArray:
    """(M, T, 25, 3) joints of Kinect v2 on a stage in metres, in the axes of one who faces the
    audience: x to the right, y up, z to the back.

    movement: any number; there are sixteen different ones, those from 12 on (modulo 16) of two
    persons, the second called `partner`. take: what tells this performance from others.
    """
    action = _ACTIONS[movement % len(_ACTIONS)]
    people = [person(seed, name) for name in (who, partner or f"{who}+")[: num_people(action)]]
    rng = rng_for(seed, "performance", who, str(movement), take)
    poses = perform(action, people, rng)
    cast = [(each.body, pose) for each, pose in zip(people, poses, strict=True)]
    return kinect.stage(cast, 1 + int(rng.integers(2)), rng)


def sensed(seed: int, scene: FloatArray, camera: int, take: str) -> FloatArray:
    """(M, T, 25, 3) of a scene in the space of sensor 1, 2 or 3, with its noise, nobody lost."""
    view = kinect.Camera.draw(camera, rng_for(seed, "camera", str(camera)))
    rng = rng_for(seed, "noise", take, str(camera))
    return view.see(scene) + rng.normal(0, 0.005, scene.shape)


def coco(joints: FloatArray) -> FloatArray:
    """(..., 17, 3) COCO joints of (..., 25, 3); the face is made up about the head."""
    across = joints[..., 8, :] - joints[..., 4, :]  # from the left shoulder to the right
    across = across / np.linalg.norm(across, axis=-1, keepdims=True)
    up = np.broadcast_to(np.array([0.0, 1.0, 0.0]), across.shape)
    ahead = np.cross(up, across)
    head = joints[..., 3, :]
    nose = head + 1.3 * _FACE * ahead
    eyes = [head + _FACE * (ahead + 0.5 * up + side * across) for side in (-0.5, 0.5)]
    ears = [head + _FACE * side * across for side in (-1.2, 1.2)]
    limbs = [joints[..., j, :] for j in (4, 8, 5, 9, 6, 10, 12, 16, 13, 17, 14, 18)]
    return np.stack([nose, *eyes, *ears, *limbs], axis=-2)


def filmed(
    points: FloatArray,
    width: int,
    height: int,
    rng: np.random.Generator,
    camera: tuple[float, float] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Pixels (..., V, 2), x to the right and y down, and confidences (..., V) of points in metres.

    points: (..., V, 3) on the stage, filmed from in front: who faces the camera has the right hand
    on the left of the image. Now and then a joint is missing, all zero. camera: its distance and
    height in metres, drawn if not given.
    """
    distance, eye = camera or (rng.uniform(3.0, 4.5), rng.uniform(0.8, 1.3))
    depth = points[..., 2] + distance
    scale = _LENS * width / depth
    pixels = np.stack(
        [width / 2 - scale * points[..., 0], height / 2 - scale * (points[..., 1] - eye)], axis=-1
    )
    pixels += rng.normal(0, _PIXEL_NOISE * height, pixels.shape)
    score = np.clip(rng.normal(0.85, 0.1, pixels.shape[:-1]), 0.05, 1.0)
    missing = rng.random(score.shape) < 0.02
    pixels[missing], score[missing] = 0, 0
    return pixels.astype(np.float32), score.astype(np.float32)
