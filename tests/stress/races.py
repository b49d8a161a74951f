"""Commands that work on one target at the same time."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from tests.stress.campaign import Tally
from tests.stress.scene import PATCHES, PREPARE, TRAIN

if TYPE_CHECKING:
    from tests.stress.commands import Ended
    from tests.stress.scene import Scene, Subject

RACES = (
    ("two prepare", PREPARE, PREPARE.arguments, PREPARE.arguments),
    (
        "prepare and prepare --overwrite",
        PREPARE,
        PREPARE.arguments,
        (*PREPARE.arguments, "--overwrite"),
    ),
    ("two train", TRAIN, TRAIN.arguments, TRAIN.arguments),
    ("train and train --fresh", TRAIN, TRAIN.arguments, (*TRAIN.arguments, "--fresh")),
)
_LATEST = 1.5
"""Most seconds from the start of the first command to the start of the second."""


def race(
    scene: Scene,
    what: str,
    subject: Subject,
    first: tuple[str, ...],
    second: tuple[str, ...],
    number: int,
    seed: int,
) -> Tally:
    """Starts both commands `number` times, the second one at a random time after the first.

    Each must end well or name the other as the one at work, and their results must be right.
    """
    tally, rng = Tally(what), random.Random(f"{seed} {what}")
    for n in range(number):
        wait = 0.0 if n % 4 == 0 else rng.uniform(0, _LATEST)
        with scene.place() as place:
            one = scene.commands.start(*first, folder=place, patches=PATCHES)
            time.sleep(wait)
            two = scene.commands.start(*second, folder=place, patches=PATCHES)
            ends = one.wait(), two.wait()
            wrong = _wrong(ends) or scene.outcome(subject, place)
            told = any(ended.told for ended in ends)
            tally.count(wrong and f"{what}, {wait:.2f} s apart: {wrong}", told=told)
    return tally


def _wrong(ends: tuple[Ended, Ended]) -> str:
    for ended in ends:
        busy = ended.told and "by another process" in ended.err
        if ended.code and not busy:
            return f"status {ended.code}: {ended.err}"
    return "both were refused" if all(ended.code for ended in ends) else ""
