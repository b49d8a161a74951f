"""People as video cameras and pose estimators show them: keypoints in pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aclnet.datasets.synth.body import FloatArray

_FACE = 0.06
"""Distance in metres from the middle of the head to eyes, ears and nose."""
_LENS = 1.1
"""Focal length of the cameras in image widths."""
_PIXEL_NOISE = 0.004
"""Standard deviation of a keypoint in image heights."""


def coco(joints: FloatArray) -> FloatArray:
    """(..., 17, 3) COCO joints from (..., 25, 3); the face is invented around the head."""
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

    points: (..., V, 3) on the stage, filmed from in front: a person who faces the camera has the
    right hand on the left of the image. Some joints are missing, all zero. camera: its distance and
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
