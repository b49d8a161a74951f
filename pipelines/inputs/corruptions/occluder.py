"""An opaque strip that passes between the camera and the people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from aclnet.datasets.store.keyed_random import uniform
from aclnet.pipelines.inputs.corruptions.corruption import Corruption, Need

if TYPE_CHECKING:
    from torch import Tensor

    from aclnet.pipelines.inputs.corruptions.corruption import Scene

REACH = 1.0
"""Metres to each side of the person that the strip travels."""


@dataclass(frozen=True, slots=True)
class Occluder(Corruption):
    """A vertical strip moves across the view once in a sequence and hides the joints behind it.

    The strip moves from -REACH to REACH or back, relative to the x of the main person's centre in
    the first frame. Its width and its way are in metres at the depth of this centre. A joint is
    hidden where its ray from the camera meets the strip. z is the depth, as Kinects have it.
    """

    width: float

    need: ClassVar[Need | None] = "camera"

    def hidden(self, x: Tensor, scene: Scene) -> Tensor:
        if scene.origin is None:
            raise ValueError("the position of the camera is not known")
        coordinates = x[..., :3] - scene.origin[:, None, None]
        across, depth = (_camera_axis(coordinates, scene.rotation, axis) for axis in (0, 2))
        centre_x, centre_z = (
            _camera_axis(-scene.origin, scene.rotation, axis)[:, None] for axis in (0, 2)
        )
        side = torch.where(
            uniform(self.keys(scene, by_person=False, by_frame=False), 0) < 0.5, -1, 1
        )
        progress = scene.frame / (scene.n_frames[:, None] - 1).clamp(min=1)
        strip = centre_x + side * REACH * (2 * progress - 1)
        place = across / depth.clamp(min=1e-6) * centre_z[..., None]
        behind = (place - strip[..., None]).abs() < self.width / 2
        return behind & (depth > 0) & scene.seen(x)


def _camera_axis(x: Tensor, rotation: Tensor, axis: int) -> Tensor:
    """One camera coordinate of vectors (P, ..., 3); not a matrix product, which may round more."""
    column = rotation[..., axis].view(len(x), *(1 for _ in x.shape[2:]), 3)
    return (x * column).sum(-1)
