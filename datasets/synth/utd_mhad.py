"""Synthetic people in the MATLAB files of UTD-MHAD."""

from __future__ import annotations

from io import BytesIO
from itertools import product
from typing import TYPE_CHECKING

from aclnet.datasets.synth.acting import SINGLE_MOVEMENTS
from aclnet.datasets.synth.kinect import sense_one
from aclnet.datasets.synth.writing import FileForm, named_files

if TYPE_CHECKING:
    from aclnet.datasets.synth.body import FloatArray
    from aclnet.datasets.synth.request import Generate

JOINTS = (3, 20, 1, 0, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19)
"""The dataset's joints among the 25 of Kinect v2."""
_ACTIONS, _SUBJECTS, _TRIALS = 27, 8, 4


def recording(seed: int, name: str) -> FloatArray:
    """(T, 20, 3) of `aA_sS_tT` in metres."""
    action = int(name.split("_")[0][1:])
    return sense_one(seed, name, (action - 1) % SINGLE_MOVEMENTS, JOINTS)


def _names(subjects: int) -> list[str]:
    counts = (_ACTIONS, min(subjects, _SUBJECTS), _TRIALS)
    numbers = product(*(range(1, 1 + count) for count in counts))
    return [f"a{action}_s{subject}_t{trial}" for action, subject, trial in numbers]


def _encode(_: str, values: FloatArray) -> bytes:
    from scipy.io import savemat

    file = BytesIO()
    savemat(file, {"d_skel": values.transpose(1, 2, 0)}, do_compression=True)
    content = file.getvalue()
    # scipy's header has the time, which differs from run to run
    header = b"MATLAB 5.0 MAT-file, made up"
    return header.ljust(116) + content[116:]


_files = named_files("Skeleton/{}_skeleton.mat", _names)
FORMS: dict[str, dict[str, Generate]] = {"utd-mhad": {"mat": FileForm(_files, recording, _encode)}}
