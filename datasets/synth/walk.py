"""Synthetic people who walk straight ahead, each with an individual gait."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

import numpy as np

from aclnet.datasets.synth.body import SIDES, Pose, rest_hand
from aclnet.datasets.synth.motion import drift
from aclnet.datasets.synth.seeding import rng_for

if TYPE_CHECKING:
    from aclnet.datasets.synth.body import FloatArray, Proportions
    from aclnet.datasets.synth.motion import Person

Burden = Literal["", "bag", "coat"]

_STANCE = 0.6
"""Share of a stride in which a foot is on the ground (Perry and Burnfield, "Gait analysis")."""


@dataclass(frozen=True, slots=True)
class Gait:
    """One person's way of walking."""

    cadence: float
    """Strides of one leg per second."""
    stride: float
    """Length of a stride, relative to the leg's length."""
    swing: float
    """Amplitude of the arms, radians."""
    bend: float
    """Shortening of the arms by the swinging elbows, relative to their length."""
    bob: float
    """Rise of the hips in mid-stance, metres."""
    sway: float
    """Amplitude of the hips sideways, metres."""
    twist: float
    """Amplitude of the chest against the hips, radians."""
    lift: float
    """Rise of the swinging foot, metres."""
    width: float
    """Distance between the feet, metres."""

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Self:
        return cls(
            cadence=float(np.clip(rng.normal(0.92, 0.09), 0.70, 1.15)),
            stride=float(np.clip(rng.normal(1.60, 0.14), 1.20, 1.90)),
            swing=float(np.clip(rng.normal(0.42, 0.15), 0.08, 0.85)),
            bend=float(rng.uniform(0.00, 0.12)),
            bob=float(rng.uniform(0.015, 0.045)),
            sway=float(rng.uniform(0.010, 0.035)),
            twist=float(rng.uniform(0.02, 0.16)),
            lift=float(rng.uniform(0.06, 0.14)),
            width=float(rng.uniform(0.08, 0.20)),
        )


def gait(seed: int, who: str) -> Gait:
    """The gait of a name; the same name always has the same gait."""
    return Gait.draw(rng_for(seed, "gait", who))


def walk(
    person: Person,
    manner: Gait,
    frames: int,
    rate: float,
    rng: np.random.Generator,
    burden: Burden = "",
) -> Pose:
    """Walking towards the front for `frames` at `rate` per second, halfway at the origin.

    A bag holds one arm still and bends the trunk away from it; a coat keeps the arms off the body,
    makes them swing less and shortens the stride. Every walk differs a little from the next.
    """
    body, style = person.body, person.style
    pose = Pose.standing(body, frames, manner.width)
    stride = manner.stride * body.leg * np.exp(rng.normal(0, 0.02))
    stride *= 0.94 if burden == "coat" else 1.0
    cadence = manner.cadence * np.exp(rng.normal(0, 0.03))
    cycle = rng.random() + cadence * np.arange(frames) / rate  # 0: the left heel strikes
    ahead = stride * (cycle - (cycle[0] + cycle[-1]) / 2)

    lowest = np.sqrt(max((0.985 * body.leg) ** 2 - (_STANCE / 2 * stride) ** 2, 0.01))
    pose.root[:, 0] = manner.sway * np.sin(2 * np.pi * cycle)
    pose.root[:, 1] = body.ankle + lowest + manner.bob * (1 - np.cos(4 * np.pi * cycle)) / 2
    pose.root[:, 2] = -ahead
    noise = drift(rng, frames, 4, 20)
    pose.pitch += style.lean + 0.01 * noise[:, 0]
    pose.roll += 0.5 * manner.sway * np.sin(2 * np.pi * cycle) + 0.01 * noise[:, 1]
    pose.twist += manner.twist * np.cos(2 * np.pi * cycle)
    pose.nod += style.stoop + 0.03 * noise[:, 2]
    pose.tilt += 0.02 * noise[:, 3]
    for side in (0, 1):
        phase = (cycle + side / 2) % 1
        _step(pose, side, phase, ahead, stride, manner, body)
        _swing(pose, side, phase, manner, person, 0.7 if burden == "coat" else 1.0)
        pose.hands[side, :, 0] += SIDES[side] * (0.06 if burden == "coat" else 0.0)
    if burden == "bag":
        _carry(pose, 0 if style.left_handed else 1, body)
    return pose


def stand(person: Person, frames: int, rng: np.random.Generator) -> Pose:
    """Standing with small movements."""
    style = person.style
    pose = Pose.standing(person.body, frames, style.stance)
    noise = drift(rng, frames, 6, 25)
    pose.root[:, [0, 2]] += 0.015 * noise[:, :2]
    pose.heading += 0.1 * noise[:, 2]
    pose.pitch += style.lean + 0.02 * noise[:, 3]
    pose.nod += style.stoop + 0.05 * noise[:, 4]
    pose.tilt += 0.03 * noise[:, 5]
    pose.elbows[:] = style.elbow / 2
    return pose


def _step(
    pose: Pose,
    side: int,
    phase: FloatArray,
    ahead: FloatArray,
    stride: float,
    manner: Gait,
    body: Proportions,
) -> None:
    """Moves a foot: on the ground while the body passes over it, then in the air past the other."""
    swinging = np.clip((phase - _STANCE) / (1 - _STANCE), 0, 1)
    standing = np.clip(phase / _STANCE, 0, 1)
    reach = _STANCE * stride
    # a cosine starts and ends at rest, nearly so relative to the ground
    place = np.where(
        phase < _STANCE, reach * (0.5 - standing), -reach / 2 * np.cos(np.pi * swinging)
    )
    heel = 0.05 * np.clip((standing - 0.7) / 0.3, 0, 1) * (1 - swinging)
    pose.feet[side, :, 1] = body.ankle + heel + manner.lift * np.sin(np.pi * swinging)
    pose.feet[side, :, 2] = -(ahead + place)
    pose.toes[side] += 0.5 * heel / 0.05 - 0.3 * swinging


def _swing(
    pose: Pose, side: int, phase: FloatArray, manner: Gait, person: Person, share: float
) -> None:
    """Swings an arm forwards with the other side's leg."""
    across, down, back = rest_hand(person.body, side)
    angle = -share * manner.swing * np.cos(2 * np.pi * (phase - 0.05))
    length = -down * (1 - manner.bend * (0.5 + 0.5 * np.clip(angle, 0, None)))
    pose.hands[side, :, 0] = across
    pose.hands[side, :, 1] = -length * np.cos(angle)
    pose.hands[side, :, 2] = back - length * np.sin(angle)
    pose.hands[side] += person.style.habit
    pose.elbows[side] = 0.5 * person.style.elbow


def _carry(pose: Pose, side: int, body: Proportions) -> None:
    """Holds a bag in one hand."""
    pose.hands[side] = rest_hand(body, side) + np.array([SIDES[side] * 0.05, 0.0, 0.03])
    pose.roll -= SIDES[side] * 0.06
