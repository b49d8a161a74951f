"""Motion families of a run over its epochs, and classes in the order of their families."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.cluster.hierarchy import fcluster

from aclnet.evaluation.family_table import affinity_tree, families_of_scores, family_table
from aclnet.report.parts import Families, Labels, Missing
from aclnet.report.results import missing_scores
from aclnet.report.training import UNTRAINED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aclnet.evaluation.family_table import FamilyTable
    from aclnet.runs.run import Run
    from aclnet.runs.scores import Scores

_EPOCHS = 40
"""Epochs of the slider, which bounds the size of the page."""
_GROUPED = 0.2
"""Classes are one group while their mean affinity is above this share of the greatest affinity."""


def families_of_run(run: Run, scores: Scores | None) -> Families | Missing:
    """The families of each epoch or, for an imported run, those of its test scores."""
    if run.history.path.is_dir() and run.history.trained:
        return _over_epochs(run)
    if scores is None:
        return missing_scores(run) if run.imported else Missing(UNTRAINED)
    if not _named(run, scores):
        return Missing("The run does not name the people or classes of its scores.")
    table = families_of_scores(run)
    return _families(table, [], [_pairs(table.affinity)], 0.0)


def labels_of_scores(run: Run, scores: Scores | None, families: Families | Missing) -> Labels:
    """The classes of the run's test scores, in the order of their families, if any.

    Numbers are the names of classes that the run does not name.
    """
    names = run.score_names
    if scores is not None and not _named(run, scores):
        names = [str(number) for number in range(scores.scores.shape[1])]
    elif isinstance(families, Families) and families.labels.names == names:
        return families.labels
    elif scores is not None:
        return _labels(families_of_scores(run))
    return Labels(names, list(range(len(names))), [0] * len(names))


def _named(run: Run, scores: Scores) -> bool:
    """Returns whether the run names the columns of its test scores.

    An imported run does not name them if they are the people of the store that it was tested on.
    """
    return bool(scores.scores.shape[1] == len(run.score_names))


def _over_epochs(run: Run) -> Families:
    table = family_table(run)
    affinity = run.history.read_all("affinity")[: run.history.trained]
    affinity = np.maximum(affinity, affinity.transpose(0, 2, 1))
    found = np.flatnonzero((affinity > 0).any(axis=(1, 2)))
    # one epoch before the first families, so that the slider shows their beginning
    first = max(0, int(found[0]) - 1) if len(found) else len(affinity) - 1
    steps = np.linspace(first, len(affinity) - 1, min(_EPOCHS, len(affinity) - first))
    chosen = np.unique(steps.round().astype(int)).tolist()
    threshold = run.config.loss.families.affinity_threshold
    pairs = [_pairs(affinity[epoch]) for epoch in chosen]
    return _families(table, [epoch + 1 for epoch in chosen], pairs, threshold)


def _families(
    table: FamilyTable,
    epochs: list[int],
    affinity: list[list[tuple[int, int, float]]],
    threshold: float,
) -> Families:
    labels = _labels(table)
    number = {name: c for c, name in enumerate(labels.names)}
    return Families(
        labels=labels,
        origin=table.origin,
        epochs=epochs,
        affinity=affinity,
        threshold=threshold,
        rows=[
            {
                "class": number[family.name],
                "temperature": round(family.temperature, 4),
                "members": [(number[m.name], m.confusions) for m in family.members],
            }
            for family in table.occurring
        ],
    )


def _pairs(affinity: NDArray[np.float32]) -> list[tuple[int, int, float]]:
    first, second = np.nonzero(np.triu(affinity, 1) > 0)
    values = affinity[first, second].round(3).tolist()
    return list(zip(first.tolist(), second.tolist(), values, strict=True))


def _labels(table: FamilyTable) -> Labels:
    order = table.order.tolist()
    groups = [0] * len(table.families)
    affinity = table.affinity[np.ix_(table.order, table.order)]
    if len(order) > 1 and affinity.max() > 0:
        height = (1 - _GROUPED) * affinity.max()
        clusters = fcluster(affinity_tree(affinity), height, "distance")
        sizes = np.bincount(clusters)
        numbers: dict[int, int] = {}
        for c, cluster in zip(order, clusters.tolist(), strict=True):
            if sizes[cluster] > 1:
                groups[c] = numbers.setdefault(cluster, len(numbers) + 1)
    return Labels([family.name for family in table.families], order, groups)
