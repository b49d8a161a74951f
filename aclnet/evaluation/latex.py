"""Tables in LaTeX, for the package booktabs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_ESCAPES = str.maketrans(
    {
        **{character: f"\\{character}" for character in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
    }
)


def tabular(head: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> str:
    """A `tabular` of escaped texts; the first `left` columns are left-aligned, the others right."""
    lines = [
        rf"\begin{{tabular}}{{{'l' * left}{'r' * (len(head) - left)}}}",
        r"\toprule",
        _line(head),
        r"\midrule",
        *map(_line, rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join([*lines, ""])


def _line(cells: Iterable[str]) -> str:
    return " & ".join(cell.translate(_ESCAPES) for cell in cells) + r" \\"
