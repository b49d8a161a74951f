"""Synthetic recordings of NTU RGB+D in any number: some are generated, the others link to them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from aclnet.datasets.readers.ntu import usable
from aclnet.datasets.synth.ntu import sample_names, write_skeletons

if TYPE_CHECKING:
    from pathlib import Path

GENERATED = 500


def make(folder: Path) -> list[Path]:
    """Generated files: sixteen actions, ten people, about a quarter of them of two persons."""
    if not folder.is_dir():
        write_skeletons(folder, sample_names(subjects=10), seed=0)
    return sorted(folder.iterdir())[:GENERATED]


def link(files: list[Path], folder: Path, count: int) -> Path:
    """`count` hard links to the files under names of NTU 120."""
    folder.mkdir(parents=True)
    for number, name in zip(range(count), usable("ntu120"), strict=False):
        os.link(files[number % len(files)], folder / f"{name}.skeleton")
    return folder
