"""Joints that training hides at random, so that a network learns to work without them.

Draws are functions of the sample's key, like those of `aclnet.pipelines.inputs.augment`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import torch

from aclnet.datasets.spec import AclnetError
from aclnet.datasets.store.keyed_random import fold, integers, uniform

if TYPE_CHECKING:
    from torch import Tensor

    from aclnet.datasets.spec.layouts import Layout

LIMBS = ("left_arm", "left_leg", "right_arm", "right_leg")
"""Parts from which the released code hides one."""
MOST_HIDDEN = 0.5
"""Largest share of the joints that a joint mask hides, and of a clip that a time mask does."""

# Draw numbers: stores and runs are reproducible as long as these keep their values.
# `aclnet.pipelines.inputs.augment` uses other values.
_LIMB_HAPPENS, _LIMB = 6, 7
_JOINTS_HAPPEN, _JOINT_SHARE, _JOINTS = 9, 10, 11
_TIME_HAPPENS, _TIME_SHARE, _TIME_START = 12, 13, 14


def parts_hidden(
    keys: Tensor, probability: float, parts: tuple[str, ...], layout: Layout
) -> Tensor:
    """(B, V) bool: with a probability, the joints of one of `parts`, each equally often.

    Without `parts`, it is one of all parts of the layout; a layout without parts hides nothing.

    Raises:
        AclnetError: the layout lacks a part, or one is all of its joints.
    """
    joints = _joints_of(parts, layout) if parts else _all_parts(layout)
    table = _table(joints, layout.num_joints, keys.device)
    chosen: Tensor = table[integers(keys, _LIMB, len(joints))]
    return chosen & happens(keys, _LIMB_HAPPENS, probability)[:, None]


def joints_hidden(keys: Tensor, probability: float, num_joints: int) -> Tensor:
    """(B, V) bool: with a probability, each joint with one chance, uniform up to `MOST_HIDDEN`."""
    share = uniform(keys, _JOINT_SHARE) * MOST_HIDDEN
    joint = torch.arange(num_joints, device=keys.device)
    chosen: Tensor = uniform(fold(keys, _JOINTS)[:, None], joint) < share[:, None]
    return chosen & happens(keys, _JOINTS_HAPPEN, probability)[:, None]


def frames_hidden(keys: Tensor, probability: float, owner: Tensor, frame: Tensor) -> Tensor:
    """(P, N) bool: with a probability, the frames of one block of time, the same for all persons.

    `frame` (P, N) numbers the frames. The block is between the first and the last of them. Its
    share of this time is uniform up to `MOST_HIDDEN`.
    """
    share = (uniform(keys, _TIME_SHARE) * MOST_HIDDEN)[owner]
    first, last = (end.double() for end in frame.aminmax(dim=1))
    length = last + 1 - first
    start = first + uniform(keys, _TIME_START)[owner] * (1 - share) * length
    middle = frame + 0.5  # so that the first frame is hidden as often as the last one
    inside: Tensor = (middle >= start[:, None]) & (middle < (start + share * length)[:, None])
    return inside & happens(keys, _TIME_HAPPENS, probability)[owner, None]


def happens(keys: Tensor, draw: int, probability: float) -> Tensor:
    """(B,) bool: true for a share `probability` of the keys."""
    found: Tensor = uniform(keys, draw) < probability
    return found


def _joints_of(parts: tuple[str, ...], layout: Layout) -> tuple[tuple[int, ...], ...]:
    """The joints of each of `parts`."""
    remedy = (
        "add them to a layout file, choose others (augment.parts), or switch the mask off "
        "(--set augment.limb_mask=0, or no limb-mask in --augment)"
    )
    known = {name for name, joints in layout.parts.items() if joints} | set(layout.joints)
    missing = [part for part in parts if not set(part.split("+")) <= known]
    if missing:
        raise AclnetError(
            f"limb-mask needs the parts {', '.join(parts)}; layout {layout.name} lacks "
            f"{', '.join(missing)}: {remedy}"
        )
    joints = tuple(layout.resolve(part) for part in parts)
    whole = [p for p, found in zip(parts, joints, strict=True) if len(found) == layout.num_joints]
    if whole:
        raise AclnetError(f"{whole[0]} contains every joint of layout {layout.name}: {remedy}")
    return joints


def _all_parts(layout: Layout) -> tuple[tuple[int, ...], ...]:
    """The joints of each part except those with the whole body; empty if there are none."""
    sizes = range(1, layout.num_joints)
    return tuple(part for part in layout.parts.values() if len(part) in sizes) or ((),)


@lru_cache(maxsize=64)
def _table(parts: tuple[tuple[int, ...], ...], num_joints: int, device: torch.device) -> Tensor:
    """(parts, V) bool on `device`, made once."""
    return torch.tensor([[j in part for j in range(num_joints)] for part in parts], device=device)
