"""Plan of a preparation: its inputs, its identity, and the batches that it reads."""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from aclnet.datasets.formats.caches import version_of
from aclnet.datasets.formats.files import bad_links, file_on_disk
from aclnet.datasets.spec import AclnetError, Rejection
from aclnet.datasets.spec.layouts import get_layout
from aclnet.datasets.store import keyed_random, manifest
from aclnet.pipelines.prepare.sides import own_sides
from aclnet.pipelines.steps.normalise import normalisation_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aclnet.datasets.spec import DatasetSpec, Item, Progress, Source
    from aclnet.datasets.store.attributes import Part
    from aclnet.datasets.store.paths import StorePath
    from aclnet.pipelines.prepare.executor import Executor
    from aclnet.pipelines.prepare.options import PrepareOptions

PART = "part-"
"""Beginning of the names of folders of parts."""
_BATCH_BYTES = 64 << 20
_BATCH_ITEMS = 256


class Portion(NamedTuple):
    """One of several portions of the recordings, which become the parts of a set."""

    number: int
    """Number of the portion, from 1."""
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """A portion from `2/8`; raises AclnetError for any other text."""
        match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text, re.ASCII)
        number, of = map(int, match.groups()) if match else (0, 0)
        if not 1 <= number <= of:
            raise AclnetError(f"--shards {text}: write it as 2/8, the second of eight parts")
        return cls(number, of)

    def folder(self, out: StorePath) -> StorePath:
        """Place of the part below the folder or the address of all parts."""
        return out / f"{PART}{self.number}-of-{self.of}"

    def choose(self, source: Source, items: list[Item]) -> list[Item]:
        """The items of the portion, in their order.

        The files are dealt out at random, equally many to each portion; the items of a file stay
        together. If there are fewer files than portions, the items are dealt out. The choice
        depends on the number of files, or of items, alone. Raises AclnetError if a portion would
        be empty.
        """
        files = {path: n for n, path in enumerate(dict.fromkeys(item.path for item in items))}
        if len(files) >= self.of:
            units = np.array([files[item.path] for item in items])
        else:
            units = np.arange(len(items))
        count = int(units.max()) + 1
        if count < self.of:
            raise AclnetError(
                f"{source.root}: {count} recordings cannot be {self.of} parts; use fewer --shards"
            )
        portion = keyed_random.generator(count).permutation(count) % self.of
        return [items[n] for n in np.flatnonzero(portion[units] == self.number - 1)]


@dataclass(frozen=True, slots=True)
class Preparation:
    """Inputs, output and executor of a preparation."""

    spec: DatasetSpec
    source: Source
    options: PrepareOptions
    plan: str
    """Hash of all that determines the store's content."""
    work: Path
    """Folder of the plan and, in `own`, of fragments, receipts and the unfinished store."""
    execute: Executor
    progress: Progress
    part: Part | None = None
    """The part of a preparation that the store is; None: it is all of it."""

    @property
    def own(self) -> Path:
        """Folder of the plan's jobs. Jobs of another plan do not find it.

        dask cannot stop a running job. After an interruption, a late job may therefore write while
        the next preparation runs.
        """
        return self.work / self.plan[:16]


def scan(source: Source) -> tuple[list[Item], list[Rejection]]:
    """The result of `Source.scan`, and the links in its folder that cannot be followed."""
    items, unusable = source.scan()
    told = {rejection.path for rejection in unusable}
    broken = [(path, fault) for path, fault in bad_links(source.root) if path not in told]
    return items, [*unusable, *(Rejection(p, None, fault, "broken link") for p, fault in broken)]


@contextmanager
def reading(source: Source, item: Item) -> Iterator[None]:
    """A block that reads an item: raises AclnetError for errors that are not the item's fault.

    A valid recording must not be rejected because memory was short, too many files were open or a
    disk was missing.
    """
    try:
        yield
    except MemoryError:
        raise AclnetError(
            f"{source.root / item.path}: not enough memory to read it; run the same command again "
            "with fewer --workers"
        ) from None
    except OSError as error:
        raise AclnetError(
            f"{source.root / item.path} cannot be read now ({error.strerror or error}); the file "
            "itself is not damaged; run the same command again when the cause is removed"
        ) from None


def is_there(source: Source) -> bool:
    """True if the root of a source is a file, or a folder that is not empty.

    A disk that was removed may leave an empty folder.
    """
    try:
        return any(source.root.iterdir()) if source.root.is_dir() else source.root.is_file()
    except OSError:
        return False


def check_there(source: Source) -> None:
    """Raises AclnetError if a source that existed when it was listed no longer exists."""
    if not is_there(source):
        raise AclnetError(
            f"{source.root} no longer exists or is empty, but had recordings at the start; make it "
            "available and run the same command again"
        )


def newer_files(source: Source, items: list[Item], time: int) -> tuple[str, ...]:
    """Raw files that were changed after a time in nanoseconds since 1970.

    The plan has only names and sizes, so that copies of the same files are the same source.
    """
    newer: dict[str, None] = {}
    for item in items:
        raw = file_on_disk(source.root, item.path) if item.path else source.root
        if version_of(raw)[0] > time:
            newer[str(raw)] = None
    return tuple(newer)


def plan_hash(
    spec: DatasetSpec,
    source: Source,
    items: list[Item],
    options: PrepareOptions,
    reader: str | None = None,
) -> str:
    """Identity of the result: dataset, raw files by name and size, options, recipes.

    Raises AclnetError if the sequences cannot be normalised as the options require.
    """
    layout = get_layout(spec.layout)
    recipe = normalisation_name(
        layout,
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
    if spec.layout.endswith(".json"):
        description["layout"] = layout.model_dump(mode="json")  # the file may change
    if reader:
        description["reader"] = [reader, spec.units, spec.class_names]
    digest = hashlib.sha256(json.dumps(description).encode())
    for item in items:  # a single text would be the largest object in memory
        digest.update(json.dumps([item.sample_id, item.path, item.size]).encode())
    return digest.hexdigest()


def numbered(number: int) -> str:
    """Name of a part of the work by its number, below a folder of a thousand parts.

    Many file systems are slow with hundreds of thousands of names in one folder.
    """
    return f"{number // 1000:04d}/{number:06d}"


def batches(items: list[Item]) -> list[tuple[Item, ...]]:
    """Runs of items up to a limit of number and size."""
    found: list[list[Item]] = [[]]
    size = 0
    for item in items:
        if found[-1] and (len(found[-1]) == _BATCH_ITEMS or size + item.size > _BATCH_BYTES):
            found.append([])
            size = 0
        found[-1].append(item)
        size += item.size
    return [tuple(batch) for batch in found]
