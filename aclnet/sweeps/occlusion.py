"""Occlusion bench of all runs of a sweep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from aclnet.datasets.spec import silent
from aclnet.evaluation.bootstrap import Difference, difference
from aclnet.evaluation.occlusion_bench import choose_protocols
from aclnet.evaluation.outcomes import CLEAN, Maker
from aclnet.evaluation.scorer import Scorer
from aclnet.runs.run import Run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from aclnet.datasets.spec import Progress
    from aclnet.evaluation.outcomes import Outcome
    from aclnet.pipelines.inputs.protocols import Protocol
    from aclnet.sweeps.plan import Sweep
    from aclnet.sweeps.rows import Row, Rows

MEAN = "mean of all protocols"


@dataclass(frozen=True, slots=True)
class Occluded:
    """Outcomes of the finished runs of a sweep on the same N samples, clean and under protocols."""

    rows: Rows
    protocols: list[str]
    """Names of K conditions: clean, the mean over all protocols, and each protocol."""
    found: dict[tuple[Row, int], NDArray[np.float64]]
    """(K, N) by row and seed: 1 if right and 0 if wrong, or a share."""
    groups: NDArray[np.int64]
    """(N,) unit of each sample that the bootstrap draws."""
    weight: NDArray[np.float64]
    """(N,) weights of the samples in the accuracy."""
    left_out: dict[str, str]
    """Protocols of the suite that are not possible for the data, and the reasons."""

    def accuracies(self) -> pd.DataFrame:
        """Mean accuracy over the seeds: one line per condition, one column per row of the sweep.

        Shares; a row without a finished run has no column.
        """
        weight = self.weight / self.weight.sum()
        columns: dict[str, list[NDArray[np.float64]]] = {}
        for (row, _), found in self.found.items():
            columns.setdefault(", ".join(row), []).append(found @ weight)
        means = {name: np.mean(values, axis=0) for name, values in columns.items()}
        return pd.DataFrame({"protocol": self.protocols, **means})

    def differences(self) -> pd.DataFrame:
        """One line per pair of rows and condition: `first`, `second`, `protocol` and
        `aclnet.evaluation.bootstrap.COLUMNS`."""
        lines = []
        for one, other in self.rows.pairs:
            seeds = [s for (row, s) in self.found if row == one and (other, s) in self.found]
            for number, protocol in enumerate(self.protocols if seeds else ()):
                found = self._difference(one, other, seeds, number)
                lines.append(
                    {
                        "first": ", ".join(one),
                        "second": ", ".join(other),
                        "protocol": protocol,
                        **found.row(),
                    }
                )
        return pd.DataFrame(lines)

    def _difference(self, one: Row, other: Row, seeds: list[int], number: int) -> Difference:
        first, second = (
            np.stack([self.found[row, seed][number] for seed in seeds]) for row in (one, other)
        )
        return difference(first, second, self.groups, self.weight)


def occlude(
    sweep: Sweep, *, accelerator: str = "auto", progress: Progress = silent
) -> Occluded | None:
    """The bench of `sweep.rows.occlusion` on each finished run; None if there is no such run.

    Every run keeps its outcomes, so an interrupted bench resumes.
    """
    asked, done = sweep.rows.occlusion, sweep.finished()
    if asked is None or not done:
        return None
    models = {job.path: job.config.model.name for job in sweep.jobs}

    def maker(path: Path) -> Maker:
        run = Run(path)
        run.own_model = models[path]
        return Maker(Scorer(run, sweep.store, clips=asked.clips, accelerator=accelerator))

    makers = {key: [maker(path) for path in paths] for key, paths in done.items()}
    first = next(iter(makers.values()))[0].scorer
    protocols, left_out = choose_protocols(
        sweep.store, first.mask, suite=asked.suite, missing=asked.missing
    )
    joined = {key: _join(each, protocols, progress) for key, each in makers.items()}
    groups, weight, _ = next(iter(joined.values()))
    return Occluded(
        sweep.rows,
        [CLEAN, MEAN, *(protocol.name for protocol in protocols)],
        {key: found for key, (_, _, found) in joined.items()},
        groups,
        weight,
        left_out,
    )


def _join(
    makers: Sequence[Maker], protocols: Sequence[Protocol], progress: Progress
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Groups, weights, and results under each condition, with the samples of all folds."""
    made: list[list[Outcome]] = [
        [make(protocol, progress) for protocol in (None, *protocols)] for make in makers
    ]
    clean = [outcomes[0] for outcomes in made]
    units = np.concatenate([outcome.units for outcome in clean])
    weight = np.concatenate([outcome.weight * len(outcome.ids) for outcome in clean])
    found = np.array([np.concatenate([o.found for o in each]) for each in zip(*made, strict=True)])
    mean = found[1:].mean(axis=0, keepdims=True)
    groups = np.unique(units, return_inverse=True)[1]
    return groups, weight, np.concatenate([found[:1], mean, found[1:]])
