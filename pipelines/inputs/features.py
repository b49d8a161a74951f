"""The six input modalities of skeleton networks, computed from joint coordinates.

Names are the field's: `j` joints, `b` bones, `k` k-bones (over two bones), and `jm`, `bm`, `km`
their motion from one frame to the next.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, get_args

import torch

from aclnet.datasets.spec import AclnetError
from aclnet.pipelines.choices import Modality

if TYPE_CHECKING:
    from torch import Tensor

    from aclnet.datasets.spec.layouts import Layout

MODALITIES = get_args(Modality)


def needs_following(modality: str) -> bool:
    """True if the modality is a motion, which needs the frame after each frame."""
    _check(modality)
    return modality.endswith("m")


_SCORE_DIFFERENCES = frozenset({"coco_new", "openpose_new"})
"""Layouts whose k-bones and motions have the difference of two scores, as in the released code.
Bones, and all features of other layouts, have the mean."""


def make_features(
    x: Tensor,
    following: Tensor | None,
    layout: Layout,
    modality: str,
    *,
    scored: bool = False,
    root_path: bool = False,
) -> Tensor:
    """One modality of joints, in the shape, dtype and unit of `x`.

    Args:
        x: (..., V, C) coordinates, or with `scored` coordinates and confidence.
        following: (..., V, C) the end frame of the motion of each frame of `x`; the same frame if
            there is none, so that the motion is 0. Only motions use it.
        layout: its bones and k-bones are used.
        modality: one of `MODALITIES`.
        scored: the last channel is the confidence of the joints. A bone has the mean of its two
            joints; k-bones and motions have the mean or the difference, see `_SCORE_DIFFERENCES`.
        root_path: the root, whose bone is zero, gets its own coordinates, and in motions their
            change. Bones do not show the path of the body otherwise.

    Raises:
        AclnetError: the modality is unknown.
        ValueError: a motion without `following`.
    """
    if not needs_following(modality):
        return _still(x, layout, modality, scored, root_path)
    if following is None:
        raise ValueError(f"modality {modality} needs the next frames")
    # the bone of the motion equals the motion of the bone, at half the cost
    motion = _difference(following, x, scored and layout.name not in _SCORE_DIFFERENCES)
    return _still(motion, layout, modality[0], scored, root_path)


def is_there(x: Tensor, *, scored: bool = False) -> Tensor:
    """(..., V) bool: joints (..., V, C) that are not missing.

    A joint is missing if all its coordinates are zero, or with `scored` if its confidence, the last
    channel, is zero.
    """
    coordinates = x[..., :-1] if scored else x
    there = (coordinates != 0).any(dim=-1)
    return there & (x[..., -1] != 0) if scored else there


def presence(there: Tensor, following: Tensor | None, layout: Layout, modality: str) -> Tensor:
    """(..., V) bool: features whose joints are all present.

    A bone needs both of its joints, and a motion needs both of its frames. `there` and `following`
    (..., V) bool mark the present joints, see `is_there`.
    """
    if following is not None and needs_following(modality):
        there = there & following
    if modality[0] == "j":
        return there
    inward = layout.bone_parent if modality[0] == "b" else layout.kbone_partner
    return there & there[..., joint_index(inward, there.device)]


def take_joints(x: Tensor, joints: tuple[int, ...]) -> Tensor:
    """(..., len(joints), C): the joints of (..., V, C) that stand at these indices."""
    rows = x.reshape(-1, *x.shape[-2:])  # with one leading axis the copy is twice as fast
    taken = rows.index_select(1, joint_index(joints, x.device))
    return taken.view(*x.shape[:-2], len(joints), x.shape[-1])


def _still(x: Tensor, layout: Layout, feature: str, scored: bool, root_path: bool) -> Tensor:
    if feature == "j":
        return x
    inward = layout.bone_parent if feature == "b" else layout.kbone_partner
    mean = scored and (feature == "b" or layout.name not in _SCORE_DIFFERENCES)
    bones = _difference(x, take_joints(x, inward), mean)
    if root_path:
        C = x.shape[-1] - scored
        for joint, parent in enumerate(layout.bone_parent):
            if joint == parent:
                bones[..., joint, :C] = x[..., joint, :C]
    return bones


def _difference(a: Tensor, b: Tensor, mean_of_scores: bool) -> Tensor:
    """a - b; if the last channel holds scores to average, it has their mean instead."""
    difference = a - b
    if mean_of_scores:
        difference[..., -1] = (a[..., -1] + b[..., -1]) / 2
    return difference


@lru_cache(maxsize=64)
def joint_index(joints: tuple[int, ...], device: torch.device) -> Tensor:
    """(len(joints),) int64 on `device`, made once: a copy to an accelerator would wait for it."""
    with torch.inference_mode(False):  # otherwise autograd would refuse it in later calls
        return torch.tensor(joints, dtype=torch.int64, device=device)


def _check(modality: str) -> None:
    if modality not in MODALITIES:
        raise AclnetError(f"unknown modality {modality!r}; known: {', '.join(MODALITIES)}")
