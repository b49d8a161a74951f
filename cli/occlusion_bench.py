"""`aclnet occlusion-bench`."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING

import click

from aclnet.cli import completion, options
from aclnet.cli.console import progress_bars, screen
from aclnet.cli.finding import find_run_and_store
from aclnet.cli.results import Table, emit
from aclnet.cli.tables import which_weights
from aclnet.pipelines.choices import Missing, Suite

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd

    from aclnet.cli.results import Form
    from aclnet.datasets.store.paths import StorePath
    from aclnet.datasets.store.store import Store
    from aclnet.evaluation.occlusion_bench import Bench
    from aclnet.runs.run import Run


@click.command()
@click.argument("runs", type=options.PATH, nargs=-1, shell_complete=completion.run)
@click.option("--suite", type=options.choice(Suite), help="Run all protocols of a suite.")
@click.option(
    "--drop",
    "drops",
    multiple=True,
    metavar="NAME",
    help="Parts or joints that are missing, joined by +, or the name of a protocol. May be "
    "repeated.",
)
@click.option(
    "--missing",
    type=options.choice(Missing),
    default="centre",
    show_default=True,
    help="Replacement of missing joints: the body's centre, the camera, cleared features, the "
    "position seen last, or linear interpolation over time.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the protocols."
)
@click.option(
    "--compare",
    "reference",
    type=options.PATH,
    shell_complete=completion.run,
    metavar="RUN",
    help="Compare all runs with this one: gains, and the mean corruption error.",
)
@click.option("--out", type=options.PATH, help="Folder for tables and figure. [default: in RUN]")
@options.scoring
@options.output_form
def command(
    runs: tuple[Path, ...],
    suite: Suite | None,
    drops: tuple[str, ...],
    missing: Missing,
    seed: int,
    reference: Path | None,
    out: Path | None,
    store: StorePath | None,
    split: str | None,
    clips: int | None,
    accelerator: str,
    output: Form,
) -> None:
    """Test RUNS (the newest below this folder by default) with joints or frames missing.

    For example --drop hands --drop left_arm+head, or --suite standard. docs/occlusion.md lists the
    protocols. Results are kept in each run: the same command resumes after an interruption, and a
    larger suite only adds what is new.

    The numbers depend on the meaning of "missing" and on preprocessing. Runs whose tables would be
    made differently are not compared.
    """
    from aclnet.evaluation.bench_files import write_bench
    from aclnet.evaluation.occlusion_bench import choose_protocols, run_bench
    from aclnet.evaluation.outcomes import words_of
    from aclnet.evaluation.scorer import Scorer

    if not suite and not drops:
        raise click.UsageError("give --suite, --drop or both")
    opened: dict[Path, tuple[Run, Store]] = {}
    for path in (*(runs or (None,)), *([reference] if reference else [])):
        run, data = find_run_and_store(path, store)
        opened.setdefault(run.path.resolve(), (run, data))  # a run may be named twice
    scorers = [
        Scorer(run, data, split, clips=clips, accelerator=accelerator)
        for run, data in opened.values()
    ]
    first = scorers[0]
    protocols, left_out = choose_protocols(
        first.store, first.mask, suite=suite, drops=drops, missing=missing, seed=seed
    )
    number = [*opened].index(reference.resolve()) if reference else None
    with progress_bars() as update:
        bench = run_bench(scorers, protocols, reference=number, progress=update)
    parts = [first.name, missing, ",".join([*([suite] if suite else []), *drops])]
    parts += [f"seed{seed}"] if seed else []
    stem = (out or first.run.path / "occlusion") / ".".join(map(words_of, parts))
    people = first.config.task != "action"
    measure = "rank-1" if people else "top-1 accuracy"
    about = {
        "runs": [str(scorer.run.path) for scorer in scorers],
        "store": str(first.store.path),
        "split": first.name,
        "clips": first.clips,
        "missing": missing,
        "seed": seed,
        "left_out": [{"protocol": name, "reason": reason} for name, reason in left_out.items()],
    }
    write_bench(bench, about, stem, first.name, measure)
    for scorer in scorers:
        weights = which_weights(scorer.run.config.select)
        screen.print(f"run {scorer.run.path}, store {scorer.store.path}, weights: {weights}")
    title = f"{first.name}, {first.clips} clips; missing joints: {missing}"
    tables = bench_tables(bench, title, people=people)
    emit(output, "occlusion-bench/1", {**about, **bench.as_dict()}, tables)
    tell_bench(people=people)
    for name, reason in left_out.items():
        screen.print(f"left out: {name}: {reason}")
    screen.print(f"tables and figure: {stem}.*")


def bench_tables(bench: Bench, title: str, *, people: bool = False) -> list[Table]:
    """The tables of a bench with 95 % intervals, for actions or for the recognition of people."""
    compared = "gain" in bench.rows
    columns = ["rank-1, %" if people else "top-1, %", "interval", "kept, %"]
    columns += ["gain", "interval"] if compared else ["ECE, %"]
    tables = _by_run(
        title,
        ["protocol", *columns],
        bench.rows,
        lambda row: (
            row["protocol"].partition(" (")[0] if row["severity"] else row["protocol"],
            *_measured(row, "accuracy"),
            _share(row["kept"]),
            *(_measured(row, "gain") if compared else (_share(row["ece"]),)),
        ),
    )
    tables += _by_run(
        "Area under the curve of accuracy by severity",
        ["protocols", "area, %", "interval"],
        bench.curves,
        lambda row: (row["curve"], *_measured(row, "area")),
    )
    if len(bench.errors):
        rows = [(row["run"], *_measured(row, "mce")) for _, row in bench.errors.iterrows()]
        heading = "Mean corruption error against the reference: below 100 % is better"
        tables.append(Table(heading, ["run", "mCE, %", "interval"], rows))
    return tables


def tell_bench(*, people: bool = False) -> None:
    """Prints the meaning of the figures of a bench on stderr."""
    units = "people" if people else "sequences"
    screen.print(
        f"intervals of 95 %, from a bootstrap over {units}; kept: share of the clean accuracy"
    )
    if people:
        screen.print("only the probes are corrupted; the gallery is clean")


def _by_run(
    title: str,
    columns: list[str],
    rows: pd.DataFrame,
    cells: Callable[[pd.Series], tuple[str, ...]],
) -> list[Table]:
    """One table for each run, because a terminal is narrow."""
    runs = rows["run"].unique()
    return [
        Table(
            title if len(runs) == 1 else f"{run}: {title}",
            columns,
            [cells(row) for _, row in rows[rows["run"] == run].iterrows()],
        )
        for run in runs
    ]


def _measured(row: pd.Series, name: str) -> tuple[str, str]:
    """A measure in %, and its interval."""
    return _share(row[name]), f"{_share(row[f'{name}_low'])} to {_share(row[f'{name}_high'])}"


def _share(share: float) -> str:
    return "-" if isnan(share) else f"{round(100 * share, 1) + 0.0:.1f}"  # no -0.0
