"""A cache of files of distant stores on the disk of this machine.

All processes and stores share one folder. A file has its sha256 as its name, so that an entry can
neither be out of date nor belong to another store.
"""

from __future__ import annotations

import os
import threading
import time
import warnings
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from aclnet.datasets.formats.atomic import SUFFIX
from aclnet.datasets.spec import AclnetError, AclnetWarning
from aclnet.datasets.store.files import fault_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from aclnet.datasets.store.manifest import File

FOLDER_VARIABLE, SIZE_VARIABLE = "ACLNET_CACHE", "ACLNET_CACHE_MB"
_DEFAULT_MB = 10_000
_AIM = 0.9
"""Share of the limit that is left when entries are deleted, so that not every file needs that."""
_POLL_SECONDS = 0.01
_TOTAL = "total"
"""File with the bytes of all entries. A crash may leave it too high, never too low."""


class DiskCache:
    """Files up to `limit` bytes together; safe for several threads and processes.

    A new file replaces the files that were used least recently, but none that was used since this
    process began: an epoch reads every file of a split once, in another order each time, so that a
    file that was replaced would be read again as often as the new one.

    If the folder cannot be written, an AclnetWarning says so and nothing more is kept.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit
        self._began = time.time()
        self._is_closed = False  # there is no room for another file, or the folder is read-only
        self._writing = threading.Lock()

    def read(
        self,
        file: File,
        fetch: Callable[[], bytes],
        *,
        compare: bool = True,
        patience: float | None = None,
    ) -> bytes:
        """The content of a file: from the disk, or what `fetch` returns, which is kept.

        If several threads or processes want the same file, one of them fetches it.

        compare: compare the hash of a content from the disk too, not only its size.
        patience: seconds after which it fetches the file although others are fetching; None: no
        limit.
        """
        if file.bytes >= self.limit:
            return fetch()
        content = self._kept(file, compare=compare)
        if content is not None:
            return content
        if self._is_closed:
            return fetch()
        try:
            turn = self._lock(self._place(file).with_name("lock"), patience)
        except TimeoutError:
            # if the server is away, every reader would wait for the patience of all before it
            turn = nullcontext()
        except (OSError, NotImplementedError) as error:
            self._give_up(error)
            return fetch()
        with turn:
            content = self._kept(file, compare=compare)
            if content is None:
                content = fetch()
                self._keep(file, content)
        return content

    def _lock(self, place: Path, patience: float | None = None) -> AbstractContextManager[object]:
        """A lock that is held until the end of the context.

        Raises TimeoutError if others hold it for longer than `patience` seconds.
        """
        from filelock import FileLock

        place.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(place).acquire(timeout=patience, poll_interval=_POLL_SECONDS)

    def _place(self, file: File) -> Path:
        return self.folder / file.sha256[:2] / file.sha256

    def _kept(self, file: File, *, compare: bool) -> bytes | None:
        """The content of an entry; None if there is none, or a damaged one, which is deleted."""
        place = self._place(file)
        try:
            content = place.read_bytes()
        except OSError:
            return None
        if fault_of(content, file, compare=compare):
            with suppress(OSError):
                place.unlink()
            return None
        with suppress(OSError):  # the folder may be read-only
            os.utime(place)
        return content

    def _keep(self, file: File, content: bytes) -> None:
        try:
            # one thread of this process at a time asks for the lock
            with self._writing, self._lock(self.folder / "lock"):
                self._write(self._place(file), content)
        except (OSError, NotImplementedError) as error:
            self._give_up(error)

    def _write(self, place: Path, content: bytes) -> None:
        total = self._total_with(len(content))
        if total > self.limit:
            self._is_closed = True
            return
        (self.folder / _TOTAL).write_text(str(total))
        temporary = place.with_name(place.name + SUFFIX)
        temporary.write_bytes(content)
        temporary.replace(place)

    def _total_with(self, size: int) -> int:
        """Bytes of all entries with a new one of `size` bytes, after making room for it."""
        try:
            total = int((self.folder / _TOTAL).read_text()) + size
        except (OSError, ValueError):
            total = self.limit + 1  # the entries must be counted
        if total <= self.limit:
            return total
        entries = []
        for place in self.folder.glob("[0-9a-f][0-9a-f]/[0-9a-f][0-9a-f]*"):
            with suppress(FileNotFoundError):  # another process deletes damaged entries
                stat = place.stat()
                entries.append((stat.st_mtime, stat.st_size, place))
        total = size + sum(each for _, each, _ in entries)
        if total <= self.limit:
            return total
        for used, each, place in sorted(entries):
            if total <= _AIM * self.limit or used >= self._began:
                break
            place.unlink(missing_ok=True)
            total -= each
        return total

    def _give_up(self, error: OSError | NotImplementedError) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        warnings.warn(
            f"{self.folder} cannot be written ({error}), so no more files of object stores are "
            f"kept on this machine; make room, or set {FOLDER_VARIABLE} to another folder",
            AclnetWarning,
            stacklevel=2,
        )


def default_disk_cache() -> DiskCache:
    """The cache of `$ACLNET_CACHE` with `$ACLNET_CACHE_MB` megabytes.

    By default 10,000 MB in the user's folder of caches. Raises AclnetError for another size than a
    number from 0.
    """
    size = os.environ.get(SIZE_VARIABLE, "") or str(_DEFAULT_MB)
    if not size.isdecimal():
        raise AclnetError(f"{SIZE_VARIABLE}={size}: a number of megabytes is expected, or 0")
    named = os.environ.get(FOLDER_VARIABLE)
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return DiskCache(Path(named) if named else Path(caches) / "aclnet", int(size) * 10**6)
