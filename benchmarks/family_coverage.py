"""Share of the errors of a test that are inside the families, for several decays of the counts.

`python benchmarks/family_coverage.py RUN...` prints the means over the runs. It needs no training:
the families follow from the wrong predictions of the training samples, which a run records for each
epoch. Good families hold most errors of the test in few pairs of classes, until the end of the
training.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aclnet.evaluation.family_table import counted_predictions, related_classes
from aclnet.runs.run import Run
from aclnet.runs.scores import Scores

if TYPE_CHECKING:
    from numpy.typing import NDArray

DECAYS = (0.9, 0.95, 0.98, 1.0)


def families_after(run: Run, epoch: int, decay: float) -> NDArray[np.bool_]:
    """(C, C) families that a run would have after `epoch` (from 1) with this decay."""
    settings = run.config.loss.families.model_copy(update={"decay": decay})
    return related_classes(counted_predictions(run, epoch, settings), settings).member.numpy()


def coverage(member: NDArray[np.bool_], confusion: NDArray[np.int64]) -> tuple[float, float]:
    """Percent of the errors of `confusion` (C, C), and of all pairs of classes, inside `member`."""
    others = ~np.eye(len(member), dtype=bool)
    errors, inside = confusion[others], member[others]
    return 100 * float(errors[inside].sum() / errors.sum()), 100 * float(inside.mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+")
    runs = [Run(path) for path in parser.parse_args().runs]
    print("| decay | half: errors inside, % | pairs, % | end: errors inside, % | pairs, % |")
    print("|---|---|---|---|---|")
    for decay in DECAYS:
        found = np.mean([_half_and_end(run, decay) for run in runs], axis=0)
        print(f"| {decay:g} | {' | '.join(f'{value:.0f}' for value in found)} |")


def _half_and_end(run: Run, decay: float) -> list[float]:
    """The coverage of the errors of a run's test after half of the epochs, and after all."""
    errors = Scores.load(run.test_scores).confusion()
    epochs = run.config.optim.epochs
    members = [families_after(run, epoch, decay) for epoch in (epochs // 2, epochs)]
    return [share for member in members for share in coverage(member, errors)]


if __name__ == "__main__":
    main()
