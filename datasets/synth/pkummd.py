"""Made-up people in the forms of PKU-MMD: long recordings with lists of actions, and a pickle.

A video is filmed by three cameras at once. A few actions follow one another in it, with pauses in
which people stand still or nobody is there.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from aclnet.datasets.synth import Summary, check_range
from aclnet.datasets.synth.recordings import text_rows, write_file, write_recordings
from aclnet.datasets.synth.scenes import act, rng_for, sensed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from aclnet.datasets.synth import Generate
    from aclnet.datasets.synth.body import FloatArray

CAMERAS = {"L": 1, "M": 2, "R": 3}
_TEST = range(291, 335)
_TRAIN = [v for v in range(2, 365) if v not in _TEST and v not in range(247, 251)]
_CLASSES = 51
_PAIRS = (12, 14, 16, 18, 21, 24, 26, 27)
"""Labels, from 1, of actions of two persons."""
_SINGLE_MOVEMENTS, _ENCOUNTERS = 12, 4
_ACTIONS = 6
"""In one video; the originals have some twenty."""
_PAUSE = 12
_RECORDINGS = "Data/PKU_Skeleton_Renew"
_LISTS = "Label/Train_Label_PKU_final"


@dataclass(frozen=True, slots=True)
class Action:
    """One line of a list."""

    label: int
    """From 1."""
    start: int
    """First frame, from 1."""
    end: int
    """Last frame."""


def video(seed: int, number: int, subjects: int, count: int) -> tuple[FloatArray, list[Action]]:
    """(2, T, 25, 3) joints on the stage and the actions; NaN where nobody is."""
    labels = 1 + rng_for(seed, "labels", str(number)).permutation(_CLASSES)[:count]
    who = f"p{number % subjects}"
    pieces, actions, frames = [], [], 0
    for turn, label in enumerate(labels.tolist()):
        movement = (label - 1) % _SINGLE_MOVEMENTS
        if label in _PAIRS:
            movement = _SINGLE_MOVEMENTS + _PAIRS.index(label) % _ENCOUNTERS
        scene = act(seed, who, movement, f"{number} {turn}", partner=f"{who}+")
        if len(scene) == 1:
            scene = np.concatenate([scene, np.full_like(scene, np.nan)])
        # before the first action nobody is there, later they stand as they will begin
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
    """What is to be written."""

    seed: int
    subjects: int
    actions: Mapping[str, int]
    """How many there are in each recording."""

    def of(self, name: str) -> tuple[FloatArray, list[Action]]:
        scene, actions = video(self.seed, int(name[:4]), self.subjects, self.actions[name])
        return recording(self.seed, scene, name), actions


def _choose(sequences: int, subjects: int, seed: int) -> _Set:
    """Recordings whose actions are `sequences` together, of both sides of X-Sub in turn."""
    check_range("subjects", subjects, 1, 10**6)
    turns = chain.from_iterable(zip_longest(_TRAIN, _TEST))
    actions: dict[str, int] = {}
    left = sequences
    for number in islice((v for v in turns if v is not None), sequences):
        each = min(_ACTIONS, max(1, left // len(CAMERAS)))
        for view in CAMERAS:
            if left >= each:
                actions[f"{number:04}-{view}"] = each
                left -= each
    return _Set(seed, subjects, actions)


def _text(
    folder: Path,
    *,
    sequences: int,
    subjects: int,
    seed: int,
    damage: float,
    progress: Callable[[int, int], None],
) -> Summary:
    """Recordings, lists of actions and splits; whole recordings are spoilt."""
    chosen = _choose(sequences, subjects, seed)

    def make(path: str) -> FloatArray:
        name = PurePosixPath(path).stem
        values, actions = chosen.of(name)
        lines = "".join(f"{a.label},{a.start},{a.end},2\n" for a in actions)
        write_file(folder / _LISTS / f"{name}.txt", lines.encode())
        return values

    paths = [f"{_RECORDINGS}/{name}.txt" for name in chosen.actions]
    summary = write_recordings(
        folder,
        paths,
        make,
        lambda _, values: text_rows(values.reshape(len(values), -1)),
        seed=seed,
        damage=damage,
        progress=progress,
    )
    for protocol, sides in _splits().items():
        train, test = (", ".join(names) + ", " for names in sides)
        # the misspelling is theirs
        text = f"Training videos: \n{train}\nValidataion videos: \n{test}\n"
        write_file(folder / "Split" / f"cross-{protocol}.txt", text.encode())
    return Summary(sum(chosen.actions.values()), summary.damaged)


def _splits() -> dict[str, tuple[list[str], list[str]]]:
    """Names of all recordings of the set that train and that are tested."""
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


def _pickle(
    folder: Path,
    *,
    sequences: int,
    subjects: int,
    seed: int,
    damage: float,
    progress: Callable[[int, int], None],
) -> Summary:
    """`pku_mmd.pkl` of ACLNet's authors: the actions cut out, in PYSKL's form; some are spoilt."""
    check_range("damage", damage, 0, 1)
    chosen = _choose(sequences, subjects, seed)
    annotations: list[dict[str, Any]] = []
    for done, name in enumerate(chosen.actions, start=1):
        values, actions = chosen.of(name)
        joints = values.reshape(len(values), 2, 25, 3).swapaxes(0, 1).astype(np.float16)
        annotations += [
            _annotation(f"{name}-{number:03}", action, joints)
            for number, action in enumerate(actions, start=1)
        ]
        progress(done, len(chosen.actions))
    order = rng_for(seed, "damaged").permutation(len(annotations))
    spoilt = order[: round(damage * len(annotations))].tolist()
    for turn, index in enumerate(spoilt):
        _spoil(annotations[index], turn)
    ids = [annotation["frame_dir"] for annotation in annotations]
    split = {}
    for protocol, sides in _splits().items():
        for side, names in zip(("train", "val"), sides, strict=True):
            members = set(names)
            found = [i for i in ids if i.rpartition("-")[0] in members]
            split[f"x{protocol.removesuffix('ject')}_{side}"] = found
    content = pickle.dumps({"split": split, "annotations": annotations}, protocol=4)
    write_file(folder / "pku_mmd.pkl", content)
    return Summary(len(annotations), tuple(sorted(ids[index] for index in spoilt)))


def _annotation(sample_id: str, action: Action, joints: NDArray[np.float16]) -> dict[str, Any]:
    keypoint = joints[:, action.start - 1 : action.end]
    keypoint = keypoint[keypoint.any(axis=(1, 2, 3))]
    return {
        "frame_dir": sample_id,
        "label": action.label - 1,
        "total_frames": keypoint.shape[1],
        "keypoint": keypoint.copy(),
    }


def _spoil(annotation: dict[str, Any], turn: int) -> None:
    kind = turn % 3
    if kind == 0:
        annotation["keypoint"][0, 0, 0, 0] = np.nan
    elif kind == 1:
        annotation["total_frames"] += 1
    else:
        annotation["keypoint"] = annotation["keypoint"][:, :, :-1]


FORMS: dict[str, dict[str, Generate]] = {"pkummd": {"text": _text, "pyskl": _pickle}}
