"""Accuracies, confusions and classes from the scores in a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aclnet.report.parts import Accuracy, Classes, Confusion, Families, Missing, rows_of
from aclnet.runs.scores import Scores, wilson

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aclnet.report.parts import Rows
    from aclnet.runs.run import Run

_LISTED = 20_000
"""Sequences with their ids on the page, which bounds its size: about 60 bytes each."""
_PAIRS = 20


def missing_scores(run: Run) -> Missing:
    """Message for a run without scores of its test split."""
    reason = f"There are no scores of {run.test_split} yet."
    return Missing(reason, f"aclnet evaluate {run.path}{store_option(run)}")


def store_option(run: Run) -> str:
    """The option that commands on an imported run need, because it has no store."""
    return " --store STORE" if run.imported else ""


def accuracy_of(run: Run) -> Accuracy | Missing:
    """Accuracies of each score file of the run, the test split's first."""
    files = sorted(
        (run.path / "scores").glob("*.npz"), key=lambda f: (f != run.test_scores, f.name)
    )
    if not files:
        return missing_scores(run)
    return Accuracy(
        [
            {"scores": file.stem, "tested": file == run.test_scores, **Scores.load(file).result()}
            for file in files
        ]
    )


def confusion_of(run: Run, scores: Scores) -> Confusion:
    """The confusion matrix, with the sequences behind its cells."""
    counts = scores.confusion()
    true, predicted = np.nonzero(counts)
    whole = len(scores) <= _LISTED
    rows = np.flatnonzero(~scores.correct | whole)[:_LISTED]
    best = scores.scores.max(axis=1)
    columns = (scores.ids[rows], scores.labels[rows], scores.predictions[rows], best[rows])
    listed = zip(*(column.tolist() for column in columns), strict=True)
    return Confusion(
        cells=list(
            zip(true.tolist(), predicted.tolist(), counts[true, predicted].tolist(), strict=True)
        ),
        samples=[(id_, t, p, round(s, 4)) for id_, t, p, s in listed],
        whole=whole,
        score="similarity" if _by_gallery(run) else "probability",
    )


def _by_gallery(run: Run) -> bool:
    """Returns whether the run is tested by a gallery, as all people and one-shot actions are."""
    return run.config.task != "action" or run.record.score_names is not None


def classes_of(scores: Scores, names: list[str], families: Families | Missing) -> Classes:
    """A row for each class that is tested, and the pairs with the most confusions."""
    counts = scores.confusion()
    table = scores.per_class(names)
    predicted = counts.sum(axis=0)
    wrong = counts - np.diag(counts.diagonal())
    rows: Rows = []
    for c, row in enumerate(rows_of(table)):
        if not row["samples"]:
            continue
        right = int(counts[c, c])
        low, high = wilson(right, int(row["samples"]))
        rows.append(
            {
                "class": c,
                "samples": int(row["samples"]),
                "accuracy": right / int(row["samples"]),
                "low": low,
                "high": high,
                "precision": right / int(predicted[c]) if predicted[c] else float("nan"),
                "taken_for": int(wrong[c].argmax()) if row["times"] else None,
                "times": int(row["times"]),
            }
        )
    return Classes(rows, _pairs(counts, wrong, names, families))


def _pairs(
    counts: NDArray[np.int64],
    wrong: NDArray[np.int64],
    names: list[str],
    families: Families | Missing,
) -> Rows:
    related: set[tuple[int, int]] = set()
    if isinstance(families, Families) and families.labels.names == names:
        related = {(r["class"], other) for r in families.rows for other, _ in r["members"]}
    sizes = counts.sum(axis=1)
    both = np.triu(wrong + wrong.T, 1)
    first, second = np.nonzero(both)
    chosen = np.argsort(-both[first, second], kind="stable")[:_PAIRS]
    rows = []
    for one, other in zip(first[chosen].tolist(), second[chosen].tolist(), strict=True):
        a, b = (one, other) if wrong[one, other] >= wrong[other, one] else (other, one)
        rows.append(
            {
                "first": a,
                "second": b,
                "forth": int(wrong[a, b]),
                "back": int(wrong[b, a]),
                "samples": int(sizes[a] + sizes[b]),
                "family": (a, b) in related or (b, a) in related,
            }
        )
    return rows
