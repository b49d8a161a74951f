"""Corruptions of test sequences: what a robustness protocol does to the input of a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch

from aclnet.datasets.spec import AclnetError
from aclnet.pipelines.inputs.features import joint_index

if TYPE_CHECKING:
    from torch import Tensor

    from aclnet.datasets.spec.layouts import Layout
    from aclnet.pipelines.choices import Missing


class Corruption(Protocol):
    """A named change of joints before features are made, of features afterwards, or both."""

    @property
    def name(self) -> str:
        """Says all that a reader of the result must know of it."""
        ...

    def on_joints(self, x: Tensor, origin: Tensor | None, present: Tensor) -> Tensor:
        """Corrupts coordinates (P, N, V, C).

        `origin` (P, C) is where the camera's origin lies in the normalised coordinates of each
        track, None where these do not tell; `present` (P, N) bool says in which frames the person
        is there.
        """
        ...

    def on_features(self, x: Tensor) -> Tensor:
        """Corrupts features (P, N, V, C)."""
        ...

    def mirrored(self, layout: Layout) -> Corruption:
        """What it is on the features of mirror images."""
        ...


@dataclass(frozen=True, slots=True)
class Drop:
    """Joints that are missing in all frames of all persons.

    What "missing" means decides the numbers, so it is part of the result's name:
    `centre` puts them at zero after centring, that is where the body's centre was in the first
    frame, `camera` at zero in camera space as a sensor that lost them reports, `feature` clears
    their features after bones and motions are made, so that their neighbours' bones stay intact.
    """

    selector: str
    joints: tuple[int, ...]
    missing: Missing = "centre"

    @classmethod
    def of(cls, selector: str, layout: Layout, missing: Missing = "centre") -> Drop:
        """Parts or joints of a layout by name, `+` joins them.

        Raises AclnetError for an unknown name, and where no joint would be left.
        """
        joints = layout.resolve(selector)
        if len(joints) == layout.num_joints:
            raise AclnetError(f"{selector!r} is every joint of layout {layout.name}")
        return cls(selector, joints, missing)

    @property
    def name(self) -> str:
        return f"{self.selector} ({self.missing})"

    def on_joints(self, x: Tensor, origin: Tensor | None, present: Tensor) -> Tensor:
        if self.missing == "feature":
            return x
        x = x.clone()
        gone = joint_index(self.joints, x.device)
        if self.missing == "centre":
            x[:, :, gone] = 0
        elif origin is None:
            raise AclnetError(
                "joints missing at the camera: from sequences without body size nothing leads back "
                "to it; take --missing centre or feature"
            )
        else:
            there = torch.where(
                present[..., None], origin[:, None], torch.zeros_like(origin[:, None])
            )
            x[:, :, gone] = there[:, :, None]
        return x

    def on_features(self, x: Tensor) -> Tensor:
        if self.missing != "feature":
            return x
        x = x.clone()
        x[:, :, joint_index(self.joints, x.device)] = 0
        return x

    def mirrored(self, layout: Layout) -> Drop:
        joints = tuple(layout.mirror[joint] for joint in self.joints)
        return Drop(self.selector, joints, self.missing)
