"""The six input modalities of skeleton networks, computed from joint coordinates.

Names are the field's: `j` joints, `b` bones, `k` k-bones (over two bones), and `jm`, `bm`, `km`
their motion from one frame to the next.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import torch

from aclnet.datasets.errors import AclnetError

if TYPE_CHECKING:
    from torch import Tensor

    from aclnet.datasets.layouts import Layout

MODALITIES = ("j", "b", "k", "jm", "bm", "km")


def needs_following(modality: str) -> bool:
    """Does the modality need the frame after each frame, that is, is it a motion?"""
    _check(modality)
    return modality.endswith("m")


def make_features(x: Tensor, following: Tensor | None, layout: Layout, modality: str) -> Tensor:
    """One modality of 3-D joints, in the shape, dtype and unit of `x`.

    Args:
        x: (..., V, C) coordinates.
        following: (..., V, C) the frame after each one of `x` in the whole recording, at its end
            the last frame again, so that motion there is 0. Only motions use it.
        layout: tells which joints a bone and a k-bone join.
        modality: one of `MODALITIES`.

    Raises:
        AclnetError: the modality is unknown.
        ValueError: a motion without `following`.
    """
    if not needs_following(modality):
        return _still(x, layout, modality)
    if following is None:
        raise ValueError(f"modality {modality} needs the following frames")
    return _still(following, layout, modality[0]) - _still(x, layout, modality[0])


def take_joints(x: Tensor, joints: tuple[int, ...]) -> Tensor:
    """(..., len(joints), C): the joints of (..., V, C) that stand at these indices."""
    rows = x.reshape(-1, *x.shape[-2:])  # with one leading axis the copy is twice as fast
    taken = rows.index_select(1, joint_index(joints, x.device))
    return taken.view(*x.shape[:-2], len(joints), x.shape[-1])


def _still(x: Tensor, layout: Layout, feature: str) -> Tensor:
    if feature == "j":
        return x
    return x - take_joints(x, layout.bone_parent if feature == "b" else layout.kbone_partner)


@lru_cache(maxsize=64)
def joint_index(joints: tuple[int, ...], device: torch.device) -> Tensor:
    """(len(joints),) int64 on `device`, made once: a copy to an accelerator would wait for it."""
    with torch.inference_mode(False):  # else autograd would refuse it for ever after
        return torch.tensor(joints, dtype=torch.int64, device=device)


def _check(modality: str) -> None:
    if modality not in MODALITIES:
        raise AclnetError(f"unknown modality {modality!r}; known: {', '.join(MODALITIES)}")
