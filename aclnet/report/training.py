"""Facts about a run, and the curves of its training."""

from __future__ import annotations

from math import isnan, nan
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from aclnet.datasets.spec import AclnetError, shown
from aclnet.report.parts import Curves, Facts, Missing

if TYPE_CHECKING:
    from aclnet.runs.run import Run

TERMS = ("inter", "intra", "triplet")
"""Columns of the terms that can start after the first epoch."""
UNTRAINED = "No epoch was trained yet. Run the command again that began the training."
_WEIGHTS = {
    "last": "those of the last epoch",
    "val": "the best on held-out training data",
    "test": "the best on the test data, which makes the result optimistic",
}


def facts_of(run: Run) -> Facts:
    """Facts about a run: data, training and machine."""
    groups = {"Data": _data(run), "Training": _training(run), "Environment": _environment(run)}
    return Facts(
        {name: {k: v for k, v in facts.items() if v} for name, facts in groups.items()},
        run.config.to_toml(),
    )


def metrics_of(run: Run) -> pd.DataFrame | None:
    """The run's `metrics.csv`, a row per epoch; None if no epoch was trained.

    Raises AclnetError if the file is damaged.
    """
    file = run.path / "metrics.csv"
    if not file.is_file():
        return None
    try:
        table = pd.read_csv(file)
        table = table.astype(dict.fromkeys(table, np.float64))
        if not {"epoch", "lr", "loss", "accuracy", "seconds"} <= set(table):
            raise ValueError("columns are missing")
    except (OSError, ValueError) as error:  # pandas' own exceptions are kinds of ValueError
        raise AclnetError(
            f"{file} is damaged ({shown(error, 300)}); delete it to make a report without curves"
        ) from None
    return table


def curves_of(run: Run) -> Curves | Missing:
    """Figures over epochs."""
    table = metrics_of(run)
    if table is None or not len(table):
        if run.imported:
            return Missing("The run was imported, so there are no curves of a training.")
        return Missing(UNTRAINED)
    starts = {}
    for term in TERMS:
        if term in table:
            active = np.flatnonzero(table[term])
            first = int(active[0]) if len(active) else len(table)
            table.loc[table.index[:first], term] = nan
            if len(active):
                starts[term] = int(table["epoch"].iloc[first])
    return Curves(
        epochs=[int(epoch) for epoch in table["epoch"]],
        figures={str(name): table[name].tolist() for name in table if name != "epoch"},
        starts=starts,
    )


def _data(run: Run) -> dict[str, str]:
    record, split = run.record, run.record.split
    return {
        "dataset": record.dataset,
        "store": record.store.path if record.store else "",
        "test split": run.test_split,
        "fold": f"{split.fold[0]} of {split.fold[1]}" if split.fold else "",
        "held out": split.held_out or "",
        "classes": str(len(record.class_names)),
        "training samples per epoch": _samples(run),
        "joint layout": f"{record.layout.name}, {len(record.layout.joints)} joints",
        "normalisation": record.normalisation,
    }


def _training(run: Run) -> dict[str, str]:
    config, record, table = run.config, run.record, metrics_of(run)
    trained = 0 if table is None else len(table)
    size = f"{config.model.name}, {config.model.size}"
    facts = {
        "recipe": config.recipe,
        "network": size if config.model.name == "aclnet" else config.model.name,
        "modality": config.data.modality,
        "seed": str(config.seed),
        "weights": _WEIGHTS[config.select],
        "initial weights": record.init_from or "",
        "imported from": record.imported.file if record.imported else "",
        "own code": ", ".join(code.name for code in record.code),
    }
    if run.imported:
        return facts
    seconds = 0.0 if table is None else float(table["seconds"].sum())
    return facts | {
        "loss": config.loss.terms if config.loss.name == "cross-entropy" else config.loss.name,
        "epochs": f"{trained} of {config.optim.epochs}",
        "batch size": str(config.optim.batch_size),
        "optimizer": config.optim.name,
        "learning rate": f"{config.optim.scaled_lr:g}",
        "time of training": duration(seconds) if trained else "",
    }


def _environment(run: Run) -> dict[str, str]:
    found = dict(run.record.environment)
    first = {name: found.pop(name, "") for name in ("machine", "gpu", "commit", "python")}
    return {**first, **found}


def _samples(run: Run) -> str:
    if not run.history.path.is_dir() or not run.history.trained:
        return ""
    return f"{int(run.history.read('confusion/train', 0).sum()):,}"


def duration(seconds: float) -> str:
    """A time in words, for example `2 h 5 min`."""
    if isnan(seconds) or seconds < 0:
        return ""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
