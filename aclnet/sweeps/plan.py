"""Plan of a sweep: each row of settings with several seeds.

Runs are named after their configuration and data, so that an interrupted sweep resumes, and
sweeps with common settings share their runs.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from aclnet.datasets.spec import AclnetError
from aclnet.runs.places import runs_folder
from aclnet.runs.run import is_finished
from aclnet.runs.splits import Fold, choose_splits
from aclnet.training.jobs import plan_job
from aclnet.training.launch import TrainingRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from aclnet.datasets.store.store import Store
    from aclnet.sweeps.rows import Row, Rows
    from aclnet.training.jobs import Job


@dataclass(frozen=True, slots=True)
class Cell:
    """One run of a sweep."""

    row: Row
    seed: int
    job: Job


@dataclass(frozen=True, slots=True)
class Sweep:
    """A planned sweep."""

    store: Store
    rows: Rows
    seeds: list[int]
    cells: list[Cell]
    folder: Path
    """Folder of its tables and figures."""
    tested: str
    """Test samples, in words."""

    @property
    def jobs(self) -> list[Job]:
        """The runs; equivalent settings share a run, such as weights of a term that is off."""
        return list({cell.job.path: cell.job for cell in reversed(self.cells)}.values())[::-1]

    def finished(self) -> dict[tuple[Row, int], list[Path]]:
        """Folders of the runs by row and seed (one, or one for each fold), if all are finished."""
        paths: dict[tuple[Row, int], list[Path]] = {}
        for cell in self.cells:
            paths.setdefault((cell.row, cell.seed), []).append(cell.job.path)
        return {key: found for key, found in paths.items() if all(map(is_finished, found))}


def plan_sweep(
    store: Store,
    recipe: str,
    rows: Rows,
    seeds: Sequence[int],
    *,
    settings: Iterable[str] = (),
    select: str | None = None,
    split_file: Path | None = None,
    folds: int | None = None,
    trackers: Iterable[str] = (),
    accelerator: str = "auto",
    out: Path | None = None,
) -> Sweep:
    """All runs of a sweep, seed by seed; nothing is written.

    `settings` are those of `build_config`, for all runs; those of `rows` come after them. `folds`
    is the number of folds of the protocol's training side; each is tested in turn. `trackers`
    follow each run. Runs and results go to `out`, or beside the store. Raises AclnetError if a run
    could not be trained, or if rows would be tested on different samples.
    """
    everywhere = [*rows.common, *settings]
    parts = [Fold(n, folds) for n in range(1, folds + 1)] if folds else [None]
    cells = []
    for seed, (row, own), fold in product(seeds, rows.settings.items(), parts):
        request = TrainingRequest.of(
            store,
            recipe=recipe,
            seed=seed,
            select=select,
            split_file=split_file,
            fold=str(fold) if fold else None,
            settings=[*everywhere, *own],
            trackers=tuple(trackers),
            accelerator=accelerator,
        )
        named = row if rows.title else own
        title = ", ".join([*named, f"seed {seed}", *([f"fold {fold}"] if fold else [])])
        job = plan_job(title, store, request, out)
        cells.append(Cell(row, seed, job))
    samples = _count_tested(store, cells)
    names = sorted(cell.job.path.name for cell in cells)
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:8]
    return Sweep(
        store,
        rows,
        list(seeds),
        cells,
        folder=out or runs_folder(store) / f"sweep-{digest}",
        tested=f"{_tested_on(store, cells[0].job)}, {samples} samples",
    )


def _count_tested(store: Store, cells: list[Cell]) -> int:
    """Test samples of the rows; raises AclnetError if the rows have different ones."""
    tested: dict[Fold | None, NDArray[np.bool_]] = {}
    for job in (cell.job for cell in cells):
        asked = job.request
        test = choose_splits(store, asked.config, asked.split_file, asked.fold).test
        if not test.any():
            raise AclnetError(f"{job.title}: there is no test sample, so nothing can be compared")
        if not np.array_equal(tested.setdefault(asked.fold, test), test):
            raise AclnetError(
                f"{job.title} and {cells[0].job.title} are tested on different samples; settings "
                "are compared on the same samples"
            )
    originals = store.column("variant") == 0
    return sum(int((test & originals).sum()) for test in tested.values())


def _tested_on(store: Store, job: Job) -> str:
    asked, protocol = job.request, job.config.data.protocol or store.default_protocol
    if asked.split_file:
        return f"test of {asked.split_file.name}"
    folds = f"{asked.fold.of} folds of {protocol}'s training side" if asked.fold else ""
    return folds or f"{protocol} test"
