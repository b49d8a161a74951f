"""Writing of a run's files: a full disk gives a message and leaves the old files."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from aclnet.datasets.formats.atomic import replacing
from aclnet.datasets.spec import AclnetError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Raises AclnetError that names `path` if writing in the block fails."""
    try:
        yield
    except OSError as error:
        raise AclnetError(
            f"{path} cannot be written ({error.strerror or error}); free space on the disk, or "
            "check the permissions, and run the same command again"
        ) from None


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Makes the folder of `path` if it is missing, then does what `replacing` does.

    Raises AclnetError as `naming` does.
    """
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            yield temporary
