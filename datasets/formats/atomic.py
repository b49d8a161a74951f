"""Files and folders that are there whole or not at all, whatever interrupts the program."""

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
"""Ending of the names under which files and folders are written."""
_HOST = re.sub(r"[^\w.]", "_", platform.node())


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path`, for a file or a folder to be written; it becomes `path` at the end.

    After a crash, of the machine too, there is what was there before or the new one. An exception
    inside leaves `path` as it was. What a process of this machine left of the same file when it
    was killed is deleted.
    """
    # dask may give a job of a client that died, and the same one of its successor, to two threads
    writer = f"{_HOST}-{threading.get_ident()}-{os.getpid()}"
    temporary = path.with_name(f"{path.name}.{writer}{SUFFIX}")
    for left in path.parent.glob(f"{glob.escape(path.name)}.{_HOST}-*{SUFFIX}"):
        if left == temporary or not _is_running(left):
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
    """Deletes a folder, if it is there; an interrupted deletion leaves no part of it at `path`.

    Of a link to a folder, the link alone is deleted.
    """
    finish_removal(path)
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        doomed = _doomed(path)
        path.rename(doomed)
        shutil.rmtree(doomed)


def finish_removal(path: Path) -> None:
    """Deletes what an interrupted `remove(path)` left."""
    shutil.rmtree(_doomed(path), ignore_errors=True)


def delete_unfinished(folder: Path, suffixes: tuple[str, ...] = (SUFFIX,)) -> None:
    """Deletes all below a folder that ends in one of `suffixes`; nobody may be writing there."""
    for path in [path for path in folder.rglob("*") if path.suffix in suffixes]:
        _delete(path)


def _doomed(path: Path) -> Path:
    return path.with_name(f"{path.name}.deleting")


def _is_running(temporary: Path) -> bool:
    """Is the process that writes a temporary file of this machine still there?"""
    try:
        os.kill(int(temporary.name.removesuffix(SUFFIX).rpartition("-")[2]), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, ValueError):  # of another user; no name of ours
        pass
    return True


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
