"""`aclnet sweep`."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING

import click

from aclnet.cli import options
from aclnet.cli.console import print_json, screen, table
from aclnet.cli.finding import choose_recipe, find_store, with_protocol
from aclnet.cli.tables import which_weights

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from aclnet.training.sweep import Sweep


@click.command()
@options.store_argument
@options.recipe
@click.option(
    "--grid",
    "grids",
    multiple=True,
    required=True,
    metavar="KEY=V1,V2,...",
    help="As loss.weight=0,0.1; several: all combinations. Or `components`: loss.terms.",
)
@click.option(
    "--seeds",
    type=options.CommaList(click.IntRange(0)),
    default="0,1,2",
    show_default=True,
    metavar="N,...",
    help="Every setting is trained with each.",
)
@options.settings
@options.protocol
@options.split_file
@click.option(
    "--folds", type=click.IntRange(2), help="Test on so many folds of the training subjects."
)
@options.select
@click.option("--jobs", type=click.IntRange(1), default=1, help="Runs at once, a device each.")
@options.accelerator
@click.option("--out", type=options.PATH, help="Of runs and tables. [default: by the store]")
@click.option("--report", is_flag=True, help="Train nothing, show what is finished.")
@options.as_json
def command(
    store: Path | None,
    recipe: str | None,
    grids: tuple[str, ...],
    seeds: list[int],
    settings: tuple[str, ...],
    protocol: str | None,
    split_file: Path | None,
    folds: int | None,
    select: str | None,
    jobs: int,
    accelerator: str,
    out: Path | None,
    report: bool,
    as_json: bool,
) -> None:
    """Train a grid of settings on STORE (the newest below this folder) with several seeds.

    The first setting is what the others are compared with, on the same samples and seeds.
    Settings are to be chosen on folds of the training side (--folds N, by subject; as many as
    there are subjects leave one out each) or on a --split of one's own, never on the test.

    Stopped anywhere, the same command goes on; runs that another grid has trained are not trained
    again.
    """
    from aclnet.cli.monitors import JobsScreen
    from aclnet.training.jobs import failed, train_jobs
    from aclnet.training.sweep import plan_sweep, write_results

    if split_file and (protocol or folds):
        raise click.UsageError("--split says who trains, as --protocol and --folds do: give one")
    opened = find_store(store)
    sweep = plan_sweep(
        opened,
        choose_recipe(recipe, opened, protocol),
        grids,
        seeds,
        settings=with_protocol(settings, protocol),
        select=select,
        split_file=split_file,
        folds=folds,
        out=out,
    )
    failures = []
    if not report:
        screen.print(_chosen(sweep))
        with JobsScreen(jobs) as watch:
            failures = train_jobs(sweep.jobs, watch, at_once=jobs, accelerator=accelerator)
    rows = write_results(sweep)
    if as_json:
        known = rows.astype(object).where(rows.notna(), None)
        settings_found = known.to_dict("records")
        print_json(
            {"folder": str(sweep.folder), "tested": sweep.tested, "settings": settings_found}
        )
    else:
        _show(sweep, rows)
        if not split_file and not folds:
            screen.print("measured on the test: choose settings on --folds, not by this table")
        screen.print(f"tables and figure: {sweep.folder}")
    if failures:
        raise failed(failures, len(sweep.jobs))


def _chosen(sweep: Sweep) -> str:
    first = sweep.cells[0].job
    return (
        f"{first.store}, recipe {first.config.recipe}, {len(sweep.jobs)} runs "
        f"({len(sweep.settings)} settings, {len(sweep.seeds)} seeds) in {first.path.parent}"
    )


def _show(sweep: Sweep, rows: pd.DataFrame) -> None:
    config = sweep.cells[0].job.config
    table(
        f"Top-1, %, on {sweep.tested}, recipe {config.recipe}, "
        f"weights: {which_weights(config.select)}",
        [*_short(sweep.keys), "mean", "sd", "range", "seeds", "against first", "p", "visible"],
        [
            [
                *(row[key] for key in sweep.keys),
                _percent(row["top1"]),
                _percent(row["sd"], ".2f"),
                f"{_percent(row['lowest'])} to {_percent(row['highest'])}" if row["seeds"] else "",
                f"{row['seeds']}/{len(sweep.seeds)}",
                _percent(row["difference"], "+.1f"),
                _number(row["p"], ".3g"),
                _percent(row["visible"]),
            ]
            for row in rows.to_dict("records")
        ],
    )
    screen.print(
        "p: McNemar's, exact, seeds paired and pooled as if independent; visible: the\n"
        "difference that it finds in 80 % of cases (none: too few samples differ)"
    )


def _short(keys: list[str]) -> list[str]:
    """Without their sections, where that tells them apart."""
    last = [key.rpartition(".")[2] for key in keys]
    return last if len(set(last)) == len(last) else keys


def _percent(share: float, form: str = ".1f") -> str:
    return _number(100 * share, form)


def _number(value: float, form: str) -> str:
    return "" if isnan(value) else f"{value:{form}}"
