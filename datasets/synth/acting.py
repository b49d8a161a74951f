"""Performances of synthetic people: persons by name, actions, and positions on the stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aclnet.datasets.synth.body import solve, turn_about_y
from aclnet.datasets.synth.motion import MOVEMENTS, Person, num_people, perform
from aclnet.datasets.synth.seeding import rng_for

if TYPE_CHECKING:
    from aclnet.datasets.synth.body import FloatArray, Pose, Proportions

_ACTIONS = tuple(MOVEMENTS)
SINGLE_MOVEMENTS, ENCOUNTERS = 12, 4
"""Numbers of movements of one person and of two, in this order."""
_FACING = np.pi / 4
"""Angle of people towards camera 2 in the first replication and camera 3 in the second. As in NTU
RGB+D, camera 1 always sees people at 45 degrees, and cameras 2 and 3 see fronts and sides."""


def person(seed: int, who: str, index: int = 0) -> Person:
    """The same body and habits under the same name; index 1 is the partner of `who`."""
    return Person.draw(rng_for(seed, "person", who, str(index)))


def act(seed: int, who: str, movement: int, take: str, *, partner: str = "") -> FloatArray:
    """(M, T, 25, 3) joints of Kinect v2 on a stage in metres, in the axes of a person who faces the
    audience: x to the right, y up, z to the back.

    movement: any number, taken modulo sixteen; the last four are of two persons, the second called
    `partner`. take: text that distinguishes this performance from others.
    """
    action = _ACTIONS[movement % len(_ACTIONS)]
    people = [person(seed, name) for name in (who, partner or f"{who}+")[: num_people(action)]]
    return play(action, people, rng_for(seed, "performance", who, str(movement), take))


def play(
    action: int, people: list[Person], rng: np.random.Generator, replication: int | None = None
) -> FloatArray:
    """(M, T, 25, 3) joints of an action of NTU RGB+D on the stage, in metres.

    replication: 1 or 2, the way people face; drawn if not given.
    """
    poses = perform(action, people, rng)
    cast = [(each.body, pose) for each, pose in zip(people, poses, strict=True)]
    return _stage(cast, replication or 1 + int(rng.integers(2)), rng)


def _stage(
    people: list[tuple[Proportions, Pose]], replication: int, rng: np.random.Generator
) -> FloatArray:
    """(M, T, 25, 3) joints on the stage, free of noise; two people face each other."""
    sign = -1 if replication % 2 else 1
    yaw = sign * _FACING + rng.normal(0, 0.12)
    # A pair stands across the direction in which one person alone would look.
    half = rng.normal(0.45, 0.05) if len(people) > 1 else 0.0
    swapped = -1 if rng.random() < 0.5 else 1
    spot = np.array([rng.normal(0, 0.2), 0.0, rng.normal(0, 0.15)])
    bodies = []
    for index, (body, pose) in enumerate(people):
        place = swapped * half * (-1 if index == 0 else 1)
        inwards = np.sign(place) * (np.pi / 2 + rng.normal(0, 0.08)) if len(people) > 1 else 0.0
        facing, around = turn_about_y(np.array([inwards, yaw]))
        local = solve(body, pose) @ facing.T + np.array([place, 0.0, 0.0])
        bodies.append(local @ around.T + spot)
    return np.stack(bodies)
