"""`aclnet demo`."""

from __future__ import annotations

import time
from pathlib import Path

import click

from aclnet.cli import options
from aclnet.cli.console import progress_bars, screen
from aclnet.cli.tables import show_accuracy


@click.command()
@click.argument("folder", type=options.PATH, default=Path("demo"))
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--subjects", type=click.IntRange(2, 40), default=10, show_default=True)
@options.settings
def command(folder: Path, seed: int, subjects: int, settings: tuple[str, ...]) -> None:
    """Make up people in NTU's raw format below FOLDER and take them through the whole chain."""
    from aclnet.cli.families import show_families
    from aclnet.cli.monitors import TrainingScreen
    from aclnet.cli.occlusion_bench import show_bench
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
    show_accuracy(f"{run.protocol} test", found.scores.result(), config.data.clips, config.select)
    show_families(found.families)
    screen.print(
        f"affinities against the planted families: average precision "
        f"{found.average_precision:.2f} (by chance {found.chance:.2f})"
    )
    show_bench(found.occlusion, "Missing parts")
    draw_affinity(found.families, run.path / "affinity.png")
    draw_bench(found.occlusion, run.name, run.path / "occlusion" / "demo.png")
    screen.print(f"run and figures: {run.path}; {time.monotonic() - began:.0f} s in all")
