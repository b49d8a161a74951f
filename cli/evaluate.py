"""`aclnet evaluate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from aclnet.cli import options
from aclnet.cli.console import percent, progress_bars, screen
from aclnet.cli.finding import find_run_and_store
from aclnet.cli.results import Table, emit
from aclnet.cli.tables import (
    accuracy_table,
    recognition_tables,
    tell_retrieval,
    which_weights,
)

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from aclnet.cli.results import Form
    from aclnet.datasets.store.paths import StorePath
    from aclnet.runs.choices import Embedding, Metric


@click.command()
@options.embedding
@options.metric
@click.option(
    "--flip/--no-flip", default=None, help="Also embed the mirror image of each sequence."
)
@click.option(
    "--published",
    is_flag=True,
    help="Also report re-ID metrics as the published code computes them.",
)
@click.option(
    "--bf16",
    is_flag=True,
    help="Compute in bfloat16, which is faster on a GPU and slightly less exact (docs/gpu.md).",
)
@click.option(
    "--devices",
    help="Number of devices on each node, or auto for all. [default: 1, or as many as torchrun or "
    "srun started]",
)
@options.scoring
@options.output_form
@options.run_argument
def command(
    run: Path | None,
    embedding: Embedding | None,
    metric: Metric | None,
    flip: bool | None,
    published: bool,
    bf16: bool,
    devices: str | None,
    store: StorePath | None,
    split: str | None,
    clips: int | None,
    accelerator: str,
    output: Form,
) -> None:
    """Test RUN (the newest below this folder by default) on a split.

    For actions, report accuracies, classes and the confusion matrix. For people (gait, re-ID),
    find each probe in the gallery by the distance of embeddings, and report the tables of the
    protocol. Scores with sample ids, tables and figures are written into the run.
    """
    from aclnet.evaluation.evaluate import evaluate
    from aclnet.runs.processes import is_first

    opened, data = find_run_and_store(run, store)
    with progress_bars() as update:
        found = evaluate(
            opened,
            data,
            split,
            clips=clips,
            embedding=embedding,
            metric=metric,
            flip=flip,
            published=published,
            bf16=bf16,
            accelerator=accelerator,
            devices=devices,
            progress=update,
        )
    if not is_first():
        return
    scorer, select = found.scorer, opened.config.select
    screen.print(f"run {opened.path}, store {data.path}")
    if opened.config.task == "action":
        tables = [
            accuracy_table(scorer.split, found.result, scorer.clips, select),
            _class_table(found.tables["per_class"]),
        ]
    else:
        tables = recognition_tables(scorer.split, found.tables, scorer.config)
    emit(output, "evaluate/1", found.as_dict(), tables)
    if opened.config.task != "action":
        tell_retrieval(found.result, scorer.config)
        screen.print(f"weights: {which_weights(select)}")
    screen.print(f"scores, tables and figures: {found.file.with_suffix('')}.*")


def _class_table(per_class: pd.DataFrame) -> Table:
    known = per_class[per_class["samples"] > 0].sort_values("accuracy", kind="stable")
    return Table(
        "Classes, the worst first",
        ["class", "samples", "right", "most frequent error"],
        [
            (
                row["class"],
                row["samples"],
                percent(row["accuracy"]),
                f"{row['taken_for']} ({row['times']})" if row["times"] else "",
            )
            for _, row in known.iterrows()
        ],
    )
