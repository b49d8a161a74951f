"""How much a network loses when its input is corrupted at test time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from aclnet.evaluate import Scorer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
    """Scores a split clean and with each corruption.

    Returns the split's name and a row a corruption: `corruption`, `top1` with its Wilson interval
    `low`, `high`, and `lost` against clean with its interval `lost_low`, `lost_high` for paired
    samples.
    """
    scorer = Scorer(run, store, split, clips=clips, accelerator=accelerator)
    clean = scorer.score(progress=progress, title=CLEAN)
    rows = [_row(CLEAN, clean, clean)]
    for corruption in corruptions:
        scores = scorer.score(corruption=corruption, progress=progress, title=corruption.name)
        rows.append(_row(corruption.name, scores, clean))
    return scorer.name, pd.DataFrame(rows)


def paired_difference(
    first: NDArray[np.bool_], second: NDArray[np.bool_], z: float = 1.959964
) -> tuple[float, float, float]:
    """Difference of two accuracies on the same samples, with a Wald interval for paired data.

    See Agresti and Min, "On simple and exact confidence intervals for matched pairs", Statistics
    in Medicine 24 (2005): half a count is added to each discordant cell, which keeps the coverage
    in small samples.
    """
    n = len(first) + 2
    gained, lost = (first & ~second).sum() + 0.5, (~first & second).sum() + 0.5
    centre = (gained - lost) / n
    spread = z * np.sqrt(gained + lost - (gained - lost) ** 2 / n) / n
    plain = float(first.mean() - second.mean())
    return plain, float(centre - spread), float(centre + spread)


def _row(name: str, scores: Scores, clean: Scores) -> dict[str, float | str | int]:
    low, high = scores.interval()
    row: dict[str, float | str | int] = {
        "corruption": name,
        "samples": len(scores),
        "top1": scores.top1,
        "low": low,
        "high": high,
    }
    if scores is clean:
        return row | {"lost": 0.0, "lost_low": 0.0, "lost_high": 0.0}
    lost, lost_low, lost_high = paired_difference(clean.correct, scores.correct)
    return row | {"lost": lost, "lost_low": lost_low, "lost_high": lost_high}
