"""Occlusion bench: the accuracy that a network loses when its test input is corrupted."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import norm

from aclnet.datasets.spec import silent
from aclnet.evaluation.scorer import Scorer
from aclnet.runs.inference import Pass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aclnet.datasets.spec import Progress
    from aclnet.datasets.store.store import Store
    from aclnet.pipelines.inputs.occlusion import Corruption
    from aclnet.runs.run import Run
    from aclnet.runs.scores import Scores


CLEAN = "nothing (clean)"
_DRAWS = 2000


def occlusion_bench(
    run: Run,
    store: Store,
    corruptions: Sequence[Corruption],
    split: str | None = None,
    *,
    clips: int | None = None,
    accelerator: str = "auto",
    progress: Progress = silent,
) -> tuple[str, pd.DataFrame]:
    """Scores a split clean and with each corruption; arguments as those of `Scorer`.

    Returns the name of what was scored and a row a corruption, the first one clean: `corruption`,
    `samples`, `clips`, `top1` with its interval `low`, `high`, and `lost` against clean with its
    interval `lost_low`, `lost_high`; shares, not %. Of actions, `top1` is the accuracy, and the
    intervals are Wilson's and that of paired samples (`paired_difference`). Of people it is the
    rank-1 of sequences by their protocol, in a clean gallery, and the intervals are those of
    `people_drawn_again`.
    """
    scorer = Scorer(run, store, split, clips=clips, accelerator=accelerator)
    measure = _accuracies if run.config.task == "action" else _shares_found
    rows = measure(scorer, [None, *corruptions], progress)
    return scorer.name, pd.DataFrame(rows).assign(clips=scorer.clips)


def _accuracies(
    scorer: Scorer, corruptions: Sequence[Corruption | None], progress: Progress
) -> list[dict[str, float | str]]:
    rows = []
    clean: Scores | None = None
    for corruption in corruptions:
        name = CLEAN if corruption is None else corruption.name
        scores = scorer.score(Pass(corruption, progress=progress, stage=name))
        lost = (0.0, 0.0, 0.0)
        if clean is not None:
            lost = paired_difference(clean.correct, scores.correct)
        clean = clean or scores
        rows.append(_row(name, len(scores), (scores.top1, *scores.interval()), lost))
    return rows


def _shares_found(
    scorer: Scorer, corruptions: Sequence[Corruption | None], progress: Progress
) -> list[dict[str, float | str]]:
    rows = []
    clean: NDArray[np.float64] | None = None
    for corruption in corruptions:
        name = CLEAN if corruption is None else corruption.name
        found = scorer.recognise(Pass(corruption, progress=progress, stage=name))
        people, shares = found.found()
        lost = (0.0, 0.0, 0.0)
        if clean is not None:
            lost = people_drawn_again(people, clean - shares)
        clean = shares if clean is None else clean
        rows.append(_row(name, len(shares), people_drawn_again(people, shares), lost))
    return rows


def people_drawn_again(
    people: NDArray[np.int64], values: NDArray[np.float64], level: float = 0.95
) -> tuple[float, float, float]:
    """Mean of `values` (N,) and its interval over other people, of whom `people` (N,) are a draw.

    Percentiles of the bootstrap that draws whole people, as sequences of one are no independent
    samples: Davison and Hinkley, "Bootstrap methods and their application" (1997), section 3.8.
    Where all people agree the interval has no width, and says too little. NaN without any.
    """
    _, code = np.unique(people, return_inverse=True)
    sums, sizes = np.bincount(code, values), np.bincount(code)
    if not len(sizes):
        return float("nan"), float("nan"), float("nan")
    drawn = np.random.default_rng(0).multinomial(
        len(sizes), np.full(len(sizes), 1 / len(sizes)), size=_DRAWS
    )
    low, high = np.quantile(drawn @ sums / (drawn @ sizes), [(1 - level) / 2, (1 + level) / 2])
    return float(values.mean()), float(low), float(high)


def paired_difference(
    first: NDArray[np.bool_], second: NDArray[np.bool_], level: float = 0.95
) -> tuple[float, float, float]:
    """Accuracy of `first` less that of `second` on the same samples (N,), and its interval.

    Wald's interval for matched pairs with half a count added to each of the four cells, which
    keeps its coverage in small samples: Agresti and Min, "Simple improved confidence intervals for
    comparing matched proportions", Statistics in Medicine 24 (2005).
    """
    n = len(first) + 2
    only_first, only_second = (first & ~second).sum() + 0.5, (~first & second).sum() + 0.5
    centre = (only_first - only_second) / n
    variance = (only_first + only_second - (only_first - only_second) ** 2 / n) / n**2
    reach = norm.ppf((1 + level) / 2) * sqrt(variance)
    plain = float(first.mean() - second.mean())
    return plain, max(-1.0, float(centre - reach)), min(1.0, float(centre + reach))


def _row(
    name: str, samples: int, top1: tuple[float, float, float], lost: tuple[float, float, float]
) -> dict[str, float | str]:
    """A row of the table, of figures with the ends of their intervals."""
    columns = ("top1", "low", "high", "lost", "lost_low", "lost_high")
    return {
        "corruption": name,
        "samples": samples,
        **dict(zip(columns, (*top1, *lost), strict=True)),
    }
