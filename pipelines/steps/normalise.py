"""Conversion of a recording from camera space to the person's own space, and back.

The rule is PYSKL's PreNormalize3D with its joints taken from the layout. Frames without the main
person are dropped, and the main person's centre joint in the first remaining frame becomes the
origin. On request, the spine is turned upright and the shoulders along x. Each sequence is moved by
one vector and one rotation, so that walking through the room stays visible.

On request, the size of the body is then removed, see `aclnet.pipelines.steps.body_size`; this
cannot be undone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from aclnet.datasets.spec import AclnetError
from aclnet.pipelines.steps import body_size

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aclnet.datasets.spec.layouts import Layout
    from aclnet.pipelines.choices import BodySize


NORMALISATION = "centre-first-frame/1"
NORMALISATION_ALIGNED = "centre-first-frame-aligned/1"
NOT_NORMALISED = "none/1"
HEIGHT = "height-centre/1"
DIRECTIONS = "bone-directions/1"
DIRECTIONS_ALIGNED = "bone-directions-aligned/1"

_RULES = {"height": body_size.by_height, "directions": body_size.bone_directions}
ON_ORIGIN = 1e-9
"""Coordinate of a joint on the origin, in any unit, because a joint of zeros is missing."""
_BLOCK = 4096  # frames in double precision at a time

_DEGENERATE = 1e-6  # metres, or sine of an angle, below which a direction has no meaning
_X = np.array([1.0, 0.0, 0.0])
_Z = np.array([0.0, 0.0, 1.0])


class Normalised(NamedTuple):
    """A sequence in the person's space, with its inverse: raw = rotation.T @ new + centre.

    Removal of body size has no inverse: `centre` is zero then, and `rotation` the identity.
    """

    keypoint: NDArray[np.float32]
    """(M, T', V, C), metres or pixels, unless body size was removed."""
    present: NDArray[np.bool_]
    """(M, T') whether the person is in the frame."""
    kept: NDArray[np.int64]
    """(T',) numbers of the frames that were kept."""
    centre: NDArray[np.float32]
    """(C,) the new origin in camera space, metres; zero if nothing was moved."""
    rotation: NDArray[np.float32]
    """(C, C) rotation from camera space to the person's space."""
    order: NDArray[np.int64]
    """(M,) former index of each person; scores and body ids follow this order."""


def normalisation_name(
    layout: Layout, *, align: bool = False, coordinates: int = 3, by: BodySize = "default"
) -> str:
    """Name of the normalisation of a layout's sequences, for the store to record.

    Raises AclnetError if body size cannot be removed from such data.
    """
    applies = _applies(layout, coordinates)
    if by == "default":
        if not applies:
            return NOT_NORMALISED
        return NORMALISATION_ALIGNED if align else NORMALISATION
    if align and not applies:
        raise AclnetError(
            "--align turns 3-D bodies about the centre of their layout; it is not possible with "
            f"--normalise {by}, {coordinates} coordinates and layout {layout.name}: leave it out"
        )
    if by == "height":
        body_size.check_height(layout, coordinates)
        return HEIGHT
    body_size.outwards(layout)
    return DIRECTIONS_ALIGNED if align else DIRECTIONS


def options_of(recipe: str) -> tuple[bool, BodySize]:
    """`align` and `by` of a recipe that `normalisation_name` names."""
    if recipe == HEIGHT:
        return False, "height"
    directions = recipe in (DIRECTIONS, DIRECTIONS_ALIGNED)
    aligned = recipe in (NORMALISATION_ALIGNED, DIRECTIONS_ALIGNED)
    return aligned, "directions" if directions else "default"


def is_sizeless(recipe: str) -> bool:
    """True if body size was removed.

    Then every frame has its own origin, on its person, and raw coordinates cannot be restored.
    """
    return recipe in (HEIGHT, DIRECTIONS, DIRECTIONS_ALIGNED)


def normalise(
    keypoint: NDArray[np.float32],
    present: NDArray[np.bool_],
    layout: Layout,
    *,
    align: bool = False,
    by: BodySize = "default",
) -> Normalised:
    """Centres, and with `align` turns, one sequence of M persons; then removes body size.

    Args:
        keypoint: (M, T, V, C) camera space in metres; a missing joint is zero in all coordinates.
            Missing joints, and no others, are zero in the result.
        present: (M, T) whether the person is in that frame.
        layout: its centre joint, spine and shoulders are used.
        align: turn the main person's spine in the first frame onto +z and then the line from left
            to right shoulder onto +x, each by the smallest rotation.
        by: `height` or `directions`: rule of `body_size` to apply afterwards.

    The main person is person 0, or person 1 (the two are exchanged) if person 1 is in strictly more
    frames. A sequence without a main person, 2-D keypoints and a layout without a centre joint are
    returned unchanged, and without `align` also a normalised sequence.

    Raises:
        AclnetError: `align` with a layout that names no spine or shoulders, data or a layout for
            which there is no rule `by`.
    """
    moved = _centred(keypoint, present, layout, align=align)
    return moved if by == "default" else _sizeless(moved, layout, by)


def _centred(
    keypoint: NDArray[np.float32], present: NDArray[np.bool_], layout: Layout, *, align: bool
) -> Normalised:
    order = np.arange(len(keypoint))
    if _frames_of(present, 1) > _frames_of(present, 0):
        order[:2] = 1, 0
    kept = np.flatnonzero(present[order[0]]) if len(order) else np.arange(0)
    if not len(kept) or not _applies(layout, keypoint.shape[-1]):
        return _unchanged(keypoint, present)

    keypoint = keypoint[order][:, kept]
    centre = keypoint[0, 0, layout.normalise_centre].copy()
    if (np.abs(centre) <= ON_ORIGIN).all():  # at the origin already
        centre[:] = 0
    seen = (keypoint != 0).any(axis=-1)
    keypoint = np.where(seen[..., None], keypoint - centre, np.float32(0))
    rotation = np.eye(3)
    if align:
        rotation = _alignment(keypoint[0, 0].astype(np.float64), layout)
        keypoint = (keypoint @ rotation.T).astype(np.float32)
    _keep_apart(keypoint, seen)
    return Normalised(
        keypoint, present[order][:, kept], kept, centre, rotation.astype(np.float32), order
    )


def _sizeless(moved: Normalised, layout: Layout, by: Literal["height", "directions"]) -> Normalised:
    """The sequence without body size; frames are independent and processed in blocks."""
    result = np.empty_like(moved.keypoint)
    for start in range(0, result.shape[1], _BLOCK):
        block = moved.keypoint[:, start : start + _BLOCK]
        sizeless = _RULES[by](block, layout)
        _keep_apart(sizeless, (block != 0).any(axis=-1))
        result[:, start : start + _BLOCK] = sizeless
    stays = np.eye(result.shape[-1], dtype=np.float32)
    return moved._replace(keypoint=result, centre=np.zeros_like(moved.centre), rotation=stays)


def _keep_apart(keypoint: NDArray[np.float32], seen: NDArray[np.bool_]) -> None:
    """Moves present joints off the origin, because missing joints are at the origin."""
    keypoint[seen & (keypoint == 0).all(axis=-1)] = ON_ORIGIN


def denormalise(
    keypoint: NDArray[np.float32],
    present: NDArray[np.bool_],
    centre: NDArray[np.float32],
    rotation: NDArray[np.float32],
) -> NDArray[np.float32]:
    """(M, T, V, C) in camera space from the result of `normalise`, up to float rounding.

    Missing joints and absent persons stay zero; frames and persons have the order of `keypoint`.
    Sequences whose recipe `is_sizeless` are unchanged, because their size is lost.
    """
    if keypoint.shape[-1] != 3:
        return keypoint
    seen = present[..., None] & (keypoint != 0).any(axis=-1)
    return np.where(seen[..., None], keypoint @ rotation + centre, np.float32(0))


def _applies(layout: Layout, coordinates: int) -> bool:
    return layout.normalise_centre is not None and coordinates == 3


def _frames_of(present: NDArray[np.bool_], person: int) -> int:
    return int(present[person].sum()) if person < len(present) else 0


def _unchanged(keypoint: NDArray[np.float32], present: NDArray[np.bool_]) -> Normalised:
    persons, frames = present.shape
    coordinates = keypoint.shape[-1]
    return Normalised(
        keypoint,
        present,
        np.arange(frames),
        np.zeros(coordinates, np.float32),
        np.eye(coordinates, dtype=np.float32),
        np.arange(persons),
    )


def _alignment(pose: NDArray[np.float64], layout: Layout) -> NDArray[np.float64]:
    """(3, 3) rotation that aligns one pose (V, 3)."""
    if layout.spine is None or layout.shoulders is None:
        raise AclnetError(
            f"layout {layout.name} names no spine or no shoulders, so poses cannot be aligned: "
            "leave out --align, or add `spine` and `shoulders` to a layout file"
        )
    bottom, top = pose[list(layout.spine)]
    upright = _turn(top - bottom, _Z)
    right, left = pose[list(layout.shoulders)] @ upright.T
    return _turn(right - left, _X) @ upright


def _turn(vector: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 3) smallest rotation of `vector` onto the coordinate axis `target` (Rodrigues' formula).

    A zero vector has no direction and gives the identity; the opposite of `target` is turned by
    half a turn about another coordinate axis.
    """
    length = np.linalg.norm(vector)
    if length < _DEGENERATE:
        return np.eye(3)
    unit = vector / length
    axis, cosine = np.cross(unit, target), unit @ target
    if cosine < 0 and np.linalg.norm(axis) < _DEGENERATE:
        other = target[::-1]  # z for x, and x for z
        return 2 * np.outer(other, other) - np.eye(3)
    skew = np.cross(np.eye(3), axis)
    # Two forms of one factor; each is inaccurate where the other is used.
    factor = 1 / (1 + cosine) if cosine > 0 else (1 - cosine) / (axis @ axis)
    return np.asarray(np.eye(3) + skew + factor * skew @ skew)
