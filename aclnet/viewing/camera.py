"""The camera of a view: upright, in front of the first person, with everybody in the picture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aclnet.datasets.spec.layouts import Layout

Up = Literal["x", "y", "z", "-x", "-y", "-z"]
"""Axis of the coordinates that points upwards."""
AZIMUTH, ELEVATION = 0.45, 0.15
"""Angles of the first view in radians: a little from the side, a little from above."""
_MARGIN = 1.08
_PERCENT = (0.5, 99.5)
"""Percentiles of the coordinates that are in the picture: single wrong joints may be outside."""


@dataclass(frozen=True, slots=True)
class Camera:
    """A parallel projection of joints of C coordinates."""

    base: NDArray[np.float64]
    """(3, C) rows: to the right, upwards and towards the viewer, before any turn."""
    centre: NDArray[np.float64]
    """(C,) point in the middle of the picture."""
    radius: float
    """Distance of the picture's edge from its middle, in the unit of the joints."""
    floor: float | None = None
    """Height of the floor above the middle, along the second row of `base`; None: no floor."""

    @property
    def flat(self) -> bool:
        """True if the joints are in a plane. A plane is not turned."""
        return bool(self.base.shape[1] == 2)

    def widened(self, joints: NDArray[np.float32]) -> Camera:
        """The camera with a picture that is large enough for further joints (..., C)."""
        there = joints[seen(joints)]
        radius = _radius(there, self.centre) if len(there) else 0.0
        return replace(self, radius=max(self.radius, radius))

    def project(
        self, points: NDArray[np.floating], azimuth: float = 0.0, elevation: float = 0.0
    ) -> NDArray[np.float64]:
        """(..., 2) places in the picture, to the right and upwards, -1 to 1, of points (..., C).

        The viewer goes round the centre by `azimuth` and up by `elevation`, both in radians.
        `viewer.js` does the same.
        """
        x, y, z = np.moveaxis((points - self.centre) @ self.base.T / self.radius, -1, 0)
        if self.flat:
            return np.stack([x, y], axis=-1)
        right = x * np.cos(azimuth) - z * np.sin(azimuth)
        near = x * np.sin(azimuth) + z * np.cos(azimuth)
        return np.stack([right, y * np.cos(elevation) - near * np.sin(elevation)], axis=-1)


def seen(joints: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(...) bool: the present joints of (..., C); missing joints are zero in all coordinates."""
    return np.asarray((joints != 0).any(axis=-1))


def camera_for(joints: NDArray[np.float32], layout: Layout, up: Up | None = None) -> Camera:
    """The camera for joints (M, T, V, C) with C = 2, y downwards, or 3.

    The axis upwards leads from the legs to the head, unless `up` is given. The viewer stands in
    front of the first person, according to the shoulders, else against the last axis.
    """
    there = joints[seen(joints)].astype(np.float64)
    if not len(there):
        there = np.zeros((1, joints.shape[-1]))
    low, high = np.percentile(there, _PERCENT, axis=0)
    centre = (low + high) / 2
    radius = _radius(there, centre) or 1.0
    if joints.shape[-1] == 2:
        return Camera(np.array([[1.0, 0], [0, -1], [0, 0]]), centre, radius)
    upwards = _axis(up) if up else _upwards(joints, layout)
    stands = upwards is not None
    upwards = _axis("y") if upwards is None else upwards
    front = _front(joints, layout, upwards)
    base = np.stack([np.cross(upwards, front), upwards, front])
    height = float(np.percentile((there - centre) @ upwards, _PERCENT[0])) if stands else None
    return Camera(base, centre, radius, height)


def _radius(points: NDArray[np.floating], centre: NDArray[np.float64]) -> float:
    """Distance from the centre within which nearly all points (N, C) are."""
    return float(np.percentile(np.linalg.norm(points - centre, axis=1), _PERCENT[1])) * _MARGIN


def _axis(up: Up) -> NDArray[np.float64]:
    axis = np.zeros(3)
    axis["xyz".index(up[-1])] = -1.0 if up.startswith("-") else 1.0
    return axis


def _upwards(joints: NDArray[np.float32], layout: Layout) -> NDArray[np.float64] | None:
    """(3,) the axis that is nearest to the way from the legs to the head; None: no such parts."""
    tops = [*layout.parts.get("head", ()), *(layout.spine or ())[1:]]
    bottoms = [*layout.parts.get("legs", ()), *(layout.spine or ())[:1]]
    way = _way(joints, bottoms, tops)
    if way is None or not way.any():
        return None
    longest = int(np.abs(way).argmax())
    axis = np.zeros(3)
    axis[longest] = np.sign(way[longest])
    return axis


def _front(
    joints: NDArray[np.float32], layout: Layout, upwards: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(3,) horizontal direction that the first person looks in."""
    right, left = layout.shoulders or (0, 0)
    way = _way(joints[:1], [right], [left])
    if way is not None:
        front = np.cross(way, upwards)
        length = np.linalg.norm(front)
        if length > 1e-6 * np.linalg.norm(way):
            return np.asarray(front / length)
    against = _axis("-z")
    return against if abs(against @ upwards) < 0.5 else _axis("-y")


def _way(
    joints: NDArray[np.float32], start: list[int], end: list[int]
) -> NDArray[np.float64] | None:
    """(3,) median way from the mean of some joints to that of others; None if never seen."""
    if not start or not end:
        return None
    whole = seen(joints)[:, :, [*start, *end]].all(axis=-1)
    poses = joints[whole].astype(np.float64)
    if not len(poses):
        return None
    return np.asarray(np.median(poses[:, end].mean(axis=1) - poses[:, start].mean(axis=1), axis=0))
