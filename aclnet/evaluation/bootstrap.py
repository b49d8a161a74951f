"""Bootstrap over groups of samples, and over seeds and groups at once."""

from __future__ import annotations

from dataclasses import dataclass
from math import asin, nan, sqrt
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array
from scipy.special import ndtri

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

DRAWS = 2000
LEVEL = 0.95
"""Level of all intervals."""


def draw_groups(groups: int) -> Iterator[NDArray[np.int64]]:
    """Yields `DRAWS` times (groups,) counts of the groups in a draw with replacement.

    Every call gives the same draws, so results of two calls are paired.
    """
    rng = np.random.default_rng(0)
    for _ in range(DRAWS):
        yield np.bincount(rng.integers(groups, size=groups), minlength=groups)


def interval(draws: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2, K): ends of the percentile interval of K statistics (draws, K).

    Draws that are NaN are left out; the result is NaN if all draws are.
    """
    ends = np.full((2, draws.shape[1]), nan)
    known = ~np.isnan(draws).all(axis=0)
    if known.any():
        ends[:, known] = np.nanquantile(draws[:, known], [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return ends


COLUMNS = ("seeds", "difference", "low", "high", "effect", "visible")
"""Columns of a table of differences: fields of `Difference`."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Difference in accuracy between two settings, second minus first, as shares of 1."""

    seeds: int
    first: float
    second: float
    difference: float
    low: float
    """Lower end of the 95 % interval of the difference."""
    high: float
    effect: float
    """Cohen's h, 2 asin(sqrt(second)) - 2 asin(sqrt(first)): about 0.2 is small, 0.5 medium.

    Cohen, "Statistical power analysis for the behavioral sciences" (1988), chapter 6."""
    visible: float
    """The smallest difference that this number of seeds and samples shows in 80 % of cases: 2.8
    standard errors."""

    def row(self) -> dict[str, float]:
        """The values of a table's row, without those of the two sides."""
        return {name: getattr(self, name) for name in COLUMNS}


def difference(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    groups: NDArray[np.int64],
    weight: NDArray[np.float64] | None = None,
) -> Difference:
    """Difference of the mean accuracy of two settings over the same S seeds and N samples.

    Every draw takes S of the seeds and, for all of them, the same groups of samples, both with
    replacement. The interval therefore accounts for other seeds and other samples together. This is
    the bootstrap for crossed factors of Owen, "The pigeonhole bootstrap", Annals of Applied
    Statistics 1 (2007). With one seed, the interval holds only for this seed. With two or three, it
    is too narrow, because few seeds do not show the spread between seeds.

    Args:
        first: (S, N) 1 where right and 0 where wrong, or a share.
        second: the same of the other setting; row s has the seed of the first one's row s.
        groups: (N,) from 0, the number of the unit that is drawn: a sequence, or a person.
        weight: (N,) weights of the samples in the accuracy; None: equal ones.
    """
    weight = np.ones(len(groups)) if weight is None else weight
    seeds, size = len(first), int(groups.max()) + 1
    weights = np.bincount(groups, weight, size)
    gains = np.stack([np.bincount(groups, weight * gain, size) for gain in second - first])
    rng = np.random.default_rng(1)
    drawn = np.array(
        [
            np.bincount(rng.integers(seeds, size=seeds), minlength=seeds)
            @ (gains @ counts)
            / (seeds * (weights @ counts))
            for counts in draw_groups(size)
        ]
    )
    (low,), (high,) = interval(drawn[:, None])
    a, b = (float((side @ weight).mean() / weight.sum()) for side in (first, second))
    return Difference(
        seeds=seeds,
        first=a,
        second=b,
        difference=b - a,
        low=float(low),
        high=float(high),
        effect=2 * asin(sqrt(min(b, 1.0))) - 2 * asin(sqrt(min(a, 1.0))),
        visible=float((ndtri((1 + LEVEL) / 2) + ndtri(0.8)) * drawn.std()),
    )


def part_differences(
    first: NDArray[np.float64], second: NDArray[np.float64], parts: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Intervals of the difference in several parts of the samples, from the draws of `difference`.

    Args:
        first: (S, N) 1 where right and 0 where wrong, of S seeds and N samples.
        second: the same of the other setting.
        parts: (K, N) bool: the samples of each part. Parts may overlap.

    Returns:
        (K,) lower and (K,) upper ends; NaN for a part without samples. Draws without any sample of
        a part are left out for that part.
    """
    gains, seeds = second - first, len(first)
    # sparse, because every sample is in few parts
    inside = csr_array(parts.astype(np.float64))
    rng = np.random.default_rng(1)
    drawn = np.full((DRAWS, len(parts)), nan)
    for draw, counts in enumerate(draw_groups(parts.shape[1])):
        weights = np.bincount(rng.integers(seeds, size=seeds), minlength=seeds) / seeds
        sizes = inside @ counts.astype(np.float64)
        np.divide(inside @ (counts * (weights @ gains)), sizes, out=drawn[draw], where=sizes > 0)
    low, high = interval(drawn)
    return low, high
