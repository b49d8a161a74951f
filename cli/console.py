"""What commands share on the screen: progress, tables, JSON."""

from __future__ import annotations

import json
from contextlib import contextmanager
from math import isfinite
from typing import TYPE_CHECKING, Any

import click
from rich import progress as bars
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from aclnet.datasets.spec import Progress

# paths and class names are text, whatever brackets and colons they hold
screen = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
"""Progress and remarks; results go to stdout."""


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """A bar a stage, moved by the function that is yielded."""
    columns = (
        bars.TextColumn("{task.description:<9}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TextColumn("{task.fields[rate]}"),
        bars.TimeRemainingColumn(),
        bars.TextColumn("{task.fields[remark]}"),
    )
    tasks: dict[str, bars.TaskID] = {}
    with bars.Progress(*columns, console=screen) as shown:

        def update(stage: str, done: int, total: int, remark: str = "") -> None:
            if stage not in tasks:
                tasks[stage] = shown.add_task(
                    stage, total=total, rate="", remark="", completed=done
                )
            task = shown.tasks[shown.task_ids.index(tasks[stage])]
            speed = task.finished_speed or task.speed
            rate = f"{speed:,.0f}/s" if speed else ""
            shown.update(tasks[stage], completed=done, total=total, rate=rate, remark=remark)

        yield update


def table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, left: int = 1
) -> None:
    """Prints a table on stdout; all columns but the first, or first `left`, are right-aligned."""
    out = Table(title=title, title_justify="left", title_style="bold")
    for number, column in enumerate(columns):
        out.add_column(column, justify="left" if number < left else "right")
    for row in rows:
        out.add_row(*map(str, row))
    print_table(out)


def print_table(out: Table) -> None:
    """Prints a table of rich on stdout; what its cells hold is text, brackets too."""
    Console(highlight=False, markup=False, emoji=False).print(out)


def print_json(value: Any) -> None:  # noqa: ANN401 - whatever JSON takes
    """Prints a result for machines; what is no number becomes null."""
    click.echo(json.dumps(_without_nan(value), indent=1, allow_nan=False))


def _without_nan(value: Any) -> Any:  # noqa: ANN401 - whatever JSON takes
    if isinstance(value, dict):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def percent(share: float | None) -> str:
    """A share in %; None is nothing that was measured."""
    return "-" if share is None else f"{100 * share:.1f} %"
