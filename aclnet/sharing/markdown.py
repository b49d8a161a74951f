"""Markdown of cards. Texts of records are escaped, so that they contain no markup."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_MARKS = re.compile(r"([\\`*_\[\]<>|#~])")


def plain(value: object) -> str:
    """A value in one line, with control characters as spaces and without Markdown."""
    return _MARKS.sub(r"\\\1", _one_line(value))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table of plain texts."""
    lines = [columns, ["---"] * len(columns), *([plain(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def listed(sentences: Iterable[str]) -> str:
    """A list with an entry for each sentence."""
    return "\n".join(f"- {sentence}" for sentence in sentences)


def front_matter(values: Mapping[str, Any]) -> str:
    """The YAML block at the head of a card; values are written as JSON, which is YAML too."""
    lines = [f"{name}: {json.dumps(_clean(x), ensure_ascii=False)}" for name, x in values.items()]
    return "\n".join(["---", *lines, "---"])


def percent(share: float) -> str:
    """A share in %."""
    return f"{100 * share:.1f} %"


def _one_line(value: object) -> str:
    text = "".join(c if c.isprintable() else " " for c in str(value))
    return " ".join(text.split())


def _clean(value: Any) -> Any:  # noqa: ANN401 - whatever JSON takes
    if isinstance(value, dict):
        return {name: _clean(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(entry) for entry in value]
    return _one_line(value) if isinstance(value, str) else value
