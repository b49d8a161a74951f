"""Noise on joints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from aclnet.datasets.store.keyed_random import uniform
from aclnet.pipelines.inputs.corruptions.corruption import Corruption, Need

if TYPE_CHECKING:
    from torch import Tensor

    from aclnet.pipelines.inputs.corruptions.corruption import Scene


@dataclass(frozen=True, slots=True)
class Jitter(Corruption):
    """Gaussian noise on the coordinates of a share of the joints, drawn for each frame.

    `sigma` is the standard deviation in metres.
    """

    sigma: float
    share: float

    hides: ClassVar[bool] = False
    need: ClassVar[Need | None] = "metres"

    def on_joints(self, x: Tensor, scene: Scene) -> Tensor:
        _, _, V, C = x.shape
        keys = self.keys(scene)[..., None]
        chosen = uniform(keys, torch.arange(V, device=x.device)) < self.share
        draws = uniform(keys, V + torch.arange(V * C, device=x.device)).view(x.shape)
        # the shift by half a step of the draws makes them symmetric and keeps them off ±1
        noise: Tensor = torch.erfinv(2 * draws - (1 - 2.0**-53)) * (2**0.5 * self.sigma)
        noise = noise.to(x.dtype).masked_fill(~(chosen & scene.seen(x))[..., None], 0)
        return x + noise
