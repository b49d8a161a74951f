"""Made-up pairs of people in the text files of SBU Kinect Interaction."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from aclnet.datasets.synth import check_range
from aclnet.datasets.synth.recordings import choose, text_rows, write_recordings
from aclnet.datasets.synth.scenes import act, sensed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aclnet.datasets.synth import Generate, Summary
    from aclnet.datasets.synth.body import FloatArray

JOINTS = (3, 2, 1, 4, 5, 7, 8, 9, 11, 12, 13, 15, 16, 17, 19)
"""The dataset's joints among the 25 of Kinect v2."""
_SETS = (
    *("s01s02", "s01s03", "s01s07", "s02s01", "s02s03", "s02s06", "s02s07"),
    *("s03s02", "s03s04", "s03s05", "s03s06", "s04s02", "s04s03", "s04s06"),
    *("s05s02", "s05s03", "s06s02", "s06s03", "s06s04", "s07s01", "s07s03"),
)
_CATEGORIES = 8
_TAKES = 2
_FIRST_ENCOUNTER, _ENCOUNTERS = 12, 4


def recording(seed: int, name: str) -> FloatArray:
    """(T, 30, 3) of `sXXsYY/CC/NNN` in metres, one person's 15 joints after the other's."""
    pair, category, take = name.split("/")
    movement = _FIRST_ENCOUNTER + (int(category) - 1) % _ENCOUNTERS
    scene = act(seed, pair[:3], movement, f"{category} {take}", partner=pair[3:])
    first, second = sensed(seed, scene, 1, name)[:, :, list(JOINTS)]
    return np.concatenate([first, second], axis=1)


def _encode(_: str, values: FloatArray) -> bytes:
    """A line a frame: its number, then what is normalised as the dataset's README says."""
    x, y, z = np.moveaxis(1000 * values, -1, 0)
    normalised = np.stack([(1280 - x) / 2560, (960 - y) / 1920, z * 7.8125 / 10000], axis=-1)
    number = np.arange(1, 1 + len(values))[:, None]
    return text_rows(np.concatenate([number, normalised.reshape(len(values), -1)], axis=1), ",")


def _generate(
    folder: Path,
    *,
    sequences: int,
    subjects: int,
    seed: int,
    damage: float,
    progress: Callable[[int, int], None],
) -> Summary:
    check_range("subjects", subjects, 2, 10**6)
    names = [
        f"{pair}/{category:02}/{take:03}/skeleton_pos.txt"
        for pair in _SETS
        if max(int(pair[1:3]), int(pair[4:])) <= subjects
        for category in range(1, 1 + _CATEGORIES)
        for take in range(1, 1 + _TAKES)
    ]
    return write_recordings(
        folder,
        choose(names, sequences, seed),
        lambda path: recording(seed, str(PurePosixPath(path).parent)),
        _encode,
        seed=seed,
        damage=damage,
        progress=progress,
    )


FORMS: dict[str, dict[str, Generate]] = {"sbu": {"text": _generate}}
