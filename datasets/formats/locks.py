"""Locks that keep other processes from changing the same files at the same time."""

from __future__ import annotations

import os
import platform
import threading
import warnings
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING

from aclnet.datasets.spec import AclnetError, AclnetWarning

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_guard = threading.Lock()
_held: set[str] = set()
"""Locks of this process, because the system lets a process take its own lock twice."""


@contextmanager
def held(file: Path, what: str) -> Iterator[None]:
    """Holds the lock `file` while the block runs, then deletes the file.

    The lock is a POSIX record lock, which NFS 4 passes on to other machines. The system releases
    the lock when its process ends, however that happens. If the file system has no locks, an
    AclnetWarning says so and the block runs.

    Args:
        file: Name of the lock; missing folders above it are created.
        what: Activity of the holder for the message, for example "x.zarr is being prepared".

    Raises:
        AclnetError: Another process holds the lock, or this one does; the message names it.
    """
    name = os.path.realpath(file)
    with _guard:
        if name in _held:
            raise AclnetError(_refusal(what, _signature()))
        _held.add(name)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with _locked(file, what) as stream:
            stream.truncate(0)
            stream.write(_signature())
            stream.flush()
            try:
                yield
            finally:
                with suppress(OSError):
                    file.unlink()
    finally:
        with _guard:
            _held.remove(name)


def _locked(file: Path, what: str) -> IO[str]:
    """The file, open and locked."""
    while True:
        stream = file.open("a+", encoding="utf-8")
        try:
            _lock(stream, what)
        except BaseException:
            stream.close()
            raise
        if _is_at(stream, file):
            return stream
        stream.close()  # the last holder deleted this file after it was opened here


def _lock(stream: IO[str], what: str) -> None:
    try:
        if fcntl is None:
            raise OSError("this system has no POSIX locks")
        fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        stream.seek(0)
        raise AclnetError(_refusal(what, stream.read(200))) from None
    except OSError as error:
        warnings.warn(
            f"{stream.name} cannot be locked ({error.strerror or error}); make sure that {what} "
            "only by this process",
            AclnetWarning,
            stacklevel=2,
        )


def _is_at(stream: IO[str], file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(stream.fileno()), file.stat())
    except FileNotFoundError:
        return False


def _signature() -> str:
    return f"process {os.getpid()} on {platform.node()}"


def _refusal(what: str, holder: str) -> str:
    return (
        f"{what} by another process ({holder or 'unknown'}); run the same command again when that "
        "process has ended"
    )
