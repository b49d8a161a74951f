"""Paired comparison of scores on the same samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aclnet.datasets.errors import AclnetError
from aclnet.scores import mcnemar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aclnet.scores import Scores


def compare(first: Sequence[Scores], second: Sequence[Scores]) -> dict[str, Any]:
    """Top-1 of two lists of scores, paired in order, and McNemar's test of each pair and pooled.

    AclnetError where the lists are not as long or a pair is not about the same samples.
    """
    if len(first) != len(second):
        raise AclnetError(f"{len(first)} runs cannot be paired with {len(second)}")
    for a, b in zip(first, second, strict=True):
        differing = set(a.ids.tolist()) ^ set(b.ids.tolist())
        if differing:
            raise AclnetError(
                f"the scores are of different samples: {len(differing)} are in one only, "
                f"for example {min(differing)}"
            )
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
