"""Synthetic people for re-identification: text files of four datasets, arrays of all five.

Each person stands or walks past a Kinect. People differ in body and gait.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from aclnet.datasets.spec import silent
from aclnet.datasets.synth.acting import person
from aclnet.datasets.synth.body import solve, turn_about_y
from aclnet.datasets.synth.damage import DAMAGES, deal_damage
from aclnet.datasets.synth.kinect import KINECT_V1, sensed
from aclnet.datasets.synth.request import Request, Summary
from aclnet.datasets.synth.seeding import rng_for
from aclnet.datasets.synth.walk import Burden, gait, stand, walk
from aclnet.datasets.synth.writing import FileForm, npy, text_rows, write_file, write_frames

if TYPE_CHECKING:
    from pathlib import Path

    from aclnet.datasets.spec import Progress
    from aclnet.datasets.synth.body import FloatArray
    from aclnet.datasets.synth.request import Generate

_OPENPOSE = (3, 2, 8, 9, 10, 4, 5, 6, 16, 17, 18, 12, 13, 14)
"""The joints of CASIA-B in space among the 25 of Kinect v2."""
_KGBD_LINES = {
    "Head": 3, "Shoulder-Center": 2, "Shoulder-Right": 8, "Shoulder-Left": 4, "Elbow-Right": 9,
    "Elbow-Left": 5, "Wrist-Right": 10, "Wrist-Left": 6, "Hand-Right": 11, "Hand-Left": 7,
    "Spine": 1, "Hip-Center": 0, "Hip-Right": 16, "Hip-Left": 12, "Knee-Right": 17,
    "Knee-Left": 13, "Ankle-Right": 18, "Ankle-Left": 14, "Foot-Right": 19, "Foot-Left": 15,
}  # fmt: skip
"""The lines of a frame, with the joint of Kinect v1 for each."""
_VIEWS = ("frontal", "left_diagonal", "left_lateral", "right_diagonal", "right_lateral")
# fmt: off
_BODIES = (1, 2, 3, 4, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 19, 20, 21, 22, 23, 24)
# fmt: on
_BURDENS: dict[str, Burden] = {"bg": "bag", "cl": "coat"}
_TRIM = 10
"""Frames at both ends of a recording that published code drops before it cuts windows."""


class Take(NamedTuple):
    """One recording."""

    subject: int
    """Number of the person, from 0."""
    side: str
    """Side of the arrays: train, or the folder of a test side."""
    number: int
    """Number of the recording among the person's recordings on that side, from 0."""
    azimuth: float = 0.0
    """Rotation of the person in degrees."""


@dataclass(frozen=True, slots=True)
class _Set:
    """Settings of one dataset."""

    subjects: int
    sides: dict[str, int]
    """Recordings of each person on each side of the arrays."""
    joints: tuple[int, ...]
    """Joints among the 25 of Kinect v2."""
    rate: int = 30
    window: int = 6
    name: str = ""
    """Name DS in the arrays' file names."""
    folder: str = ""
    """Folder of the arrays."""
    overlap: bool = True
    """True if training windows start every half window."""


_SETS = {
    "biwi": _Set(50, {"train": 1, "still": 1, "walking": 1}, KINECT_V1, 10, name="BIWI"),
    "ias-lab": _Set(11, {"train": 1, "a": 1, "b": 1}, KINECT_V1, name="IAS"),
    "kgbd": _Set(
        164, {"train": 2, "gallery": 2, "probe": 1}, KINECT_V1, name="KGBD", overlap=False
    ),
    "ks20": _Set(20, {"train": 5, "gallery": 5, "probe": 5}, tuple(range(25)), name="KS20"),
    "casia-b-3d": _Set(
        124,
        {"train": 2, "nm": 1, "bg": 1, "cl": 1},
        _OPENPOSE,
        rate=25,
        window=40,
        name="CASIA_B",
        folder="CASIA_B_match",
        overlap=False,
    ),
}


def recording(dataset: str, take: Take, seed: int) -> FloatArray:
    """(T, V, 3) in metres before the sensor, joints in the order of the dataset's layout."""
    made = _SETS[dataset]
    name = f"{dataset}-{take.subject}-{take.side}-{take.number}"
    who = person(seed, f"{dataset}-{take.subject}")
    rng = rng_for(seed, "walk", name)
    frames = int(rng.integers(65, 100) if made.window > 30 else rng.integers(36, 56))
    if take.side == "still":
        pose = stand(who, frames, rng)
    else:
        manner = gait(seed, f"{dataset}-{take.subject}")
        pose = walk(who, manner, frames, made.rate, rng, _BURDENS.get(take.side, ""))
    turn = turn_about_y(np.array([np.radians(take.azimuth)]))[0]
    scene = solve(who.body, pose) @ turn.T + [0.0, 0.0, 2.0]
    return sensed(seed, scene[None], 1, name)[0, :, list(made.joints)].swapaxes(0, 1).round(6)


def takes(dataset: str, request: Request) -> list[Take]:
    """The recordings of a request, divided over people and sides."""
    made = _SETS[dataset]
    request.require_subjects(1, made.subjects)
    found = []
    for number, side in product(range(max(made.sides.values())), made.sides):
        azimuth = 45.0 * number - 90 if dataset == "ks20" else 0.0
        for subject in range(request.subjects):
            # CASIA-B trains on one half of the people and tests the other
            takes_part = dataset != "casia-b-3d" or (side == "train") == (subject % 2 == 0)
            if number < made.sides[side] and takes_part:
                found.append(Take(subject, side, number, azimuth))
    return sorted(found[: request.sequences])


def _arrays(dataset: str, folder: Path, request: Request, progress: Progress = silent) -> Summary:
    """Arrays of windows. A damaged recording has one window that is not finite."""
    made, found = _SETS[dataset], takes(dataset, request)
    kinds = deal_damage(request.seed, request.damage, found, ["not finite"], [dataset])
    windows: dict[str, list[tuple[int, FloatArray]]] = {side: [] for side in made.sides}
    damaged = {}
    for done, take in enumerate(found, start=1):
        cut = _windows(recording(dataset, take, request.seed), made, take.side)
        if take in kinds:
            damaged[f"{take.side} {len(windows[take.side])}"] = kinds[take]
            cut[0][0, 0, 0] = np.nan
        windows[take.side] += [(take.subject, window) for window in cut]
        progress("write", done, len(found))
    for side, entries in windows.items():
        if entries:
            _write_arrays(folder, dataset, side, entries)
    return Summary(len(found), damaged)


def _windows(joints: FloatArray, made: _Set, side: str) -> list[FloatArray]:
    """Windows (F, V, 3), cut as in the published arrays."""
    joints = joints[_TRIM:-_TRIM] if made.name != "IAS" or side != "train" else joints[_TRIM:]
    length = made.window
    many = made.overlap and side == "train"
    starts = [
        start
        for shift in range(length if many else 1)
        for start in range(shift, len(joints) - length + 1, length // 2 if many else length)
    ]
    return [joints[start : start + length].copy() for start in starts]


def _write_arrays(
    folder: Path, dataset: str, side: str, entries: list[tuple[int, FloatArray]]
) -> None:
    made = _SETS[dataset]
    where = folder / (made.folder or made.name) / str(made.window)
    special = "CASIA_B_" if dataset == "casia-b-3d" else ""
    where /= f"{special}train_npy_data" if side == "train" else f"{special}test_npy_data"
    if side != "train":
        where /= {"still": "Still", "walking": "Walking", "a": "A", "b": "B"}.get(side, side)
    first = 1 if dataset == "kgbd" else 0  # number of the first person
    labels = np.array([first + subject for subject, _ in entries])
    joints = np.stack([window for _, window in entries])
    if dataset == "kgbd":
        joints = joints[:, :, list(_KGBD_LINES.values())]
    ending = f"_{made.name}_{made.window}.npy"
    prefix = "" if side == "train" else "t_"
    for axis, letter in enumerate("xyz"):
        rows = joints[..., axis].reshape(-1, joints.shape[2])
        write_file(where / f"{prefix}source_{letter}{ending}", npy(rows))
    ids = {int(label): np.flatnonzero(labels == label).tolist() for label in np.unique(labels)}
    write_file(where / f"frame_id{ending}", npy(labels))
    write_file(where / f"ids{ending}", npy(np.array(ids, dtype=object)))


def _frame_files(
    dataset: str, folder: Path, request: Request, progress: Progress = silent
) -> Summary:
    """BIWI, IAS-Lab and KS20: one file for each frame. Damage is of one frame."""
    found = takes(dataset, request)
    kinds = deal_damage(request.seed, request.damage, found, DAMAGES, [dataset])
    damaged = {}
    for done, take in enumerate(found, start=1):
        bad = write_frames(
            folder,
            recording(dataset, take, request.seed),
            partial(_frame_path, dataset, take),
            partial(_frame, dataset, take),
            kinds.get(take),
            rng_for(request.seed, "damage", *map(str, take)),
        )
        if bad:
            damaged[bad] = kinds[take]
        progress("write", done, len(found))
    return Summary(len(found), damaged)


def _frame_path(dataset: str, take: Take, frame: int) -> str:
    if dataset == "ks20":
        cycle = {"train": 1, "gallery": 2, "probe": 3}[take.side]
        body = _BODIES[take.subject]
        return f"{_VIEWS[take.number]}/gc{cycle}_body{body}_{1000 + 33 * frame}.txt"
    folders = {
        "train": "Training",
        "still": "Testing/Still",
        "walking": "Testing/Walking",
        "a": "TestingA",
        "b": "TestingB",
    }
    who = f"{take.subject:03}" if dataset == "biwi" else f"person{take.subject + 1}"
    return f"{folders[take.side]}/{who}/{frame:06}-a_{33 * frame}_skel.txt"


def _frame(dataset: str, take: Take, frame: int, values: FloatArray) -> bytes:
    """File of one frame (1, V, 3). In a few frames of every recording a joint is not tracked."""
    joints = values[0]
    numbers = np.arange(len(joints))
    if dataset == "ks20":
        return text_rows(np.column_stack([numbers, joints]), ",")
    pixels = 320 + 525 * joints[:, :2] / joints[:, 2:]
    is_lost = (frame + take.subject) % 15 == 7
    state = np.where((numbers == 7) & is_lost, 0, 2)
    ends = np.column_stack([np.maximum(numbers - 1, 0), numbers])
    turn = np.tile([0.0, 0.0, 0.0, 1.0], (len(joints), 1))
    columns = [numbers, joints, pixels, state, np.zeros(len(joints)), ends, turn]
    return text_rows(np.column_stack(columns), ",")


def _kgbd_paths(request: Request) -> dict[str, Take]:
    """A file for each recording; recordings have no side yet."""
    before = {"train": 1, "gallery": 3, "probe": 5}
    return {
        f"Person{take.subject + 1:03}/{before[take.side] + take.number}.txt": take
        for take in takes("kgbd", request)
    }


def _kgbd_lines(_: Take, joints: FloatArray) -> bytes:
    lines = [
        f"{name};{';'.join(f'{value:.7g}' for value in frame[joint])}\n"
        for frame in joints.tolist()
        for name, joint in _KGBD_LINES.items()
        if joint < len(frame)
    ]
    return "".join(lines).encode()


FORMS: dict[str, dict[str, Generate]] = {
    dataset: {"arrays": partial(_arrays, dataset)} for dataset in _SETS
}
for _dataset in ("biwi", "ias-lab", "ks20"):
    FORMS[_dataset] = {"text": partial(_frame_files, _dataset), **FORMS[_dataset]}
_kgbd = FileForm(_kgbd_paths, lambda seed, take: recording("kgbd", take, seed), _kgbd_lines)
FORMS["kgbd"] = {"text": _kgbd, **FORMS["kgbd"]}
