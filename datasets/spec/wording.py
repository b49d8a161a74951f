"""Wording of lists in messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def shown(value: object, most: int = 100) -> str:
    """The value as text; of a longer text its first `most` characters and dots.

    Text out of a file, and what exceptions repeat of a file, may be as long as the file.
    """
    text = str(value)
    return text if len(text) <= most else f"{text[:most]}..."


def first_of(names: Sequence[str], shown: int = 5, separator: str = ", ") -> str:
    """The first names and how many more there are, as `a, b and 3 more`."""
    said = separator.join(names[:shown])
    return said if len(names) <= shown else f"{said} and {len(names) - shown} more"
