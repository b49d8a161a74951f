"""`aclnet compare`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from aclnet.cli import completion, options
from aclnet.cli.console import percent
from aclnet.cli.results import Table, emit
from aclnet.datasets.spec import first_of

if TYPE_CHECKING:
    from pathlib import Path

    from aclnet.cli.results import Form

_MOST = 5
"""Number of classes of each kind on the screen."""


@click.command()
@click.argument("runs", type=options.PATH, nargs=-1, required=True, shell_complete=completion.run)
@click.option(
    "--with",
    "others",
    type=options.PATH,
    shell_complete=completion.run,
    multiple=True,
    required=True,
    help="Run to compare with. Give as many as RUNS; they are paired in order.",
)
@click.option("--scores", help="Name of a file in scores/. [default: that of the test split]")
@options.output_form
def command(
    runs: tuple[Path, ...], others: tuple[Path, ...], scores: str | None, output: Form
) -> None:
    """Compare the scores of RUNS with others on the same samples, pair by pair.

    A file of scores, such as `aclnet ensemble --out` writes, can replace a run.

    The exact McNemar test counts the samples that only one of a pair classifies correctly, and
    tests whether both counts are equal. For all pairs together, for example of several seeds, the
    command gives the difference and its 95 % interval from a bootstrap over pairs and samples, also
    for each class and each motion family (of the first run that has families). The intervals of
    classes are not corrected for the number of classes: without any difference, about one of 20
    intervals does not contain 0.
    """
    from aclnet.evaluation.compare import compare
    from aclnet.evaluation.family_table import families_of
    from aclnet.runs.run import Run
    from aclnet.runs.scores import Scores

    opened = {path: None if path.is_file() else Run(path) for path in (*runs, *others)}

    def load(path: Path) -> Scores:
        run = opened[path]
        if run is None:
            return Scores.load(path)
        return Scores.load(run.scores(scores) if scores else run.test_scores)

    first, second = ([load(run) for run in side] for side in (runs, others))
    named = [run for run in opened.values() if run is not None]
    names = named[0].score_names if named else None
    families = next((known for known in map(families_of, named) if any(known.values())), None)
    found = compare(first, second, names, families)
    found["pairs"] = [
        {"first_run": str(a), "second_run": str(b), **pair}
        for a, b, pair in zip(runs, others, found["pairs"], strict=True)
    ]
    pairs = [
        [f"{a.name} - {b.name}", *_accuracies(pair)]
        for a, b, pair in zip(runs, others, found["pairs"], strict=True)
    ]
    columns = ["pair", "first", "second", "only first correct", "only second right", "p"]
    columns += ["same prediction", "same mistake"]
    tables = [
        Table(f"Top-1 on {found['samples']} samples", columns, pairs),
        _together(found["together"]),
        *_parts(found),
    ]
    emit(output, "compare/1", found, tables)


def _together(found: dict[str, float]) -> Table:
    """The difference over all pairs, in points."""
    low, high = 100 * found["low"], 100 * found["high"]
    return Table(
        "All pairs together",
        ["second - first, points", "95 % interval", "Cohen's h", "visible in 80 % of cases"],
        [
            [
                f"{100 * found['difference']:+.1f}",
                f"{low:+.1f} to {high:+.1f}",
                f"{found['effect']:+.2f}",
                f"{100 * found['visible']:.1f}",
            ]
        ],
    )


def _parts(found: dict[str, Any]) -> list[Table]:
    """The classes with the largest gains and losses, and the motion families."""
    columns = ["samples", "first", "second", "points", "95 % interval"]
    classes, families = found["classes"], found["families"]
    gains = [c for c in classes if c["difference"] > 0][:_MOST]
    losses = [c for c in classes[::-1] if c["difference"] < 0][:_MOST]
    tables = [
        Table(title, ["class", *columns], [[c["class"], *_part(c)] for c in rows])
        for title, rows in (("Largest gains", gains), ("Largest losses", losses))
        if rows
    ]
    shown = families if len(families) <= 2 * _MOST else [*families[:_MOST], *families[-_MOST:]]
    if families:
        cells = [[first_of(f["family"], 4), *_part(f)] for f in shown]
        tables.append(Table("Motion families", ["family", *columns], cells))
    return tables


def _part(row: dict[str, Any]) -> list[str]:
    shares = [percent(row["first"]), percent(row["second"])]
    low, high = 100 * row["low"], 100 * row["high"]
    return [
        row["samples"],
        *shares,
        f"{100 * row['difference']:+.1f}",
        f"{low:+.1f} to {high:+.1f}",
    ]


def _accuracies(pair: dict[str, float]) -> list[str]:
    counts = [f"{pair[side]:.0f}" for side in ("only_first", "only_second")]
    wrong = pair["same_mistake"] + pair["other_mistake"]
    alike = [percent(pair["same_prediction"]), f"{pair['same_mistake']:.0f} of {wrong:.0f}"]
    return [percent(pair["first"]), percent(pair["second"]), *counts, f"{pair['p']:.3g}", *alike]
