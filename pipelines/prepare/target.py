"""Places where a prepared store is put: a folder, or an address in an object store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from aclnet.datasets.formats import atomic
from aclnet.datasets.formats.caches import version_of
from aclnet.datasets.store import manifest
from aclnet.datasets.store.paths import ObjectPath

if TYPE_CHECKING:
    from aclnet.datasets.spec import Progress
    from aclnet.datasets.store.paths import StorePath


class Target(Protocol):
    """The place of a store that is prepared."""

    path: StorePath
    work: Path
    """Folder in which the store is made."""
    lock: Path
    """Lock of the process that prepares the store on this machine."""

    def is_there(self) -> bool:
        """True if the place holds anything: a store, or something else.

        Raises AclnetError if another process uploads a store there, or uploaded a part of one with
        another plan, which only `overwrite` may replace.
        """
        ...

    def is_store(self) -> bool:
        """True if a finished store is there."""
        ...

    def is_writable(self) -> bool:
        """True if a lock and a store can be made."""
        ...

    def finished_at(self) -> int:
        """Time of the store that is there, in nanoseconds since 1970."""
        ...

    def sweep(self) -> None:
        """Deletes what interrupted processes left beside the place."""
        ...

    def put(self, store: Path, progress: Progress) -> None:
        """Puts a finished store there; the earlier content is deleted only now."""
        ...


class FolderTarget:
    """A folder."""

    def __init__(self, path: Path) -> None:
        self._folder = path.absolute()  # workers may have another working folder
        self.path: StorePath = self._folder
        self.work = manifest.work_folder(self._folder)
        self.lock = self._folder.with_name(f"{self._folder.name}.lock")

    def is_there(self) -> bool:
        folder = self._folder
        return folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))

    def is_store(self) -> bool:
        return (self._folder / manifest.NAME).is_file()

    def is_writable(self) -> bool:
        return os.access(self._folder.parent, os.W_OK)

    def finished_at(self) -> int:
        return version_of(self._folder / manifest.NAME)[0]

    def sweep(self) -> None:
        atomic.finish_removal(self._folder)

    def put(self, store: Path, progress: Progress) -> None:
        atomic.remove(self._folder)
        store.rename(self._folder)


class ObjectTarget:
    """An address in an object store. The store is made in the working folder and then uploaded."""

    def __init__(self, path: ObjectPath, plan: str, *, overwrite: bool) -> None:
        from aclnet.datasets.store.objects import Bucket

        self.path: StorePath = path
        self.work = Path.cwd() / f"s3-{path.bucket}-{path.key.replace('/', '-')}.wip"
        self.lock = self.work.with_name(f"{self.work.name}.lock")
        self._bucket, self._plan, self._overwrite = Bucket(path), plan, overwrite

    def is_there(self) -> bool:
        from aclnet.datasets.store.upload import state_of

        state = state_of(self._bucket, self._plan, replace=self._overwrite)
        return state in ("store", "foreign")

    def is_store(self) -> bool:
        return manifest.NAME in self._bucket.list()

    def is_writable(self) -> bool:
        return True

    def finished_at(self) -> int:
        return int(self._bucket.list()[manifest.NAME].modified.timestamp() * 10**9)

    def sweep(self) -> None:
        """Does nothing: an interrupted upload is continued."""

    def put(self, store: Path, progress: Progress) -> None:
        from aclnet.datasets.store.upload import upload

        upload(store, self._bucket, self.work, progress, replace=self._overwrite)


def target_of(path: StorePath, plan: str, *, overwrite: bool) -> Target:
    """The target at a path for a store of a plan.

    Raises AclnetError if an object store needs further packages.
    """
    if isinstance(path, ObjectPath):
        return ObjectTarget(path, plan, overwrite=overwrite)
    return FolderTarget(path)
