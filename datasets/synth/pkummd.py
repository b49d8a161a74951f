"""Synthetic people in the forms of PKU-MMD: long recordings with lists of actions, and a pickle.

Three cameras film a video at once. A video has a few actions in sequence, with pauses in which
people stand still or nobody is visible.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from typing import TYPE_CHECKING

import numpy as np

from aclnet.datasets.spec import silent
from aclnet.datasets.synth.acting import ENCOUNTERS, SINGLE_MOVEMENTS, act
from aclnet.datasets.synth.damage import deal_damage
from aclnet.datasets.synth.kinect import sensed
from aclnet.datasets.synth.pyskl import write_pickle
from aclnet.datasets.synth.request import Request, Summary
from aclnet.datasets.synth.seeding import rng_for
from aclnet.datasets.synth.writing import FileForm, text_rows, write_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from aclnet.datasets.spec import Progress
    from aclnet.datasets.synth.body import FloatArray
    from aclnet.datasets.synth.pyskl import Annotation
    from aclnet.datasets.synth.request import Generate

CAMERAS = {"L": 1, "M": 2, "R": 3}
_TEST = range(291, 335)
_TRAIN = [v for v in range(2, 365) if v not in _TEST and v not in range(247, 251)]
_CLASSES = 51
_PAIRS = (12, 14, 16, 18, 21, 24, 26, 27)
"""Labels, from 1, of actions of two persons."""
_ACTIONS = 6
"""Number of actions in a video; the originals have about twenty."""
_PAUSE = 12
_RECORDINGS = "Data/PKU_Skeleton_Renew"
_LISTS = "Label/Train_Label_PKU_final"
_DAMAGES = ("not finite", "frame count", "joint count")
"""Kinds of damage of an annotation."""


@dataclass(frozen=True, slots=True)
class Action:
    """One line of a list."""

    label: int
    """Class, from 1."""
    start: int
    """First frame, from 1."""
    end: int
    """Last frame."""


def video(seed: int, number: int, subjects: int, count: int) -> tuple[FloatArray, list[Action]]:
    """(2, T, 25, 3) joints on the stage and the actions; NaN if a person is absent."""
    labels = 1 + rng_for(seed, "labels", str(number)).permutation(_CLASSES)[:count]
    who = f"p{number % subjects}"
    pieces, actions, frames = [], [], 0
    for turn, label in enumerate(labels.tolist()):
        movement = (label - 1) % SINGLE_MOVEMENTS
        if label in _PAIRS:
            movement = SINGLE_MOVEMENTS + _PAIRS.index(label) % ENCOUNTERS
        scene = act(seed, who, movement, f"{number} {turn}", partner=f"{who}+")
        if len(scene) == 1:
            scene = np.concatenate([scene, np.full_like(scene, np.nan)])
        # before the first action nobody is visible; later people stand in their next initial pose
        pause = np.repeat(scene[:, :1], _PAUSE, axis=1)
        pieces += [pause if turn else np.full_like(pause, np.nan), scene]
        start = frames + _PAUSE + 1
        frames += _PAUSE + scene.shape[1]
        actions.append(Action(label, start, frames))
    return np.concatenate(pieces, axis=1), actions


def recording(seed: int, scene: FloatArray, name: str) -> FloatArray:
    """(T, 50, 3) of a video as camera L, M or R sees it (`XXXX-V`), metres; zeros for nobody."""
    seen = sensed(seed, scene, CAMERAS[name[-1]], name)
    first, second = np.nan_to_num(seen)
    return np.concatenate([first, second], axis=1)


@dataclass(frozen=True, slots=True)
class _Set:
    """Recordings to write."""

    seed: int
    subjects: int
    actions: Mapping[str, int]
    """Number of actions in each recording."""

    def of(self, name: str) -> tuple[FloatArray, list[Action]]:
        scene, actions = video(self.seed, int(name[:4]), self.subjects, self.actions[name])
        return recording(self.seed, scene, name), actions


def _choose(request: Request) -> _Set:
    """Recordings whose actions are `sequences` together, alternating between the sides of X-Sub."""
    request.require_subjects()
    turns = chain.from_iterable(zip_longest(_TRAIN, _TEST))
    actions: dict[str, int] = {}
    left = request.sequences
    for number in islice((v for v in turns if v is not None), left):
        each = min(_ACTIONS, max(1, left // len(CAMERAS)))
        for view in CAMERAS:
            if left >= each:
                actions[f"{number:04}-{view}"] = each
                left -= each
    return _Set(request.seed, request.subjects, actions)


def _text(folder: Path, request: Request, progress: Progress = silent) -> Summary:
    """Writes recordings, lists of actions and splits. Damage affects whole recordings."""
    chosen = _choose(request)

    def record(_: int, name: str) -> FloatArray:
        values, actions = chosen.of(name)
        lines = "".join(f"{a.label},{a.start},{a.end},2\n" for a in actions)
        write_file(folder / _LISTS / f"{name}.txt", lines.encode())
        return values

    form = FileForm(
        lambda _: {f"{_RECORDINGS}/{name}.txt": name for name in chosen.actions},
        record,
        lambda _, values: text_rows(values.reshape(len(values), -1)),
        beside=lambda _: _split_files(),
    )
    written = form(folder, request, progress)
    return Summary(sum(chosen.actions.values()), written.damaged)


def _split_files() -> dict[str, bytes]:
    found = {}
    for protocol, sides in _splits().items():
        train, test = (", ".join(names) + ", " for names in sides)
        # the original files have this misspelling
        text = f"Training videos: \n{train}\nValidataion videos: \n{test}\n"
        found[f"Split/cross-{protocol}.txt"] = text.encode()
    return found


def _splits() -> dict[str, tuple[list[str], list[str]]]:
    """Names of all training and all test recordings of the set."""
    names = [f"{number:04}-{view}" for number in sorted([*_TRAIN, *_TEST]) for view in CAMERAS]
    is_test = {
        "subject": [int(name[:4]) in _TEST for name in names],
        "view": [name.endswith("M") for name in names],
    }
    return {
        protocol: (
            [name for name, test in zip(names, tested, strict=True) if not test],
            [name for name, test in zip(names, tested, strict=True) if test],
        )
        for protocol, tested in is_test.items()
    }


def _pickle(folder: Path, request: Request, progress: Progress = silent) -> Summary:
    """Writes `pku_mmd.pkl` of ACLNet's authors: single actions in PYSKL's form, some damaged."""
    chosen = _choose(request)
    annotations: dict[str, Annotation] = {}
    for done, name in enumerate(chosen.actions, start=1):
        values, actions = chosen.of(name)
        joints = values.reshape(len(values), 2, 25, 3).swapaxes(0, 1).astype(np.float16)
        for number, action in enumerate(actions, start=1):
            sample_id = f"{name}-{number:03}"
            annotations[sample_id] = _annotation(sample_id, action, joints)
        progress("write", done, len(chosen.actions))
    ids = [*annotations]
    damaged = deal_damage(request.seed, request.damage, ids, _DAMAGES, key=())
    for sample_id, kind in damaged.items():
        _spoil(annotations[sample_id], kind)
    split = {}
    for protocol, sides in _splits().items():
        for side, names in zip(("train", "val"), sides, strict=True):
            members = set(names)
            found = [i for i in ids if i.rpartition("-")[0] in members]
            split[f"x{protocol.removesuffix('ject')}_{side}"] = found
    write_pickle(folder / "pku_mmd.pkl", split, [*annotations.values()])
    return Summary(len(annotations), damaged)


def _annotation(sample_id: str, action: Action, joints: NDArray[np.float16]) -> Annotation:
    keypoint = joints[:, action.start - 1 : action.end]
    keypoint = keypoint[keypoint.any(axis=(1, 2, 3))]
    return {
        "frame_dir": sample_id,
        "label": action.label - 1,
        "total_frames": keypoint.shape[1],
        "keypoint": keypoint.copy(),
    }


def _spoil(annotation: Annotation, kind: str) -> None:
    if kind == "not finite":
        annotation["keypoint"][0, 0, 0, 0] = np.nan
    elif kind == "frame count":
        annotation["total_frames"] += 1
    else:
        annotation["keypoint"] = annotation["keypoint"][:, :, :-1]


FORMS: dict[str, dict[str, Generate]] = {"pkummd": {"text": _text, "pyskl": _pickle}}
