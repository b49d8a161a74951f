"""Exchange of left and right, a usual error of pose estimators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import torch

from aclnet.datasets.spec import AclnetError
from aclnet.datasets.store.keyed_random import uniform
from aclnet.pipelines.inputs.corruptions.corruption import Corruption
from aclnet.pipelines.inputs.features import take_joints

if TYPE_CHECKING:
    from torch import Tensor

    from aclnet.datasets.spec.layouts import Layout
    from aclnet.pipelines.inputs.corruptions.corruption import Scene


@dataclass(frozen=True, slots=True)
class SwappedSides(Corruption):
    """Left and right joints are exchanged in a frame of a person with a probability."""

    rate: float

    hides: ClassVar[bool] = False

    @classmethod
    def of(cls, rate: float, layout: Layout) -> Self:
        """Raises AclnetError if the layout has no sides."""
        if not layout.has_sides:
            raise AclnetError(f"layout {layout.name} names no left and right joints")
        return cls(rate)

    def on_joints(self, x: Tensor, scene: Scene) -> Tensor:
        swapped = uniform(self.keys(scene), 0) < self.rate
        return torch.where(swapped[..., None, None], take_joints(x, scene.layout.mirror), x)
