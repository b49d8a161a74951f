"""Output that commands share: progress, tables and JSON."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from math import isfinite
from typing import TYPE_CHECKING, Any

import click
from rich import progress as bars
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.text import Text

    from aclnet.datasets.spec import Progress

_UNSEEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Control characters but tab and line feed, marks that change the direction of writing, and halves
of characters, which no terminal can be sent."""


def visible(text: str) -> str:
    r"""The text with control characters escaped, ESC as `\x1b`.

    Names and messages come out of files: they shall not move the cursor or change the terminal.
    """
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def echo(text: object, *, err: bool = False, nl: bool = True) -> None:
    """Prints a line on stdout, or on stderr, with control characters escaped."""
    click.echo(visible(str(text)), err=err, nl=nl)


class _Screen(Console):
    """Shows all text as it is: brackets and colons mean nothing, control characters are escaped."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - whatever rich takes
        super().__init__(highlight=False, markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:  # noqa: ANN401 - as above
        """Text of a line or a cell; rich passes every string that it prints through this."""
        return super().render_str(visible(text), **options)


screen = _Screen(stderr=True, soft_wrap=True)
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
        bars.TextColumn("{task.fields[remark]}", markup=False),
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
            shown.update(
                tasks[stage], completed=done, total=total, rate=rate, remark=visible(remark)
            )

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
    _Screen().print(out)


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
