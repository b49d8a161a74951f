"""The forms of exports, and what opens a file of each."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

from aclnet.datasets.exports import MARK
from aclnet.datasets.formats.files import UNSOUND
from aclnet.datasets.spec import AclnetError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aclnet.datasets.spec import DatasetSpec, Source

STORE_FORMS = {"pyskl": (".pkl",), "npz": (".npz",), "hdf5": (".h5", ".hdf5")}
"""Endings by form, the customary one first. `pyskl` is PYSKL's pickle, with keys more that it does
not know; `npz` CTR-GCN's arrays of one protocol, with arrays more; `hdf5` all of the store: see the
module of each beside this one."""
_FIRST_BYTES = 64


def export_opener(raw: Path) -> Callable[[DatasetSpec, Path], Source] | None:
    """What opens `raw` where it is an export, told by its name and what it begins with or lists;
    else None.
    """
    if not raw.is_file():
        return None
    if raw.suffix.lower() in STORE_FORMS["hdf5"]:
        from aclnet.datasets.exports.hdf5 import open_hdf5

        return open_hdf5
    if raw.suffix.lower() == ".pkl" and MARK.encode() in _beginning(raw):
        from aclnet.datasets.exports.pyskl import open_pyskl

        return open_pyskl
    if raw.suffix.lower() == ".npz" and f"{MARK}.npy" in _members(raw):
        from aclnet.datasets.exports.npz import open_npz_export

        return open_npz_export
    return None


def _beginning(raw: Path) -> bytes:
    try:
        with raw.open("rb") as file:
            return file.read(_FIRST_BYTES)
    except OSError as error:
        raise AclnetError(f"{raw} cannot be read: {error.strerror}") from None


def _members(raw: Path) -> list[str]:
    """What a zip lists; nothing where it is none, as those who read other `.npz` files say."""
    try:
        with zipfile.ZipFile(raw) as archive:
            return archive.namelist()
    except (OSError, *UNSOUND):
        return []
