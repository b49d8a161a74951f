"""`aclnet sweep`."""

from __future__ import annotations

import shlex
from math import isnan
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from aclnet.cli import options
from aclnet.cli.console import progress_bars, screen
from aclnet.cli.finding import choose_recipe, find_store, with_protocol
from aclnet.cli.results import Table, emit, fail
from aclnet.cli.tables import which_weights

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from aclnet.cli.results import Form
    from aclnet.datasets.store.paths import StorePath
    from aclnet.sweeps.plan import Sweep
    from aclnet.sweeps.rows import Rows
    from aclnet.training.jobs import Failure

_MEASURES = (
    "interval: 95 %, from a bootstrap over seeds and samples; effect: Cohen's h; visible: the\n"
    "smallest difference that this number of seeds and samples shows in 80 % of cases"
)


@click.command()
@options.stores_argument
@options.recipe
@click.option(
    "--grid",
    "grids",
    multiple=True,
    metavar="KEY=V1,V2,...",
    help="Values of a setting, for example loss.weight=0,0.1; or `components` for all loss.terms. "
    "Give several for all combinations.",
)
@click.option(
    "--rows",
    "rows_file",
    type=options.PATH,
    metavar="FILE.toml",
    help="File of named settings to train, pairs of them to compare, and an occlusion suite; see "
    "docs/evidence.md.",
)
@click.option(
    "--seeds",
    type=options.CommaList(click.IntRange(0)),
    default="0,1,2",
    show_default=True,
    metavar="N,...",
    help="Seeds that every setting is trained with.",
)
@options.settings
@options.protocol
@options.split_file
@click.option(
    "--folds", type=click.IntRange(2), help="Number of folds of the training subjects to test on."
)
@options.select
@click.option("--jobs", type=click.IntRange(1), default=1, help="Parallel runs, one per device.")
@options.trackers
@options.accelerator
@click.option("--out", type=options.PATH, help="Folder of runs and tables. [default: beside STORE]")
@click.option(
    "--page",
    type=options.PATH,
    metavar="FILE.md",
    help="Write a page in Markdown: settings, hardware, commit, cost and all tables.",
)
@click.option("--report", is_flag=True, help="Show the finished runs without training.")
@options.output_form
def command(
    stores: tuple[StorePath, ...],
    recipe: str | None,
    grids: tuple[str, ...],
    rows_file: Path | None,
    seeds: list[int],
    settings: tuple[str, ...],
    protocol: str | None,
    split_file: Path | None,
    folds: int | None,
    select: str | None,
    jobs: int,
    trackers: tuple[str, ...],
    accelerator: str,
    out: Path | None,
    page: Path | None,
    report: bool,
    output: Form,
) -> None:
    """Train a grid of settings on STORE (the newest below this folder) with several seeds.

    Several stores are used as one store, as in `aclnet train`.

    Give the settings with --grid, which compares them with the first one, or with --rows, a file
    that also names the pairs to compare. All settings use the same samples and seeds.

    Choose settings on folds of the training side or on your own --split, never on the test split.
    --folds N divides the subjects; with as many folds as subjects, each fold leaves one out.

    If the command is interrupted, run it again to resume. Runs that another sweep has trained are
    not trained again.
    """
    from aclnet.cli.monitors import JobsScreen
    from aclnet.sweeps.occlusion import occlude
    from aclnet.sweeps.page import write_page
    from aclnet.sweeps.plan import plan_sweep
    from aclnet.sweeps.results import make_tables, write_tables
    from aclnet.training.jobs import failed, train_jobs

    if split_file and (protocol or folds):
        raise click.UsageError(
            "--split, --protocol and --folds all choose the training samples: give one of them"
        )
    rows = _choose_rows(grids, rows_file)
    opened = find_store(*stores)
    sweep = plan_sweep(
        opened,
        choose_recipe(recipe or rows.recipe, opened, "" if split_file else protocol),
        rows,
        seeds,
        settings=with_protocol(settings, protocol),
        select=select,
        split_file=split_file,
        folds=folds,
        trackers=trackers,
        accelerator=accelerator,
        out=out,
    )
    failures: list[Failure] = []
    if not report:
        screen.print(_chosen(sweep))
        with JobsScreen(jobs) as watch:
            failures = train_jobs(sweep.jobs, watch, at_once=jobs, accelerator=accelerator)
    with progress_bars() as update:
        occluded = occlude(sweep, accelerator=accelerator, progress=update)
    tables = make_tables(sweep, occluded)
    write_tables(sweep, tables)
    if page:
        write_page(page, sweep, tables, occluded, _command_line())
    document = {
        "folder": str(sweep.folder),
        "tested": sweep.tested,
        **{key: _records(table, rows.keys) for key, table in _long(tables).items()},
        "failures": [failure.as_dict() for failure in failures],
    }
    emit(output, "sweep/1", document, _tables(sweep, tables))
    if rows.pairs:
        screen.print(_MEASURES)
    if not split_file and not folds:
        screen.print("measured on the test split: use --folds to choose settings, not this table")
    screen.print(f"tables and figure: {sweep.folder}")
    if failures:
        fail(failed(failures, len(sweep.jobs)))


def _choose_rows(grids: tuple[str, ...], file: Path | None) -> Rows:
    from aclnet.sweeps.rows import Rows

    if bool(grids) == bool(file):
        raise click.UsageError("give --grid or --rows")
    return Rows.load(file) if file else Rows.of_grids(grids)


def _command_line() -> str:
    """The command as it was given, without options that only concern its output."""
    context = click.get_current_context()
    words = ["aclnet", "sweep"]
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        if source != ParameterSource.COMMANDLINE or name in ("page", "report", "output", "json"):
            continue
        value = context.params[name]
        for one in value if isinstance(value, tuple) else (value,):
            text = ",".join(map(str, one)) if isinstance(one, list) else str(one)
            words += [text] if isinstance(parameter, click.Argument) else [parameter.opts[0], text]
    return shlex.join(words)


def _long(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The tables by their keys in the document, each with fixed columns."""
    found = {name: tables[name] for name in ("rows", "differences", "runs")}
    if "occlusion" in tables:
        of_rows = tables["occlusion"].melt("protocol", var_name="row", value_name="accuracy")
        found |= {"occlusion": of_rows, "occlusion_differences": tables["occlusion-differences"]}
    return found


def _records(frame: pd.DataFrame, keys: list[str]) -> list[dict[str, Any]]:
    """Rows of a table. The keys of a row are sections in `setting`, as in a recipe."""
    return [_nested(line, keys) for line in frame.to_dict("records")]


def _nested(line: dict[Any, Any], keys: list[str]) -> dict[str, Any]:
    if not all(key in line for key in keys) or "accuracy" in line:
        return line
    setting: dict[str, Any] = {}
    for key in keys:
        *sections, name = key.split(".")
        place = setting
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = line[key]
    return {"setting": setting, **{k: v for k, v in line.items() if k not in keys}}


def _chosen(sweep: Sweep) -> str:
    first = sweep.cells[0].job
    return (
        f"{first.data}, recipe {first.config.recipe}, {len(sweep.jobs)} runs "
        f"({len(sweep.rows.settings)} settings, {len(sweep.seeds)} seeds) in {first.path.parent}"
    )


def _tables(sweep: Sweep, tables: dict[str, pd.DataFrame]) -> list[Table]:
    config, keys = sweep.cells[0].job.config, sweep.rows.keys
    found = [
        Table(
            f"Top-1, %, on {sweep.tested}, recipe {config.recipe}, "
            f"weights: {which_weights(config.select)}",
            [*_short(keys), "mean", "sd", "range", "seeds"],
            [
                [
                    *(row[key] for key in keys),
                    _percent(row["top1"]),
                    _percent(row["sd"], ".2f"),
                    f"{_percent(row['lowest'])} to {_percent(row['highest'])}"
                    if row["seeds"]
                    else "",
                    f"{row['seeds']}/{len(sweep.seeds)}",
                ]
                for row in tables["rows"].to_dict("records")
            ],
            left=len(keys),
        )
    ]
    differences = tables["differences"]
    if (differences["seeds"] > 0).any():
        found.append(_differences(differences))
    if "occlusion" in tables:
        accuracies = tables["occlusion"]
        lines = accuracies.itertuples(index=False)
        found.append(
            Table(
                "Top-1, %, with joints or frames missing",
                list(accuracies.columns),
                [[name, *map(_percent, shares)] for name, *shares in lines],
            )
        )
    return found


def _differences(table: pd.DataFrame) -> Table:
    return Table(
        "Differences in points",
        ["from", "to", "difference", "interval", "effect", "visible"],
        [
            [
                row["first"],
                row["second"],
                _percent(row["difference"], "+.1f"),
                f"{_percent(row['low'], '+.1f')} to {_percent(row['high'], '+.1f')}",
                _number(row["effect"], "+.2f"),
                _percent(row["visible"]),
            ]
            for row in table.to_dict("records")
            if row["seeds"]
        ],
        left=2,
    )


def _short(keys: list[str]) -> list[str]:
    """The keys without their sections, if they then differ."""
    last = [key.rpartition(".")[2] for key in keys]
    return last if len(set(last)) == len(keys) else keys


def _percent(share: float, form: str = ".1f") -> str:
    return _number(100 * share, form)


def _number(value: float, form: str) -> str:
    return "" if isnan(value) else format(value, form)
