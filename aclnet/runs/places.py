"""Names and places of runs and of their stores."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from aclnet.datasets.formats import atomic
from aclnet.datasets.spec import AclnetError
from aclnet.datasets.store.paths import ObjectPath, store_path
from aclnet.datasets.store.places import digest_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aclnet.datasets.store.paths import StorePath
    from aclnet.datasets.store.store import Store
    from aclnet.runs.config import Config
    from aclnet.runs.record import CodeRecord, SplitRecord, StoreRecord

RECORD, CONFIG, SPLIT = "run.json", "config.toml", "split.csv"
"""Names of the first files of a run."""


def run_name(
    config: Config,
    store: Store,
    split: SplitRecord,
    init: str | None,
    code: Sequence[CodeRecord] = (),
) -> str:
    """recipe-network-modality-seed-hash: the same for the same configuration, data and code.

    The network is left out if it is `aclnet`, or if the recipe has the same name.
    """
    identity = [config.digest(), store.digest, split.model_dump(mode="json"), init]
    identity += [c.sha256 for c in code]
    short = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
    network = config.model.label
    words = [config.recipe, *([] if network in ("aclnet", config.recipe) else [network])]
    return "-".join([*words, config.data.modality, f"s{config.seed}", short])


def run_folder(store: Store, name: str, out: Path | None) -> Path:
    """`--out`, or a folder below `runs_folder`."""
    return out or runs_folder(store) / name


def runs_folder(store: Store) -> Path:
    """Folder of a store's runs: beside it, or ./runs if that is distant or cannot be written."""
    if isinstance(store.path, ObjectPath):
        return Path("runs")
    path = store.path if store.path.name else store.path.resolve()
    beside = path.with_name(path.name + ".runs")
    parent = beside if beside.exists() else beside.parent
    return beside if os.access(parent, os.W_OK) else Path("runs")


def is_run(path: Path) -> bool:
    """True if there is a run, finished or not, at `path`."""
    return (path / RECORD).is_file()


def check_out(path: Path) -> None:
    """Raises AclnetError if `path` is neither a run, nor free for a new one."""
    if not path.exists() or is_run(path):
        return
    begun = {CONFIG, SPLIT}  # files of a run that crashed before it had its record
    others = [f for f in path.iterdir() if f.name not in begun] if path.is_dir() else [path]
    if not all(other.suffix == atomic.SUFFIX for other in others):
        raise AclnetError(
            f"{path} already exists and is not a run of aclnet; choose another --out, or empty "
            "the folder"
        )


def find_store(run: Path, record: StoreRecord) -> StorePath:
    """The place of a store of the run at `run`; raises AclnetError if it is not found."""
    recorded = store_path(record.path)
    for path in _places_of_store(run, recorded):
        if _store_digest(path) == record.digest:
            return path
    raise AclnetError(
        f"the store of {run} (digest {record.digest[:12]}) is neither at {recorded} nor "
        f"below {Path.cwd()}; give its path with --store"
    )


def _places_of_store(run: Path, recorded: StorePath) -> Iterator[StorePath]:
    if isinstance(recorded, Path):
        yield recorded
    yield from sorted(run.resolve().parent.parent.glob("*.zarr"))
    for depth in range(3):
        yield from sorted(Path().glob(f"{'*/' * depth}*.zarr"))
    if not isinstance(recorded, Path):  # the last, because a copy here needs no network
        yield recorded


def _store_digest(path: StorePath) -> str | None:
    """Identity of the store at `path`, None if there is none.

    Raises AclnetError if an object store cannot be reached.
    """
    try:
        return digest_of(path)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # the path comes from a damaged record
            return None
        raise
