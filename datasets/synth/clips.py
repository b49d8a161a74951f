"""Clips of video with synthetic people: actors, actions, and passers-by."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from aclnet.datasets.synth.acting import act
from aclnet.datasets.synth.motion import MOVEMENTS
from aclnet.datasets.synth.seeding import rng_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from aclnet.datasets.synth.body import FloatArray
    from aclnet.datasets.synth.request import Request

_LETTERS = [*"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"]


class Clip(NamedTuple):
    """One clip. All clips of a person are on one side."""

    name: str
    label: int
    side: str
    who: str


def clips(request: Request, name: Callable[[np.random.Generator], str]) -> list[Clip]:
    """The clips of a request, one class per movement; the last quarter of the people is in `val`.

    name: draws an id. Raises AclnetError for fewer than two people.
    """
    request.require_subjects(2)
    held_out = max(1, request.subjects // 4)
    found = []
    for number in range(request.sequences):
        turn, label = divmod(number, len(MOVEMENTS))
        who = (turn + label) % request.subjects
        side = "val" if who >= request.subjects - held_out else "train"
        clip_id = name(rng_for(request.seed, "clip", str(number)))
        found.append(Clip(clip_id, label, side, str(who)))
    return found


def youtube_id(rng: np.random.Generator) -> str:
    """An id of eleven characters."""
    return "".join(rng.choice(_LETTERS, 11))


def crowd(seed: int, clip: Clip, bystanders: int) -> FloatArray:
    """(M, T, 25, 3) joints of the actors and of up to `bystanders` others, NaN if not visible."""
    rng = rng_for(seed, "crowd", clip.name)
    scene = act(seed, clip.who, clip.label, clip.name)
    frames = np.arange(scene.shape[1])
    people = [*scene]
    for number in range(rng.integers(bystanders + 1)):
        movement = int(rng.integers(len(MOVEMENTS)))
        pose = act(seed, f"passer-by {number} of {clip.name}", movement, clip.name)[0]
        begin, end = np.sort(rng.integers(0, len(frames) + 1, 2))
        pose = pose[np.minimum(frames, len(pose) - 1)] + [rng.uniform(-1.5, 1.5), 0, 1]
        pose[(frames < begin) | (frames >= end)] = np.nan
        people.append(pose)
    return np.stack(people)
