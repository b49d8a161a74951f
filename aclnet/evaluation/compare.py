"""Paired comparison of scores on the same samples."""

from __future__ import annotations

from math import nan, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import norm

from aclnet.datasets.spec import AclnetError
from aclnet.runs.scores import check_same_samples, mcnemar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aclnet.runs.scores import Scores


def compare(first: Sequence[Scores], second: Sequence[Scores]) -> dict[str, Any]:
    """Top-1 of two lists of scores, paired in order, and McNemar's test of each pair and pooled.

    AclnetError where the lists are not as long or a pair differs in its samples or their labels.
    """
    if len(first) != len(second):
        raise AclnetError(f"{len(first)} runs cannot be paired with {len(second)}")
    for number, (a, b) in enumerate(zip(first, second, strict=True), start=1):
        check_same_samples(a, b, f"the scores of pair {number}")
    pairs = [(a.correct, b.correct) for a, b in zip(first, second, strict=True)]
    pooled = [np.concatenate(side) for side in zip(*pairs, strict=True)]
    return {
        "samples": len(first[0]),
        "pairs": [_pair(a, b) for a, b in pairs],
        "pooled": _pair(*pooled),
    }


def _pair(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> dict[str, float]:
    only_first, only_second, p = mcnemar(a, b)
    return {
        "first": float(a.mean()),
        "second": float(b.mean()),
        "only_first": only_first,
        "only_second": only_second,
        "p": p,
    }


def smallest_difference(
    discordant: int, samples: int, *, level: float = 0.05, power: float = 0.8
) -> float:
    """The least difference of two accuracies, as a share, that McNemar's test would mostly find.

    (z(1 - level / 2) + z(power)) * sqrt(discordant) / samples, with as many discordant of all pairs
    as were seen: Connor, "Sample size for testing differences in proportions for the paired-sample
    design", Biometrics 43 (1987), for a difference that is small beside the share of discordant
    pairs. NaN where not even all discordant pairs on one side would be enough.
    """
    needed = (norm.ppf(1 - level / 2) + norm.ppf(power)) * sqrt(discordant)
    return float(needed / samples) if 0 < needed <= discordant else nan
