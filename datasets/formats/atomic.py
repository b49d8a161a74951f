"""Atomic writing of files and folders: after an interruption, each is complete or absent."""

from __future__ import annotations

import glob
import json
import os
import platform
import re
import shutil
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SUFFIX = ".tmp"
"""Suffix of files and folders that are being written."""
_HOST = re.sub(r"[^\w.]", "_", platform.node())


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, for a new file or folder; it is renamed to `path` at the end.

    After a crash, also of the machine, `path` holds either the old content or the new. An exception
    inside the block leaves `path` as it was. Remains of earlier crashed processes of this machine
    that wrote the same path are deleted.
    """
    # dask may give a job of a client that crashed, and the same job of its successor, to two
    # threads
    writer = f"{_HOST}-{threading.get_ident()}-{os.getpid()}"
    temporary = path.with_name(f"{path.name}.{writer}{SUFFIX}")
    for left in path.parent.glob(f"{glob.escape(path.name)}.{_HOST}-*{SUFFIX}"):
        if left == temporary or not _has_writer(left):
            _delete(left)
    try:
        yield temporary
        for file in temporary.iterdir() if temporary.is_dir() else (temporary,):
            _sync(file)
        if path.is_dir():
            remove(path)
        temporary.replace(path)
        _sync(path.parent)
    finally:
        _delete(temporary)


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401 - whatever JSON takes
    """Writes JSON with sorted keys, by `replacing`."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, sort_keys=True), encoding="utf-8")


def remove(path: Path) -> None:
    """Deletes a folder, if it exists; an interrupted deletion leaves no part of it at `path`.

    If the path is a link to a folder, only the link is deleted.
    """
    finish_removal(path)
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        doomed = _doomed(path)
        path.rename(doomed)
        shutil.rmtree(doomed)


def finish_removal(path: Path) -> None:
    """Deletes the remains of an interrupted `remove(path)`."""
    shutil.rmtree(_doomed(path), ignore_errors=True)


def delete_unfinished(folder: Path, suffixes: tuple[str, ...] = (SUFFIX,)) -> None:
    """Deletes all below a folder that ends in one of `suffixes`; nobody may be writing there."""
    for path in [path for path in folder.rglob("*") if path.suffix in suffixes]:
        _delete(path)


def _doomed(path: Path) -> Path:
    return path.with_name(f"{path.name}.deleting")


def is_running(process: int) -> bool:
    """True if a process of this machine, also one of another user, is still running."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _has_writer(temporary: Path) -> bool:
    """True if the process that writes a temporary file of this machine is still running."""
    number = temporary.name.removesuffix(SUFFIX).rpartition("-")[2]
    return not number.isdecimal() or is_running(int(number))  # else the name is not ours


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Waits until a file's content, or a folder's list of names, is on the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows opens no folders
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
