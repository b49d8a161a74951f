"""Holding a store against its manifest, byte by byte and row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aclnet.datasets.spec import first_of, shown, silent
from aclnet.datasets.store import manifest, zarr_io
from aclnet.datasets.store.codec import content_hash

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aclnet.datasets.spec import Progress

_NAMES_SAMPLES = (
    zarr_io.METADATA,
    zarr_io.shard_file("samples/id", 0, 1),
    zarr_io.shard_file("samples/start", 0, 1),
)
"""Files that tell which samples lie in a shard."""
_UNREADABLE = (*zarr_io.DECODE_ERRORS, AttributeError, ArithmeticError)
"""Exceptions of reading metadata and columns that are not those of a store."""


def verify(path: Path, progress: Progress = silent) -> Iterator[str]:
    """Every damage of a finished store, as messages that name shard, samples and file.

    Reads all bytes and decodes every shard. `progress` is called with the number of shards that
    were read and of all. AclnetError where there is no finished store.
    """
    described = manifest.load(path)
    elsewhere = _damage(path, described.files)
    yield from elsewhere.values()
    ids: dict[int, list[str]] = {}
    unlisted = sorted(set(_NAMES_SAMPLES) - described.files.keys())
    if unlisted:
        yield f"{path / manifest.NAME} lacks {', '.join(unlisted)}"
    elif not elsewhere.keys() & set(_NAMES_SAMPLES):
        try:
            ids = _ids_by_shard(path)
            yield from _miscounted(path, described, ids)
        except _UNREADABLE as error:
            yield f"{path}: the columns of its samples cannot be read ({shown(repr(error), 300)})"
    for number, shard in enumerate(described.shards):
        problems = list(_damage(path, shard.files).values())
        metadata = {f"{name}/{zarr_io.METADATA}" for name in _arrays(shard)}
        if not problems and not elsewhere.keys() & metadata:
            problems = _content(path, number, shard)
        if problems:
            yield f"shard {number}{_named(ids.get(number))}: {'; '.join(problems)}"
        progress("verify", number + 1, len(described.shards))


def _damage(path: Path, files: dict[str, manifest.File]) -> dict[str, str]:
    """What is wrong with each damaged file, by its name."""
    problems = {}
    for name, expected in files.items():
        file = path / name
        problem = manifest.check_size(file, expected)
        try:
            if problem is None and manifest.describe_file(file) != expected:
                problem = f"{file} has other bytes than were written"
        except OSError as error:
            problem = f"{file} cannot be read: {error.strerror}"
        if problem:
            problems[name] = problem
    return problems


def _content(path: Path, number: int, shard: manifest.Shard) -> list[str]:
    try:
        arrays = [zarr_io.open_array(path, name) for name in _arrays(shard)]
        rows = arrays[0].shards[0]
        blocks = [np.asarray(array[number * rows : (number + 1) * rows]) for array in arrays]
    except _UNREADABLE as error:
        return [f"it does not decode ({shown(error, 300)})"]
    same = content_hash(blocks) == shard.content
    return [] if same else ["its decoded rows differ from those that were written"]


def _arrays(shard: manifest.Shard) -> list[str]:
    return sorted({file.partition("/c/")[0] for file in shard.files})


def _ids_by_shard(path: Path) -> dict[int, list[str]]:
    group = zarr_io.open_group(path)
    shard_rows = int(group.attrs["shard_rows"])  # type: ignore[arg-type]  # TypeError is caught
    if shard_rows < 1:
        raise ValueError(f"shards of {shard_rows} rows")
    starts, samples = (
        zarr_io.read_column(path, name, group[name]) for name in ("samples/start", "samples/id")
    )
    shards = starts.astype(np.int64) // shard_rows
    ids: dict[int, list[str]] = {}
    for shard, sample in zip(shards.tolist(), samples.tolist(), strict=True):
        ids.setdefault(shard, []).append(str(sample))
    return ids


def _miscounted(
    path: Path, described: manifest.Manifest, ids: dict[int, list[str]]
) -> Iterator[str]:
    counts = [len(ids.get(number, ())) for number in range(len(described.shards))]
    expected = [shard.samples for shard in described.shards]
    if counts != expected or len(ids) > len(counts):
        yield (
            f"{path}: its columns describe {sum(map(len, ids.values()))} samples, its manifest "
            f"{sum(expected)}, or they are in other shards"
        )


def _named(ids: list[str] | None) -> str:
    if ids is None:
        return ""
    return f" ({len(ids)} samples: {first_of(ids)})"
