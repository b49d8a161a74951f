"""Output that commands share: progress, remarks, and text that is safe for a terminal."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from rich import progress as bars
from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.text import Text

    from aclnet.datasets.spec import Progress

_UNSEEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Control characters except tab and line feed, marks that change the direction of writing, and
surrogates, which are not safe for a terminal."""


def visible(text: str) -> str:
    r"""The text with control characters escaped, ESC as `\x1b`.

    Names and messages come from files: they must not move the cursor or change the terminal.
    """
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def echo(text: object, *, err: bool = False, nl: bool = True) -> None:
    """Prints a line on stdout, or on stderr, with control characters escaped."""
    click.echo(visible(str(text)), err=err, nl=nl)


class Screen(Console):
    """Shows text literally: brackets and colons have no meaning, control characters are escaped."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - whatever rich takes
        super().__init__(highlight=False, markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:  # noqa: ANN401 - as above
        """Text of a line or a cell; rich passes every string that it prints through this."""
        return super().render_str(visible(text), **options)


screen = Screen(stderr=True, soft_wrap=True)
"""Progress and remarks; results go to stdout."""


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """One bar per stage; the yielded function moves it."""
    columns = (
        bars.TextColumn("{task.description:<9}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TextColumn("{task.fields[rate]}"),
        bars.TimeRemainingColumn(),
        bars.TextColumn("{task.fields[remark]}", markup=False),
    )
    tasks: dict[str, bars.TaskID] = {}
    begun: dict[str, int] = {}
    with bars.Progress(*columns, console=screen) as shown:

        def update(stage: str, done: int, total: int, remark: str = "") -> None:
            if stage not in tasks:
                tasks[stage] = shown.add_task(
                    stage, total=total, rate="", remark="", completed=done
                )
                begun[stage] = done
            task = shown.tasks[shown.task_ids.index(tasks[stage])]
            # rich's own speed leaves out the time before the first advance
            more, elapsed = done - begun[stage], task.elapsed
            rate = f"{more / elapsed:,.0f}/s" if more and elapsed else ""
            shown.update(
                tasks[stage], completed=done, total=total, rate=rate, remark=visible(remark)
            )

        yield update


def percent(share: float | None) -> str:
    """A share in %; None: not measured."""
    return "-" if share is None else f"{100 * share:.1f} %"
