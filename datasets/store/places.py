"""Stores where they are, in a folder or in an object store: files, identity and members."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from aclnet.datasets.store import manifest
from aclnet.datasets.store.files import FolderFiles
from aclnet.datasets.store.paths import ObjectPath, store_path

if TYPE_CHECKING:
    from aclnet.datasets.store.files import StoreFiles
    from aclnet.datasets.store.paths import StorePath


def is_store(path: StorePath) -> bool:
    """True if a path is the folder of a store, or an address; only stores have addresses."""
    return isinstance(path, ObjectPath) or (path / manifest.NAME).is_file()


def open_files(path: StorePath, *, cached: bool = True) -> StoreFiles:
    """The files of the store at a path.

    cached: keep objects on the disk of this machine, see `aclnet.datasets.store.disk_cache`.

    Raises AclnetError if an object store needs packages that are not installed.
    """
    if not isinstance(path, ObjectPath):
        return FolderFiles(path)
    from aclnet.datasets.store.objects import ObjectFiles

    return ObjectFiles(path, cached=cached)


def digest_of(path: StorePath) -> str | None:
    """Identity of the store or set at a path, None if there is none.

    It is known without opening the store, so that it can be compared first. Raises AclnetError if
    an object store cannot be reached.
    """
    if isinstance(path, Path) and not is_store(path):
        return None
    record = manifest.set_at(path)
    if record:
        return record.digest
    if isinstance(path, Path):
        return hashlib.sha256((path / manifest.NAME).read_bytes()).hexdigest()
    from aclnet.datasets.store.objects import Bucket

    try:
        return hashlib.sha256(Bucket(path).get(manifest.NAME)).hexdigest()
    except FileNotFoundError:
        return None


def member_path(path: Path, member: manifest.Member) -> StorePath:
    """Place of a member of the set at a path."""
    address = store_path(member.path)
    if not isinstance(address, Path):
        return address
    place = path / address
    short = Path(os.path.normpath(place))
    same = place.exists() and short.exists() and short.samefile(place)  # not, behind some links
    return short if same else place


def check_member(path: Path, member: manifest.Member) -> str | None:
    """A fault of the presence or identity of a member, in words; None if it is the right one."""
    place = member_path(path, member)
    found = digest_of(place)
    if found is None:
        return f"{place}, a member of {path}, is missing"
    if found != member.digest:
        return (
            f"{place} is another store than the one that {path} was joined from (digest "
            f"{found[:12]} instead of {member.digest[:12]})"
        )
    return None
