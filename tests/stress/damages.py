"""Damaged or exchanged files of stores and runs, and the commands' answers."""

from __future__ import annotations

import random
import shutil
from collections import defaultdict
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from aclnet.datasets.spec import AclnetError
from aclnet.datasets.store import manifest
from aclnet.datasets.store.store import Store
from aclnet.datasets.store.verify import verify
from tests.stress.campaign import Tally
from tests.stress.scene import leaves

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

    from tests.stress.commands import Ended
    from tests.stress.scene import Scene


def delete(file: Path, _: Random) -> None:
    file.unlink()


def empty(file: Path, _: Random) -> None:
    file.write_bytes(b"")


def cut(file: Path, rng: Random) -> None:
    file.write_bytes(file.read_bytes()[: rng.randrange(file.stat().st_size)])


def flip(file: Path, rng: Random) -> None:
    data = bytearray(file.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    file.write_bytes(data)


def blank(file: Path, rng: Random) -> None:
    """A block of zeros, as file systems leave after a crash."""
    data = bytearray(file.read_bytes())
    begin = rng.randrange(len(data))
    data[begin : begin + 512] = bytes(len(data[begin : begin + 512]))
    file.write_bytes(data)


def lengthen(file: Path, _: Random) -> None:
    file.write_bytes(file.read_bytes() + b"\0")


KINDS = (delete, empty, cut, flip, blank, lengthen)


def read_all(path: Path) -> dict[str, Any]:
    """Everything that readers can get from a store."""
    store = Store(path)
    sequences = list(store.sequences(np.arange(len(store))))
    return {
        "attributes": store.attributes.model_dump(),
        "samples": store.samples.to_csv(),
        "splits": {name: mask.tolist() for name, mask in store.splits.items()},
        "keypoint": [s.keypoint.tobytes() for s in sequences],
        "present": [s.present.tobytes() for s in sequences],
        "frames": [s.frame_index.tolist() for s in sequences],
    }


def damage_store(scene: Scene, number: int, seed: int) -> Tally:
    """Damages a file of the store `number` times, each file in turn; reads and verifies it."""
    tally, rng = Tally("damage to a file of a store"), random.Random(seed)
    store = scene.folder / "store.zarr"
    expected, files = read_all(store), _files(store)
    rng.shuffle(files)
    for n in range(number):
        kind, file = rng.choice(KINDS), files[n % len(files)]
        before = file.read_bytes()
        try:
            kind(file, rng)
            if not file.exists() or file.read_bytes() != before:  # zeros over zeros change nothing
                what = f"{kind.__name__} of {file.relative_to(store)}"
                _judge_store(tally, store, what, expected, silent=file.name == manifest.NAME)
        finally:
            file.write_bytes(before)
    return tally


def exchange_in_store(scene: Scene, number: int, seed: int) -> Tally:
    """Exchanges two files of a store that have equal size and different bytes."""
    tally, rng = Tally("two files of one size exchanged in a store"), random.Random(seed)
    store = scene.folder / "store.zarr"
    expected, pairs = read_all(store), _pairs(store)
    for one, two in rng.choices(pairs, k=number) if number > len(pairs) else pairs[:number]:
        _exchange(one, two)
        try:
            what = f"{one.relative_to(store)} and {two.relative_to(store)}"
            _judge_store(tally, store, what, expected)
        finally:
            _exchange(one, two)
    return tally


def damage_run(scene: Scene, number: int, seed: int) -> Tally:
    """Damages a file of the run `number` times, each file in turn; runs every command on it."""
    tally, rng = Tally("damage to a file of a run"), random.Random(seed)
    expected, names = _undisturbed(scene)
    rng.shuffle(names)
    for n in range(number):
        name, kind = names[n % len(names)], rng.choice(KINDS)
        with scene.place() as place:
            run = place / "run"
            shutil.copytree(scene.run, run)
            before = (run / name).read_bytes()
            kind(run / name, rng)
            if not (run / name).exists() or (run / name).read_bytes() != before:
                _judge_run(tally, scene, run, f"{kind.__name__} of {name}", expected)
    return tally


def exchange_in_run(scene: Scene, number: int, seed: int) -> Tally:
    """Exchanges the contents of any two files of the run."""
    tally, rng = Tally("two files exchanged in a run"), random.Random(seed)
    expected, names = _undisturbed(scene)
    for one, two in (rng.sample(names, 2) for _ in range(number)):
        with scene.place() as place:
            run = place / "run"
            shutil.copytree(scene.run, run)
            if (run / one).read_bytes() != (run / two).read_bytes():
                _exchange(run / one, run / two)
                _judge_run(tally, scene, run, f"{one} and {two}", expected)
    return tally


def _undisturbed(scene: Scene) -> tuple[dict[str, tuple[Ended, str]], list[Path]]:
    """Answers of commands about the run, and names of its files."""
    with scene.place() as place:
        shutil.copytree(scene.run, place / "run")
        answers = _ask(scene, place / "run")
    names = [f.relative_to(scene.run) for f in _files(scene.run)]
    return {
        name: (ended, _without_paths(text, place)) for name, (ended, text) in answers.items()
    }, names


def _ask(scene: Scene, run: Path) -> dict[str, tuple[Ended, str]]:
    """Answers of commands about a run, and weights that `export` wrote, by the command's name."""
    out = run.parent / "exported.pth"
    commands = {
        # before `evaluate`, which makes the scores again
        "compare": ("--with", scene.run, "--json"),
        "families": ("--json",),
        "evaluate": ("--json",),
        "occlusion-bench": ("--drop", "hands", "--json"),
        "export": ("--to", "official", "--out", out),
    }
    answers = {}
    for name, more in commands.items():
        ended = scene.commands.run(name, run, *more, folder=run.parent, patches=_NO_FIGURES)
        answers[name] = (ended, _weights(out) if name == "export" else ended.out)
    return answers


def _weights(file: Path) -> str:
    """Content of a checkpoint as text."""
    return repr([*leaves(torch.load(file, weights_only=True))]) if file.exists() else ""


def _judge_run(
    tally: Tally, scene: Scene, run: Path, what: str, expected: dict[str, tuple[Ended, str]]
) -> None:
    """Counts the answers of commands about a damaged run: each as before, or the reason why not."""
    told = False
    for command, (ended, result) in _ask(scene, run).items():
        if ended.told and str(run) in ended.err:
            told = True
        elif ended.code or _without_paths(result, run.parent) != expected[command][1]:
            return tally.count(f"{what}: {command}, status {ended.code}: {ended.err or 'other'}")
    return tally.count("", told=told)


def _without_paths(text: str, place: Path) -> str:
    return text.replace(str(place), "PLACE")


def no_figure(*_: object) -> str:
    """Replaces functions that draw: they are slow, and draw the numbers of the tables."""
    return "figure"


_NO_FIGURES = {
    f"aclnet.evaluation.figures.{name}": "tests.stress.damages:no_figure"
    for name in ("draw_affinity", "draw_confusion", "draw_bench")
}


def _judge_store(
    tally: Tally, store: Path, what: str, expected: dict[str, Any], *, silent: bool = False
) -> None:
    """Counts the results of reading and verifying a damaged store.

    Verifying must find the damage, unless `silent`: nothing records the manifest's content.
    """
    told = False
    try:
        if read_all(store) != expected:
            return tally.count(f"{what}: it reads as other data")
    except AclnetError as error:
        told = True
        if str(store) not in str(error):
            return tally.count(f"{what}: the message names no file: {error}")
    except Exception as error:
        return tally.count(f"{what}: reading raises {error!r}")
    try:
        found = list(verify(store))
    except AclnetError:
        found = ["refused"]
    except Exception as error:
        return tally.count(f"{what}: verify raises {error!r}")
    if not found and not silent:
        return tally.count(f"{what}: verify finds nothing")
    return tally.count("", told=told)


def _files(folder: Path) -> list[Path]:
    return sorted(f for f in folder.rglob("*") if f.is_file() and f.stat().st_size)


def _pairs(folder: Path) -> list[tuple[Path, Path]]:
    """Pairs of files of equal size and different bytes, in a fixed mixed order."""
    by_size = defaultdict(list)
    for file in _files(folder):
        by_size[file.stat().st_size].append(file)
    pairs = [pair for files in by_size.values() for pair in combinations(files, 2)]
    pairs = [(one, two) for one, two in pairs if one.read_bytes() != two.read_bytes()]
    random.Random(0).shuffle(pairs)
    return pairs


def _exchange(one: Path, two: Path) -> None:
    contents = one.read_bytes(), two.read_bytes()
    one.write_bytes(contents[1])
    two.write_bytes(contents[0])
