"""`aclnet evaluate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from aclnet.cli import options
from aclnet.cli.console import percent, print_json, progress_bars, screen, table
from aclnet.cli.finding import find_run_and_store
from aclnet.cli.tables import show_accuracy, show_recognition, which_weights

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from aclnet.evaluation.scorer import Scorer


@click.command()
@options.embedding
@options.metric
@click.option("--flip/--no-flip", default=None, help="With the mirror image of each sequence too.")
@click.option(
    "--published", is_flag=True, help="Of re-ID: also as the published code counts, defects kept."
)
@options.scoring
@options.as_json
def command(
    run: Path | None,
    embedding: str | None,
    metric: str | None,
    flip: bool | None,
    published: bool,
    store: Path | None,
    split: str | None,
    clips: int | None,
    accelerator: str,
    as_json: bool,
) -> None:
    """Test RUN (the newest below this folder by default) on a split.

    Of actions: accuracies, classes and confusion. Of people (gait, re-ID): the protocol's tables;
    each probe is looked for in the gallery, by the distance of embeddings.

    Writes scores with sample ids, and what it prints, into the run.
    """
    from aclnet.evaluation.figures import draw_confusion
    from aclnet.evaluation.scorer import Scorer
    from aclnet.runs.inference import Pass

    opened, data = find_run_and_store(run, store)
    task = opened.config.task
    if published and task != "reid":
        raise click.UsageError(f"--published is of re-identification; this run's task is {task}")
    retrieval = opened.config.retrieval.changed(embedding=embedding, metric=metric, flip=flip)
    scorer = Scorer(opened, data, split, clips=clips, retrieval=retrieval, accelerator=accelerator)
    file = opened.scores(scorer.name)
    if task != "action":
        _recognise(scorer, file, published=published, as_json=as_json)
        return
    with progress_bars() as update:
        scores = scorer.score(Pass(progress=update))
    scores.save(file)
    per_class = scores.per_class(scorer.class_names)
    opened.save_tables(file, {"per_class": per_class})
    draw_confusion(scores.confusion(), scorer.class_names, file.with_suffix(".confusion.png"))
    if as_json:
        print_json({"run": str(opened.path), "split": scorer.name, **scorer.result(scores)})
        return
    screen.print(f"run {opened.path}, store {data.path}")
    show_accuracy(scorer.split, scorer.result(scores), scorer.clips, opened.config.select)
    _show_classes(per_class)
    screen.print(f"scores, table and confusion: {file.with_suffix('')}.*")


def _recognise(scorer: Scorer, file: Path, *, published: bool, as_json: bool) -> None:
    """Tests people by retrieval and shows the protocol's tables."""
    from aclnet.runs.inference import Pass

    run, data = scorer.run, scorer.store
    with progress_bars() as update:
        found = scorer.recognise(Pass(progress=update))
    scores = found.scores(len(scorer.class_names))
    scores.save(file)
    tables = found.tables(as_published=published)
    run.save_tables(file, tables)
    result = scorer.result(scores) | found.result()
    if as_json:
        rows = {name: frame.to_dict("records") for name, frame in tables.items()}
        print_json({"run": str(run.path), "split": scorer.name, **result, "tables": rows})
        return
    screen.print(f"run {run.path}, store {data.path}")
    show_recognition(scorer.split, result, tables, scorer.config)
    screen.print(f"weights: {which_weights(run.config.select)}")
    screen.print(f"scores and tables: {file.with_suffix('')}.*")


def _show_classes(per_class: pd.DataFrame) -> None:
    known = per_class[per_class["samples"] > 0].sort_values("accuracy", kind="stable")
    table(
        "Classes, the worst first",
        ["class", "samples", "right", "most often taken for"],
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
