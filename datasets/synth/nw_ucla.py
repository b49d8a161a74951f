"""Synthetic people in the JSON files of NW-UCLA (CTR-GCN's `all_sqe`), seen by three Kinects v1."""

from __future__ import annotations

import json
from itertools import product
from typing import TYPE_CHECKING

from aclnet.datasets.synth.kinect import KINECT_V1, sense_one
from aclnet.datasets.synth.writing import FileForm, named_files

if TYPE_CHECKING:
    from aclnet.datasets.synth.body import FloatArray
    from aclnet.datasets.synth.request import Generate

_ACTIONS = (1, 2, 3, 4, 5, 6, 8, 9, 11, 12)
_SUBJECTS, _EPISODES, _VIEWS = 10, 5, 3


def recording(seed: int, name: str) -> FloatArray:
    """(T, 20, 3) of `aXX_sYY_eZZ_vNN` in metres."""
    return sense_one(seed, name, _label(name), KINECT_V1, camera=int(name[-2:]))


def _names(subjects: int) -> list[str]:
    people, episodes = range(1, 1 + min(subjects, _SUBJECTS)), range(_EPISODES)
    numbers = product(_ACTIONS, people, episodes, range(1, 1 + _VIEWS))
    return [f"a{a:02}_s{s:02}_e{e:02}_v{v:02}" for a, s, e, v in numbers]


def _label(name: str) -> int:
    return _ACTIONS.index(int(name[1:3]))


def _encode(name: str, values: FloatArray) -> bytes:
    frames = values.round(6).tolist()
    label = 1 + _label(name)
    return json.dumps({"file_name": name, "skeletons": frames, "label": label}).encode()


FORMS: dict[str, dict[str, Generate]] = {
    "nw-ucla": {"json": FileForm(named_files("all_sqe/{}.json", _names), recording, _encode)}
}
