"""Made-up recordings of NTU RGB+D in any number: some are generated, the others link to them."""

from __future__ import annotations

import os
from itertools import product
from typing import TYPE_CHECKING

from aclnet.datasets.readers.ntu import unusable
from aclnet.datasets.synth.ntu import generate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GENERATED = 500


def make(folder: Path) -> list[Path]:
    """Generated files: sixteen actions, ten people, about a quarter of them of two persons."""
    if not folder.is_dir():
        generate(folder, seed=0, subjects=10, setups=1, replications=2, cameras=3)
    return sorted(folder.iterdir())[:GENERATED]


def link(files: list[Path], folder: Path, count: int) -> Path:
    """`count` hard links to the files under valid names of NTU 60."""
    folder.mkdir(parents=True)
    for number, name in zip(range(count), _names(), strict=False):
        os.link(files[number % len(files)], folder / f"{name}.skeleton")
    return folder


def _names() -> Iterator[str]:
    ranges = [range(1, 18), range(1, 4), range(1, 41), range(1, 3), range(1, 61)]
    for s, c, p, r, a in product(*ranges):
        name = f"S{s:03}C{c:03}P{p:03}R{r:03}A{a:03}"
        if name not in unusable("ntu60"):
            yield name
