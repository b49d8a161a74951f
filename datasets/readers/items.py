"""What readers share: items of what lies below a root."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aclnet.datasets.formats.files import walk_files
from aclnet.datasets.spec.sequence import Rejection
from aclnet.datasets.spec.source import Item

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path


def unique_items(found: Iterable[Item]) -> tuple[list[Item], list[Rejection]]:
    """Items in the order of their ids; of several with one id the first by its path counts."""
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
    """Items and rejections of a folder or archive whose files' paths tell what they are.

    name_of: a sample's id of a path below the root, None where it is none. Of the others those that
    end in `suffix` are rejected, as the path is not `expected`.
    """
    found: list[Item] = []
    strange: list[Rejection] = []
    for path, size in walk_files(root):
        sample_id = name_of(path)
        if sample_id is not None:
            found.append(Item(sample_id, path, size))
        elif path.endswith(suffix):
            reason = f"the name is not one of {expected}"
            strange.append(Rejection(path, None, reason, "unknown name"))
    items, doubles = unique_items(found)
    return items, strange + doubles
