"""`aclnet synth`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from aclnet.cli import options
from aclnet.cli.console import print_json, progress_bars, screen

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@click.argument("dataset")
@click.argument("folder", type=options.PATH)
@click.option("--form", help="Which of its forms, see `aclnet datasets`. [default: its first]")
@click.option("--sequences", type=int, default=120, show_default=True, help="At most so many.")
@click.option("--subjects", type=int, default=10, show_default=True, help="Different people.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--damage", type=float, default=0.0, help="Share of recordings that are damaged.")
@options.as_json
def command(
    dataset: str,
    folder: Path,
    form: str | None,
    sequences: int,
    subjects: int,
    seed: int,
    damage: float,
    as_json: bool,
) -> None:
    """Write recordings of made-up people into FOLDER, in DATASET's raw format."""
    from aclnet.datasets.synth import Request, get_generator

    request = Request(sequences, subjects, seed, damage)
    with progress_bars() as update:
        summary = get_generator(dataset, form)(folder, request, update)
    if as_json:
        print_json({"sequences": summary.sequences, "damaged": sorted(summary.damaged)})
        return
    screen.print(f"{summary.sequences} recordings of {dataset} in {folder}, made up (seed {seed})")
    if summary.damaged:
        screen.print(f"{len(summary.damaged)} of them damaged on purpose")
