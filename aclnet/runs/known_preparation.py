"""Preparation of the store of any run, also of runs that do not record it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aclnet.datasets.registry import get_dataset
from aclnet.runs.preparation import preparation_of
from aclnet.runs.record import PreparationRecord

if TYPE_CHECKING:
    from aclnet.runs.run import Run


def preparation_record(run: Run) -> PreparationRecord:
    """Preparation that a run records; if it records none, that of its store or its dataset."""
    if run.record.preparation is not None:
        return run.record.preparation
    if not run.imported:
        store = run.open_store()
        return preparation_of(store, store.column("variant") == 0)
    spec = get_dataset(run.record.dataset)
    return PreparationRecord(
        options={}, cleaning="none", units=spec.units, coordinates=spec.dimensions
    )
