"""Finding what a command was not told: the newest store or run below a folder."""

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
    """Raw recordings of a dataset where users put them; AclnetError that lists the places.

    Looked through are `$ACLNET_DATA`, `./data` and the working folder.
    """
    folders = [Path(os.environ[DATA_VARIABLE])] if os.environ.get(DATA_VARIABLE) else []
    folders += [Path("data"), Path()]
    places = [folder / place for folder in folders for place in spec.places]
    for place in places:
        if place.exists():
            return place
    raise AclnetError(
        f"no raw recordings of {spec.title}: looked for {', '.join(map(str, places))}; "
        f"say where they are with --raw, or set {DATA_VARIABLE}"
    )


def newest_store(under: Path) -> Path:
    """The store that was finished last; AclnetError where there is none."""
    found = _found(under, _STORES, "manifest.json")
    return _newest(found, under, _STORES, "store", "`aclnet prepare` makes one")


def newest_run(under: Path) -> Path:
    """The run whose record was written last; AclnetError where there is none.

    Runs without a checkpoint are passed over: nothing can be done with them but train.
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
            f"no {what} below {under.resolve()} (looked for {', '.join(patterns)}); "
            f"{remedy}, or name its path"
        )
    return max(found, key=lambda file: file.stat().st_mtime).parent
