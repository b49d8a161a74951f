"""Made-up people in the text files of MSR-Action3D, joints in its own order."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from aclnet.datasets.synth import check_range
from aclnet.datasets.synth.recordings import choose, text_rows, write_recordings
from aclnet.datasets.synth.scenes import act, rng_for, sensed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aclnet.datasets.synth import Generate, Summary
    from aclnet.datasets.synth.body import FloatArray

JOINTS = (4, 8, 20, 1, 12, 16, 0, 5, 9, 6, 10, 7, 11, 13, 17, 14, 18, 15, 19, 3)
"""Lines of a frame among the 25 joints of Kinect v2: shoulders, neck, spine, hips, middle of the
hips, elbows, wrists, hands, knees, ankles, feet and head, left before right."""
_ACTIONS = 20
_SUBJECTS = 10
_REPETITIONS = 3
_SINGLE_MOVEMENTS = 12
_DAMAGES = ("truncated", "not finite", "empty", "garbage", "no person")


def recording(seed: int, name: str) -> FloatArray:
    """(T, 20, 4) of `aXX_sYY_eZZ`: x, y, z in metres and confidence."""
    action, who, repetition = name.split("_")
    movement = (int(action[1:]) - 1) % _SINGLE_MOVEMENTS
    scene = act(seed, who, movement, f"{action} {repetition}")
    joints = sensed(seed, scene, 1, name)[0][:, list(JOINTS)]
    confidence = rng_for(seed, "confidence", name).uniform(0.5, 1.0, joints.shape[:2])
    return np.concatenate([joints, confidence[..., None]], axis=-1)


def _generate(
    folder: Path,
    *,
    sequences: int,
    subjects: int,
    seed: int,
    damage: float,
    progress: Callable[[int, int], None],
) -> Summary:
    check_range("subjects", subjects, 1, 10**6)
    names = [
        f"MSRAction3DSkeletonReal3D/a{action:02}_s{subject:02}_e{repetition:02}_skeleton3D.txt"
        for action in range(1, 1 + _ACTIONS)
        for subject in range(1, 1 + min(subjects, _SUBJECTS))
        for repetition in range(1, 1 + _REPETITIONS)
    ]
    return write_recordings(
        folder,
        choose(names, sequences, seed),
        lambda path: recording(seed, PurePosixPath(path).name[:11]),
        lambda _, values: text_rows(values.reshape(-1, values.shape[-1])),
        seed=seed,
        damage=damage,
        progress=progress,
        damages=_DAMAGES,
    )


FORMS: dict[str, dict[str, Generate]] = {"msr-action3d": {"text": _generate}}
