"""Commands that are killed, before every change of a file and at any time, then repeated."""

from __future__ import annotations

import random
import signal
from typing import TYPE_CHECKING

from tests.stress.campaign import Tally
from tests.stress.scene import PATCHES, was_done

if TYPE_CHECKING:
    from tests.stress.scene import Scene, Subject

LATEST = 0.004
"""Most seconds from the start of a change of a file to the kill: writing one takes less."""


def kill(scene: Scene, subject: Subject, number: int, seed: int) -> Tally:
    """Kills a subject `number` times, evenly over the changes of files that it makes.

    Every other kill comes some time after the change has begun, so that files are half written. A
    third of the commands is killed a second time while it resumes.
    """
    tally = Tally(f"kill -9 of {subject.name}")
    rng = random.Random(f"{seed} {subject.name}")
    total = scene.changes[subject.name]
    for n in range(number):
        at = n * total // number
        delay = rng.uniform(0, LATEST) if n % 2 else 0.0
        kills = [(at, delay)] + [(rng.randrange(total), 0.0)] * (n % 3 == 2)
        tally.count(_try(scene, subject, kills))
    return tally


def _try(scene: Scene, subject: Subject, kills: list[tuple[int, float]]) -> str:
    where = f"{subject.name}, killed at {kills}"
    with scene.place() as place:
        for at, delay in kills:
            options = {"at": at, "delay": delay, "patches": PATCHES}
            ended = scene.commands.run(*subject.arguments, folder=place, **options)
            if ended.code not in (-signal.SIGKILL, 0) and not was_done(ended):
                return f"{where}: status {ended.code}: {ended.err}"
        wrong = scene.again(subject, place)
        return wrong and f"{where}: {wrong}"
