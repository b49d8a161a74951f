"""`aclnet evaluate`."""

from __future__ import annotations

from pathlib import Path

import click

from aclnet.cli.console import json_option, percent, print_json, progress, screen, table


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
    data = Store(store) if store else opened.open_store()
    scorer = Scorer(opened, data, split, clips=clips, accelerator=accelerator)
    with progress() as update:
        scores = scorer.score(progress=update)
    name = scorer.name
    folder = opened.path / "scores"
    scores.save(folder / f"{name}.npz")
    per_class = scores.per_class(opened.class_names)
    per_class.to_csv(folder / f"{name}.per_class.csv", index=False)
    figure = draw_confusion(
        scores.confusion(), opened.class_names, folder / f"{name}.confusion.png"
    )
    result = scores.result()
    if as_json:
        print_json({"run": str(opened.path), "split": name, **result})
        return
    low, high = result["top1_low"], result["top1_high"]
    table(
        f"{opened.name} on {name} of {data.path}",
        ["", "value"],
        [
            ["top-1", percent(result["top1"])],
            ["95 % interval", f"{percent(low)} to {percent(high)}"],
            ["top-5", percent(result["top5"])],
            ["mean class accuracy", percent(result["mean_class"])],
            ["samples", len(scores)],
        ],
    )
    table(
        "Classes, the worst first",
        ["class", "samples", "accuracy", "most often taken for", "times"],
        [
            (row["class"], row["samples"], percent(row["accuracy"]), row["taken_for"], row["times"])
            for _, row in per_class.dropna().sort_values("accuracy").iterrows()
        ],
    )
    screen.print(f"scores, table and confusion: {figure.parent}/{name}.*")
