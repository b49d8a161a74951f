"""What the commands that score a run have in common."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aclnet.cli.console import percent, screen, table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aclnet.datasets.store.store import Store
    from aclnet.runs.run import Run

_PATH = click.Path(path_type=Path)
_OPTIONS = (
    click.argument("run", type=_PATH, required=False),
    click.option("--store", type=_PATH, help="Another store of the same layout."),
    click.option(
        "--split", help="As xsub/test; val: held out in training. [default: what the run tests on]"
    ),
    click.option("--clips", type=click.IntRange(1), help="Clips a sequence. [default: the run's]"),
    click.option("--accelerator", default="auto", help="cpu, cuda, ..."),
)
_WEIGHTS = {
    "last": "the last",
    "val": "the best on held-out training data",
    "test": "the best on the TEST set: optimistic",
}


def scoring_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds `run`, `store`, `split`, `clips` and `accelerator` to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def open_run(run: Path | None, store: Path | None) -> tuple[Run, Store]:
    """The run that is meant, the newest by default, and the store to score it on.

    Says so where it has not been trained to its end. AclnetError where one is not there.
    """
    from aclnet.datasets.discovery import newest_run
    from aclnet.datasets.store.store import Store
    from aclnet.runs.run import Run

    opened = Run(run or newest_run(Path()))
    if not opened.finished:
        screen.print(
            f"run {opened.path} is not finished: its last checkpoint counts; "
            "`aclnet train` goes on",
        )
    return opened, Store(store) if store else opened.open_store()


def show_accuracy(title: str, result: Mapping[str, Any], clips: int, select: str) -> None:
    """Prints `Scorer.result()`, made with so many clips a sample."""
    rows = [
        ["top-1", percent(result["top1"])],
        ["95 % interval", f"{percent(result['top1_low'])} to {percent(result['top1_high'])}"],
        ["top-5", percent(result["top5"])],
        ["mean class accuracy", percent(result["mean_class"])],
        ["samples, clips each", f"{result['samples']}, {clips}"],
        ["weights", which_weights(select)],
    ]
    if "chance" in result:
        rows.insert(1, ["chance", percent(result["chance"])])
    table(title, ["", "value"], rows)


def which_weights(select: str) -> str:
    """What a table says of which weights are the result."""
    return _WEIGHTS[select]
