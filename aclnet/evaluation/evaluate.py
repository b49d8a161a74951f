"""Evaluation of a run, and the files that it writes into the run: `aclnet.evaluate`."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aclnet.datasets.discovery import newest_run
from aclnet.datasets.opening import open_store
from aclnet.datasets.spec import AclnetError, silent
from aclnet.datasets.store.store import Store
from aclnet.evaluation.figures import draw_confusion
from aclnet.evaluation.scorer import Scorer
from aclnet.runs.fabric import ending_together, open_fabric
from aclnet.runs.inference import Pass
from aclnet.runs.launcher import find_launcher
from aclnet.runs.network import name_own_model
from aclnet.runs.processes import (
    gather_on_first,
    is_first,
    naming_lost_process,
    on_first,
    own_share,
    together,
)
from aclnet.runs.run import Run
from aclnet.runs.scores import Scores, snake_case

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pandas as pd

    from aclnet.datasets.spec import Progress
    from aclnet.datasets.store.plan import Share
    from aclnet.runs.choices import Embedding, Metric


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Results of a run on a split."""

    scorer: Scorer
    """Scorer of the run on the split of the store."""
    result: Mapping[str, float | None]
    """Figures by name."""
    scores: Scores
    """Scores of each sample. With several processes, the first one has all of them; for actions,
    each other process has those of its share."""
    tables: dict[str, pd.DataFrame]
    """Tables by name: `per_class` for actions, those of the protocol for people."""
    file: Path
    """The file of scores in the run; tables and the confusion matrix are beside it."""

    def as_dict(self) -> dict[str, Any]:
        """The results as plain values for JSON."""
        scorer = self.scorer
        return {
            "run": str(scorer.run.path),
            "store": str(scorer.store.path),
            "split": scorer.name,
            "clips": scorer.clips,
            **snake_case(self.result),
            **{_NAMES.get(name, name): _rows(name, table) for name, table in self.tables.items()},
        }


_NAMES = {"per_class": "classes"}
"""Tables that have another name in JSON."""


def _rows(name: str, table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows for JSON, in which None stands for nothing; a row for each view and condition."""
    if name == "views":
        table = table.melt("probe_view", var_name="condition", value_name="rank1")
    known = table.astype(object).where(table.notna() & (table != ""), None)
    return [
        {str(key).lower(): value for key, value in row.items()} for row in known.to_dict("records")
    ]


def evaluate(
    run: str | Path | Run | None = None,
    store: str | Path | Store | None = None,
    split: str | None = None,
    *,
    model: str | None = None,
    clips: int | None = None,
    embedding: Embedding | None = None,
    metric: Metric | None = None,
    flip: bool | None = None,
    published: bool = False,
    bf16: bool = False,
    accelerator: str = "auto",
    devices: str | None = None,
    progress: Progress = silent,
) -> Evaluation:
    """Tests a run on a split and writes scores and tables into the run, as `aclnet evaluate`.

    With several devices, each process computes the scores of a share of the samples, and the first
    process writes the files.

    Args:
        run: the run to test; None: the newest run below the working folder.
        store: another store of the same layout; None: the run's own.
        split: for example `xsub/test`, or `val` for the samples held out of training; None: the
            run's test split.
        model: network of the run if it is your own, as `package.module:function`
            (docs/networks.md).
        clips: clips per sequence; None: the run's.
        embedding: embedding that stands for a sequence; None: the run's.
        metric: distance between embeddings; None: the run's.
        flip: also embed the mirror image; None: the run's choice.
        published: for re-identification, also compute the metrics as the published code does,
            with its known errors.
        bf16: compute the network in bfloat16 instead of float32 (docs/gpu.md).
        accelerator: device to compute on: `cpu`, `cuda`, ...
        devices: number of devices on each node, or `auto` for all; None: one, or as many as
            torchrun or srun started.
        progress: receives the number of finished samples and of all samples.

    Raises:
        AclnetError: the run has no checkpoint, the store does not fit the run, the split is empty,
            or a process failed.
    """
    opened = run if isinstance(run, Run) else Run(Path(run or newest_run(Path())))
    task = opened.config.task
    if published and task != "reid":
        raise AclnetError(f"--published is for re-identification; the task of this run is {task}")
    with _processes(accelerator, devices) as share:
        with together():
            if model:
                name_own_model(opened, model)
            data = store if isinstance(store, Store) else _open(store, opened)
            retrieval = opened.config.retrieval.changed(
                embedding=embedding, metric=metric, flip=flip
            )
            scorer = Scorer(
                opened,
                data,
                split,
                clips=clips,
                retrieval=retrieval,
                accelerator=accelerator,
                share=share,
            )
        how = Pass(progress=progress if is_first() else silent, bf16=bf16)
        return _tested(scorer, how, as_published=published)


@contextmanager
def _processes(accelerator: str, devices: str | None) -> Iterator[Share]:
    """The share of this process in the block, which ends on all processes if it fails on one.

    Processes that a training has started before are used again.
    """
    started = own_share()
    if started.world > 1 or (devices in (None, "1") and not find_launcher()):
        with naming_lost_process():
            yield started
        return
    fabric = open_fabric(accelerator, devices or "auto")
    fabric.launch()
    with ending_together(fabric):
        yield own_share()


def _open(store: str | Path | None, run: Run) -> Store:
    return open_store(store) if store else run.open_store()


def _tested(scorer: Scorer, how: Pass, *, as_published: bool) -> Evaluation:
    """The results of a scorer, whose files the first process writes."""
    found = None if scorer.gallery is None else scorer.recognise(how)
    scores = found.scores(len(scorer.class_names)) if found else _gathered(scorer, how)
    file = scorer.run.scores(f"{scorer.name}-bf16" if how.bf16 else scorer.name)

    def write() -> tuple[dict[str, float | None], dict[str, pd.DataFrame]]:
        if found and scorer.config.task != "action":
            figures, tables = found.result(), found.tables(as_published=as_published)
        else:
            figures, tables = {}, {"per_class": scores.per_class(scorer.class_names)}
            image = file.with_suffix(".confusion.png")
            draw_confusion(scores.confusion(), scorer.class_names, image)
        scores.save(file)
        scorer.run.save_tables(file, tables)
        return {**scorer.result(scores), **figures}, tables

    result, tables = on_first(write)
    return Evaluation(scorer, result, scores, tables, file)


def _gathered(scorer: Scorer, how: Pass) -> Scores:
    """Scores of all samples on the first process; on each other process those of its share."""
    with together():
        own = scorer.score(how)
    parts = gather_on_first(own)
    return Scores.join(parts) if parts else own
