"""The result of a command on stdout, in the form that `--format` names (docs/json.md)."""

from __future__ import annotations

import csv
import io
import json
import sys
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Self

import click
from rich.cells import cell_len
from rich.table import Table as RichTable

from aclnet.cli.console import Screen, echo, visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from aclnet.datasets.spec import AclnetError

Form = Literal["table", "csv", "markdown", "latex", "json"]


@dataclass(frozen=True, slots=True)
class Table:
    """A table for people: its cells are rounded and have units."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    left: int = 1
    """Number of columns, from the first, that are left-aligned; the others are right-aligned."""
    text: str | None = None
    """Text that `--format table` prints instead of columns; empty: none."""

    @classmethod
    def of_facts(cls, document: Mapping[str, Any]) -> Self:
        """A document without lists of objects; people read the same in a remark on stderr."""
        rows = [[key, _cell(value)] for key, value in document.items()]
        return cls("Result", ["", "value"], rows, left=2, text="")


def emit(form: Form, schema: str, document: Mapping[str, Any], tables: Sequence[Table]) -> None:
    """Prints a command's result.

    Args:
        form: JSON and CSV are made from the document; the others print the tables.
        schema: name and version of the document, for example `info/1`. Its JSON schema is the file
            of this name in cli/schemas.
        document: plain values with keys in snake_case. NaN and infinity are printed as null.
        tables: the same for people.
    """
    if form == "json":
        print_json(schema, document)
    elif form == "csv":
        echo(as_csv(schema.partition("/")[0], _finite(document)), nl=False)
    elif form == "table":
        _show(tables)
    else:
        write = _markdown if form == "markdown" else _latex
        echo("\n".join(map(write, tables)), nl=False)


def print_json(schema: str, document: Mapping[str, Any]) -> None:
    """Prints a document with its schema; what is not a finite number becomes null."""
    whole = {"schema": f"aclnet.{schema}", **_finite(document)}
    click.echo(json.dumps(whole, indent=1, allow_nan=False))


def fail(error: AclnetError) -> NoReturn:
    """Ends a command that printed its result, but had failures."""
    echo(f"error: {error}", err=True)
    sys.exit(2)


def _finite(value: Any) -> Any:  # noqa: ANN401 - whatever JSON takes
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def as_csv(name: str, document: Mapping[str, Any]) -> str:
    """A document as CSV, whose first column, `table`, names the table that a row belongs to.

    A list of objects is a table named by its key, a row per object. All other values are one row
    of the table `name`. The key of a nested value has dots: `together.low`, `top.1.label`. Lists of
    plain values are joined by "; ". The cells of columns that a table lacks are empty.
    """
    own: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []
    for key, value in entries(document):
        if isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
            rows += [{"table": key, **_row(entry)} for entry in value]
        else:
            own[key] = value
    rows = [{"table": name, **_row(own)}, *rows] if own else rows
    columns = dict.fromkeys(column for row in rows for column in row) or ["table"]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, [*columns], restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def entries(document: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Values that are not objects, with dots in the keys of nested ones."""
    for key, value in document.items():
        if isinstance(value, dict):
            yield from entries(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _row(entry: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in entries(entry):
        if isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
            numbered = {str(number): inner for number, inner in enumerate(value, start=1)}
            found |= _row({key: numbered})
        elif value != []:  # no column for a table without rows
            found[key] = _cell(value)
    return found


def _cell(value: object) -> object:
    return "; ".join(map(str, value)) if isinstance(value, list) else value


def _show(tables: Sequence[Table]) -> None:
    """Boxes with folded cells on a terminal; aligned columns of any width elsewhere."""
    terminal = sys.stdout.isatty()
    for number, table in enumerate(tables):
        if table.text is not None:
            echo(table.text, nl=bool(table.text))
        elif terminal:
            _print_box(table)
        else:
            echo("\n" * (number > 0) + _plain(table), nl=False)


def _print_box(table: Table) -> None:
    shown = RichTable(title=table.title, title_justify="left", title_style="bold")
    for number, column in enumerate(table.columns):
        justify: Literal["left", "right"] = "left" if number < table.left else "right"
        # names of runs differ in their ends, so long names are folded and not cut
        shown.add_column(column, justify=justify, overflow="fold")
    for row in table.rows:
        shown.add_row(*map(str, row))
    Screen().print(shown)


def _plain(table: Table) -> str:
    cells = _lines(table)
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        padded = []
        for number, (cell, width) in enumerate(zip(row, widths, strict=True)):
            space = " " * (width - cell_len(cell))
            padded.append(cell + space if number < table.left else space + cell)
        lines.append("  ".join(padded).rstrip())
    return "\n".join([table.title, *lines, ""])


def _lines(table: Table) -> list[list[str]]:
    """The head and the rows; every cell is a text of one line."""
    every = [table.columns, *table.rows]
    return [[" ".join(visible(str(cell)).split()) for cell in row] for row in every]


def _markdown(table: Table) -> str:
    head, *rows = ([cell.replace("|", "\\|") for cell in row] for row in _lines(table))
    rule = [":--" if number < table.left else "--:" for number in range(len(head))]
    lines = [f"| {' | '.join(row)} |" for row in [head, rule, *rows]]
    return "\n".join([f"**{table.title}**", "", *lines, ""])


def _latex(table: Table) -> str:
    from aclnet.evaluation.latex import tabular

    head, *rows = _lines(table)
    return f"% {table.title}\n{tabular(head, rows, left=table.left)}"
