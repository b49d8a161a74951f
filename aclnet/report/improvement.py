"""Difference between two runs by class, and its significance."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from scipy.stats import false_discovery_control

from aclnet.datasets.spec import AclnetError
from aclnet.evaluation.compare import by_class, compare_seeds
from aclnet.report.parts import Improvement, Missing, rows_of
from aclnet.report.results import missing_scores
from aclnet.runs.scores import Scores, check_same_samples, mcnemar

if TYPE_CHECKING:
    from aclnet.runs.run import Run


def improvement_of(first: Run, second: Run, number: int) -> Improvement | Missing:
    """The second run, which has this number in the report, against the first one.

    The result is Missing if scores are missing or have different samples. The p-values of the
    classes are corrected by the method of Benjamini and Hochberg (Journal of the Royal Statistical
    Society B 57, 1995), which bounds the share of false findings among the classes called
    significant.
    """
    for run in (first, second):
        if not run.test_scores.is_file():
            return missing_scores(run)
    a, b = Scores.load(first.test_scores), Scores.load(second.test_scores)
    try:
        check_same_samples(a, b, f"{first.name} and {second.name}")
    except AclnetError as error:
        return Missing(f"The runs cannot be compared: {error}.")
    people = first.config.task != "action"
    only_first, only_second, p = mcnemar(a.correct, b.correct)
    test = {"only_first": only_first, "only_second": only_second, "p": p}
    rows = rows_of(by_class([a], [b], range(a.scores.shape[1])))
    for row in rows:
        own = a.labels == row["class"]
        lost, won, p_class = mcnemar(a.correct[own], b.correct[own])
        row |= {"only_first": lost, "only_second": won, "p": p_class}
    corrected = false_discovery_control([row["p"] for row in rows]).tolist()
    return Improvement(
        run=number,
        total=asdict(compare_seeds([a], [b], people=people)) | test,
        classes=[row | {"q": q} for row, q in zip(rows, corrected, strict=True)],
        unit="people" if people else "sequences",
    )
