"""Coordinates without the size of the body, to study recognition of people without it.

Each person of each frame is processed alone. A missing joint is zero in all coordinates; it is
ignored and stays zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aclnet.datasets.spec import AclnetError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aclnet.datasets.spec.layouts import Layout

HEIGHT = 225.0
"""Height of every body after `by_height`, GPGait's number."""
_LEAST_SLENDER = 0.1
"""Smallest height of a body relative to its width, because few joints may be at one height."""


def by_height(keypoint: NDArray[np.float32], layout: Layout) -> NDArray[np.float32]:
    """Bodies of equal height, centred on the neck.

    The rule is GPGait's (RescaleCenter of its code; Fu et al., "GPGait: Generalized Pose-based Gait
    Recognition", ICCV 2023).

    Both coordinates are multiplied by 225 / (highest y - lowest y), then the middle of the
    shoulders is subtracted. If one shoulder is missing, the other is the origin; if both are
    missing, the mean of all joints. The extent in y counts as at least a tenth of that in x, so
    that a frame without height (a pair of shoulders) does not become huge.

    Args:
        keypoint: (M, T, V, 2) pixels.
        layout: its shoulders are used.

    Returns:
        (M, T, V, 2); a joint on the origin is zero too.

    Raises:
        AclnetError: data that are not 2-D, or a layout that names no shoulders.
    """
    shoulders = _shoulders(layout, keypoint.shape[-1])
    joints, seen = keypoint.astype(np.float64), (keypoint != 0).any(axis=-1)
    highest = np.where(seen[..., None], joints, -np.inf).max(axis=2)
    lowest = np.where(seen[..., None], joints, np.inf).min(axis=2)
    width, height = np.moveaxis(highest - lowest, -1, 0)
    size = np.maximum(height, _LEAST_SLENDER * width)[..., None]
    # A single joint moves to the origin for any factor; without joints the size is -inf.
    factor = np.divide(HEIGHT, size, out=np.ones_like(size), where=size > 0)
    of_neck = seen & np.isin(np.arange(layout.num_joints), shoulders)
    of_origin = np.where(of_neck.any(axis=-1, keepdims=True), of_neck, seen)
    moved = (joints - _mean(joints, of_origin)) * factor[..., None]
    return np.where(seen[..., None], moved, 0).astype(np.float32)


def bone_directions(keypoint: NDArray[np.float32], layout: Layout) -> NDArray[np.float32]:
    """Bodies whose bones keep their directions and all have length 1.

    From the layout's root outwards, every joint is placed one unit from its bone's inner end. The
    root of every frame is the origin, so the path through the room is removed too.

    If the inner end is missing, the next present joint inwards replaces it. Joints with no present
    joint inwards start from the origin, in their direction from the mean of all such joints. In a
    COCO body without a nose these are the eyes, shoulders and hips. A bone without length has no
    direction; its joint stays at its inner end.

    Args:
        keypoint: (M, T, V, C) in any unit.
        layout: tells the inner end of each bone, `bone_parent`.

    Returns:
        (M, T, V, C); a joint on the origin is zero too.

    Raises:
        AclnetError: the layout's bones do not form a tree.
    """
    order = outwards(layout)
    seen = (keypoint != 0).any(axis=-1)
    # Old and new position of each joint, or of the next present joint inwards.
    was, comes = keypoint.astype(np.float64), np.zeros(keypoint.shape)
    start = _mean(was, _innermost(seen, layout, order))[:, :, 0]
    for joint in order:
        parent = layout.bone_parent[joint]
        is_root = parent == joint
        inner_was = start if is_root else was[:, :, parent]
        inner_comes = comes[:, :, parent]  # for the root itself still zero
        bone = was[:, :, joint] - inner_was
        length = np.linalg.norm(bone, axis=-1, keepdims=True)
        unit = np.divide(bone, length, out=np.zeros_like(bone), where=length > 0)
        there = seen[:, :, joint, None]
        was[:, :, joint] = np.where(there, was[:, :, joint], inner_was)
        comes[:, :, joint] = np.where(there, inner_comes + unit, inner_comes)
    return np.where(seen[..., None], comes, 0).astype(np.float32)


def check_height(layout: Layout, coordinates: int) -> None:
    """Raises AclnetError if `by_height` is not possible."""
    _shoulders(layout, coordinates)


def outwards(layout: Layout) -> tuple[int, ...]:
    """The joints of a layout, each after the inner end of its bone.

    Raises AclnetError if the bones do not form a tree because they have several roots.
    """
    order = [joint for joint, parent in enumerate(layout.bone_parent) if joint == parent]
    if len(order) != 1:
        raise AclnetError(
            f"the bones of layout {layout.name} do not form a tree: `bone_parent` has the roots "
            f"{', '.join(layout.joints[root] for root in order)}; --normalise directions needs a "
            "tree"
        )
    for joint in order:  # the list grows during the loop
        order += [child for child, p in enumerate(layout.bone_parent) if p == joint != child]
    return tuple(order)


def _innermost(
    seen: NDArray[np.bool_], layout: Layout, order: tuple[int, ...]
) -> NDArray[np.bool_]:
    """(M, T, V) whether a joint is present and no joint further inwards is."""
    inwards = np.zeros_like(seen)
    for joint in order[1:]:
        parent = layout.bone_parent[joint]
        inwards[..., joint] = inwards[..., parent] | seen[..., parent]
    return np.asarray(seen & ~inwards)


def _mean(joints: NDArray[np.float64], chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(M, T, 1, C) mean of the chosen (M, T, V) joints, zero if there are none."""
    total = np.where(chosen[..., None], joints, 0).sum(axis=2, keepdims=True)
    return np.asarray(total / np.maximum(chosen.sum(axis=2), 1)[..., None, None])


def _shoulders(layout: Layout, coordinates: int) -> tuple[int, int]:
    if coordinates != 2:
        raise AclnetError(
            "--normalise height measures bodies along the y axis of an image, but these joints "
            f"have {coordinates} coordinates; use --normalise directions"
        )
    if layout.shoulders is None:
        raise AclnetError(
            f"layout {layout.name} names no shoulders, the origin of --normalise height: add "
            "`shoulders` to its file, or use --normalise directions"
        )
    return layout.shoulders
