"""Clips of video with made-up people in them, and PYSKL's pickles of what was found there."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from aclnet.datasets.synth import check_range
from aclnet.datasets.synth.motion import MOVEMENTS
from aclnet.datasets.synth.recordings import write_file
from aclnet.datasets.synth.scenes import act, rng_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from aclnet.datasets.synth.body import FloatArray

DAMAGES = ("not finite", "joint count", "label", "text")
"""Ways of spoiling an annotation, dealt out in turn."""
_LETTERS = [*"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"]


class Clip(NamedTuple):
    """One clip; a person is on one side alone."""

    name: str
    label: int
    side: str
    who: str


def clips(
    sequences: int, subjects: int, seed: int, name: Callable[[np.random.Generator], str]
) -> list[Clip]:
    """So many clips, one class a movement; the last quarter of the people is in `val`.

    name: draws an id. AclnetError for fewer than two people.
    """
    check_range("subjects", subjects, 2, 10**6)
    held_out = max(1, subjects // 4)
    found = []
    for number in range(sequences):
        turn, label = divmod(number, len(MOVEMENTS))
        who = (turn + label) % subjects
        side = "val" if who >= subjects - held_out else "train"
        found.append(Clip(name(rng_for(seed, "clip", str(number))), label, side, str(who)))
    return found


def youtube_id(rng: np.random.Generator) -> str:
    """Eleven characters."""
    return "".join(rng.choice(_LETTERS, 11))


def crowd(seed: int, clip: Clip, bystanders: int) -> FloatArray:
    """(M, T, 25, 3) of those who act and up to so many others, NaN where somebody is not seen."""
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


def spoil(annotation: dict[str, Any], kind: str) -> None:
    """Damages an annotation that holds its `keypoint`, in a way of DAMAGES."""
    keypoint = annotation["keypoint"].copy()
    if kind == "not finite":
        keypoint[..., 0, 0] = np.nan
        annotation["keypoint"] = keypoint
    elif kind == "joint count":
        annotation["keypoint"] = keypoint[..., :-1, :]
    elif kind == "label":
        annotation["label"] = -1
    else:
        annotation["keypoint"] = "see the video"


def damages_of(names: list[str], damage: float, seed: int) -> dict[str, str]:
    """Kind of damage of those that are damaged."""
    check_range("damage", damage, 0, 1)
    order = rng_for(seed, "damaged", *names).permutation(len(names))[: round(damage * len(names))]
    return {names[i]: DAMAGES[turn % len(DAMAGES)] for turn, i in enumerate(order)}


def write_annotations(
    path: Path, chosen: Iterable[Clip], annotations: list[dict[str, Any]]
) -> None:
    """A pickle as PYSKL's; AclnetError where it cannot be written."""
    split: dict[str, list[str]] = {"train": [], "val": []}
    for clip in chosen:
        split[clip.side].append(clip.name)
    write_file(path, pickle.dumps({"split": split, "annotations": annotations}))
