"""Datasets by name: those of `aclnet.datasets.catalogue` and those of other packages.

Another package adds a dataset by an entry point of the group `aclnet.datasets` that leads to a
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
from aclnet.datasets.spec import AclnetError, DatasetSpec, did_you_mean

if TYPE_CHECKING:
    from pathlib import Path

    from aclnet.datasets.spec import Source

GROUP = "aclnet.datasets"


def get_dataset(name: str) -> DatasetSpec:
    """The dataset of that name. Raises AclnetError, which lists the known names, if there is none.

    Case does not matter, nor whether words are joined by `-` or `_`.
    """
    name_here = name.lower().replace("_", "-")
    if name_here in _own():  # before other packages load, which may ask for it
        return _own()[name_here]
    known = all_datasets()
    try:
        return known[name_here]
    except KeyError:
        raise AclnetError(
            f"unknown dataset {name!r}{did_you_mean(name_here, known)}; "
            f"known: {', '.join(sorted(known))}; "
            "`custom` reads data of your own"
        ) from None


@cache
def all_datasets() -> dict[str, DatasetSpec]:
    """Every known dataset by name, those of aclnet first.

    Raises AclnetError if an entry point of another package does not lead to a dataset, or leads to
    one whose name is taken.
    """
    found = dict(_own())
    for point in entry_points(group=GROUP):
        spec = _load(point.value, point.load)
        if spec.name in found:
            raise AclnetError(
                f"{point.value} adds a dataset {spec.name!r}, but this name is already in use"
            )
        found[spec.name] = spec
    return found


def open_raw(spec: DatasetSpec, raw: Path) -> Source:
    """A dataset's raw data at a path, which may be an export of its store.

    Raises AclnetError if there are none.
    """
    if not raw.exists():
        forms = "; or ".join(spec.about.forms)
        raise AclnetError(f"{raw} does not exist; {spec.title} is read from {forms}")
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
            f"{where}, an entry point of {GROUP}, cannot be loaded ({error!r}); repair or remove "
            "its package"
        ) from error
    if not isinstance(spec, DatasetSpec):
        raise AclnetError(f"{where}, an entry point of {GROUP}, is not a DatasetSpec")
    return spec
