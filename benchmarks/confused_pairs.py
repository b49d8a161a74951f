"""Errors of the rows of `aclnet sweep` between the classes that are confused most.

`python benchmarks/confused_pairs.py FOLDER`, the folder of a sweep with several seeds. For each
seed, the pairs of classes that all rows together confuse most are taken from the other seeds. (The
same seed would show a gain where one row had bad luck.)
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from aclnet.runs.run import Run
from aclnet.runs.scores import Scores

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

PAIRS = (10, 20, 40)


def confused(confusion: NDArray) -> NDArray:
    """(classes * (classes - 1) / 2,) confusions of each pair of classes, from their matrix."""
    return (confusion + confusion.T)[np.triu_indices(len(confusion), 1)]


def shares(
    counts: Mapping[tuple[str, int], NDArray], samples: int, pairs: int
) -> dict[str, tuple[float, float]]:
    """Errors of each row in percent of the samples: of the most confused pairs, and of the others.

    `counts` holds the confusions of each row and seed, as `confused` counts them.
    """
    seeds = {seed for _, seed in counts}
    found: dict[str, list[tuple[float, float]]] = {}
    for (row, seed), own in counts.items():
        others = sum(c for (_, other), c in counts.items() if other != seed)
        most = np.argsort(-np.asarray(others), kind="stable")[:pairs]
        inside = own[most].sum()
        found.setdefault(row, []).append((inside, own.sum() - inside))
    return {
        row: tuple((100 / samples / len(seeds) * np.sum(each, 0)).tolist())
        for row, each in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    table = folder / "runs.csv"
    if not table.exists():
        parser.error(f"{table} does not exist; give the folder of a finished `aclnet sweep`")
    runs = pd.read_csv(table)
    if runs["seed"].nunique() < 2:
        parser.error(f"the runs of {folder} have one seed; train at least two")
    counts, samples = {}, 0
    for (row, seed), group in runs.groupby(["row", "seed"], sort=False):
        paths = (Run(folder / Path(run).name).test_scores for run in group["run"])
        scores = Scores.join([Scores.load(path) for path in paths])
        samples, counts[row, seed] = len(scores), confused(scores.confusion())
    print("| pairs | row | errors of these pairs, % | other errors, % |\n|---|---|---|---|")
    for pairs in PAIRS:
        for row, (inside, outside) in shares(counts, samples, pairs).items():
            print(f"| {pairs} | {row} | {inside:.1f} | {outside:.1f} |")


if __name__ == "__main__":
    main()
