"""`aclnet families`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.table import Table

from aclnet.cli import options
from aclnet.cli.console import print_json, print_table, screen
from aclnet.cli.finding import find_run

if TYPE_CHECKING:
    from pathlib import Path

    from aclnet.evaluation.family_table import FamilyTable


@click.command()
@options.run_argument
@click.option("--epoch", type=click.IntRange(1), help="After which epoch. [default: the last]")
@click.option("--scores", help="From the confusions of a file in scores/, as xsub-test, instead.")
@options.as_json
def command(run: Path | None, epoch: int | None, scores: str | None, as_json: bool) -> None:
    """Show the motion families of RUN (the newest below this folder by default).

    A family is the classes that its class is confused with, or that are confused with the same
    ones; its size sets the temperature of the loss between them. An imported run has none of its
    training: its families come from the confusions on the test split.
    """
    from aclnet.evaluation.family_table import families_of_scores, family_table
    from aclnet.evaluation.figures import draw_affinity

    if epoch and scores:
        raise click.UsageError("--epoch and --scores both say which confusions: give one")
    opened = find_run(run)
    if scores or opened.imported:
        found = families_of_scores(opened, scores)
    else:
        found = family_table(opened, epoch)
    chosen = f"-{epoch or scores}" if epoch or scores else ""
    figure = draw_affinity(found, opened.path / f"affinity{chosen}.png")
    if as_json:
        print_json({"run": str(opened.path), **found.as_dict()})
        return
    screen.print(f"run {opened.path}, {found.origin}")
    show_families(found)
    screen.print(f"affinity heat map, ordered by family: {figure}")


def show_families(found: FamilyTable) -> None:
    """Prints the families, those that belong together side by side, and who has none."""
    out = Table(title="Motion families", title_justify="left", title_style="bold")
    out.add_column("class", max_width=22)
    out.add_column("size", justify="right")
    out.add_column("temp.", justify="right")
    out.add_column("family, with the confusions behind it")
    for family in found.occurring:
        if family.members:
            members = (
                f"{m.name} {m.confusions:.0f}" if m.confusions >= 0.5 else m.name
                for m in family.members
            )
            size, temperature = str(len(family.members)), f"{family.temperature:.2f}"
            out.add_row(family.name, size, temperature, ", ".join(members))
    if out.row_count:
        print_table(out)
    alone = [family.name for family in found.occurring if not family.members]
    names = f": {', '.join(alone)}" if alone else ""
    screen.print(
        f"{len(alone)} of {len(found.occurring)} classes that occur have no family{names}",
    )
