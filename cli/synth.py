"""`aclnet synth`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from aclnet.cli import completion, options
from aclnet.cli.console import progress_bars, screen
from aclnet.cli.results import Table, emit

if TYPE_CHECKING:
    from pathlib import Path

    from aclnet.cli.results import Form


@click.command()
@click.argument("dataset", shell_complete=completion.dataset)
@click.argument("folder", type=options.PATH)
@click.option(
    "--form",
    help="Form of the raw files, see `aclnet datasets`. [default: the first form of the dataset]",
)
@click.option(
    "--sequences", type=int, default=120, show_default=True, help="Largest number of recordings."
)
@click.option("--subjects", type=int, default=10, show_default=True, help="Number of people.")
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Seed for people, movements and damage.",
)
@click.option("--damage", type=float, default=0.0, help="Share of recordings to damage.")
@options.output_form
def command(
    dataset: str,
    folder: Path,
    form: str | None,
    sequences: int,
    subjects: int,
    seed: int,
    damage: float,
    output: Form,
) -> None:
    """Write recordings of synthetic people into FOLDER, in DATASET's raw format."""
    from aclnet.datasets.synth import Request, get_generator

    request = Request(sequences, subjects, seed, damage)
    with progress_bars() as update:
        summary = get_generator(dataset, form)(folder, request, update)
    document = {
        "dataset": dataset,
        "folder": str(folder),
        "seed": seed,
        "sequences": summary.sequences,
        "damaged": sorted(summary.damaged),
    }
    emit(output, "synth/1", document, [Table.of_facts(document)])
    screen.print(f"{summary.sequences} synthetic recordings of {dataset} in {folder} (seed {seed})")
    if summary.damaged:
        screen.print(f"{len(summary.damaged)} of them damaged on purpose")
