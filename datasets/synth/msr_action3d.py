"""Synthetic people in the text files of MSR-Action3D, joints in its own order."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from aclnet.datasets.synth.acting import SINGLE_MOVEMENTS
from aclnet.datasets.synth.kinect import sense_one
from aclnet.datasets.synth.seeding import rng_for
from aclnet.datasets.synth.writing import FileForm, named_files, text_rows

if TYPE_CHECKING:
    from aclnet.datasets.synth.body import FloatArray
    from aclnet.datasets.synth.request import Generate

JOINTS = (4, 8, 20, 1, 12, 16, 0, 5, 9, 6, 10, 7, 11, 13, 17, 14, 18, 15, 19, 3)
"""Lines of a frame among the 25 joints of Kinect v2: shoulders, neck, spine, hips, middle of the
hips, elbows, wrists, hands, knees, ankles, feet and head, left before right."""
_ACTIONS, _SUBJECTS, _REPETITIONS = 20, 10, 3
_DAMAGES = ("truncated", "not finite", "empty", "garbage", "no person")


def recording(seed: int, name: str) -> FloatArray:
    """(T, 20, 4) of `aXX_sYY_eZZ`: x, y, z in metres and confidence."""
    joints = sense_one(seed, name, (int(name[1:3]) - 1) % SINGLE_MOVEMENTS, JOINTS)
    confidence = rng_for(seed, "confidence", name).uniform(0.5, 1.0, joints.shape[:2])
    return np.concatenate([joints, confidence[..., None]], axis=-1)


def _names(subjects: int) -> list[str]:
    counts = (_ACTIONS, min(subjects, _SUBJECTS), _REPETITIONS)
    numbers = product(*(range(1, 1 + count) for count in counts))
    return [f"a{action:02}_s{subject:02}_e{take:02}" for action, subject, take in numbers]


def _encode(_: str, values: FloatArray) -> bytes:
    return text_rows(values.reshape(-1, values.shape[-1]))


_files = named_files("MSRAction3DSkeletonReal3D/{}_skeleton3D.txt", _names)
FORMS: dict[str, dict[str, Generate]] = {
    "msr-action3d": {"text": FileForm(_files, recording, _encode, _DAMAGES)}
}
