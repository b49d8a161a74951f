"""The files of a store as checked bytes, from a folder or from an object store."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Protocol

from aclnet.datasets.store import manifest as manifests

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from aclnet.datasets.store.paths import StorePath


class DamagedFileError(Exception):
    """A file of a store is missing, damaged or not readable; the text names file and fault."""


class StoreFiles(Protocol):
    """The files of one store. Names are paths relative to the store."""

    path: StorePath
    distant: bool
    """True if a reader waits for a network, so that more readers than cores are useful."""

    def listing(self) -> bytes:
        """The content of the manifest; AclnetError if there is no finished store."""
        ...

    def wrong_sizes(self, files: Mapping[str, manifests.File]) -> Iterator[str]:
        """The faults of files that are missing or have another size, without reading them."""
        ...

    def read(self, name: str, file: manifests.File, *, compare: bool = True) -> bytes:
        """The content of a file. Raises DamagedFileError if it is not `file`.

        compare: compare the hash too, not only the size.
        """
        ...


class FolderFiles:
    """The files of a store in a folder."""

    distant = False

    def __init__(self, path: Path) -> None:
        self.path: StorePath = path
        self._folder = path

    def listing(self) -> bytes:
        return manifests.read(self._folder)

    def wrong_sizes(self, files: Mapping[str, manifests.File]) -> Iterator[str]:
        for name, file in files.items():
            if fault := manifests.check_size(self._folder / name, file):
                yield fault

    def read(self, name: str, file: manifests.File, *, compare: bool = True) -> bytes:
        path = self._folder / name
        try:
            data = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise DamagedFileError(f"{path} is missing") from None
        except OSError as error:
            raise DamagedFileError(f"{path} cannot be read ({error.strerror})") from None
        if fault := fault_of(data, file, compare=compare):
            raise DamagedFileError(f"{path} {fault}")
        return data


def fault_of(data: bytes, file: manifests.File, *, compare: bool = True) -> str | None:
    """Difference between a content and `file`, in words; None if they agree."""
    if len(data) != file.bytes:
        return f"has {len(data)} bytes instead of {file.bytes}"
    if compare and hashlib.sha256(data).hexdigest() != file.sha256:
        return "differs from what was written"
    return None
