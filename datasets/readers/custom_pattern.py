"""Tables of recordings from their paths, by a pattern such as `{subject}_{view}_{run}`."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING

from aclnet.datasets.readers.custom_recordings import SUFFIXES
from aclnet.datasets.spec import AclnetError, shown

if TYPE_CHECKING:
    from collections.abc import Iterable

ALIASES = {"view": "camera", "run": "replication", "cond": "condition"}
"""Other names of columns, as used in gait folders."""
EVERY = "{name}"
"""Pattern of recordings that are only predicted: it matches every path and gives no class."""
_LONGEST = 1000
"""Limit of a pattern in characters."""
_FIELD = re.compile(r"\{(\w+)\}")


def table_of_paths(pattern: str, paths: Iterable[str], place: str) -> tuple[str, list[str]]:
    """The text of an index of the recordings whose paths match, and the paths that do not match.

    Args:
        pattern: text with fields, such as `{subject}_{view}`. A field is a column of the index; any
            other name is skipped. A pattern with a slash matches the whole path without the suffix,
            else the name of the file or folder. People are the classes if there is no `{label}`.
        paths: recordings, each below `place`, the constant first part of the path.

    Raises AclnetError if the pattern is invalid, or has no field for classes.
    """
    names = [ALIASES.get(name, name) for name in _FIELD.findall(pattern)]
    by = next((name for name in ("label", "subject") if name in names), None)
    if pattern != EVERY and (
        len(pattern) > _LONGEST or by is None or len(set(names)) < len(names) or "file" in names
    ):
        raise AclnetError(
            f"pattern {shown(pattern)!r}: it must have {{label}} or {{subject}}, each field at "
            "most "
            "once, and no {file}; for example {subject}_{view}_{run}, or {split}/{label}/{id}"
        )
    shape = _regex(pattern)
    others = [name for name in names if name not in ("id", "label")] if by else []
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(["id", "file", "label", *others])
    strange = []
    for path in paths:
        stem = path.removeprefix(place)
        if stem.lower().endswith(SUFFIXES):
            stem = stem.rpartition(".")[0]
        match = shape.fullmatch(stem if "/" in pattern else stem.rpartition("/")[2])
        if match is None:
            strange.append(path)
            continue
        found = dict(zip(names, match.groups(), strict=True))
        label = found[by] if by else ""
        row = [found.get("id", stem), path, label, *(found[name] for name in others)]
        table.writerow(row)
    return text.getvalue(), strange


def _regex(pattern: str) -> re.Pattern[str]:
    """The regular expression of a pattern. Fields are as short as possible, without slashes.

    Except for the last field, a field that was followed by its text is not tried with more
    characters: this would find no other match, and its time grows with the number of fields.
    """
    first, *rest = [re.escape(part) for part in _FIELD.split(pattern)[::2]]
    fields = [f"(?>([^/]+?){text})" for text in rest[:-1]]
    return re.compile("".join([first, *fields, f"([^/]+?){rest[-1]}"]), re.DOTALL)
