"""Paired comparison of scores on the same samples."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from aclnet.datasets.spec import AclnetError
from aclnet.evaluation.bootstrap import Difference, difference, part_differences
from aclnet.runs.scores import check_same_samples, mcnemar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from aclnet.runs.scores import Scores


def compare(
    first: Sequence[Scores],
    second: Sequence[Scores],
    names: Sequence[str] | None = None,
    families: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Any]:
    """Top-1 of two lists of scores, paired in order, as plain values.

    Args:
        first: scores of the first side.
        second: scores of the other side, in the same number.
        names: of the classes; None: their numbers.
        families: names of the classes in each class's motion family; None: no rows of families.

    Returns:
        `samples`; `pairs` with McNemar's test and the agreement of the predictions of each pair;
        `together`, the `Difference` over all pairs as a dictionary; `classes` and `families`, see
        `by_class` and `by_family`.

    Raises:
        AclnetError: the lists differ in length, a pair differs in its samples or their labels, or
            the numbers of names and classes differ.
    """
    together = asdict(compare_seeds(first, second))
    pairs = [_pair(a, b) for a, b in zip(first, second, strict=True)]
    names = [str(c) for c in range(first[0].scores.shape[1])] if names is None else names
    if len(names) != first[0].scores.shape[1]:
        raise AclnetError(
            f"the scores have {first[0].scores.shape[1]} classes, and the run {len(names)}"
        )
    return {
        "samples": len(first[0]),
        "pairs": pairs,
        "together": together,
        "classes": by_class(first, second, names).to_dict("records"),
        "families": by_family(first, second, names, families or {}).to_dict("records"),
    }


def by_class(
    first: Sequence[Scores], second: Sequence[Scores], names: Sequence[str] | Sequence[int]
) -> pd.DataFrame:
    """A row per class that has samples, the largest gain first.

    Columns: `class`, `samples`, accuracies `first` and `second` as means over the pairs, their
    `difference`, and the ends `low` and `high` of its 95 % interval. The intervals are those of
    single classes, not of all classes at once.
    """
    labels = first[0].labels
    classes = np.unique(labels)
    table = _parts(first, second, labels == classes[:, None])
    table.insert(0, "class", [names[c] for c in classes])
    return table.sort_values("difference", ascending=False, kind="stable", ignore_index=True)


def by_family(
    first: Sequence[Scores],
    second: Sequence[Scores],
    names: Sequence[str],
    families: Mapping[str, Sequence[str]],
) -> pd.DataFrame:
    """A row per motion family: a class together with its family; equal ones are one row.

    Columns: `family`, a list of names; the others as in `by_class`. Families overlap, so a sample
    may count in several rows. Families without samples are left out.
    """
    known = {name: c for c, name in enumerate(names)}
    found = {
        tuple(sorted({known[n] for n in (name, *members) if n in known}))
        for name, members in families.items()
        if members and name in known
    }
    labels = first[0].labels
    sets = [classes for classes in sorted(found) if np.isin(labels, classes).any()]
    inside = np.array([np.isin(labels, classes) for classes in sets], np.bool_)
    table = _parts(first, second, inside.reshape(len(sets), len(labels)))
    table.insert(0, "family", [[names[c] for c in classes] for classes in sets])
    return table.sort_values("difference", ascending=False, kind="stable", ignore_index=True)


def _parts(
    first: Sequence[Scores], second: Sequence[Scores], parts: NDArray[np.bool_]
) -> pd.DataFrame:
    """Accuracies of both sides in parts (K, N) of the samples, each with at least one sample."""
    a, b = _correct(first), _correct(second)
    sizes = parts.sum(axis=1)
    one, other = ((parts @ side.mean(axis=0)) / sizes for side in (a, b))
    low, high = part_differences(a, b, parts)
    return pd.DataFrame(
        {
            "samples": sizes,
            "first": one,
            "second": other,
            "difference": other - one,
            "low": low,
            "high": high,
        }
    )


def compare_seeds(
    first: Sequence[Scores], second: Sequence[Scores], *, people: bool = False
) -> Difference:
    """Difference in top-1 of two lists of scores, paired in order, with its interval.

    The bootstrap draws single samples, or with `people` all samples of a class together, because
    samples of one person are not independent. Raises AclnetError like `compare`.
    """
    if len(first) != len(second):
        raise AclnetError(f"{len(first)} runs cannot be paired with {len(second)}")
    for number, (a, b) in enumerate(zip(first, second, strict=True), start=1):
        check_same_samples(a, b, f"the scores of pair {number}")
        check_same_samples(first[0], a, f"the scores of pairs 1 and {number}")
    one = first[0]
    units = one.labels if people else one.ids
    groups = np.unique(units, return_inverse=True)[1]
    return difference(_correct(first), _correct(second), groups)


def _correct(scores: Sequence[Scores]) -> NDArray[np.float64]:
    return np.stack([s.correct for s in scores]).astype(np.float64)


def _pair(first: Scores, second: Scores) -> dict[str, float]:
    a, b = first.correct, second.correct
    same = first.predictions == second.predictions
    only_first, only_second, p = mcnemar(a, b)
    return {
        "first": float(a.mean()),
        "second": float(b.mean()),
        "only_first": only_first,
        "only_second": only_second,
        "p": p,
        "same_prediction": float(same.mean()),
        "both_right": int((a & b).sum()),
        "same_mistake": int((same & ~a).sum()),
        "other_mistake": int((~same & ~a & ~b).sum()),
    }
