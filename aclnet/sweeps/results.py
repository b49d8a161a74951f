"""Tables of a sweep: accuracies over the seeds, and differences between rows."""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from aclnet.evaluation.bootstrap import COLUMNS
from aclnet.evaluation.compare import compare_seeds
from aclnet.evaluation.figures import draw_conditions, draw_sensitivity
from aclnet.runs.run import Run, is_finished
from aclnet.runs.scores import Scores
from aclnet.runs.writing import writing

if TYPE_CHECKING:
    from pathlib import Path

    from aclnet.sweeps.occlusion import Occluded
    from aclnet.sweeps.plan import Sweep
    from aclnet.sweeps.rows import Row

AllScores = dict[tuple["Row", int], Scores]
"""Test scores by row and seed."""


def finished_scores(sweep: Sweep) -> AllScores:
    """Test scores by row and seed, all folds together, without unfinished ones."""
    return {
        key: Scores.join([Scores.load(Run(path).test_scores) for path in paths])
        for key, paths in sweep.finished().items()
    }


def runs_table(sweep: Sweep) -> pd.DataFrame:
    """One line per run: the keys of the rows, `seed`, `fold`, `top1` (NaN: not finished), `minutes`
    of training and folder `run`."""
    return pd.DataFrame(
        {
            **_named(sweep, cell.row),
            "seed": cell.seed,
            "fold": str(cell.job.request.fold or ""),
            "top1": _top1(cell.job.path),
            "minutes": _minutes(cell.job.path),
            "run": str(cell.job.path),
        }
        for cell in sweep.cells
    )


def seeds_table(sweep: Sweep, scores: AllScores) -> pd.DataFrame:
    """One line per finished row and seed: the keys of the rows, `seed` and `top1`, all folds
    together."""
    return pd.DataFrame(
        ({**_named(sweep, row), "seed": seed, "top1": s.top1} for (row, seed), s in scores.items()),
        columns=[*sweep.rows.keys, "seed", "top1"],
    )


def rows_table(sweep: Sweep, scores: AllScores) -> pd.DataFrame:
    """One line per row: its keys, and over the finished `seeds` the mean `top1`, standard deviation
    `sd`, `lowest` and `highest`, as shares; NaN if no seed is finished."""
    return pd.DataFrame(
        {**_named(sweep, row), **_spread([s.top1 for (of, _), s in scores.items() if of == row])}
        for row in sweep.rows.settings
    )


def differences_table(sweep: Sweep, scores: AllScores) -> pd.DataFrame:
    """One line per pair of rows: `first`, `second` and `aclnet.evaluation.bootstrap.COLUMNS`, over
    the common seeds.

    All values are shares; NaN without common seeds.
    """
    people = sweep.cells[0].job.config.task != "action"
    lines = []
    for one, other in sweep.rows.pairs:
        both = [s for s in sweep.seeds if (one, s) in scores and (other, s) in scores]
        sides = ([scores[row, seed] for seed in both] for row in (one, other))
        found = compare_seeds(*sides, people=people) if both else None
        lines.append(
            {
                "first": ", ".join(one),
                "second": ", ".join(other),
                **(found.row() if found else {"seeds": 0}),
            }
        )
    return pd.DataFrame(lines, columns=["first", "second", *COLUMNS])


def make_tables(sweep: Sweep, occluded: Occluded | None = None) -> dict[str, pd.DataFrame]:
    """All tables of the finished runs, by name: `runs`, `seeds`, `rows`, `differences`, and for the
    bench `occlusion` and `occlusion-differences`."""
    scores = finished_scores(sweep)
    tables = {
        "runs": runs_table(sweep),
        "seeds": seeds_table(sweep, scores),
        "rows": rows_table(sweep, scores),
        "differences": differences_table(sweep, scores),
    }
    if occluded is not None:
        tables["occlusion"] = occluded.accuracies()
        tables["occlusion-differences"] = occluded.differences()
    return tables


def write_tables(sweep: Sweep, tables: dict[str, pd.DataFrame]) -> None:
    """Writes `NAME.csv` of each table and the figures into the sweep's folder.

    `sensitivity.png` shows the accuracy by each key of a grid, `occlusion.png` the accuracy of each
    row under each protocol.
    """
    for name, table in tables.items():
        with writing(sweep.folder / f"{name}.csv") as temporary:
            table.to_csv(temporary, index=False)
    if sweep.rows.title is None and len(tables["seeds"]):
        figure = sweep.folder / "sensitivity.png"
        draw_sensitivity(tables["seeds"], sweep.rows.keys, sweep.tested, figure)
    if "occlusion" in tables:
        draw_conditions(tables["occlusion"], sweep.tested, sweep.folder / "occlusion.png")


def _named(sweep: Sweep, row: Row) -> dict[str, str]:
    return dict(zip(sweep.rows.keys, row, strict=True))


def _top1(path: Path) -> float:
    return float(Run(path).result["top1"]) if is_finished(path) else nan


def _minutes(path: Path) -> float:
    """Time of training, summed over all epochs."""
    file = path / "metrics.csv"
    return float(pd.read_csv(file)["seconds"].sum()) / 60 if is_finished(path) else nan


def _spread(top1: list[float]) -> dict[str, float]:
    return {
        "seeds": len(top1),
        "top1": float(np.mean(top1)) if top1 else nan,
        "sd": float(np.std(top1, ddof=1)) if len(top1) > 1 else nan,
        "lowest": min(top1, default=nan),
        "highest": max(top1, default=nan),
    }
