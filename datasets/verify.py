"""Holding a store against its manifest, byte by byte and row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aclnet.datasets import manifest, zarr_io
from aclnet.datasets.store import content_hash

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SHOWN = 5


def verify(path: Path) -> Iterator[str]:
    """Every damage of a finished store, as messages that name shard and samples.

    Reads all bytes and decodes every shard. AclnetError where there is no finished store.
    """
    described = manifest.load(path)
    elsewhere = [*_damaged(path, described.files)]
    yield from elsewhere
    for number, shard in enumerate(described.shards):
        problems = [*_damaged(path, shard.files)]
        if not problems and not elsewhere:
            problems = _content(path, number, shard)
        if problems:
            yield f"shard {number}{_samples(path, number, elsewhere)}: {'; '.join(problems)}"


def _damaged(path: Path, files: dict[str, manifest.File]) -> Iterator[str]:
    for name, expected in files.items():
        file = path / name
        problem = manifest.check_size(file, expected)
        if problem is None and manifest.describe_file(file) != expected:
            problem = f"{file} has other bytes than were written"
        if problem:
            yield problem


def _content(path: Path, number: int, shard: manifest.Shard) -> list[str]:
    names = sorted({file.partition("/c/")[0] for file in shard.files})
    arrays = [zarr_io.open_array(path, name) for name in names]
    rows = arrays[0].shards[0]
    blocks = [np.asarray(array[number * rows : (number + 1) * rows]) for array in arrays]
    same = content_hash(blocks) == shard.content
    return [] if same else ["its decoded rows differ from those that were written"]


def _samples(path: Path, number: int, elsewhere: list[str]) -> str:
    """Names of the samples of a shard, where the table of samples is sound."""
    if elsewhere:
        return ""
    group = zarr_io.open_group(path)
    of_shard = np.asarray(group["samples/start"]) // group.attrs["shard_rows"]
    ids = np.asarray(group["samples/id"])[of_shard == number]
    shown = ", ".join(ids[:_SHOWN]) + (", ..." if len(ids) > _SHOWN else "")
    return f" ({len(ids)} samples: {shown})"
