"""Synthetic pairs of people in the text files of SBU Kinect Interaction."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from aclnet.datasets.synth.acting import ENCOUNTERS, SINGLE_MOVEMENTS, act
from aclnet.datasets.synth.kinect import sensed
from aclnet.datasets.synth.writing import FileForm, named_files, text_rows

if TYPE_CHECKING:
    from aclnet.datasets.synth.body import FloatArray
    from aclnet.datasets.synth.request import Generate

JOINTS = (3, 2, 1, 4, 5, 7, 8, 9, 11, 12, 13, 15, 16, 17, 19)
"""The dataset's joints among the 25 of Kinect v2."""
_SETS = (
    *("s01s02", "s01s03", "s01s07", "s02s01", "s02s03", "s02s06", "s02s07"),
    *("s03s02", "s03s04", "s03s05", "s03s06", "s04s02", "s04s03", "s04s06"),
    *("s05s02", "s05s03", "s06s02", "s06s03", "s06s04", "s07s01", "s07s03"),
)
_CATEGORIES, _TAKES = 8, 2


def recording(seed: int, name: str) -> FloatArray:
    """(T, 30, 3) of `sXXsYY/CC/NNN` in metres, one person's 15 joints after the other's."""
    pair, category, take = name.split("/")
    movement = SINGLE_MOVEMENTS + (int(category) - 1) % ENCOUNTERS
    scene = act(seed, pair[:3], movement, f"{category} {take}", partner=pair[3:])
    first, second = sensed(seed, scene, 1, name)[:, :, list(JOINTS)]
    return np.concatenate([first, second], axis=1)


def _names(subjects: int) -> list[str]:
    pairs = [pair for pair in _SETS if max(int(pair[1:3]), int(pair[4:])) <= subjects]
    numbers = product(pairs, range(1, 1 + _CATEGORIES), range(1, 1 + _TAKES))
    return [f"{pair}/{category:02}/{take:03}" for pair, category, take in numbers]


def _encode(_: str, values: FloatArray) -> bytes:
    """One line for each frame: its number, then values normalised as the dataset's README says."""
    x, y, z = np.moveaxis(1000 * values, -1, 0)
    normalised = np.stack([(1280 - x) / 2560, (960 - y) / 1920, z * 7.8125 / 10000], axis=-1)
    number = np.arange(1, 1 + len(values))[:, None]
    return text_rows(np.concatenate([number, normalised.reshape(len(values), -1)], axis=1), ",")


_files = named_files("{}/skeleton_pos.txt", _names, least_subjects=2)
FORMS: dict[str, dict[str, Generate]] = {"sbu": {"text": FileForm(_files, recording, _encode)}}
