"""`aclnet demo`."""

from __future__ import annotations

import time
from pathlib import Path

import click

from aclnet.cli import options
from aclnet.cli.console import progress_bars, screen
from aclnet.cli.results import Form, emit
from aclnet.cli.tables import accuracy_table


@click.command()
@click.argument("folder", type=options.PATH, default=Path("demo"))
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Seed for the recordings and the training.",
)
@click.option(
    "--subjects",
    type=click.IntRange(2, 40),
    default=10,
    show_default=True,
    help="Number of synthetic people.",
)
@options.settings
@options.output_form
def command(
    folder: Path, seed: int, subjects: int, settings: tuple[str, ...], output: Form
) -> None:
    """Write synthetic recordings in NTU's raw format to FOLDER and run every step on them."""
    from aclnet.cli.families import families_table, tell_alone
    from aclnet.cli.monitors import TrainingScreen
    from aclnet.cli.occlusion_bench import bench_tables, tell_bench
    from aclnet.demo import People, make_store, measure, train_on
    from aclnet.evaluation.figures import draw_affinity, draw_bench
    from aclnet.runs.config import build_config

    began = time.monotonic()
    epochs = build_config("demo", settings, seed=seed).optim.epochs
    with progress_bars() as update:
        report, store = make_store(folder, update, People(seed=seed, subjects=subjects))
    rejected = sum(report.rejections.values())
    screen.print(f"{len(store)} samples in {store.path}, {rejected} damaged files left out")
    with TrainingScreen(epochs) as training:
        run = train_on(store, training, seed=seed, settings=settings)
    with progress_bars() as update:
        found = measure(run, store, update)
    config = run.config
    seconds = time.monotonic() - began
    result = found.scores.result()
    document = {
        "folder": str(folder),
        "store": str(store.path),
        "sequences": len(store),
        "damaged_files": rejected,
        "run": str(run.path),
        "seconds": seconds,
        **result,
        "average_precision": found.average_precision,
        "average_precision_by_chance": found.chance,
        "families": found.families.as_dict()["families"],
        "occlusion": found.occlusion.as_dict()["rows"],
    }
    tables = [
        accuracy_table(f"{run.protocol} test", result, config.data.clips, config.select),
        families_table(found.families),
        *bench_tables(found.occlusion, "Missing parts"),
    ]
    emit(output, "demo/1", document, tables)
    tell_alone(found.families)
    tell_bench()
    screen.print(
        "affinities against the planted families: average precision "
        f"{found.average_precision:.2f} (by chance {found.chance:.2f})"
    )
    draw_affinity(found.families, run.path / "affinity.png")
    draw_bench(found.occlusion.rows, run.name, run.path / "occlusion" / "demo.png")
    screen.print(f"run and figures: {run.path}; {seconds:.0f} s in all")
