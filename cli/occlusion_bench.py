"""`aclnet occlusion-bench`."""

from __future__ import annotations

from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aclnet.cli import options
from aclnet.cli.console import print_json, progress_bars, screen, table
from aclnet.cli.finding import find_run_and_store
from aclnet.cli.tables import which_weights
from aclnet.pipelines.choices import Missing

if TYPE_CHECKING:
    import pandas as pd


@click.command()
@click.option("--drop", "drops", multiple=True, required=True, help="Parts or joints, + joins.")
@click.option(
    "--missing",
    type=options.choice(Missing),
    default="centre",
    help="Where missing joints are: at the body's centre, at the camera, or without features.",
)
@options.scoring
@options.as_json
def command(
    run: Path | None,
    drops: tuple[str, ...],
    missing: Missing,
    store: Path | None,
    split: str | None,
    clips: int | None,
    accelerator: str,
    as_json: bool,
) -> None:
    """Score RUN (the newest below this folder by default) with body parts missing.

    For example --drop hands --drop legs --drop left_arm+head. The numbers depend on what
    "missing" means and on preprocessing; compare them only with others of the same name.
    """
    from aclnet.evaluation.figures import draw_bench
    from aclnet.evaluation.occlusion_bench import occlusion_bench
    from aclnet.pipelines.inputs.occlusion import Drop
    from aclnet.runs.writing import writing

    opened, data = find_run_and_store(run, store)
    corruptions = [Drop.of(drop, data.layout, missing) for drop in drops]
    with progress_bars() as update:
        name, rows = occlusion_bench(
            opened, data, corruptions, split, clips=clips, accelerator=accelerator, progress=update
        )
    # each choice of parts and of what missing means has files of its own
    file = opened.path / "occlusion" / f"{name}.{missing}.{','.join(drops)}"
    with writing(Path(f"{file}.csv")) as temporary:
        rows.to_csv(temporary, index=False)
    measure = "top-1 accuracy" if opened.config.task == "action" else "rank-1"
    draw_bench(rows, f"{opened.name}, {name}", Path(f"{file}.png"), measure)
    if as_json:
        print_json({"run": str(opened.path), "split": name, "rows": rows.to_dict("records")})
        return
    screen.print(f"run {opened.path}, store {data.path}")
    weights = which_weights(opened.config.select)
    people = opened.config.task != "action"
    show_bench(rows, f"{name}, {len(data.layout.joints)} joints, weights: {weights}", people=people)
    screen.print(f"table and figure: {file}.*")


def show_bench(rows: pd.DataFrame, title: str, *, people: bool = False) -> None:
    """Prints the table of a bench, intervals at 95 %: of actions or of people recognised."""
    table(
        title,
        ["missing", "rank-1, %" if people else "top-1, %", "interval", "lost, %", "interval"],
        [
            (
                row["corruption"],
                _share(row["top1"]),
                f"{_share(row['low'])} to {_share(row['high'])}",
                _share(row["lost"]) if number else "",
                f"{_share(row['lost_low'])} to {_share(row['lost_high'])}" if number else "",
            )
            for number, row in enumerate(rows.to_dict("records"))
        ],
    )
    screen.print("intervals at 95 %; lost: against clean, on the same samples")
    if people:
        screen.print("of probes; the gallery is clean, and intervals are of people drawn again")


def _share(share: float) -> str:
    return "-" if isnan(share) else f"{100 * share:.1f}"
