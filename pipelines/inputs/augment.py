"""Random changes of training sequences, for batches of ragged person-tracks on any device.

Every draw is a function of the sample's key and the draw's own number (see
`aclnet.datasets.store.keyed_random`), so that a sample is changed alike in whatever batch it comes
and switching one operation on leaves the draws of the others as they are.

Order: rotation, scale and mirror, exchange of sides, jitter, limb mask.
"""

from __future__ import annotations

from functools import lru_cache
from math import pi
from typing import TYPE_CHECKING, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aclnet.datasets.spec import AclnetError
from aclnet.datasets.store.keyed_random import fold, integers, uniform
from aclnet.pipelines.inputs.features import take_joints

if TYPE_CHECKING:
    from torch import Tensor

    from aclnet.datasets.spec.layouts import Layout

LIMBS = ("left_arm", "left_leg", "right_arm", "right_leg")
"""Parts of the layout of which the limb mask hides one."""

_AUGMENT = 2  # folded into the keys, so that no other module draws the same numbers
# Draw numbers: stores and runs are reproducible as long as they keep their values.
_ANGLES, _SCALE, _MIRROR, _SWAP, _MASK, _LIMB, _JITTER = (0, 1, 2), 3, 4, 5, 6, 7, 8


class AugmentSpec(BaseModel):
    """What to change, and how much; 0 switches an operation off."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    rotate: float = Field(default=0.0, ge=0, le=pi)
    """Radians: rotation about each axis by an angle uniform in ±rotate."""
    mirror: float = Field(default=0.0, ge=0, le=1)
    """Probability of the mirror image: x negated (in pixels of an image: taken from its width),
    left and right joints exchanged."""
    swap_sides: float = Field(default=0.0, ge=0, le=1)
    """Probability that only the joints are exchanged: Spatial_Flip of the official code."""
    limb_mask: float = Field(default=0.0, ge=0, le=1)
    """Probability that one arm or leg is zero in every frame and person: its Part_Drop."""
    jitter: float = Field(default=0.0, ge=0)
    """Metres: standard deviation of the noise of each joint, frame and coordinate."""
    scale: float = Field(default=0.0, ge=0, lt=1)
    """Size is multiplied by a factor uniform in 1 ± scale."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """From the command line's form, `rotate=0.2,limb-mask=0.2`; empty or `none` for nothing.

        Raises AclnetError that names the known operations, or the range of a value.
        """
        values: dict[str, str] = {}
        for entry in text.split(",") if text.strip() not in ("", "none") else ():
            name, equals, value = (word.strip() for word in entry.partition("="))
            field = name.replace("-", "_")
            if field not in cls.model_fields or not equals:
                raise AclnetError(
                    f"augmentation {entry.strip()!r} is not name=value with one of the names "
                    f"{', '.join(map(_option, cls.model_fields))}"
                )
            if field in values:
                raise AclnetError(f"augmentation {_option(field)} is given twice in {text!r}")
            values[field] = value
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            problems = (f"{_option(str(e['loc'][0]))}: {e['msg']}" for e in error.errors())
            raise AclnetError(f"augmentation {text!r}: {'; '.join(problems)}") from None

    def __str__(self) -> str:
        """The form that `parse` takes, in fixed order and without what is off."""
        return ",".join(f"{_option(name)}={value}" for name, value in self if value) or "none"


def augment(
    x: Tensor,
    owner: Tensor,
    keys: Tensor,
    spec: AugmentSpec,
    layout: Layout,
    *,
    frame: Tensor,
    present: Tensor | None = None,
    width: Tensor | None = None,
    scored: bool = False,
) -> Tensor:
    """Changes the samples of a batch; all persons and frames of a sample share its draws.

    Args:
        x: (P, N, V, C) float person-tracks in metres or pixels; a joint that is zero in all
            coordinates is missing and stays zero. Left unchanged.
        owner: (P,) int64 sample of each track, ascending; the persons of a sample in fixed order.
        keys: (B,) int64 key of each sample: seed, epoch, sample id and occurrence folded.
        spec: the operations.
        layout: tells left and right joints and the limbs.
        frame: (P, N) int64 number of each frame in the recording. A frame that is sampled twice,
            or is one frame's successor, gets the same jitter.
        present: (P, N) bool; rows of absent persons are zero and stay so. Without it (a batch does
            not carry the presence in the following frames) the zeros alone tell.
        width: (B,) of each sample's image, for the mirror image of 2-D joints; 0 where these have
            an origin of their own, about which x is negated. Without it they cannot be mirrored.
        scored: the last channel is confidence: it goes with its joint and is zero where that is
            hidden, and is else left as it is.

    Returns:
        (P, N, V, C) in the dtype of `x`; `x` itself where nothing is switched on.

    Raises:
        AclnetError: rotate, jitter or scale with data that are not 3-D, mirror with pixels of
            unknown width, or a limb mask with a layout that names no limbs.
    """
    keys = fold(keys, _AUGMENT)
    _check_possible(x.shape[-1] - scored, spec, width)
    score = x[..., -1:] if scored else None
    x = x[..., :-1] if scored else x
    if spec.rotate:
        x = _turn(x, _rotations(keys, spec.rotate)[owner].to(x.dtype))
    if width is not None and spec.mirror:
        x = _reflect(x, _happens(keys, _MIRROR, spec.mirror)[owner], width[owner])
    elif spec.scale or spec.mirror:
        x = x * _factors(keys, spec)[owner][:, None, None].to(x.dtype)
    if spec.mirror or spec.swap_sides:
        exchanged = _exchanged(keys, spec)[owner]
        x = _exchange_sides(x, exchanged, layout)
        score = None if score is None else _exchange_sides(score, exchanged, layout)
    if spec.jitter:
        x = _jitter(x, owner, keys, spec.jitter, frame, present)
    if score is not None:
        x = torch.cat([x, score], -1)
    if spec.limb_mask:
        x = x.masked_fill(_hidden(keys, spec.limb_mask, layout)[owner][:, None, :, None], 0)
    return x


def _rotations(keys: Tensor, bound: float) -> Tensor:
    """(B, 3, 3) float64 Rz Ry Rx of three angles uniform in ±bound."""
    about_x, about_y, about_z = (
        _axis_rotation(_symmetric(keys, draw, bound), axis) for axis, draw in enumerate(_ANGLES)
    )
    return about_z @ about_y @ about_x


def _axis_rotation(angle: Tensor, axis: int) -> Tensor:
    """(B, 3, 3); a positive angle turns the second of the other axes towards the first."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix = angle.new_zeros(len(angle), 3, 3)
    matrix[:, axis, axis] = 1
    matrix[:, first, first] = matrix[:, second, second] = angle.cos()
    matrix[:, first, second] = angle.sin()
    matrix[:, second, first] = -angle.sin()
    return matrix


def _turn(x: Tensor, rotations: Tensor) -> Tensor:
    """R v for the joints of (P, N, V, 3) tracks and (P, 3, 3) rotations.

    Not a matrix product: autocast would round one to bfloat16, and a GPU that is set so to TF32,
    which are millimetres on a metre.
    """
    columns = rotations[:, None, None]
    turned = x[..., 0, None] * columns[..., 0]
    turned.addcmul_(x[..., 1, None], columns[..., 1])
    return turned.addcmul_(x[..., 2, None], columns[..., 2])


def _reflect(x: Tensor, chosen: Tensor, width: Tensor) -> Tensor:
    """The first coordinate of chosen (P,) tracks taken from the width (P,) of their image."""
    across = x[..., 0]
    reflected = torch.where(across != 0, width.to(x.dtype)[:, None, None] - across, 0)
    x = x.clone()
    x[..., 0] = torch.where(chosen[:, None, None], reflected, across)
    return x


def _factors(keys: Tensor, spec: AugmentSpec) -> Tensor:
    """(B, 3) float64 by which scale and mirror multiply the coordinates."""
    size = 1 + _symmetric(keys, _SCALE, spec.scale)
    across = torch.where(_happens(keys, _MIRROR, spec.mirror), -size, size)
    return torch.stack([across, size, size], dim=1)


def _exchanged(keys: Tensor, spec: AugmentSpec) -> Tensor:
    """(B,) bool: mirror and exchange of sides together leave each joint where it was."""
    return _happens(keys, _MIRROR, spec.mirror) ^ _happens(keys, _SWAP, spec.swap_sides)


def _symmetric(keys: Tensor, draw: int, bound: float) -> Tensor:
    """(B,) float64 uniform in ±bound."""
    draws: Tensor = uniform(keys, draw)
    return (2 * draws - 1) * bound


def _happens(keys: Tensor, draw: int, probability: float) -> Tensor:
    """(B,) bool."""
    happens: Tensor = uniform(keys, draw) < probability
    return happens


def _exchange_sides(x: Tensor, chosen: Tensor, layout: Layout) -> Tensor:
    """Exchanges left and right joints of the chosen (P,) tracks."""
    return torch.where(chosen[:, None, None, None], take_joints(x, layout.mirror), x)


def _jitter(
    x: Tensor, owner: Tensor, keys: Tensor, sigma: float, frame: Tensor, present: Tensor | None
) -> Tensor:
    person = torch.arange(len(owner), device=owner.device) - torch.searchsorted(owner, owner)
    rows = fold(keys[owner], _JITTER, person)[:, None]
    rows = fold(rows, frame)[..., None]
    draws = uniform(rows, torch.arange(x.shape[2] * x.shape[3], device=x.device))
    # the shift by half a step of the draws makes them symmetric and keeps them off ±1
    normal = torch.erfinv(2 * draws - (1 - 2.0**-53)).mul_(2**0.5 * sigma).to(x.dtype)
    seen = (x != 0).any(dim=-1, keepdim=True)
    if present is not None:
        seen &= present[..., None, None]
    return x + normal.view(x.shape) * seen


def _hidden(keys: Tensor, probability: float, layout: Layout) -> Tensor:
    """(B, V) joints that the limb mask hides."""
    limbs = _limb_table(_limbs(layout), layout.num_joints, keys.device)
    chosen: Tensor = limbs[integers(keys, _LIMB, len(LIMBS))]
    return chosen & _happens(keys, _MASK, probability)[:, None]


@lru_cache(maxsize=64)
def _limb_table(
    limbs: tuple[tuple[int, ...], ...], num_joints: int, device: torch.device
) -> Tensor:
    """(limbs, V) bool on `device`, made once."""
    return torch.tensor([[j in limb for j in range(num_joints)] for limb in limbs], device=device)


def _limbs(layout: Layout) -> tuple[tuple[int, ...], ...]:
    missing = [limb for limb in LIMBS if not layout.parts.get(limb)]
    if missing:
        raise AclnetError(
            f"limb-mask needs the parts {', '.join(LIMBS)}; layout {layout.name} lacks "
            f"{', '.join(missing)}: add them to a layout file, or switch it off "
            "(--set augment.limb_mask=0, or no limb-mask in --augment)"
        )
    return tuple(layout.parts[limb] for limb in LIMBS)


def _check_possible(coordinates: int, spec: AugmentSpec, width: Tensor | None) -> None:
    if coordinates == 3:
        return
    if spec.rotate or spec.scale or spec.jitter:
        raise AclnetError(
            f"augmentation {spec} moves joints in space, but these have {coordinates} coordinates; "
            "of 2-D data only mirror, swap-sides and limb-mask are possible. Switch the others off "
            f"({_off(spec, 'rotate', 'scale', 'jitter')}, or none of them in --augment)"
        )
    if spec.mirror and width is None:
        raise AclnetError(
            f"augmentation {spec}: the mirror image of pixels needs the width of the image, which "
            "these data do not tell. Give it in the columns width and height of index.csv, or "
            f"switch it off ({_off(spec, 'mirror')}, or no mirror in --augment); "
            "augment.swap_sides=0.5 needs no width"
        )


def _off(spec: AugmentSpec, *names: str) -> str:
    """The settings of training that switch off those of these operations that are on."""
    return " ".join(f"--set augment.{name}=0" for name in names if getattr(spec, name))


def _option(field: str) -> str:
    return field.replace("_", "-")
