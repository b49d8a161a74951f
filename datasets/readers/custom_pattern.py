"""Tables of recordings from their paths: `{subject}_{view}_{run}` in the place of `index.csv`."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING

from aclnet.datasets.spec import AclnetError, shown

if TYPE_CHECKING:
    from collections.abc import Iterable

ALIASES = {"view": "camera", "run": "replication", "cond": "condition"}
"""Other names of columns, as gait folders have them."""
_LONGEST = 1000
"""Characters of a pattern."""
_FIELD = re.compile(r"\{(\w+)\}")


def table_of_paths(pattern: str, paths: Iterable[str], place: str) -> tuple[str, list[str]]:
    """The text of an index of the recordings whose paths match, and the paths that do not.

    Args:
        pattern: text with fields, as `{subject}_{view}`. A field is a column of the index, and any
            other name is skipped. With a slash it is the whole path without the suffix, else the
            name of the file or folder. People are the classes where there is no `{label}`.
        paths: recordings, each of them below `place`, the part of the path that tells nothing.

    Raises AclnetError where the pattern is none, or has no field that tells classes.
    """
    names = [ALIASES.get(name, name) for name in _FIELD.findall(pattern)]
    by = next((name for name in ("label", "subject") if name in names), None)
    if len(pattern) > _LONGEST or by is None or len(set(names)) < len(names) or "file" in names:
        raise AclnetError(
            f"pattern {shown(pattern)!r}: it holds each field once, {{label}} or {{subject}} among "
            "them, and no {file}; for example {subject}_{view}_{run}, or {split}/{label}/{id}"
        )
    shape = _regex(pattern)
    others = [name for name in names if name not in ("id", "label")]
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(["id", "file", "label", *others])
    strange = []
    for path in paths:
        stem = re.sub(r"\.\w+$", "", path.removeprefix(place))
        match = shape.fullmatch(stem if "/" in pattern else stem.rpartition("/")[2])
        if match is None:
            strange.append(path)
            continue
        found = dict(zip(names, match.groups(), strict=True))
        row = [found.get("id", stem), path, found[by], *(found[name] for name in others)]
        table.writerow(row)
    return text.getvalue(), strange


def _regex(pattern: str) -> re.Pattern[str]:
    """Fields are as short as they can be, and hold no slash.

    A field that has found the text behind it is not tried again longer, but for the last one: that
    would find no other match, and take a time that grows with the number of fields.
    """
    first, *rest = [re.escape(part) for part in _FIELD.split(pattern)[::2]]
    fields = [f"(?>([^/]+?){text})" for text in rest[:-1]]
    return re.compile("".join([first, *fields, f"([^/]+?){rest[-1]}"]), re.DOTALL)
