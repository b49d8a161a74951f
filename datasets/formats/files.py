"""Files below a raw folder, also inside zip archives, which are not unpacked to disk.

The path of an archive's member continues the archive's path: `part1.zip/a/b.skeleton`.
"""

from __future__ import annotations

import heapq
import lzma
import os
import stat
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING

from aclnet.datasets.formats import unreadable
from aclnet.datasets.formats.caches import cached_by_file
from aclnet.datasets.spec import AclnetError, DamageError, shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_ZIP = ".zip"
UNSOUND = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    LookupError,
    RuntimeError,  # encrypted; its subclass NotImplementedError: unknown compression
    ValueError,
)
"""Exceptions that zipfile raises for files that are damaged or not archives."""


def folder_of(root: Path) -> Path:
    """Folder that paths below a root are relative to: the root, or the folder of a root file."""
    return root if root.is_dir() else root.parent


def check_archive(root: Path, what: str, recording: str = _ZIP) -> None:
    """Raises AclnetError unless `root` is a folder or a zip archive.

    what: the expected content, for the message.
    recording: suffix of a file that is one recording, if such a file is accepted too.
    """
    if not root.is_dir() and root.suffix.lower() not in (_ZIP, recording):
        raise AclnetError(
            f"{root} is not a folder or a zip of a folder; give the folder or zip that holds {what}"
        )


def walk_files(root: Path) -> Iterator[tuple[str, int]]:
    """Path relative to `folder_of(root)` and size in bytes of every file, in no fixed order.

    `root` is a folder, searched to any depth, or one file. For an archive, its members are listed.
    A link to a folder is followed, unless that folder is listed already; `bad_links` lists the
    links that cannot be followed. Raises AclnetError if a folder or an archive cannot be listed.
    """
    if not root.is_dir():
        yield from _file(root, root.name, _size(root))
        return
    for path, found in _walk(root):
        if isinstance(found, int):
            yield from _file(root / path, path, found)


def bad_links(root: Path) -> list[tuple[str, str]]:
    """Path and fault of each link below a folder that `walk_files` does not follow, sorted."""
    if not root.is_dir():
        return []
    return sorted((path, found) for path, found in _walk(root) if isinstance(found, str))


def _walk(root: Path) -> Iterator[tuple[str, int | str]]:
    """Path and size of every file below a folder, or the fault of a link.

    Links to folders come last, in the order of their names: a folder below `root` keeps its own
    path, and a folder with several links gets the path of the first. Some file systems number
    folders badly, so folders that are not links are never left out before the first link.
    """
    above = {_identity(folder) for folder in (root, *root.resolve().parents)}
    seen: set[tuple[int, int]] = set()
    folders, links = [""], list[str]()
    linked = False
    while folders or links:
        if not folders:
            linked = True
            folders.append(heapq.heappop(links))
        folder = folders.pop()
        try:
            identity = _identity(root / folder)
            if linked and identity in above:
                yield folder.rstrip("/"), "a link to a folder above it"
                continue
            if linked and identity in seen:
                continue
            seen.add(identity)
            with os.scandir(root / folder) as entries:
                for entry in entries:
                    path = f"{folder}{entry.name}"
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(f"{path}/")
                    elif entry.is_symlink():
                        found = _follow(root / path)
                        if found is None:
                            heapq.heappush(links, f"{path}/")
                        else:
                            yield path, found
                    elif entry.is_file():
                        yield path, entry.stat().st_size
        except OSError as error:
            raise AclnetError(
                f"{error.filename or root / folder} cannot be listed: {error.strerror}; "
                "check the path and its permissions"
            ) from None


def _follow(link: Path) -> int | str | None:
    """The size of the file that a link leads to, or the fault of the link; None: a folder."""
    try:
        found = link.stat()
    except OSError as error:
        return f"a link that cannot be followed: {error.strerror}"
    if stat.S_ISDIR(found.st_mode):
        return None
    return (
        found.st_size
        if stat.S_ISREG(found.st_mode)
        else ("a link to something that is not a file or a folder")
    )


def _identity(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_dev, found.st_ino


def file_on_disk(root: Path, path: str) -> Path:
    """The file that `walk_files` lists, or the archive that contains it."""
    return _split(folder_of(root), path)[0]


def read_file(root: Path, path: str, limit: int, *, listed: bool = True) -> bytes:
    """Content of a file that `walk_files` lists.

    listed: False for a file that may be missing.

    Raises DamageError if the file cannot be read or has more than `limit` bytes. The caller sets
    the limit well above any real file, so that a hostile file cannot fill the memory. Raises
    OSError if the fault is not in the file (`aclnet.datasets.formats.unreadable`).
    """
    folder = folder_of(root)
    archive, separator, member = _split(folder, path)
    try:
        if separator:
            with _open_zip(archive).open(member) as file:
                data = file.read(limit + 1)
        else:
            with (folder / path).open("rb") as file:
                data = file.read(limit + 1)
    except FileNotFoundError as error:
        if listed:
            raise
        raise DamageError(f"cannot be read: {error.strerror}") from None
    except OSError as error:
        raise unreadable.damage(error) from None
    except UNSOUND as error:
        raise DamageError(f"cannot be unpacked: {shown(error, 300)}") from None
    if len(data) > limit:
        raise DamageError(f"longer than {limit:,} bytes, the limit for files of this kind")
    return data


def _file(file: Path, path: str, size: int) -> Iterator[tuple[str, int]]:
    """Path and size of the file itself, or of the members of an archive."""
    if not path.lower().endswith(_ZIP):
        yield path, size
        return
    try:
        members = _open_zip(file).infolist()
    except (OSError, *UNSOUND) as error:
        raise AclnetError(
            f"{file} is not a valid zip archive ({shown(error, 300)}); download it again, or move "
            "it away"
        ) from None
    for member in members:
        if member.filename and not member.filename.endswith("/"):
            yield f"{path}/{member.filename}", member.file_size


def _split(folder: Path, path: str) -> tuple[Path, str, str]:
    """Archive, separator and member of a path; the last two are empty for a plain file."""
    place = path.lower().find(f"{_ZIP}/")
    while place >= 0:
        end = place + len(_ZIP)
        if (folder / path[:end]).is_file():
            return folder / path[:end], "/", path[end + 1 :]
        place = path.lower().find(f"{_ZIP}/", end)
    return folder / path, "", ""


@cached_by_file(maxsize=4, per_process=True)  # listing a large archive takes a second
def _open_zip(file: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(file)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError as error:
        raise AclnetError(f"{file} cannot be read: {error.strerror}") from None
