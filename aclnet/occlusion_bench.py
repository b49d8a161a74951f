"""How much a network loses when its input is corrupted at test time."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

import pandas as pd
from scipy.stats import norm

from aclnet.evaluate import Scorer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from aclnet.datasets.store import Store
    from aclnet.pipelines.occlusion import Corruption
    from aclnet.runs import Run
    from aclnet.scores import Scores

CLEAN = "nothing (clean)"


def occlusion_bench(
    run: Run,
    store: Store,
    corruptions: Sequence[Corruption],
    split: str | None = None,
    *,
    clips: int | None = None,
    accelerator: str = "auto",
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[str, pd.DataFrame]:
    """Scores a split clean and with each corruption; arguments as those of `Scorer`.

    Returns the name of what was scored and a row a corruption, the first one clean: `corruption`,
    `samples`, `clips`, `top1` with its Wilson interval `low`, `high`, and `lost` against clean with
    its interval `lost_low`, `lost_high` for paired samples (`paired_difference`); shares, not %.
    """
    scorer = Scorer(run, store, split, clips=clips, accelerator=accelerator)
    clean = scorer.score(progress=progress, title=CLEAN)
    rows = [_row(CLEAN, clean, clean)]
    for corruption in corruptions:
        scores = scorer.score(corruption=corruption, progress=progress, title=corruption.name)
        rows.append(_row(corruption.name, scores, clean))
    return scorer.name, pd.DataFrame(rows).assign(clips=scorer.clips)


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


def _row(name: str, scores: Scores, clean: Scores) -> dict[str, float | str | int]:
    low, high = scores.interval()
    lost, lost_low, lost_high = (0.0, 0.0, 0.0)
    if scores is not clean:
        lost, lost_low, lost_high = paired_difference(clean.correct, scores.correct)
    return {
        "corruption": name,
        "samples": len(scores),
        "top1": scores.top1,
        "low": low,
        "high": high,
        "lost": lost,
        "lost_low": lost_low,
        "lost_high": lost_high,
    }
