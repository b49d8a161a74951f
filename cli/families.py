"""`aclnet families`."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING

import click

from aclnet.cli import completion, options
from aclnet.cli.console import screen
from aclnet.cli.finding import find_run
from aclnet.cli.results import Table, emit

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from aclnet.cli.results import Form
    from aclnet.evaluation.family_table import FamilyTable
    from aclnet.runs.run import Run

_EPOCHS = 10
"""Epochs of a stability table on the screen; JSON and CSV have all."""
_PAIRS = 20
"""Pairs of classes on the screen; JSON and CSV have all."""


@click.command()
@click.argument(
    "runs", metavar="[RUN]...", type=options.PATH, nargs=-1, shell_complete=completion.run
)
@click.option("--epoch", type=click.IntRange(1), help="Epoch of the families. [default: the last]")
@click.option(
    "--scores", help="Use the confusions of this file in scores/ instead, for example xsub-test."
)
@click.option(
    "--grouping",
    type=options.PATH,
    help="CSV file with the columns class and group: compare the families with your own groups.",
)
@click.option(
    "--out",
    type=options.PATH,
    help="Folder for the tables as CSV: families, stability, agreement, pairs.",
)
@options.output_form
def command(
    runs: tuple[Path, ...],
    epoch: int | None,
    scores: str | None,
    grouping: Path | None,
    out: Path | None,
    output: Form,
) -> None:
    """Show the motion families of each RUN (the newest below this folder by default).

    The family of a class contains the classes that are confused with it, and the classes that are
    confused with the same classes. Its size sets the temperature of the loss between them. An
    imported run has no families from training; they come from the confusions on the test split.

    Families are compared between epochs and, with several RUNs, between runs, by the adjusted Rand
    index over pairs of classes: 1 is equal, 0 is agreement by chance (docs/method.md).
    """
    from aclnet.evaluation.agreement import between, shared_pairs, stability

    if epoch and scores:
        raise click.UsageError("--epoch and --scores both choose the confusions: give one of them")
    opened = {str(run.path): run for run in ([find_run(path) for path in runs or (None,)])}
    found = {name: _families(run, epoch, scores) for name, run in opened.items()}
    stable = {name: stability(run) for name, run in opened.items() if found[name].epoch}
    groups = {name: _grouped(one, grouping) for name, one in found.items()} if grouping else {}
    agreement = between(found) if len(found) > 1 else None
    pairs = shared_pairs(found) if len(found) > 1 else None
    figures = {name: _figure(opened[name], one, epoch, scores) for name, one in found.items()}
    if out:
        _write(out, found, stable, agreement, pairs)
    tables = []
    for name, one in found.items():
        screen.print(f"run {name}, {one.origin}")
        tell_alone(one)
        screen.print(f"affinity heat map, ordered by family: {figures[name]}")
        tables.append(families_table(one))
        if name in stable:
            tables.append(_stability_table(stable[name]))
        if name in groups:
            tables.append(_grouping_table(groups[name]))
    if agreement is not None and pairs is not None:
        tables += _agreement_tables(agreement, pairs, len(found))
    document = {
        "runs": [
            {
                "run": name,
                **one.as_dict(),
                "stability": stable[name].to_dict("records") if name in stable else [],
                "grouping": groups.get(name),
            }
            for name, one in found.items()
        ],
        "agreement": [] if agreement is None else agreement.to_dict("records"),
        "pairs": [] if pairs is None else pairs.to_dict("records"),
    }
    emit(output, "families/1", document, tables)
    if out:
        screen.print(f"tables: {out}")


def _families(run: Run, epoch: int | None, scores: str | None) -> FamilyTable:
    from aclnet.evaluation.family_table import families_of_scores, family_table

    if scores or run.imported:
        return families_of_scores(run, scores)
    return family_table(run, epoch)


def _figure(run: Run, found: FamilyTable, epoch: int | None, scores: str | None) -> Path:
    from aclnet.evaluation.figures import draw_affinity

    chosen = f"-{epoch or scores}" if epoch or scores else ""
    return draw_affinity(found, run.path / f"affinity{chosen}.png")


def _grouped(found: FamilyTable, grouping: Path) -> dict[str, float]:
    from aclnet.evaluation.agreement import read_grouping, with_grouping

    names = [family.name for family in found.families]
    return with_grouping(found, read_grouping(grouping, names))


def _write(
    folder: Path,
    found: dict[str, FamilyTable],
    stable: dict[str, pd.DataFrame],
    agreement: pd.DataFrame | None,
    pairs: pd.DataFrame | None,
) -> None:
    """Writes the tables; those of several runs are joined, with the column run."""
    import pandas as pd

    from aclnet.evaluation.agreement import family_rows
    from aclnet.runs.writing import writing

    def joined(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
        return pd.concat([t.assign(run=name) for name, t in tables.items()], ignore_index=True)

    tables: dict[str, pd.DataFrame | None] = {
        "families": joined({name: family_rows(one) for name, one in found.items()}),
        "stability": joined(stable) if stable else None,
        "agreement": agreement,
        "pairs": pairs,
    }
    for name, one in tables.items():
        if one is not None:
            with writing(folder / f"{name}.csv") as temporary:
                one.to_csv(temporary, index=False)


def families_table(found: FamilyTable) -> Table:
    """The families, with related classes side by side."""
    rows = []
    for family in found.occurring:
        if family.members:
            members = (
                f"{m.name} {m.confusions:.0f}" if m.confusions >= 0.5 else m.name
                for m in family.members
            )
            size, temperature = len(family.members), f"{family.temperature:.2f}"
            rows.append([family.name, ", ".join(members), size, temperature])
    columns = ["class", "family, with the confusions behind it", "size", "temp."]
    return Table("Motion families", columns, rows, left=2)


def tell_alone(found: FamilyTable) -> None:
    """Prints the classes without a family on stderr."""
    alone = [family.name for family in found.occurring if not family.members]
    names = f": {', '.join(alone)}" if alone else ""
    screen.print(
        f"{len(alone)} of {len(found.occurring)} classes that occur have no family{names}",
    )


def _stability_table(stable: pd.DataFrame) -> Table:
    shown = stable.tail(_EPOCHS).to_dict("records")
    title = "Stability over the last epochs" if len(stable) > _EPOCHS else "Stability"
    rows = [
        [r["epoch"], r["pairs"], _index(r["with_previous"]), _index(r["with_last"])] for r in shown
    ]
    columns = ["epoch", "pairs", "with previous", "with last"]
    return Table(f"{title}: adjusted Rand index", columns, rows)


def _grouping_table(agreed: dict[str, float]) -> Table:
    columns = ["classes", "adjusted Rand index", "related pairs in one group"]
    shares = [_index(agreed["adjusted_rand"]), _percent(agreed["related_in_group"])]
    return Table("Agreement with --grouping", columns, [[agreed["classes"], *shares]], left=0)


def _agreement_tables(agreement: pd.DataFrame, pairs: pd.DataFrame, runs: int) -> list[Table]:
    rows = [[a, b, _index(value)] for a, b, value in agreement.itertuples(index=False)]
    rows.append(["mean", "", _index(agreement["adjusted_rand"].mean())])
    related = pairs.head(_PAIRS).to_dict("records")
    cells = [[r["class"], r["other"], f"{r['runs']} of {runs}"] for r in related]
    title = "Related classes"
    if len(pairs) > _PAIRS:
        title += f", the first {_PAIRS} of {len(pairs)} pairs (all: --json, --out)"
    return [
        Table("Agreement of runs", ["first", "second", "adjusted Rand index"], rows, left=2),
        Table(title, ["class", "other", "runs"], cells, left=2),
    ]


def _index(value: float) -> str:
    return "-" if isnan(value) else f"{value:.2f}"


def _percent(value: float) -> str:
    return "-" if isnan(value) else f"{100 * value:.0f} %"
