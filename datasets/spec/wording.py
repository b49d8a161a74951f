"""Wording of names and lists in messages."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def shown(value: object, most: int = 100) -> str:
    """The value as text, cut to its first `most` characters and dots.

    Text from a file, or from an exception that repeats the file, may be as long as the file.
    """
    text = str(value)
    return text if len(text) <= most else f"{text[:most]}..."


def first_of(names: Sequence[str], shown: int = 5, separator: str = ", ") -> str:
    """The first names and how many more there are, as `a, b and 3 more`."""
    said = separator.join(names[:shown])
    return said if len(names) <= shown else f"{said} and {len(names) - shown} more"


def any_of(names: Iterable[str]) -> str:
    """The names as a choice, `a, b or c`."""
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def did_you_mean(name: str, known: Iterable[str], *, dotted: bool = False) -> str:
    """A remark for the message that refuses `name`, as ` (did you mean train?)`.

    With `dotted`, names are compared by what follows their last dot: `optim.epoch` is similar to
    `optim.epochs`, not to `optim.lr`. If several names end in the same word, the last one is
    suggested. Returns the empty text if no known name is similar.
    """

    def compared(entry: str) -> str:
        return entry.rpartition(".")[2] if dotted else entry

    names = {compared(entry): entry for entry in known}
    similar = get_close_matches(compared(name), names, n=1, cutoff=0.7)
    return f" (did you mean {names[similar[0]]}?)" if similar else ""
