"""`aclnet report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from aclnet.cli import completion, options
from aclnet.cli.console import progress_bars
from aclnet.cli.results import Table, emit

if TYPE_CHECKING:
    from aclnet.cli.results import Form


@click.command()
@options.own_model
@options.accelerator
@click.option(
    "--figures",
    type=options.PATH,
    metavar="DIR",
    help="Also write each chart as SVG and PDF into this folder.",
)
@click.option(
    "--sequences",
    type=click.IntRange(0),
    default=1000,
    show_default=True,
    help="Number of test sequences on the map of embeddings; 0 leaves the map out.",
)
@click.option(
    "--skeletons",
    type=options.FiniteRange(0),
    default=3.0,
    show_default=True,
    metavar="MB",
    help="Largest size of the moving skeletons on the page; 0 leaves them out.",
)
@click.option(
    "--store",
    type=options.PATH,
    shell_complete=completion.store,
    help="Store to read test sequences from. [default: the run's]",
)
@click.option(
    "--out",
    type=options.PATH,
    default=Path("report.html"),
    show_default=True,
    help="File to write the page to.",
)
@options.output_form
@click.argument("runs", type=options.PATH, nargs=-1, shell_complete=completion.run)
def command(
    runs: tuple[Path, ...],
    out: Path,
    store: Path | None,
    sequences: int,
    skeletons: float,
    figures: Path | None,
    accelerator: str,
    output: Form,
) -> None:
    """Write a page with the results of RUNS (the newest below this folder by default).

    The page is one HTML file that needs no network. It shows settings, curves, accuracies,
    confusions, motion families, classes, the moving skeletons of errors, occlusion benches and
    embeddings; for several runs, also the difference of each run from the first one, by class.
    Data that is missing is named together with the command that makes it. docs/report.md describes
    the page.
    """
    from aclnet.cli.finding import find_run
    from aclnet.report.figures import write_figures
    from aclnet.report.gather import gather
    from aclnet.report.page import write_page

    paths: list[Path | None] = [*runs] or [None]
    opened = [find_run(path) for path in paths]
    with progress_bars() as update:
        report = gather(
            opened,
            store=store,
            sequences=sequences,
            skeletons=skeletons,
            accelerator=accelerator,
            progress=update,
        )
    write_page(report, out)
    written = write_figures(report, figures) if figures else []
    document = {"page": str(out), "figures": [str(file) for file in written]}
    said = f"page: {out}"
    if figures:
        said += f"\nfigures: {len(written)} charts as SVG and PDF in {figures}"
    files = [[str(file)] for file in (out, *written)]
    emit(output, "report/1", document, [Table("Report", ["file"], files, text=said)])
