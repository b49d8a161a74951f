"""Synthetic walkers in the forms in which CASIA-B's poses are distributed."""

from __future__ import annotations

import json
import pickle
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from aclnet.datasets.spec import silent
from aclnet.datasets.synth.acting import person
from aclnet.datasets.synth.body import solve, turn_about_y
from aclnet.datasets.synth.damage import deal_damage
from aclnet.datasets.synth.filming import coco, filmed
from aclnet.datasets.synth.request import Request, Summary
from aclnet.datasets.synth.seeding import choose, rng_for
from aclnet.datasets.synth.walk import Burden, gait, walk
from aclnet.datasets.synth.writing import FileForm, write_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aclnet.datasets.spec import Progress
    from aclnet.datasets.synth.body import FloatArray
    from aclnet.datasets.synth.request import Generate

_RATE = 25
_WIDTH, _HEIGHT = 320, 240
_CAMERA = (7.0, 1.1)
_BURDENS: dict[str, Burden] = {"nm": "", "bg": "bag", "cl": "coat"}
_TAKES = [*product(["nm"], range(1, 7)), *product(["bg", "cl"], (1, 2))]
_VIEWS = range(0, 181, 18)
_TRAINING, _SUBJECTS = 74, 124
_ROW_DAMAGES = ("empty cells", "cut short", "not finite", "text")
"""Kinds of damage of a row of the table."""
_JOINTS = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder"),
    *("left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip"),
    *("left_knee", "right_knee", "left_ankle", "right_ankle"),
)


def recording(name: str, seed: int) -> FloatArray:
    """(T, 17, 3) x and y in pixels and confidence of `sss-cc-nn-vvv`, as its file holds them.

    The values are rounded as in the table, so that all forms have the same values.
    """
    subject, condition, take, view = name.split("-")
    who, walked = person(seed, subject), f"{subject}-{condition}-{take}"
    rng = rng_for(seed, "walk", walked)
    frames = int(rng.integers(50, 110))
    pose = walk(who, gait(seed, subject), frames, _RATE, rng, _BURDENS[condition])
    turn = turn_about_y(np.array([np.radians(int(view))]))[0]
    seen = coco(solve(who.body, pose)) @ turn.T
    pixels, score = filmed(seen, _WIDTH, _HEIGHT, rng_for(seed, "film", name), _CAMERA)
    return np.concatenate([pixels, score[..., None]], axis=-1).astype(np.float64).round(4)


def _names(request: Request) -> list[str]:
    """Names of recordings; two subjects train for each one tested, as long as there are any."""
    request.require_subjects(2, _SUBJECTS)
    subjects = request.subjects
    tested = min(max(1, subjects // 3), _SUBJECTS - _TRAINING)
    tested = max(tested, subjects - _TRAINING)
    people = [*range(1, 1 + subjects - tested), *range(1 + _TRAINING, 1 + _TRAINING + tested)]
    names = [
        f"{subject:03}-{condition}-{take:02}-{view:03}"
        for subject, (condition, take), view in product(people, _TAKES, _VIEWS)
    ]
    return choose(request.seed, names, request.sequences)


def _table(folder: Path, request: Request, progress: Progress = silent) -> Summary:
    """Writes GaitGraph's table. A damaged recording has one row that is not sound."""
    seed, names = request.seed, _names(request)
    damaged = deal_damage(seed, request.damage, names, _ROW_DAMAGES, names)
    columns = [f"{joint}_{what}" for joint in _JOINTS for what in ("x", "y", "conf")]
    lines = [f"{','.join(['image_name', *columns])}\n"]
    for done, name in enumerate(names, start=1):
        rows = [
            f"./{name}/{frame:06}.jpg,{','.join(f'{value:.4f}' for value in values)}\n"
            for frame, values in enumerate(recording(name, seed).reshape(-1, 51).tolist())
        ]
        if name in damaged:
            place = int(rng_for(seed, "damage", name).integers(len(rows)))
            rows[place] = _spoil(rows[place], damaged[name])
        lines += rows
        progress("write", done, len(names))
    write_file(folder / "casia-b_pose_coco.csv", "".join(lines).encode())
    return Summary(len(names), damaged)


def _spoil(row: str, kind: str) -> str:
    cells = row.rstrip("\n").split(",")
    if kind == "empty cells":
        cells[1:] = [""] * 51
    elif kind == "cut short":
        cells = cells[:20]
    else:
        cells[7] = "nan" if kind == "not finite" else "nobody"
    return f"{','.join(cells)}\n"


def _path(name: str) -> str:
    subject, condition, take, view = name.split("-")
    return f"{subject}/{condition}-{take}/{view}/{view}.pkl"


def _pickle(_: str, poses: FloatArray) -> bytes:
    """A file of OpenGait."""
    return pickle.dumps(poses.astype(np.float32), protocol=4)


def _results(_: str, poses: FloatArray) -> bytes:
    """A file of AlphaPose, with a false second person in every tenth frame."""
    found = []
    for frame, values in enumerate(poses.reshape(len(poses), -1).tolist()):
        walker = {"image_id": f"{frame:06}.jpg", "category_id": 1, "keypoints": values}
        if frame % 10 == 0:
            found.append(walker | {"keypoints": [v / 2 for v in values], "score": 0.4, "idx": 2})
        found.append(walker | {"score": 2.8, "idx": 1})
    return json.dumps(found).encode()


def _form(path: Callable[[str], str], encode: Callable[[str, FloatArray], bytes]) -> Generate:
    return FileForm(
        lambda request: {path(name): name for name in _names(request)},
        lambda seed, name: recording(name, seed),
        encode,
    )


FORMS: dict[str, dict[str, Generate]] = {
    "casia-b": {
        "csv": _table,
        "opengait": _form(_path, _pickle),
        "json": _form("{}.json".format, _results),
    }
}
