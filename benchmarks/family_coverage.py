"""Share of the errors of a test that are inside the families, for several decays of the counts.

`python benchmarks/family_coverage.py RUN...` prints the means over the runs. It needs no training:
the families after each epoch follow from the confusions of the training samples, which a run keeps
for each epoch. Good families hold most errors of the test in few pairs of classes, until the end of
the training.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from aclnet.losses.families import ConfusionCounter, FamilySettings, relate
from aclnet.runs.run import Run
from aclnet.runs.scores import Scores

if TYPE_CHECKING:
    from numpy.typing import NDArray

DECAYS = (0.9, 0.95, 0.98, 1.0)


def families_after(confusions: NDArray[np.int64], settings: FamilySettings) -> NDArray[np.bool_]:
    """(epochs, C, C) families after each epoch, from the confusions (epochs, C, C) of each."""
    epochs, classes, _ = confusions.shape
    counter = ConfusionCounter(classes, settings)
    member = np.zeros(confusions.shape, bool)
    for epoch in range(settings.start_epoch(epochs), epochs + 1):
        counter.decay()
        counted = torch.from_numpy(confusions[epoch - 1]).float()
        counter.samples += counted.sum(1)
        counter.counts += counted.fill_diagonal_(0)
        member[epoch - 1] = relate(counter.counts, counter.samples, settings).member.numpy()
    return member


def coverage(member: NDArray[np.bool_], confusion: NDArray[np.int64]) -> tuple[float, float]:
    """Percent of the errors of `confusion` (C, C), and of all pairs of classes, inside `member`."""
    others = ~np.eye(len(member), dtype=bool)
    errors = confusion[others]
    return 100 * float(errors[member[others]].sum() / errors.sum()), 100 * float(
        member[others].mean()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+")
    runs = [Run(path) for path in parser.parse_args().runs]
    print("| decay | half: errors inside, % | pairs, % | end: errors inside, % | pairs, % |")
    print("|---|---|---|---|---|")
    for decay in DECAYS:
        found = np.mean([_half_and_end(run, decay) for run in runs], axis=0)
        print(f"| {decay:g} | {' | '.join(f'{value:.0f}' for value in found)} |")


def _half_and_end(run: Run, decay: float) -> tuple[float, ...]:
    """The coverage of a run's test after half of the epochs and after all."""
    errors = Scores.load(run.test_scores).confusion()
    settings = run.config.loss.families.model_copy(update={"decay": decay})
    member = families_after(run.history.read_all("confusion/train"), settings)
    return *coverage(member[len(member) // 2 - 1], errors), *coverage(member[-1], errors)


if __name__ == "__main__":
    main()
