"""Synthetic hands in the text files of SHREC'17."""

from __future__ import annotations

import re
from itertools import product
from typing import TYPE_CHECKING

from aclnet.datasets.synth.acting import SINGLE_MOVEMENTS, act
from aclnet.datasets.synth.filming import filmed
from aclnet.datasets.synth.looks import measured_as
from aclnet.datasets.synth.seeding import rng_for
from aclnet.datasets.synth.writing import FileForm, named_files, text_rows

if TYPE_CHECKING:
    from aclnet.datasets.synth.body import FloatArray
    from aclnet.datasets.synth.request import Generate

_GESTURES, _FINGERS, _SUBJECTS, _TRIALS = 14, 2, 28, 5
_IMAGE = 640, 480
_BASES = (2, 10, 14, 18)
"""First joints of the fingers that are folded where one finger, the index, acts alone."""
_FOLDED = 0.3
"""Share of the distance from its base that a joint of a folded finger keeps."""


def recording(seed: int, name: str) -> FloatArray:
    """(T, 22, 3) of `gesture_G/finger_F/subject_S/essai_E` in metres."""
    gesture, finger, subject, trial = map(int, re.findall(r"\d+", name))
    take = f"{gesture} {finger} {trial}"
    body = act(seed, f"s{subject}", (gesture - 1) % SINGLE_MOVEMENTS, take)[0]
    hand = measured_as("hand22")(body, rng_for(seed, "hand", name), seed, name)
    for base in _BASES if finger == 1 else ():
        tip = slice(base + 1, base + 4)
        hand[:, tip] = hand[:, [base]] + _FOLDED * (hand[:, tip] - hand[:, [base]])
    return hand


def image(seed: int, name: str) -> FloatArray:
    """(T, 22, 2) of the same recording in pixels."""
    pixels, _ = filmed(recording(seed, name), *_IMAGE, rng_for(seed, "film", name))
    return pixels.astype(float)


def _names(subjects: int) -> list[str]:
    counts = (_GESTURES, _FINGERS, min(subjects, _SUBJECTS), _TRIALS)
    return [
        f"gesture_{gesture}/finger_{finger}/subject_{subject}/essai_{trial}"
        for gesture, finger, subject, trial in product(*(range(1, 1 + count) for count in counts))
    ]


def _encode(_: str, values: FloatArray) -> bytes:
    return text_rows(values.reshape(len(values), -1))


_forms: dict[str, Generate] = {
    "world": FileForm(named_files("{}/skeletons_world.txt", _names), recording, _encode),
    "image": FileForm(named_files("{}/skeletons_image.txt", _names), image, _encode),
}
FORMS = {"shrec17": _forms, "shrec17-28": _forms}
