"""Missing joints: chosen ones, random ones, or one per frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

import torch

from aclnet.datasets.spec import AclnetError
from aclnet.datasets.store.keyed_random import integers, uniform
from aclnet.pipelines.inputs.corruptions.corruption import Corruption
from aclnet.pipelines.inputs.features import joint_index

if TYPE_CHECKING:
    from torch import Tensor

    from aclnet.datasets.spec.layouts import Layout
    from aclnet.pipelines.choices import Missing
    from aclnet.pipelines.inputs.corruptions.corruption import Scene


@dataclass(frozen=True, slots=True)
class Drop(Corruption):
    """Joints that are missing in all frames of all persons."""

    joints: tuple[int, ...]

    @classmethod
    def of(cls, selector: str, layout: Layout, missing: Missing = "centre") -> Self:
        """Parts or joints of a layout by name, `+` joins them.

        Raises AclnetError for an unknown name, and if no joint would be left.
        """
        joints = layout.resolve(selector)
        if len(joints) == layout.num_joints:
            raise AclnetError(f"{selector!r} contains every joint of layout {layout.name}")
        return cls(joints, missing=missing)

    def hidden(self, x: Tensor, scene: Scene) -> Tensor:
        hidden = torch.zeros(x.shape[2], dtype=torch.bool, device=x.device)
        hidden[joint_index(self.joints, x.device)] = True
        return hidden


@dataclass(frozen=True, slots=True)
class RandomJoints(Corruption):
    """Each joint of each person is missing with a probability, drawn for each frame or once."""

    rate: float
    by: Literal["frame", "sequence"] = "frame"

    def hidden(self, x: Tensor, scene: Scene) -> Tensor:
        keys = self.keys(scene, by_frame=self.by == "frame")
        joint = torch.arange(x.shape[2], device=x.device)
        return uniform(keys[..., None], joint) < self.rate  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class OneJoint(Corruption):
    """One of several joints is missing in a frame of a person with a probability.

    The robustness test of PoseC3D (Duan et al., "Revisiting skeleton-based action recognition",
    CVPR 2022) drops one keypoint of the limbs in this way.
    """

    rate: float
    joints: tuple[int, ...]

    def hidden(self, x: Tensor, scene: Scene) -> Tensor:
        keys = self.keys(scene)
        chosen = joint_index(self.joints, x.device)[integers(keys, 1, len(self.joints))]
        happens = uniform(keys, 0) < self.rate
        joint = torch.arange(x.shape[2], device=x.device)
        return (chosen[..., None] == joint) & happens[..., None]  # type: ignore[no-any-return]
