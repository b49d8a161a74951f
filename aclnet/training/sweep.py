"""Grids of settings, each trained with several seeds: planning, and what came of them.

Runs are called after their configuration and data, so that a grid that was stopped goes on, and one
that shares settings with another shares their runs.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from itertools import product
from math import nan
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from aclnet.datasets.spec import AclnetError
from aclnet.evaluation.compare import compare, smallest_difference
from aclnet.evaluation.figures import draw_sensitivity
from aclnet.runs.config import build_config
from aclnet.runs.run import Run, is_finished, runs_folder
from aclnet.runs.scores import Scores
from aclnet.runs.splits import Fold, choose_splits
from aclnet.runs.writing import writing
from aclnet.training.jobs import plan_job
from aclnet.training.launch import TrainingRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from aclnet.datasets.store.store import Store
    from aclnet.training.jobs import Job

Setting = tuple[str, ...]
"""A value for each key of the grid, as it was given."""

NAMED_GRIDS = {"components": "loss.terms=ce,ce+inter,ce+intra,acl"}
"""Grids that are asked for by name."""

_VALUE = r"\[[^\[\]]*\]|[^,\[\]{}\"']+"
"""A list of plain values, or a plain value."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One run of a sweep."""

    setting: Setting
    seed: int
    job: Job


@dataclass(frozen=True, slots=True)
class Sweep:
    """A planned sweep. The first setting is what the others are compared with."""

    keys: list[str]
    settings: list[Setting]
    seeds: list[int]
    cells: list[Cell]
    folder: Path
    """Where its tables and figure go."""
    tested: str
    """What is measured on, in words."""

    @property
    def jobs(self) -> list[Job]:
        """The runs: one where settings come to the same, as all weights of a term that is off."""
        return list({cell.job.path: cell.job for cell in reversed(self.cells)}.values())[::-1]


def parse_grid(text: str) -> tuple[str, list[str]]:
    """Key and values of `KEY=V1,V2,...`, or of a named grid.

    A value is what `--set` takes, a list in square brackets included. AclnetError on a value that
    holds commas, brackets or quotes otherwise.
    """
    key, separator, values = NAMED_GRIDS.get(text, text).partition("=")
    if not (separator and re.fullmatch(f"(?:{_VALUE})(?:,(?:{_VALUE}))*", values)):
        raise AclnetError(
            f"--grid {text!r}: write KEY=V1,V2, for example loss.weight=0,0.1, values without "
            f"commas, brackets and quotes but for one list [a,b]; or {', '.join(NAMED_GRIDS)}"
        )
    found = [value.strip() for value in re.findall(_VALUE, values)]
    if len(set(found)) < len(found):
        raise AclnetError(f"--grid {text!r} gives a value twice")
    return key.strip(), found


def plan_sweep(
    store: Store,
    recipe: str,
    grids: Iterable[str],
    seeds: Sequence[int],
    *,
    settings: Iterable[str] = (),
    select: str | None = None,
    split_file: Path | None = None,
    folds: int | None = None,
    out: Path | None = None,
) -> Sweep:
    """All runs of a sweep, seed by seed; nothing is written.

    `grids` as `parse_grid` takes them; `settings` as those of `build_config`, for all runs.
    `folds` tests on that many folds of the protocol's training side, each in its turn. Runs and
    results go to `out`, else beside the store. AclnetError where any run could not be trained, or
    settings would be tested on different samples.
    """
    parsed = [parse_grid(text) for text in grids]
    keys = [key for key, _ in parsed]
    _check_keys(keys)
    combinations = list(product(*(values for _, values in parsed)))
    parts = [Fold(n, folds) for n in range(1, folds + 1)] if folds else [None]
    cells = []
    for seed, setting, fold in product(seeds, combinations, parts):
        pairs = [f"{key}={value}" for key, value in zip(keys, setting, strict=True)]
        config = build_config(recipe, [*settings, *pairs], seed=seed, select=select)
        title = ", ".join([*pairs, f"seed {seed}", *([f"fold {fold}"] if fold else [])])
        job = plan_job(title, store, TrainingRequest(config, split_file, fold), out)
        cells.append(Cell(setting, seed, job))
    samples = _count_tested(store, cells)
    names = sorted(cell.job.path.name for cell in cells)
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:8]
    return Sweep(
        keys,
        combinations,
        list(seeds),
        cells,
        folder=out or runs_folder(store) / f"sweep-{digest}",
        tested=f"{_tested_on(store, cells[0].job)}, {samples} samples",
    )


def _check_keys(keys: list[str]) -> None:
    if "seed" in keys:
        raise AclnetError("--grid seed: seeds are given with --seeds")
    twice = {key for key in keys if keys.count(key) > 1}
    if twice:
        raise AclnetError(f"--grid names {min(twice)} twice: give all its values at once")


def _count_tested(store: Store, cells: list[Cell]) -> int:
    """Samples that each setting is tested on; AclnetError where they are not the same ones."""
    tested: dict[Fold | None, NDArray[np.bool_]] = {}
    for job in (cell.job for cell in cells):
        asked = job.request
        test = choose_splits(store, asked.config, asked.split_file, asked.fold).test
        if not test.any():
            raise AclnetError(f"{job.title}: no sample says test, so nothing can be compared")
        if not np.array_equal(tested.setdefault(asked.fold, test), test):
            raise AclnetError(
                f"{job.title}: is not tested on the samples that {cells[0].job.title} is tested "
                "on; settings are compared on the same ones"
            )
    originals = store.column("variant") == 0
    return sum(int((test & originals).sum()) for test in tested.values())


def _tested_on(store: Store, job: Job) -> str:
    asked, protocol = job.request, job.config.data.protocol or store.default_protocol
    if asked.split_file:
        return f"test of {asked.split_file.name}"
    folds = f"{asked.fold.of} folds of {protocol}'s training side" if asked.fold else ""
    return folds or f"{protocol} test"


def finished_scores(sweep: Sweep) -> dict[tuple[Setting, int], Scores]:
    """Test scores by setting and seed, all folds together; those that are not finished lack."""
    found = {}
    for setting, seed in product(sweep.settings, sweep.seeds):
        cells = [c for c in sweep.cells if (c.setting, c.seed) == (setting, seed)]
        if all(is_finished(cell.job.path) for cell in cells):
            parts = [Scores.load(Run(cell.job.path).test_scores) for cell in cells]
            found[setting, seed] = Scores.join(parts)
    return found


def runs_table(sweep: Sweep) -> pd.DataFrame:
    """A row a run: the grid's keys, `seed`, `fold`, `top1` (NaN: not finished) and folder `run`."""
    return pd.DataFrame(
        {
            **dict(zip(sweep.keys, cell.setting, strict=True)),
            "seed": cell.seed,
            "fold": str(cell.job.request.fold or ""),
            "top1": _top1(cell.job.path),
            "run": str(cell.job.path),
        }
        for cell in sweep.cells
    )


def _top1(path: Path) -> float:
    return float(Run(path).result["top1"]) if is_finished(path) else nan


def settings_table(sweep: Sweep, scores: dict[tuple[Setting, int], Scores]) -> pd.DataFrame:
    """A row a setting: the grid's keys, and over the `seeds` that are finished the mean `top1`,
    standard deviation `sd`, `lowest` and `highest`.

    Against the first setting, over the seeds that both have: `difference`, `only_first` and
    `only_this` right, McNemar's `p` with all seeds as if independent, and the difference that would
    have been `visible` (`smallest_difference`). Shares, not %; NaN where there is nothing to tell.
    """
    return pd.DataFrame(
        {
            **dict(zip(sweep.keys, setting, strict=True)),
            **_spread([s.top1 for (of, _), s in scores.items() if of == setting]),
            **_against_first(sweep, setting, scores),
        }
        for setting in sweep.settings
    )


def _spread(top1: list[float]) -> dict[str, float]:
    return {
        "seeds": len(top1),
        "top1": float(np.mean(top1)) if top1 else nan,
        "sd": float(np.std(top1, ddof=1)) if len(top1) > 1 else nan,
        "lowest": min(top1, default=nan),
        "highest": max(top1, default=nan),
    }


def _against_first(
    sweep: Sweep, setting: Setting, scores: dict[tuple[Setting, int], Scores]
) -> dict[str, Any]:
    first = sweep.settings[0]
    both = [s for s in sweep.seeds if (first, s) in scores and (setting, s) in scores]
    if setting == first or not both:
        names = ("difference", "only_first", "only_this", "p", "visible")
        return dict.fromkeys(names, nan)
    found = compare([scores[first, s] for s in both], [scores[setting, s] for s in both])
    pooled = found["pooled"]
    discordant = pooled["only_first"] + pooled["only_second"]
    return {
        "difference": pooled["second"] - pooled["first"],
        "only_first": pooled["only_first"],
        "only_this": pooled["only_second"],
        "p": pooled["p"],
        "visible": smallest_difference(discordant, found["samples"] * len(both)),
    }


def write_results(sweep: Sweep) -> pd.DataFrame:
    """Writes runs.csv, settings.csv and sensitivity.png of what is finished into its folder.

    Returns `settings_table`.
    """
    scores = finished_scores(sweep)
    settings = settings_table(sweep, scores)
    for name, table in (("runs", runs_table(sweep)), ("settings", settings)):
        with writing(sweep.folder / f"{name}.csv") as temporary:
            table.to_csv(temporary, index=False)
    if scores:
        results = pd.DataFrame(
            {**dict(zip(sweep.keys, setting, strict=True)), "top1": found.top1}
            for (setting, _), found in scores.items()
        )
        draw_sensitivity(results, sweep.keys, sweep.tested, sweep.folder / "sensitivity.png")
    return settings
