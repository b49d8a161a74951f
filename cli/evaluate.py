"""`aclnet evaluate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from aclnet.cli.console import json_option, percent, print_json, progress, screen, table
from aclnet.cli.scoring import open_run, scoring_options, show_accuracy

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd


@click.command()
@scoring_options
@json_option
def command(
    run: Path | None,
    store: Path | None,
    split: str | None,
    clips: int | None,
    accelerator: str,
    as_json: bool,
) -> None:
    """Score a split with RUN (the newest below this folder by default).

    Probes are recognised by the nearest sample of their gallery; other sides by the classifier.

    Writes scores with sample ids, the per-class table and the confusion matrix into the run.
    """
    from aclnet.evaluate import Scorer
    from aclnet.figures import draw_confusion

    opened, data = open_run(run, store)
    scorer = Scorer(opened, data, split, clips=clips, accelerator=accelerator)
    with progress() as update:
        scores = scorer.score(progress=update)
    file = opened.scores(scorer.name)
    scores.save(file)
    per_class = scores.per_class(scorer.class_names)
    per_class.to_csv(file.with_suffix(".per_class.csv"), index=False)
    draw_confusion(scores.confusion(), scorer.class_names, file.with_suffix(".confusion.png"))
    if as_json:
        print_json({"run": str(opened.path), "split": scorer.name, **scorer.result(scores)})
        return
    screen.print(f"run {opened.path}, store {data.path}", markup=False)
    show_accuracy(scorer.split, scorer.result(scores), scorer.clips, opened.config.select)
    _show_classes(per_class)
    screen.print(f"scores, table and confusion: {file.with_suffix('')}.*", markup=False)


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
