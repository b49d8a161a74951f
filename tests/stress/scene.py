"""Commands on synthetic recordings that campaigns disturb, and their undisturbed results."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from aclnet.datasets.synth.ntu import sample_names, write_skeletons
from aclnet.runs.run import Run
from aclnet.runs.scores import Scores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.stress.commands import Commands, Ended

PATCHES = {
    "aclnet.pipelines.prepare.preparation._BATCH_ITEMS": 4,
    "aclnet.training.trainer.SAVE_EVERY": 0.0,
    "aclnet.training.trainer.CHECK_EVERY": 1,
}
"""Settings for many small steps: fragments of four recordings, a checkpoint after every step."""
_QUICK = [
    f"--set={setting}"
    for setting in (
        "model.size=tiny", "data.frames=16", "data.clips=1", "optim.epochs=2",
        "optim.batch_size=4", "loss.memory_rows=16", "loss.families.start=0",
        "loss.families.neighbours=2",
    )
]  # fmt: skip
_ABSENT = object()
INPUTS = ("raw", "store.zarr")
"""Names of the inputs of subjects, in the folder in which they run."""
_TIMES = ["seconds", "sequences_per_second", "waiting"]
"""Columns of metrics.csv that differ between any two trainings."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A command that makes something, in a folder with its inputs."""

    name: str
    arguments: tuple[str, ...]
    makes: str
    """Name of the result in the folder."""
    content: Callable[[Path], Any]
    """The part of the result that must be equal."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Raw recordings, a store and a run that nobody changes, and the result of each subject."""

    commands: Commands
    folder: Path
    expected: dict[str, Any]
    """Results by the subject's name."""
    changes: dict[str, int]
    """Changes of files that the subject makes, by its name."""

    @property
    def run(self) -> Path:
        """The folder of a finished run on the store; nobody changes it."""
        return self.folder / "run"

    @contextmanager
    def place(self, above: Path | None = None) -> Iterator[Path]:
        """A new folder in which every subject can run, below `above` if given."""
        with tempfile.TemporaryDirectory(dir=above or self.folder) as name:
            place = Path(name)
            for part in INPUTS:
                (place / part).symlink_to(self.folder / part)
            yield place

    def again(self, subject: Subject, place: Path, patches: dict[str, Any] | None = None) -> str:
        """Repeats a subject's command undisturbed; returns the problem, or an empty text."""
        ended = self.commands.run(*subject.arguments, folder=place, patches=patches or PATCHES)
        if ended.code and not was_done(ended):
            return f"the same command again, status {ended.code}: {ended.err}"
        return self.outcome(subject, place)

    def outcome(self, subject: Subject, place: Path) -> str:
        """Problem of the result of a subject; empty if the result is right."""
        made = place / subject.makes
        if not made.exists():
            return f"{subject.makes} is not there"
        different = _differences(subject.content(made), self.expected[subject.name])
        if different:
            return f"{subject.makes} is another one: {', '.join(different)[:500]}"
        left = {file.name for file in place.iterdir()} - {*INPUTS, subject.makes}
        return f"{', '.join(sorted(left))} is left" if left else ""


def was_done(ended: Ended) -> bool:
    """True if a killed export was done already, because exports are never overwritten."""
    return ended.told and "already exists" in ended.err


def _differences(made: Any, expected: Any, name: str = "") -> list[str]:
    """Names of the values, in nested dicts, that differ or are in one of the two only."""
    if isinstance(made, dict) and isinstance(expected, dict):
        return [
            different
            for key in sorted(made | expected)
            for different in _differences(
                made.get(key, _ABSENT), expected.get(key, _ABSENT), f"{name}/{key}"
            )
        ]
    return [] if made == expected else [name]


def digests(path: Path) -> dict[str, str]:
    """sha256 of a file, or of all files below a folder, by their names."""
    files = [path] if path.is_file() else sorted(f for f in path.rglob("*") if f.is_file())
    return {
        file.relative_to(path).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
    }


def trained(path: Path) -> dict[str, Any]:
    """Content of a run, except times."""
    run = Run(path)
    scores = Scores.load(run.test_scores)
    states = {}
    for name in ("last", "best"):
        state = run.load(name)
        if state:
            states |= {f"{name}/{n}": v for n, v in leaves(state["network"])}
            states |= {f"{name}/optimizer/{n}": v for n, v in leaves(state["optimizer"])}
    return {
        "files": sorted(digests(path)),
        "config": (path / "config.toml").read_bytes(),
        "history": digests(path / "history.zarr"),
        "metrics": pd.read_csv(path / "metrics.csv").drop(columns=_TIMES).to_csv(),
        "scores": (scores.ids.tolist(), scores.scores.tolist(), scores.labels.tolist()),
        "result": run.result,
        "states": states,
    }


def leaves(tree: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Names and values of a tree of dicts and lists, tensors as lists."""
    if isinstance(tree, torch.Tensor):
        yield name, tree.tolist()
    elif isinstance(tree, dict):
        for key, value in tree.items():
            yield from leaves(value, f"{name}/{key}")
    elif isinstance(tree, list | tuple):
        for key, value in enumerate(tree):
            yield from leaves(value, f"{name}/{key}")
    else:
        yield name, tree


def _prepare(*more: str) -> tuple[str, ...]:
    return ("prepare", "ntu60", "--raw", "raw", "--out", "made.zarr", *more)


PREPARE = Subject("prepare", _prepare(), "made.zarr", digests)
VARIANTS = Subject(
    "prepare int16 with variants",
    _prepare("--dtype", "int16", "--augment", "rotate=0.2", "--variants", "1"),
    "made.zarr",
    digests,
)
TRAIN = Subject("train", ("train", "store.zarr", "--out", "run", *_QUICK), "run", trained)
EXPORTS = tuple(
    Subject(
        f"export to {form}",
        ("export", "store.zarr", "--to", form, "--out", f"out.{suffix}"),
        f"out.{suffix}",
        digests,
    )
    for form, suffix in (("npz", "npz"), ("hdf5", "h5"), ("pyskl", "pkl"))
)
SUBJECTS = (PREPARE, VARIANTS, TRAIN, *EXPORTS)


def make_scene(commands: Commands, folder: Path, subjects: tuple[Subject, ...] = SUBJECTS) -> Scene:
    """Makes recordings, a store, a run, and the result of each subject."""
    names = sample_names(actions=(1, 10, 50), subjects=4, cameras=1, replications=2)
    write_skeletons(folder / "raw", names, 0)
    first = commands.run(*_prepare(), folder=folder)
    if first.code:
        raise RuntimeError(first.err)
    shutil.move(folder / "made.zarr", folder / "store.zarr")
    second = commands.run(*TRAIN.arguments, "--select", "test", folder=folder)
    if second.code:
        raise RuntimeError(second.err)
    scene = Scene(commands, folder, {}, {})
    for subject in subjects:
        with scene.place() as place:
            ended = commands.run(*subject.arguments, folder=place, patches=PATCHES)
            if ended.code:
                raise RuntimeError(ended.err)
            scene.expected[subject.name] = subject.content(place / subject.makes)
            scene.changes[subject.name] = ended.changes
    return scene
