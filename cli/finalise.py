"""`aclnet finalise`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from aclnet.cli import completion, options
from aclnet.cli.console import screen
from aclnet.cli.results import Table, emit

if TYPE_CHECKING:
    from pathlib import Path

    from aclnet.cli.results import Form
    from aclnet.datasets.store.paths import StorePath
    from aclnet.pipelines.prepare.finalise import SetReport


@click.command()
@click.argument("out", metavar="SET", type=options.PATH)
@click.argument(
    "members",
    type=options.STORE,
    nargs=-1,
    metavar="[STORE]...",
    shell_complete=completion.store,
)
@click.option(
    "--prefix-ids",
    is_flag=True,
    help="Put the name of its store before each id, where stores have equal ids of different "
    "recordings.",
)
@click.option(
    "--same-people",
    is_flag=True,
    help="Equal numbers of subjects, and equal names of people, are the same person in all stores. "
    "[default: in stores of one published dataset alone]",
)
@click.option(
    "--protocol",
    "protocols",
    type=options.CommaList(click.STRING, repeated=True),
    metavar="P,...",
    help="Protocol of each store, in their order, that makes up the protocol `joined`. "
    "[default: the first of each]",
)
@click.option(
    "--classes",
    type=options.PATH,
    help="CSV file with the columns class and name: the name in the set of a class of the stores.",
)
@click.option("--overwrite", is_flag=True, help="Replace a set of other stores.")
@options.output_form
def command(
    out: Path,
    members: tuple[StorePath, ...],
    prefix_ids: bool,
    same_people: bool,
    protocols: list[str] | None,
    classes: Path | None,
    overwrite: bool,
    output: Form,
) -> None:
    """Join stores into SET, a folder that every command opens as one store.

    Without STORE, join the parts in the folder SET that `aclnet prepare --shards` made; all of
    them must be there. Nothing is copied: SET holds the paths and the digests of its members.
    """
    from aclnet.pipelines.prepare.finalise import finalise

    report = finalise(
        out,
        *members,
        prefix_ids=prefix_ids,
        same_people=same_people,
        protocols=protocols,
        classes=classes,
        overwrite=overwrite,
    )
    emit(output, "finalise/1", report.as_dict(), _tables(report))
    if report.existed:
        screen.print(f"{report.path} was the same set before")
    if report.empty:
        screen.print(f"warning: no sample at all in {', '.join(report.empty)}")
    for doubt in report.doubts:
        screen.print(f"warning: {doubt}")


def _tables(report: SetReport) -> list[Table]:
    variants = f" and {report.variants} variants" if report.variants else ""
    title = f"{report.samples} samples{variants} of {report.classes} classes in {report.path}"
    counts = [[c.side, c.found, c.expected or "", c.verdict] for c in report.counts]
    return [
        Table("Parts" if report.parts else "Members", ["store", "samples"], report.members),
        Table(title, ["split", "samples", "published", "remark"], counts),
    ]
