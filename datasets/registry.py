"""Datasets by name: those of `aclnet.datasets.catalogue`, and those of other packages.

Another package adds its own by an entry point of the group `aclnet.datasets` that leads to a
`DatasetSpec`:

    [project.entry-points."aclnet.datasets"]
    mine = "my_package.skeletons:SPEC"
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from importlib.resources import files
from typing import TYPE_CHECKING

from aclnet.datasets.exports.forms import export_opener
from aclnet.datasets.spec import AclnetError, DatasetSpec

if TYPE_CHECKING:
    from pathlib import Path

    from aclnet.datasets.spec import Source

GROUP = "aclnet.datasets"


def get_dataset(name: str) -> DatasetSpec:
    """The dataset of that name; AclnetError that lists the known ones where there is none.

    Case does not matter, nor whether words are joined by `-` or `_`.
    """
    name_here = name.lower().replace("_", "-")
    if name_here in _own():  # without loading others: these may ask for it while they load
        return _own()[name_here]
    known = all_datasets()
    try:
        return known[name_here]
    except KeyError:
        raise AclnetError(
            f"unknown dataset {name!r}; known: {', '.join(sorted(known))}; "
            "`custom` reads data of your own"
        ) from None


@cache
def all_datasets() -> dict[str, DatasetSpec]:
    """Every known dataset by name, our own first.

    AclnetError where an entry point of another package does not lead to a dataset, or to one whose
    name is taken.
    """
    found = dict(_own())
    for point in entry_points(group=GROUP):
        spec = _load(point.value, point.load)
        if spec.name in found:
            raise AclnetError(f"{point.value} adds a dataset {spec.name!r}, which there is already")
        found[spec.name] = spec
    return found


def open_raw(spec: DatasetSpec, raw: Path) -> Source:
    """A dataset's raw data at a path, which may be an export of its store.

    AclnetError where there are none.
    """
    if not raw.exists():
        forms = "; or ".join(spec.about.forms)
        raise AclnetError(f"{raw} is not there; {spec.title} is read from {forms}")
    return (export_opener(raw) or spec.opener)(spec, raw.absolute())


@cache
def _own() -> dict[str, DatasetSpec]:
    """The datasets of the catalogue."""
    found: dict[str, DatasetSpec] = {}
    folder = files("aclnet.datasets.catalogue")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".py"))
    for name in names:
        if not name.startswith("_"):
            module = import_module(f"aclnet.datasets.catalogue.{name.removesuffix('.py')}")
            found |= {spec.name: spec for spec in module.DATASETS}
    return found


def _load(where: str, load: object) -> DatasetSpec:
    try:
        spec = load()  # type: ignore[operator]
    except Exception as error:
        raise AclnetError(
            f"{where}, an entry point of {GROUP}, cannot be loaded ({error!r}); "
            "mend or remove the package it comes with"
        ) from error
    if not isinstance(spec, DatasetSpec):
        raise AclnetError(f"{where}, an entry point of {GROUP}, is no DatasetSpec")
    return spec
