"""Errors of the system while reading: damage of one file, or a fault that affects others too."""

from __future__ import annotations

import errno

from aclnet.datasets.spec import DamageError, Rejection

_SHARED = frozenset(
    getattr(errno, name)
    for name in (
        # faults of the process: open files, memory
        *("EMFILE", "ENFILE", "ENOMEM", "EAGAIN"),
        # faults of the disk or the network that holds the files
        *("ENODEV", "ENXIO", "ESTALE", "ENOTCONN", "ESHUTDOWN", "ETIMEDOUT", "EREMOTEIO"),
        *("EHOSTDOWN", "EHOSTUNREACH", "ECONNRESET", "ECONNABORTED"),
        # a listed file is gone: its disk was removed, or somebody is changing the folder
        *("ENOENT", "ENOTDIR"),
    )
    if hasattr(errno, name)  # Windows lacks some
)
"""Numbers of errors whose cause is not in the file that was read."""


def damage(error: OSError) -> DamageError:
    """The damage of a listed file that the system cannot read.

    Raises `error` itself if other files would fail as well: no recording may be left out because a
    disk is missing or too many files are open.
    """
    _raise_if_shared(error)
    return DamageError(f"cannot be read: {error.strerror or error}")


def rejection(error: Exception, path: str) -> Rejection:
    """The rejection of an input for an error; an OSError behind it is raised as in `damage`."""
    _raise_if_shared(error.__context__)
    return Rejection(path, None, str(error))


def _raise_if_shared(error: BaseException | None) -> None:
    if isinstance(error, OSError) and error.errno in _SHARED:
        raise error
