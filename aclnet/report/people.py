"""Tables and examples of recognising people, from the files of a run."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING, Any

import numpy as np

from aclnet.report.parts import People, rows_of
from aclnet.retrieval.ranking import ABSENT, UNKNOWN_VIEW

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from aclnet.report.parts import Rows
    from aclnet.runs.run import Run
    from aclnet.runs.scores import Scores

_HEADINGS = {
    "gait": {
        "conditions": "Figures by condition: means over the gallery views other than the probe's",
        "views": "Rank-1 by view of the probe",
    },
    "reid": {
        "levels": "Figures by level: windows, and sequences (means of their windows)",
        "conditions": "Sequences by condition of probe and gallery",
        "published": "Windows as the published code computes the figures, with its known errors",
    },
}
_EXAMPLES = {"wrong": 12, "right": 4}
_NEAREST = 5


def people_of(run: Run, scores: Scores) -> People:
    """The protocol's tables, and probes with their nearest people."""
    tables = run.load_tables(run.test_scores)
    headings = _HEADINGS[run.config.task]
    return People(
        tables={text: rows_of(tables[name]) for name, text in headings.items() if name in tables},
        views=_views(tables["cells"]) if "cells" in tables else {},
        examples=_examples(scores, ABSENT[run.config.retrieval.metric]),
    )


def headline_of(run: Run) -> list[tuple[str, str, str]]:
    """rank-1 and mAP of the protocol; nothing if its tables are missing."""
    row: dict[str, Any] = {}
    tables = run.load_tables(run.test_scores)
    name, key, wanted = {
        "gait": ("conditions", "condition", "mean"),
        "reid": ("levels", "level", "sequence"),
    }[run.config.task]
    if name in tables and key in tables[name]:
        row = next((r for r in rows_of(tables[name]) if r[key] == wanted), {})
    figures = [("rank-1", "rank1"), ("rank-5", "rank5"), ("mAP", "mAP")]
    remark = "mean over conditions and other views" if name == "conditions" else "sequences"
    return [
        (label, f"{100 * row[column]:.1f} %", remark)
        for label, column in figures
        if isinstance(row.get(column), float) and not isnan(row[column])
    ]


def _views(cells: pd.DataFrame) -> dict[str, list[tuple[int, int, float]]]:
    known = cells[(cells["probes"] > 0) & (cells["probe_view"] != UNKNOWN_VIEW)]
    return {
        str(condition): [
            (int(row["probe_view"]), int(row["gallery_view"]), float(row["rank1"]))
            for row in rows_of(part)
        ]
        for condition, part in known.groupby("condition")
    }


def worst_first(scores: Scores) -> list[int]:
    """Rows of the probes with a wrong answer, the worst rank of their own person first."""
    wrong = np.flatnonzero(~scores.correct)
    found: list[int] = wrong[np.argsort(-_ranks(scores)[wrong], kind="stable")].tolist()
    return found


def shown_probes(scores: Scores) -> list[int]:
    """Rows of the examples: probes that rank worst, and right ones, evenly over the ids."""
    right = np.flatnonzero(scores.correct)
    steps = np.linspace(0, len(right) - 1, min(_EXAMPLES["right"], len(right)))
    return [
        *worst_first(scores)[: _EXAMPLES["wrong"]],
        *right[steps.round().astype(int)].tolist(),
    ]


def _ranks(scores: Scores) -> NDArray[np.int64]:
    """(Q,) rank of each probe's own person, from 1."""
    own = scores.scores[np.arange(len(scores)), scores.labels]
    return np.asarray(1 + (scores.scores > own[:, None]).sum(axis=1))


def _examples(scores: Scores, absent: float) -> Rows:
    """The probes of `shown_probes` with their nearest people.

    People whose similarity to each probe is `absent` are not in the gallery.
    """
    people = np.flatnonzero((scores.scores > absent).any(axis=0))
    chosen, rank = shown_probes(scores), _ranks(scores)
    ranked = np.argsort(-scores.scores[:, people], axis=1, kind="stable")[:, :_NEAREST]
    nearest = people[ranked]
    return [
        {
            "probe": str(scores.ids[row]),
            "person": int(scores.labels[row]),
            "right": bool(scores.correct[row]),
            "rank": int(rank[row]),
            "nearest": [(int(p), round(float(scores.scores[row, p]), 3)) for p in nearest[row]],
        }
        for row in chosen
    ]
