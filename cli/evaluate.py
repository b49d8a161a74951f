"""`aclnet evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from aclnet.cli.console import json_option, percent, print_json, progress, screen, table
from aclnet.cli.progress import remark_unfinished, which_weights

if TYPE_CHECKING:
    import pandas as pd

    from aclnet.evaluate import Scorer
    from aclnet.scores import Scores


@click.command()
@click.argument("run", type=click.Path(path_type=Path), required=False)
@click.option("--store", type=click.Path(path_type=Path), help="Another store of the same layout.")
@click.option("--split", help="As xsub/test. [default: what the run tests on]")
@click.option("--clips", type=click.IntRange(1), help="Clips a sequence. [default: the run's]")
@click.option("--accelerator", default="auto", help="cpu, cuda, ...")
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

    Writes scores with sample ids, the per-class table and the confusion matrix into the run.
    """
    from aclnet.datasets.find import newest_run
    from aclnet.datasets.store import Store
    from aclnet.evaluate import Scorer
    from aclnet.figures import draw_confusion
    from aclnet.runs import Run

    opened = Run(run or newest_run(Path()))
    remark_unfinished(opened)
    data = Store(store) if store else opened.open_store()
    scorer = Scorer(opened, data, split, clips=clips, accelerator=accelerator)
    with progress() as update:
        scores = scorer.score(progress=update)
    file = opened.scores(scorer.name)
    scores.save(file)
    per_class = scores.per_class(opened.class_names)
    per_class.to_csv(file.with_suffix(".per_class.csv"), index=False)
    draw_confusion(scores.confusion(), opened.class_names, file.with_suffix(".confusion.png"))
    if as_json:
        print_json({"run": str(opened.path), "split": scorer.name, **scores.result()})
        return
    screen.print(f"run {opened.path}, store {data.path}", markup=False)
    _show(scorer, scores, per_class)
    screen.print(f"scores, table and confusion: {file.with_suffix('')}.*", markup=False)


def _show(scorer: Scorer, scores: Scores, per_class: pd.DataFrame) -> None:
    result = scores.result()
    rows = [
        ["top-1", percent(result["top1"])],
        ["95 % interval", f"{percent(result['top1_low'])} to {percent(result['top1_high'])}"],
        ["top-5", percent(result["top5"])],
        ["mean class accuracy", percent(result["mean_class"])],
        ["samples, clips each", f"{len(scores)}, {scorer.clips}"],
        ["weights", which_weights(scorer.run.config.select)],
    ]
    table(scorer.split, ["", "value"], rows)
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
