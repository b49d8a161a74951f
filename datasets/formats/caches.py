"""Caches of file contents. A changed file counts as a different file."""

from __future__ import annotations

import os
from functools import lru_cache, wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Read = TypeVar("Read", bound="Callable[..., Any]")


def version_of(path: Path) -> tuple[int, int]:
    """Time and size of a file, which reveal a change.

    Zeros if there is no such file; opening it then gives the error.
    """
    try:
        stat = path.stat()
    except OSError:
        return 0, 0
    return stat.st_mtime_ns, stat.st_size


def cached_by_file(maxsize: int = 1, *, per_process: bool = False) -> Callable[[Read], Read]:
    """A decorator like `lru_cache`, for functions whose first argument is the path they read.

    per_process: for results that hold the file open, because a forked process must not share the
    file's position with its parent.
    """

    def decorate(function: Read) -> Read:
        @lru_cache(maxsize)
        def read(version: tuple[int, int], process: int, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            return function(*args, **kwargs)

        @wraps(function)
        def cached(path: Path, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            process = os.getpid() if per_process else 0
            return read(version_of(path), process, path, *args, **kwargs)

        return cast("Read", cached)

    return decorate
