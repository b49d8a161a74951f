"""Default inputs of commands: the newest store or run below a folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from aclnet.datasets.spec import AclnetError

if TYPE_CHECKING:
    from aclnet.datasets.spec import DatasetSpec

DATA_VARIABLE = "ACLNET_DATA"

_STORES = ("*.zarr", "*/*.zarr", "*/*/*.zarr")
_RUNS = ("runs/*", "*.runs/*", "*/runs/*", "*/*.runs/*")


def find_raw(spec: DatasetSpec) -> Path:
    """The raw recordings of a dataset, where users put them.

    The function looks in `$ACLNET_DATA`, `./data` and the working folder. Raises AclnetError, which
    lists these places, if nothing is there.
    """
    folders = [Path(os.environ[DATA_VARIABLE])] if os.environ.get(DATA_VARIABLE) else []
    folders += [Path("data"), Path()]
    places = [folder / place for folder in folders for place in spec.places]
    for place in places:
        if place.exists():
            return place
    raise AclnetError(
        f"there are no raw recordings of {spec.title} in {', '.join(map(str, places))}; give their "
        f"path with --raw, or set {DATA_VARIABLE}"
    )


def stores(under: Path) -> list[Path]:
    """The finished stores below a folder."""
    return [file.parent for file in _found(under, _STORES, "manifest.json")]


def runs(under: Path) -> list[Path]:
    """The runs below a folder, with and without checkpoints."""
    return [file.parent for file in _found(under, _RUNS, "run.json")]


def newest_store(under: Path) -> Path:
    """The store that was finished last. Raises AclnetError if there is none."""
    found = _found(under, _STORES, "manifest.json")
    return _newest(found, under, _STORES, "store", "`aclnet prepare` makes one")


def newest_run(under: Path) -> Path:
    """The run whose record was written last. Raises AclnetError if there is none.

    Runs without a checkpoint are skipped, because they can only be trained further.
    """
    found = _found(under, _RUNS, "run.json")
    trained = [run for run in found if any((run.parent / "checkpoints").glob("*.pt"))]
    what = "run with a checkpoint" if found else "run"
    return _newest(trained, under, _RUNS, what, "`aclnet train` makes one")


def _found(under: Path, patterns: tuple[str, ...], marker: str) -> list[Path]:
    return [file for pattern in patterns for file in under.glob(f"{pattern}/{marker}")]


def _newest(
    found: list[Path], under: Path, patterns: tuple[str, ...], what: str, remedy: str
) -> Path:
    if not found:
        raise AclnetError(
            f"there is no {what} below {under.resolve()} (searched for {', '.join(patterns)}); "
            f"{remedy}, or give its path"
        )
    return max(found, key=lambda file: file.stat().st_mtime).parent
