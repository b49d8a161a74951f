"""Places of stores: folders, and addresses in object stores."""

from __future__ import annotations

from pathlib import Path, PurePath, PurePosixPath
from typing import Self, TypeAlias

from aclnet.datasets.spec import AclnetError, shown

_SCHEME = "s3:"


class ObjectPath(PurePosixPath):
    """Address of a store in an object store, or of an object in it: `s3://bucket/path`."""

    def __str__(self) -> str:
        return f"{_SCHEME}//{'/'.join(self.parts[1:])}"

    @property
    def bucket(self) -> str:
        return self.parts[1]

    @property
    def key(self) -> str:
        """The address inside the bucket."""
        return "/".join(self.parts[2:])

    def resolve(self) -> Self:
        """The same address: an address does not depend on a working folder."""
        return self


StorePath: TypeAlias = Path | ObjectPath


def store_path(place: str | PurePath) -> StorePath:
    """The folder or the address that a text names.

    Raises AclnetError for an address that does not have the form `s3://bucket/path`.
    """
    if isinstance(place, ObjectPath):
        return place
    text = str(place)
    scheme, slashes, _ = text.partition("://")
    # `Path` makes one slash of two
    if not slashes and isinstance(place, PurePath) and place.parts[:1] == (_SCHEME,):
        scheme, slashes = "s3", "://"
    if not slashes:
        return Path(place)
    address = ObjectPath(text)
    if scheme != "s3" or len(address.parts) < 3 or ".." in address.parts:
        raise AclnetError(
            f"{shown(text)} is not the address of a store; give s3://BUCKET/PATH or a folder"
        )
    return address
