"""`aclnet families`."""

from __future__ import annotations

from pathlib import Path

import click

from aclnet.cli.console import json_option, print_json, screen, table


@click.command()
@click.argument("run", type=click.Path(path_type=Path), required=False)
@click.option("--epoch", type=click.IntRange(1), help="After which epoch. [default: the last]")
@json_option
def command(run: Path | None, epoch: int | None, as_json: bool) -> None:
    """Show the motion families of RUN (the newest below this folder by default)."""
    from aclnet.datasets.find import newest_run
    from aclnet.family_table import family_table
    from aclnet.figures import draw_affinity
    from aclnet.runs import Run

    opened = Run(run or newest_run(Path()))
    found = family_table(opened, epoch)
    if as_json:
        print_json(found.as_dict())
        return
    table(
        f"Families of {opened.name} after epoch {found.epoch}",
        ["class", "family", "size", "temperature", "confusions behind it"],
        [
            (f.name, ", ".join(f.members), len(f.members), f"{f.temperature:.2f}", f.evidence)
            for f in found.families
            if f.members
        ],
    )
    alone = [f.name for f in found.families if not f.members]
    screen.print(
        f"{len(alone)} of {len(found.families)} classes have no family: {', '.join(alone)}"
    )
    figure = draw_affinity(found, opened.path / "affinity.png")
    screen.print(f"affinity heat map, ordered by family: {figure}")
