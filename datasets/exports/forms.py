"""The forms of exports, and the reader of each."""

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
"""File name endings of each form, the usual ending first. `pyskl` is PYSKL's pickle with additional
keys; `npz` is CTR-GCN's arrays of one protocol with additional arrays; `hdf5` holds all of the
store. The module of each form, beside this one, describes it."""
_FIRST_BYTES = 64


def export_opener(raw: Path) -> Callable[[DatasetSpec, Path], Source] | None:
    """The function that opens `raw`, or None if it is not an export.

    Exports are recognised by their name and their first bytes or list of members.
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
    """Names of a zip's members; empty if it is not a zip, which its reader will report."""
    try:
        with zipfile.ZipFile(raw) as archive:
            return archive.namelist()
    except (OSError, *UNSOUND):
        return []
