"""Random changes of training sequences, for batches of ragged person-tracks on any device.

Every draw is a function of the sample's key and the draw's own number (see
`aclnet.datasets.store.keyed_random`), so that the batch of a sample does not matter, and
switching one operation on does not change the draws of the others.

Order: rotation, scale and mirror, exchange of sides, jitter, confidence, masks.
"""

from __future__ import annotations

from math import pi
from typing import TYPE_CHECKING, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from aclnet.datasets.spec import AclnetError
from aclnet.datasets.store.keyed_random import fold, uniform
from aclnet.pipelines.inputs.features import take_joints
from aclnet.pipelines.inputs.masking import (
    LIMBS,
    frames_hidden,
    happens,
    joints_hidden,
    parts_hidden,
)

if TYPE_CHECKING:
    from torch import Tensor

    from aclnet.datasets.spec.layouts import Layout

MASKS = ("limb_mask", "joint_mask", "time_mask")
"""Operations that hide joints."""

_AUGMENT = 2  # folded into the keys, so that no other module draws the same numbers
# Draw numbers: stores and runs are reproducible as long as they keep their values.
# Those of masks are in `aclnet.pipelines.inputs.masking`.
_ANGLES, _SCALE, _MIRROR, _SWAP, _JITTER, _CONFIDENCE = range(3), 3, 4, 5, 8, 15


class AugmentSpec(BaseModel):
    """Augmentation of training samples; 0 switches an operation off."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )

    rotate: float = Field(default=0.0, ge=0, le=pi)
    """Rotation about each axis by an angle uniform in ±rotate, in radians."""
    mirror: float = Field(default=0.0, ge=0, le=1)
    """Probability of the mirror image: x is negated (for pixels: subtracted from the width of the
    image), and left and right joints are exchanged."""
    swap_sides: float = Field(default=0.0, ge=0, le=1)
    """Probability that left and right joints are exchanged without the mirror image, as
    Spatial_Flip of the released code does."""
    limb_mask: float = Field(default=0.0, ge=0, le=1)
    """Probability that one of `parts` is missing in every frame and person. With the arms and legs,
    this is Part_Drop of the released code."""
    parts: tuple[str, ...] = LIMBS
    """Parts or joints of the layout that `limb_mask` chooses from, each equally often; `+` joins
    several to one choice. Empty: every part that the layout has."""
    joint_mask: float = Field(default=0.0, ge=0, le=1)
    """Probability that joints drawn at random are missing in every frame and person. The largest
    share is one half."""
    time_mask: float = Field(default=0.0, ge=0, le=1)
    """Probability that all joints are missing for a part of the clip. The largest part is one
    half."""
    ramp: float = Field(default=0.0, ge=0, le=1)
    """Share of the training over which the probabilities of masks rise from 0 to their values."""
    jitter: float = Field(default=0.0, ge=0)
    """Standard deviation of the noise of each joint, frame and coordinate, in metres."""
    confidence: float = Field(default=0.0, ge=0, le=1)
    """Largest share that the confidence of a joint is lowered by. Each joint of a person has one
    factor for the whole sequence."""
    scale: float = Field(default=0.0, ge=0, lt=1)
    """Multiplication of the size by a factor uniform in 1 ± scale."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """From the command line's form, `rotate=0.2,limb-mask=0.2`; empty or `none` for nothing.

        Raises AclnetError that names the known operations, or the range of a value.
        """
        values: dict[str, str] = {}
        for entry in text.split(",") if text.strip() not in ("", "none") else ():
            name, equals, value = (word.strip() for word in entry.partition("="))
            field = name.replace("-", "_")
            known = [name for name in cls.model_fields if name != "ramp"]  # which is for training
            if field not in known or not equals:
                raise AclnetError(
                    f"augmentation {entry.strip()!r} is not name=value with one of the names "
                    f"{', '.join(map(_option, known))}"
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
        """The form that `parse` takes, in fixed order, with active operations only."""
        fields = type(self).model_fields
        changed = ((name, value) for name, value in self if value != fields[name].default)
        return ",".join(f"{_option(name)}={_text(value)}" for name, value in changed) or "none"

    @field_validator("parts", mode="before")
    @classmethod
    def _listed(cls, given: object) -> object:
        return list(filter(None, given.split("/"))) if isinstance(given, str) else given

    def at(self, progress: float) -> Self:
        """The operations when a share `progress` of the training is done, see `ramp`."""
        if progress >= self.ramp:
            return self
        share = progress / self.ramp
        return self.model_copy(update={name: share * getattr(self, name) for name in MASKS})


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
        owner: (P,) int64 sample of each track, ascending; persons of a sample are in fixed order.
        keys: (B,) int64 key of each sample: seed, epoch, sample id and occurrence folded.
        spec: the operations.
        layout: its left and right joints and its limbs are used.
        frame: (P, N) int64 number of each frame in the recording. A frame gets the same jitter each
            time it is sampled, also as the next frame of another one.
        present: (P, N) bool; rows of absent persons are zero and stay zero. Without it (a batch
            does not have the presence in the next frames), only the zeros mark absent persons.
        width: (B,) width of each sample's image, for the mirror image of 2-D joints; 0 if these
            have their own origin, about which x is negated. Without it, 2-D joints cannot be
            mirrored.
        scored: the last channel is the confidence, which moves with its joint and is zero for a
            hidden joint.

    Returns:
        (P, N, V, C) in the dtype of `x`; `x` itself if no operation is active.

    Raises:
        AclnetError: rotate, jitter or scale for data that is not 3-D, mirror for pixels of unknown
            width, confidence for data without confidences, or a limb mask for a layout that lacks
            the parts.
    """
    keys = fold(keys, _AUGMENT)
    _check_possible(x.shape[-1] - scored, spec, width)
    if spec.confidence and not scored:
        raise AclnetError(
            "augmentation confidence lowers the confidence of joints, but this data has no "
            "confidences. Switch it off (--set augment.confidence=0, or no confidence in --augment)"
        )
    score = x[..., -1:] if scored else None
    x = x[..., :-1] if scored else x
    if spec.rotate:
        x = _turn(x, _rotations(keys, spec.rotate)[owner].to(x.dtype))
    if width is not None and spec.mirror:
        x = _reflect(x, happens(keys, _MIRROR, spec.mirror)[owner], width[owner])
    elif spec.scale or spec.mirror:
        x = x * _factors(keys, spec)[owner][:, None, None].to(x.dtype)
    if spec.mirror or spec.swap_sides:
        exchanged = _exchanged(keys, spec)[owner]
        x = _exchange_sides(x, exchanged, layout)
        score = None if score is None else _exchange_sides(score, exchanged, layout)
    if spec.jitter:
        x = _jitter(x, owner, keys, spec.jitter, frame, present)
    if score is not None:
        if spec.confidence:
            score = score * _confidence(owner, keys, spec.confidence, layout.num_joints)
        x = torch.cat([x, score], -1)
    return _mask(x, owner, keys, spec, layout, frame)


def _mask(
    x: Tensor,
    owner: Tensor,
    keys: Tensor,
    spec: AugmentSpec,
    layout: Layout,
    frame: Tensor,
) -> Tensor:
    """`x` with zeros where masks hide joints."""
    if spec.limb_mask:
        hidden = parts_hidden(keys, spec.limb_mask, spec.parts, layout)[owner]
        x = x.masked_fill(hidden[:, None, :, None], 0)
    if spec.joint_mask:
        hidden = joints_hidden(keys, spec.joint_mask, layout.num_joints)[owner]
        x = x.masked_fill(hidden[:, None, :, None], 0)
    if spec.time_mask:
        hidden = frames_hidden(keys, spec.time_mask, owner, frame)
        x = x.masked_fill(hidden[..., None, None], 0)
    return x


def _rotations(keys: Tensor, bound: float) -> Tensor:
    """(B, 3, 3) float64 Rz Ry Rx of three angles uniform in ±bound.

    A positive angle turns the second of the other axes towards the first.
    """
    draws = torch.arange(_ANGLES.start, _ANGLES.stop, device=keys.device)
    angles = _symmetric(keys[:, None], draws, bound)
    sin, cos = angles.sin(), angles.cos()
    (sx, sy, sz), (cx, cy, cz) = sin.unbind(1), cos.unbind(1)
    (mx, my, mz), (zero, one) = (-sin).unbind(1), (torch.zeros_like(sx), torch.ones_like(sx))
    about_x = [one, zero, zero, zero, cx, sx, zero, mx, cx]
    about_y = [cy, zero, my, zero, one, zero, sy, zero, cy]
    about_z = [cz, sz, zero, mz, cz, zero, zero, zero, one]
    x, y, z = torch.stack([*about_x, *about_y, *about_z], 1).view(-1, 3, 3, 3).unbind(1)
    return z @ y @ x


def _turn(x: Tensor, rotations: Tensor) -> Tensor:
    """R v for the joints of (P, N, V, 3) tracks and (P, 3, 3) rotations.

    This is not a matrix product, because autocast would round it to bfloat16, and some settings of
    a GPU to TF32. Both cause errors of millimetres per metre.
    """
    columns = rotations[:, None, None]
    turned = x[..., 0, None] * columns[..., 0]
    turned.addcmul_(x[..., 1, None], columns[..., 1])
    return turned.addcmul_(x[..., 2, None], columns[..., 2])


def _reflect(x: Tensor, chosen: Tensor, width: Tensor) -> Tensor:
    """Subtracts the first coordinate of chosen (P,) tracks from the width (P,) of their image."""
    across = x[..., 0]
    reflected = torch.where(across != 0, width.to(x.dtype)[:, None, None] - across, 0)
    x = x.clone()
    x[..., 0] = torch.where(chosen[:, None, None], reflected, across)
    return x


def _factors(keys: Tensor, spec: AugmentSpec) -> Tensor:
    """(B, 3) float64 factors of the coordinates for scale and mirror."""
    size = 1 + _symmetric(keys, _SCALE, spec.scale)
    across = torch.where(happens(keys, _MIRROR, spec.mirror), -size, size)
    return torch.stack([across, size, size], dim=1)


def _exchanged(keys: Tensor, spec: AugmentSpec) -> Tensor:
    """(B,) bool: samples whose sides are exchanged; mirror and exchange cancel each other."""
    return happens(keys, _MIRROR, spec.mirror) ^ happens(keys, _SWAP, spec.swap_sides)


def _symmetric(keys: Tensor, draw: int | Tensor, bound: float) -> Tensor:
    """float64 uniform in ±bound, in the shape of `keys` and `draw` together."""
    draws: Tensor = uniform(keys, draw)
    return (2 * draws - 1) * bound


def _exchange_sides(x: Tensor, chosen: Tensor, layout: Layout) -> Tensor:
    """Exchanges left and right joints of the chosen (P,) tracks."""
    return torch.where(chosen[:, None, None, None], take_joints(x, layout.mirror), x)


def _jitter(
    x: Tensor, owner: Tensor, keys: Tensor, sigma: float, frame: Tensor, present: Tensor | None
) -> Tensor:
    rows = fold(keys[owner], _JITTER, _person(owner))[:, None]
    rows = fold(rows, frame)[..., None]
    draws = uniform(rows, torch.arange(x.shape[2] * x.shape[3], device=x.device))
    # the shift by half a step of the draws makes them symmetric and keeps them off ±1
    normal = torch.erfinv(2 * draws - (1 - 2.0**-53)).mul_(2**0.5 * sigma).to(x.dtype)
    seen = (x != 0).any(dim=-1, keepdim=True)
    if present is not None:
        seen &= present[..., None, None]
    return x + normal.view(x.shape) * seen


def _confidence(owner: Tensor, keys: Tensor, most: float, num_joints: int) -> Tensor:
    """(P, 1, V, 1) float32 factors uniform between 1 - `most` and 1."""
    rows = fold(keys[owner], _CONFIDENCE, _person(owner))[:, None]
    lowered: Tensor = most * uniform(rows, torch.arange(num_joints, device=owner.device))
    return (1 - lowered).float()[:, None, :, None]


def _person(owner: Tensor) -> Tensor:
    """(P,) int64: number of each track among the tracks of its sample."""
    return torch.arange(len(owner), device=owner.device) - torch.searchsorted(owner, owner)


def _check_possible(coordinates: int, spec: AugmentSpec, width: Tensor | None) -> None:
    if coordinates == 3:
        return
    if spec.rotate or spec.scale or spec.jitter:
        raise AclnetError(
            f"augmentation {spec} moves joints in 3-D, but this data has {coordinates} "
            "coordinates; 2-D data allows only mirror, swap-sides and limb-mask. Switch the "
            f"others off ({_off(spec, 'rotate', 'scale', 'jitter')}, or none of them in --augment)"
        )
    if spec.mirror and width is None:
        raise AclnetError(
            f"augmentation {spec}: the mirror image of pixels needs the width of the image, which "
            "this data does not have. Give it in the columns width and height of index.csv, or "
            f"switch it off ({_off(spec, 'mirror')}, or no mirror in --augment); "
            "augment.swap_sides=0.5 needs no width"
        )


def _off(spec: AugmentSpec, *names: str) -> str:
    """The settings of training that switch off the active ones of these operations."""
    return " ".join(f"--set augment.{name}=0" for name in names if getattr(spec, name))


def _option(field: str) -> str:
    return field.replace("_", "-")


def _text(value: float | tuple[str, ...]) -> str:
    return "/".join(value) if isinstance(value, tuple) else str(value)
