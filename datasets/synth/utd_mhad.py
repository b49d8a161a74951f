"""Made-up people in the MATLAB files of UTD-MHAD."""

from __future__ import annotations

from io import BytesIO
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from aclnet.datasets.synth import check_range
from aclnet.datasets.synth.recordings import choose, write_recordings
from aclnet.datasets.synth.scenes import act, sensed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aclnet.datasets.synth import Generate, Summary
    from aclnet.datasets.synth.body import FloatArray

JOINTS = (3, 20, 1, 0, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19)
"""The dataset's joints among the 25 of Kinect v2."""
_ACTIONS = 27
_SUBJECTS = 8
_TRIALS = 4
_SINGLE_MOVEMENTS = 12


def recording(seed: int, name: str) -> FloatArray:
    """(T, 20, 3) of `aA_sS_tT` in metres."""
    action, who, trial = name.split("_")
    movement = (int(action[1:]) - 1) % _SINGLE_MOVEMENTS
    scene = act(seed, who, movement, f"{action} {trial}")
    joints: FloatArray = sensed(seed, scene, 1, name)[0][:, list(JOINTS)]
    return joints


def _encode(_: str, values: FloatArray) -> bytes:
    from scipy.io import savemat

    file = BytesIO()
    savemat(file, {"d_skel": values.transpose(1, 2, 0)}, do_compression=True)
    content = file.getvalue()
    header = b"MATLAB 5.0 MAT-file, made up"  # scipy's tells the time
    return header.ljust(116) + content[116:]


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
        f"Skeleton/a{action}_s{subject}_t{trial}_skeleton.mat"
        for action in range(1, 1 + _ACTIONS)
        for subject in range(1, 1 + min(subjects, _SUBJECTS))
        for trial in range(1, 1 + _TRIALS)
    ]
    return write_recordings(
        folder,
        choose(names, sequences, seed),
        lambda path: recording(seed, PurePosixPath(path).name.removesuffix("_skeleton.mat")),
        _encode,
        seed=seed,
        damage=damage,
        progress=progress,
    )


FORMS: dict[str, dict[str, Generate]] = {"utd-mhad": {"mat": _generate}}
