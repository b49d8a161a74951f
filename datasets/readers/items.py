"""Base classes of readers: sources of one kind, and items below a root."""

from __future__ import annotations

import time
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from aclnet.datasets.formats import unreadable
from aclnet.datasets.formats.files import read_file, walk_files
from aclnet.datasets.spec import AclnetError, DamageError, Item, Rejection, Source

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from aclnet.datasets.spec import SkeletonSequence


@dataclass(frozen=True, slots=True)
class ItemSource(Source):
    """Base of sources that reject items by the items' own paths."""

    def read(self, item: Item) -> SkeletonSequence | Rejection:
        try:
            return self.sequence(item)
        except AclnetError as error:
            return unreadable.rejection(error, item.path)
        except DamageError as damage:
            return damage.at(item.path)

    @abstractmethod
    def sequence(self, item: Item) -> SkeletonSequence:
        """The sequence of an item; raises DamageError or AclnetError if there is none."""


@dataclass(frozen=True, slots=True)
class FileSource(ItemSource):
    """Base of sources in which every item is a file."""

    max_bytes: ClassVar[int]
    """Limit of a file in bytes, well above any real file of the kind, see `read_file`."""

    def sequence(self, item: Item) -> SkeletonSequence:
        return self.parse(item, read_file(self.root, item.path, self.max_bytes))

    @abstractmethod
    def parse(self, item: Item, data: bytes) -> SkeletonSequence:
        """The sequence of an item from its file's content; raises DamageError if there is none."""


@dataclass(frozen=True, slots=True)
class ListedSource(Source):
    """Base of sources that list their raw data once per opening, in every process."""

    opened: int = field(default_factory=time.time_ns)
    """Identifies this opening, in the cache of what was found."""


def known_numbers(pattern: re.Pattern[str], name: str, most: tuple[int, ...]) -> list[int] | None:
    """The numbers in a name, each from 1 to the dataset's maximum in `most`; None otherwise."""
    match = pattern.fullmatch(name)
    if match is None:
        return None
    numbers = [int(digits) for digits in match.groups()]
    known = all(1 <= number <= last for number, last in zip(numbers, most, strict=True))
    return numbers if known else None


def unique_items(found: Iterable[Item]) -> tuple[list[Item], list[Rejection]]:
    """Items sorted by id; if several have one id, the first by its path is kept."""
    items: dict[str, Item] = {}
    doubles = []
    for item in sorted(found, key=lambda item: (item.sample_id, item.path)):
        first = items.setdefault(item.sample_id, item)
        if first is not item:
            reason = f"the same recording is at {first.path}"
            doubles.append(Rejection(item.path, None, reason, "there twice"))
    return list(items.values()), doubles


def items_by_path(
    root: Path, name_of: Callable[[str], str | None], suffix: str, expected: str
) -> tuple[list[Item], list[Rejection]]:
    """Items and rejections of a folder or archive in which paths identify the files.

    name_of: a sample's id from a path below the root; None if the path has none. Other paths that
    end in `suffix` are rejected, because the path is not `expected`.
    """
    found: list[Item] = []
    strange: list[Rejection] = []
    for path, size in walk_files(root):
        sample_id = name_of(path)
        if sample_id is not None:
            found.append(Item(sample_id, path, size))
        elif path.endswith(suffix):
            reason = f"the name does not fit {expected}"
            strange.append(Rejection(path, None, reason, "unknown name"))
    items, doubles = unique_items(found)
    return items, strange + doubles
