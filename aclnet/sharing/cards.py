"""Cards of stores and runs as files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from aclnet.datasets.opening import open_store
from aclnet.datasets.spec import AclnetError
from aclnet.datasets.store.paths import ObjectPath
from aclnet.datasets.store.places import is_store
from aclnet.runs.places import is_run
from aclnet.runs.run import Run
from aclnet.runs.writing import writing
from aclnet.sharing.croissant import dataset_files
from aclnet.sharing.dataset_card import dataset_card
from aclnet.sharing.model_card import model_card

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aclnet.datasets.store.paths import StorePath
    from aclnet.datasets.store.store import Store

README = "README.md"


def opened(path: StorePath) -> Store | Run:
    """The store or run at `path`. Raises AclnetError if there is neither."""
    if is_store(path):
        return open_store(path)
    if isinstance(path, Path) and is_run(path):
        return Run(path)
    raise AclnetError(f"{path} is neither a store nor a run; give the folder of a store or a run")


def card_files(source: Store | Run, license_id: str | None = None) -> dict[str, bytes]:
    """The files of a card by their names: `README.md`, and for a store its Croissant metadata.

    Raises AclnetError if a run is not finished, or if a file that the card needs is damaged.
    """
    if isinstance(source, Run):
        return {README: model_card(source, license_id).encode()}
    return {
        README: dataset_card(source, license_id).encode(),
        **dataset_files(source, license_id),
    }


def write_card(
    source: Store | Run,
    out: Path | None = None,
    *,
    license_id: str | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Writes the card of a store or a run into a folder, by default its own; returns the files.

    Raises AclnetError if a file already exists and may not be overwritten, or cannot be written.
    """
    folder = out or source.path
    if isinstance(folder, ObjectPath):
        raise AclnetError(f"{folder} is not a folder; choose one for the card with --out")
    files = {folder / name: content for name, content in card_files(source, license_id).items()}
    if not overwrite:
        _check_absent(files)
    for path, content in files.items():
        with writing(path) as temporary:
            temporary.write_bytes(content)
    return [*files]


def _check_absent(files: Iterable[Path]) -> None:
    for path in files:
        if path.exists():
            raise AclnetError(
                f"{path} already exists; use --overwrite to replace it, or --out FOLDER"
            )
