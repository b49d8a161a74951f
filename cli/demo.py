"""`aclnet demo`."""

from __future__ import annotations

import time
from pathlib import Path

import click

from aclnet.cli.console import percent, progress, screen, table


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default=Path("demo"))
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="As optim.epochs=30.")
def command(folder: Path, seed: int, settings: tuple[str, ...]) -> None:
    """Make up people in NTU's raw format below FOLDER and take them through the whole chain."""
    from aclnet.cli.progress import TrainingProgress
    from aclnet.config import build_config
    from aclnet.demo import demo
    from aclnet.figures import draw_affinity, draw_bench
    from aclnet.scores import Scores

    began = time.monotonic()
    epochs = build_config("demo", list(settings)).optim.epochs
    with progress() as update:
        result = demo(folder, update, TrainingProgress(epochs), seed=seed, settings=list(settings))
    run = result.run
    scores = Scores.load(run.path / "scores" / "test.npz")
    low, high = scores.interval()
    table(
        f"{run.protocol} test of {run.path}",
        ["", "value"],
        [
            ["top-1", f"{percent(scores.top1)} ({percent(low)} to {percent(high)})"],
            ["top-5", percent(scores.top5)],
            ["samples", len(scores)],
        ],
    )
    table(
        "Motion families found",
        ["class", "family", "temperature"],
        [
            (f.name, ", ".join(f.members), f"{f.temperature:.2f}")
            for f in result.families.families
            if f.members
        ],
    )
    screen.print(
        f"affinities against the planted families: average precision "
        f"{result.average_precision:.2f} (by chance {result.chance:.2f})"
    )
    table(
        "Missing parts",
        ["missing", "top-1", "lost"],
        [
            (row["corruption"], percent(row["top1"]), percent(row["lost"]))
            for _, row in result.occlusion.iterrows()
        ],
    )
    draw_affinity(result.families, run.path / "affinity.png")
    draw_bench(result.occlusion, f"{run.name}", run.path / "occlusion.png")
    screen.print(f"figures in {run.path}; {time.monotonic() - began:.0f} s in all")
