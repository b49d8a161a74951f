"""Plan of a preparation: its inputs, its identity, and the batches that it reads."""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aclnet.datasets.formats.caches import version_of
from aclnet.datasets.formats.files import bad_links, file_on_disk
from aclnet.datasets.spec import AclnetError, Rejection
from aclnet.datasets.spec.layouts import get_layout
from aclnet.datasets.store import manifest
from aclnet.pipelines.prepare.sides import own_sides
from aclnet.pipelines.steps.normalise import normalisation_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aclnet.datasets.spec import DatasetSpec, Item, Progress, Source
    from aclnet.pipelines.prepare.executor import Executor
    from aclnet.pipelines.prepare.options import PrepareOptions

_BATCH_BYTES = 64 << 20
_BATCH_ITEMS = 256


@dataclass(frozen=True, slots=True)
class Preparation:
    """What is made of what and where, and who does the work."""

    spec: DatasetSpec
    source: Source
    options: PrepareOptions
    plan: str
    """Hash of all that decides the store's content."""
    work: Path
    """Folder of fragments, receipts and the growing store."""
    execute: Executor
    progress: Progress


def scan(source: Source) -> tuple[list[Item], list[Rejection]]:
    """The result of `Source.scan`, and the links in its folder that cannot be followed."""
    items, unusable = source.scan()
    told = {rejection.path for rejection in unusable}
    broken = [(path, fault) for path, fault in bad_links(source.root) if path not in told]
    return items, [*unusable, *(Rejection(p, None, fault, "broken link") for p, fault in broken)]


@contextmanager
def reading(source: Source, item: Item) -> Iterator[None]:
    """Inside, an item is read: what is no fault of the item is an AclnetError, no rejection.

    A sound recording must not be left out because memory was short, too many files were open or a
    disk was taken away.
    """
    try:
        yield
    except MemoryError:
        raise AclnetError(
            f"{source.root / item.path}: memory does not suffice to read it; "
            "run the same command again with fewer --workers"
        ) from None
    except OSError as error:
        raise AclnetError(
            f"{source.root / item.path} cannot be read now ({error.strerror or error}), which is "
            "no fault of the file; run the same command again when the cause is mended"
        ) from None


def is_there(source: Source) -> bool:
    """Is the root of a source a file, or a folder that is not empty?

    Of a disk that was taken away, an empty folder may be left.
    """
    try:
        return any(source.root.iterdir()) if source.root.is_dir() else source.root.is_file()
    except OSError:
        return False


def check_there(source: Source) -> None:
    """AclnetError where nothing is left of a source that was there when it was listed."""
    if not is_there(source):
        raise AclnetError(
            f"{source.root} is gone or empty now, and had recordings when it was listed; "
            "make it available and run the same command again"
        )


def newer_files(source: Source, items: list[Item], file: Path) -> tuple[str, ...]:
    """Raw files that were changed later than `file`, as far as their times tell.

    The plan has only names and sizes: copies of the same files are the same source.
    """
    time = version_of(file)[0]
    newer: dict[str, None] = {}
    for item in items:
        raw = file_on_disk(source.root, item.path) if item.path else source.root
        if version_of(raw)[0] > time:
            newer[str(raw)] = None
    return tuple(newer)


def plan_hash(spec: DatasetSpec, source: Source, items: list[Item], options: PrepareOptions) -> str:
    """Identity of what is to be made: dataset, raw files by name and size, options, recipes.

    AclnetError where the sequences cannot be normalised as the options want it.
    """
    recipe = normalisation_name(
        get_layout(spec.layout),
        align=options.align,
        coordinates=spec.dimensions,
        by=options.normalise,
    )
    description = {
        "schema": manifest.SCHEMA,
        "dataset": spec.name,
        "splits": own_sides(source),
        "options": options.model_dump(),
        "recipes": [spec.clean, recipe],
    }
    if source.fingerprint():
        description["source"] = source.fingerprint()
    digest = hashlib.sha256(json.dumps(description).encode())
    for item in items:  # as one text they would be the largest thing in memory
        digest.update(json.dumps([item.sample_id, item.path, item.size]).encode())
    return digest.hexdigest()


def batches(items: list[Item]) -> list[tuple[Item, ...]]:
    """Runs of items up to a number and a size."""
    found: list[list[Item]] = [[]]
    size = 0
    for item in items:
        if found[-1] and (len(found[-1]) == _BATCH_ITEMS or size + item.size > _BATCH_BYTES):
            found.append([])
            size = 0
        found[-1].append(item)
        size += item.size
    return [tuple(batch) for batch in found]
