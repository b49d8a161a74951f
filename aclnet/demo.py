"""The whole chain on made-up people: raw files, store, training, families, occlusion bench."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from sklearn.metrics import average_precision_score

from aclnet.config import build_config
from aclnet.datasets.readers import get_dataset
from aclnet.datasets.store import Store
from aclnet.datasets.synth.motion import FAMILIES
from aclnet.datasets.synth.ntu import generate
from aclnet.family_table import family_table
from aclnet.occlusion_bench import occlusion_bench
from aclnet.pipelines.executor import executor
from aclnet.pipelines.occlusion import Drop
from aclnet.pipelines.options import PrepareOptions
from aclnet.pipelines.prepare import prepare
from aclnet.train import make_fabric, train

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from aclnet.family_table import FamilyTable
    from aclnet.pipelines.prepare import Report
    from aclnet.runs import Run
    from aclnet.trainer import Progress

DROPS = ("hands", "legs")
DAMAGE = 0.01


@dataclass(frozen=True, slots=True)
class Demo:
    """What the demo made and found."""

    report: Report
    run: Run
    families: FamilyTable
    occlusion: pd.DataFrame
    average_precision: float
    """Of the affinities, as a ranking of class pairs, against the planted families."""
    chance: float
    """Average precision of a random ranking: the share of pairs inside a family."""


def demo(
    folder: Path,
    progress: Callable[[str, int, int], None],
    training: Progress,
    *,
    seed: int = 0,
    settings: list[str] | None = None,
) -> Demo:
    """Runs the chain below `folder`; what is there already is not made again."""
    raw, out = folder / "raw", folder / "ntu60.zarr"
    if not out.exists():
        generate(
            raw,
            seed=seed,
            damage=DAMAGE,
            progress=lambda done, total: progress("make up", done, total),
        )
    spec = get_dataset("ntu60")
    with executor() as run_jobs:
        report = prepare(
            spec,
            spec.open(raw),
            out,
            PrepareOptions(),
            run_jobs,
            lambda stage, done, total, _: progress(stage, done, total),
        )
    store = Store(out)
    config = build_config("demo", settings, seed=seed)
    fabric = make_fabric(config)
    fabric.launch()
    run = train(fabric, store, config, training)
    corruptions = [Drop.of(drop, store.layout) for drop in DROPS]
    _, occlusion = occlusion_bench(run, store, corruptions, progress=progress)
    families = family_table(run)
    found, chance = compare_with_planted(families.affinity)
    return Demo(report, run, families, occlusion, found, chance)


def compare_with_planted(affinity: NDArray[np.float32]) -> tuple[float, float]:
    """Average precision of affinities (60, 60) over pairs of planted classes, and chance."""
    family_of = {a - 1: name for name, actions in FAMILIES.items() for a in actions}
    pairs = list(combinations(sorted(family_of), 2))
    same = [family_of[a] == family_of[b] for a, b in pairs]
    scores = [affinity[a, b] for a, b in pairs]
    return float(average_precision_score(same, scores)), float(np.mean(same))
