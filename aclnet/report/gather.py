"""The content of a report, gathered from the files of runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aclnet.datasets.spec import silent
from aclnet.report.embedding import embedding_of
from aclnet.report.improvement import improvement_of
from aclnet.report.needs import check_packages
from aclnet.report.occlusion import occlusion_of
from aclnet.report.parts import Report, RunReport
from aclnet.report.people import headline_of, people_of
from aclnet.report.related import families_of_run, labels_of_scores
from aclnet.report.results import (
    accuracy_of,
    classes_of,
    confusion_of,
    missing_scores,
    store_option,
)
from aclnet.report.skeletons import Shelf, skeletons_of
from aclnet.report.training import curves_of, facts_of
from aclnet.runs.scores import Scores

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from aclnet.datasets.spec import Progress
    from aclnet.runs.run import Run

SEQUENCES = 1000
"""Sequences of a map of embeddings."""
SKELETONS = 3.0
"""Size of the skeletons of a page in MB."""


def gather(
    runs: Sequence[Run],
    *,
    store: Path | None = None,
    sequences: int = SEQUENCES,
    skeletons: float = SKELETONS,
    accelerator: str = "auto",
    progress: Progress = silent,
) -> Report:
    """The report of runs; the others are compared with the first one.

    Args:
        runs: finished or not.
        store: store of the test splits to embed and to show; None: each run's own store.
        sequences: number of sequences to embed of each run; 0: none.
        skeletons: MB (10^6 bytes) of the page that the joints of sequences may take; 0: none. Each
            run has an equal share, and what the runs before it left of theirs.
        accelerator: device to embed on: `cpu`, `cuda`, ...

    Raises:
        AclnetError: a file of a run is damaged, or a package of the extra `report` is missing.
    """
    check_packages()
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        names = [str(run.path) for run in runs]
    found = []
    shelf = Shelf(skeletons * 1e6)
    for number, run in enumerate(runs, start=1):

        def told(stage: str, done: int, total: int, remark: str = "", place: int = number) -> None:
            progress(
                f"{stage} {place}/{len(runs)}" if len(runs) > 1 else stage, done, total, remark
            )

        shelf.allow(number / len(runs))
        name = names[number - 1]
        found.append(_gather_run(run, name, store, sequences, shelf, accelerator, told))
    return Report(
        runs=found,
        sequences=shelf.sequences,
        improvements=[
            improvement_of(runs[0], run, number) for number, run in enumerate(runs[1:], start=1)
        ],
    )


def _gather_run(
    run: Run,
    name: str,
    store: Path | None,
    sequences: int,
    shelf: Shelf,
    accelerator: str,
    progress: Progress,
) -> RunReport:
    task = run.config.task
    scores = Scores.load(run.test_scores) if run.test_scores.is_file() else None
    families = families_of_run(run, scores)
    labels = labels_of_scores(run, scores, families)
    absent = missing_scores(run)
    people = None
    if task != "action":
        people = people_of(run, scores) if scores else absent
    return RunReport(
        name=name,
        path=str(run.path),
        store_option=store_option(run),
        task=task,
        labels=labels,
        headline=_headline(run, scores),
        facts=facts_of(run),
        curves=curves_of(run),
        accuracy=accuracy_of(run),
        confusion=confusion_of(run, scores) if scores else absent,
        classes=classes_of(scores, labels.names, families) if scores else absent,
        families=families,
        occlusion=occlusion_of(run),
        embedding=embedding_of(run, store, sequences, accelerator=accelerator, progress=progress),
        people=people,
        skeletons=skeletons_of(
            run, scores, store, shelf, accelerator=accelerator, progress=progress
        )
        if scores
        else absent,
    )


def _headline(run: Run, scores: Scores | None) -> list[tuple[str, str, str]]:
    """The most important figures: accuracies for actions, the protocol's figures for people."""
    if scores is None:
        return []
    tested = ("test sequences", f"{len(scores):,}", run.test_split)
    if run.config.task != "action":
        return [*headline_of(run), tested]
    low, high = scores.interval()
    classes = f"mean over {len(set(scores.labels.tolist()))} classes"
    return [
        ("top-1 accuracy", f"{100 * scores.top1:.1f} %", f"95 % interval {_range(low, high)}"),
        ("top-5 accuracy", f"{100 * scores.top5:.1f} %", "right class among the best five"),
        ("mean class accuracy", f"{100 * scores.mean_class:.1f} %", classes),
        tested,
    ]


def _range(low: float, high: float) -> str:
    return f"{100 * low:.1f} to {100 * high:.1f} %"
