"""Comparison of a store with its manifest, byte by byte and row by row."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aclnet.datasets.spec import AclnetError, first_of, shown, silent
from aclnet.datasets.store import keyed_random, manifest, zarr_io
from aclnet.datasets.store.codec import content_hash
from aclnet.datasets.store.files import DamagedFileError
from aclnet.datasets.store.paths import store_path
from aclnet.datasets.store.places import check_member, digest_of, member_path, open_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import PurePath

    from numpy.typing import NDArray

    from aclnet.datasets.spec import Progress
    from aclnet.datasets.store.files import StoreFiles
    from aclnet.datasets.store.paths import StorePath

_COLUMNS = ("samples/id", "samples/start")
"""Columns that tell which samples are in a shard."""
_KEYS = {"keys/id": "samples/id", "keys/original": "samples/original"}
"""Hashes, which stores of earlier versions lack, and their columns."""
_UNREADABLE = (*zarr_io.DECODE_ERRORS, AttributeError, ArithmeticError)
"""Exceptions of reading metadata and columns that do not belong to a store."""


def verify(path: str | PurePath, progress: Progress = silent) -> Iterator[str]:
    """Every damage of a finished store or set, as messages that name shard, samples and file.

    Reads all bytes and decodes every shard; those of an object store come from the server, not from
    a cache. `progress` is called with the numbers of shards read and of all shards, for each member
    of a set. Raises AclnetError if there is no finished store.
    """
    place = store_path(path)
    record = manifest.set_at(place)
    if record is None or not isinstance(place, Path):
        yield from _verify_one(place, progress)
        return
    for member in record.members:
        problem = check_member(place, member)
        if problem:
            yield problem
        own = member_path(place, member)
        if digest_of(own) is not None:
            yield from _verify_member(own, progress)


def _verify_member(path: StorePath, progress: Progress) -> Iterator[str]:
    """The damage of a member; a member that cannot be opened is a damage of the set."""
    try:
        yield from verify(path, progress)
    except AclnetError as error:
        yield str(error)


def _verify_one(path: StorePath, progress: Progress) -> Iterator[str]:
    files = open_files(path, cached=False)
    described = manifest.parse(files.listing(), files.path)
    needed = {zarr_io.METADATA, *(zarr_io.shard_file(name, 0, 1) for name in _COLUMNS)}
    unlisted = sorted(needed - described.files.keys())
    contents, elsewhere = _read(files, described.files, _is_examined)
    yield from elsewhere.values()
    if unlisted:
        yield f"{files.path / manifest.NAME} lacks {', '.join(unlisted)}"
    group: zarr_io.Group | None = None
    ids: dict[int, list[str]] = {}
    if zarr_io.METADATA in contents:
        try:
            group = zarr_io.open_metadata(contents[zarr_io.METADATA])
            column = partial(_column, group, contents)
            if not unlisted and not any(_is_of(name, _COLUMNS) for name in elsewhere):
                ids = _ids_by_shard(group, column)
                yield from _miscounted(files.path, described, ids)
                if not any(_is_of(name, (*_KEYS, *_KEYS.values())) for name in elsewhere):
                    yield from _other_keys(files.path, described, column)
        except _UNREADABLE as error:
            yield (
                f"{files.path}: the columns of its samples cannot be read "
                f"({shown(repr(error), 300)})"
            )
    contents.clear()
    for number, shard in enumerate(described.shards):
        blocks, faults = _read(files, shard.files)
        problems = [*faults.values()]
        if not problems and group is not None:
            problems = _content(group, blocks, number, shard)
        if problems:
            yield f"shard {number}{_named(ids.get(number))}: {'; '.join(problems)}"
        progress("verify", number + 1, len(described.shards))


def _read(
    files: StoreFiles,
    listed: Mapping[str, manifest.File],
    wanted: Callable[[str], bool] = lambda _: True,
) -> tuple[dict[str, bytes], dict[str, str]]:
    """Reads files: the contents of the wanted ones, and the faults of damaged ones, by name."""
    contents, faults = {}, {}
    for name, file in listed.items():
        try:
            content = files.read(name, file)
        except DamagedFileError as fault:
            faults[name] = str(fault)
        else:
            if wanted(name):
                contents[name] = content
    return contents, faults


def _is_examined(file: str) -> bool:
    """True if the content of a file that belongs to no shard is looked at."""
    return file == zarr_io.METADATA or _is_of(file, (*_COLUMNS, *_KEYS, *_KEYS.values()))


def _content(
    group: zarr_io.Group, contents: Mapping[str, bytes], number: int, shard: manifest.Shard
) -> list[str]:
    try:
        blocks = []
        for file in sorted(shard.files):
            array: Any = group[file.partition("/c/")[0]]
            rows = slice(number * array.shards[0], (number + 1) * array.shards[0])
            blocks.append(zarr_io.decode(array, file, contents[file], rows))
    except _UNREADABLE as error:
        return [f"it does not decode ({shown(error, 300)})"]
    same = content_hash(blocks) == shard.content
    return [] if same else ["its decoded rows differ from those that were written"]


def _column(group: zarr_io.Group, contents: Mapping[str, bytes], name: str) -> NDArray[Any]:
    return zarr_io.read_column(name, group[name], contents.__getitem__)


def _ids_by_shard(
    group: zarr_io.Group, column: Callable[[str], NDArray[Any]]
) -> dict[int, list[str]]:
    shard_rows = int(group.attrs["shard_rows"])  # type: ignore[arg-type]  # TypeError is caught
    if shard_rows < 1:
        raise ValueError(f"shards of {shard_rows} rows")
    starts, samples = map(column, ("samples/start", "samples/id"))
    shards = starts.astype(np.int64) // shard_rows
    ids: dict[int, list[str]] = {}
    for shard, sample in zip(shards.tolist(), samples.tolist(), strict=True):
        ids.setdefault(shard, []).append(str(sample))
    return ids


def _is_of(file: str, columns: Iterable[str]) -> bool:
    """True if a file is a chunk of one of some columns."""
    return file.partition("/c/")[0] in columns


def _other_keys(
    path: StorePath, described: manifest.Manifest, column: Callable[[str], NDArray[Any]]
) -> Iterator[str]:
    for name, texts in _KEYS.items():
        listed = zarr_io.shard_file(name, 0, 1) in described.files
        if listed and not np.array_equal(column(name), keyed_random.sample_keys(column(texts))):
            yield f"{path}: {name} are not the keys of {texts}"


def _miscounted(
    path: StorePath, described: manifest.Manifest, ids: dict[int, list[str]]
) -> Iterator[str]:
    counts = [len(ids.get(number, ())) for number in range(len(described.shards))]
    expected = [shard.samples for shard in described.shards]
    if counts != expected or len(ids) > len(counts):
        yield (
            f"{path}: the columns describe {sum(map(len, ids.values()))} samples and the manifest "
            f"{sum(expected)}, or they assign the samples to different shards"
        )


def _named(ids: list[str] | None) -> str:
    if ids is None:
        return ""
    return f" ({len(ids)} samples: {first_of(ids)})"
