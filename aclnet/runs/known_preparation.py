"""Preparation of the store of any run, also of runs that do not record it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aclnet.datasets.registry import get_dataset
from aclnet.runs.preparation import preparation_of
from aclnet.runs.record import PreparationRecord

if TYPE_CHECKING:
    from aclnet.datasets.spec import DatasetSpec
    from aclnet.datasets.spec.layouts import Layout
    from aclnet.runs.run import Run

_PIXELS = ("coco", "openpose")
"""Layouts of the 2-D networks of PYSKL's zoo, also for datasets whose own joints are in space."""


def preparation_record(run: Run) -> PreparationRecord:
    """Preparation that a run records; if it records none, that of its store or its dataset."""
    if run.record.preparation is not None:
        return run.record.preparation
    if not run.imported:
        store = run.open_store()
        return preparation_of(store, store.column("variant") == 0)
    return imported_preparation(run.layout, get_dataset(run.record.dataset))


def imported_preparation(layout: Layout, spec: DatasetSpec) -> PreparationRecord:
    """Preparation of the sequences that an imported network was trained on."""
    units = spec.units
    if layout.name != spec.layout:
        units = "px" if layout.name in _PIXELS else "m"
    coordinates = 2 if units == "px" else 3
    return PreparationRecord(options={}, cleaning="none", units=units, coordinates=coordinates)
