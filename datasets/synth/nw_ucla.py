"""Made-up people in the JSON files of NW-UCLA (CTR-GCN's `all_sqe`), seen by three Kinects v1."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from aclnet.datasets.synth import check_range
from aclnet.datasets.synth.recordings import choose, write_recordings
from aclnet.datasets.synth.scenes import KINECT_V1, act, sensed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aclnet.datasets.synth import Generate, Summary
    from aclnet.datasets.synth.body import FloatArray

_ACTIONS = (1, 2, 3, 4, 5, 6, 8, 9, 11, 12)
_SUBJECTS = 10
_EPISODES = 5
_VIEWS = 3


def recording(seed: int, name: str) -> FloatArray:
    """(T, 20, 3) of `aXX_sYY_eZZ_vNN` in metres."""
    action, who, episode, view = name.split("_")
    label = _ACTIONS.index(int(action[1:]))
    scene = act(seed, who, label, f"{action} {episode}")
    joints: FloatArray = sensed(seed, scene, int(view[1:]), name)[0][:, list(KINECT_V1)]
    return joints


def _encode(path: str, values: FloatArray) -> bytes:
    name = PurePosixPath(path).stem
    frames = values.round(6).tolist()
    label = 1 + _ACTIONS.index(int(name[1:3]))
    return json.dumps({"file_name": name, "skeletons": frames, "label": label}).encode()


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
        f"all_sqe/a{action:02}_s{subject:02}_e{episode:02}_v{view:02}.json"
        for action in _ACTIONS
        for subject in range(1, 1 + min(subjects, _SUBJECTS))
        for episode in range(_EPISODES)
        for view in range(1, 1 + _VIEWS)
    ]
    return write_recordings(
        folder,
        choose(names, sequences, seed),
        lambda path: recording(seed, PurePosixPath(path).stem),
        _encode,
        seed=seed,
        damage=damage,
        progress=progress,
    )


FORMS: dict[str, dict[str, Generate]] = {"nw-ucla": {"json": _generate}}
