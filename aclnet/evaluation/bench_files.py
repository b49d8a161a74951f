"""Files of an occlusion bench: tables as CSV, JSON and LaTeX, and a figure."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING, Any

from aclnet.datasets.formats.atomic import write_json
from aclnet.evaluation.figures import draw_bench
from aclnet.evaluation.latex import tabular
from aclnet.runs.writing import naming, writing

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from aclnet.evaluation.occlusion_bench import Bench


def write_bench(bench: Bench, about: dict[str, Any], stem: Path, title: str, measure: str) -> None:
    """Writes `stem`.csv, .json, .tex and .png, and a further .csv for each further table.

    `about` is put into the JSON before the tables; `measure` is the name of the accuracy.
    """
    tables = {
        "": bench.rows,
        ".curves": bench.curves,
        ".classes": bench.classes,
        ".families": bench.families,
    }
    for name, frame in tables.items():
        if len(frame):
            with writing(stem.with_name(f"{stem.name}{name}.csv")) as temporary:
                frame.to_csv(temporary, index=False)
    with writing(stem.with_name(f"{stem.name}.tex")) as temporary:
        temporary.write_text(latex(bench.rows, measure), encoding="utf-8")
    draw_bench(bench.rows, title, stem.with_name(f"{stem.name}.png"), measure)
    # the last file: if the JSON exists, the others exist too
    file = stem.with_name(f"{stem.name}.json")
    with naming(file):
        write_json(file, {**about, **bench.as_dict()})


def latex(rows: pd.DataFrame, measure: str) -> str:
    """A table in LaTeX (package booktabs): protocols by runs, with 95 % intervals, in %."""
    runs = list(dict.fromkeys(rows["run"]))
    lines = []
    for protocol, part in rows.groupby("protocol", sort=False):
        by_run = part.set_index("run")
        lines.append([str(protocol), *(_cell(by_run.loc[run]) for run in runs)])
    remark = f"% {measure} in %, 95 % intervals in brackets"
    return f"{remark}\n{tabular(['protocol', *runs], lines)}"


def _cell(row: pd.Series) -> str:
    if isnan(row["accuracy"]):
        return "--"
    low, high = 100 * row["accuracy_low"], 100 * row["accuracy_high"]
    return f"{100 * row['accuracy']:.1f} [{low:.1f}, {high:.1f}]"
