"""Folders of own recordings, as the tests of their readers write them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aclnet.datasets.registry import get_dataset, open_raw
from aclnet.datasets.spec import Rejection, SkeletonSequence
from aclnet.datasets.synth import Request
from aclnet.datasets.synth.custom import FORMS

if TYPE_CHECKING:
    from pathlib import Path

FACTS = 'layout = "kinect_v1"\n'


def write(folder: Path, index: str, **texts: str) -> Path:
    """A folder with an index; `dataset_toml="..."` writes dataset.toml."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in {"index_csv": index, "dataset_toml": FACTS, **texts}.items():
        (folder / name.replace("_", ".")).write_text(text)
    return folder


def some(frames: int = 6, joints: int = 20, coordinates: int = 3, persons: int = 1) -> np.ndarray:
    rng = np.random.default_rng([frames, joints])
    return rng.uniform(0.1, 2, (persons, frames, joints, coordinates)).astype(np.float32)


def one(folder: Path, file: str, facts: str = FACTS) -> SkeletonSequence | Rejection:
    """The recording of a folder that has but one."""
    write(folder, f"id,file,label\na,{file},walk\n", dataset_toml=facts)
    source = open_raw(get_dataset("custom"), folder)
    ((item,), rejections) = source.scan()
    assert not rejections
    return source.read(item)


def sequence(folder: Path, file: str, facts: str = FACTS) -> SkeletonSequence:
    found = one(folder, file, facts)
    assert isinstance(found, SkeletonSequence), found
    assert found.keypoint.dtype == np.float32
    return found


def reason(folder: Path, file: str, facts: str = FACTS) -> str:
    found = one(folder, file, facts)
    assert isinstance(found, Rejection), found
    assert found.path == file
    return found.reason if found.line is None else f"{found.line}: {found.reason}"


def indexed(folder: Path, index: str, **texts: str):
    for name in "abc":
        folder.mkdir(exist_ok=True)
        np.save(folder / f"{name}.npy", some()[0])
    source = open_raw(get_dataset("custom"), write(folder, index, **texts))
    return source, *source.scan()


def generate(folder: Path, form: str, **options):
    given_ones = {"sequences": 12, "subjects": 4, "seed": 1, "damage": 0.0}
    FORMS["custom"][form](folder, Request(**{**given_ones, **options}))
    return folder
