"""Caches of what files hold, in which a changed file is another one."""

from __future__ import annotations

import os
from functools import lru_cache, wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

P = ParamSpec("P")
R = TypeVar("R")


def version_of(path: Path) -> tuple[int, int]:
    """Time and size of a file, by which a change of it is noticed.

    Zeros where there is none: what opens the file then says so.
    """
    try:
        stat = path.stat()
    except OSError:
        return 0, 0
    return stat.st_mtime_ns, stat.st_size


def cached_by_file(
    maxsize: int = 1, *, per_process: bool = False
) -> Callable[[Callable[Concatenate[Path, P], R]], Callable[Concatenate[Path, P], R]]:
    """As `lru_cache`, for functions whose first argument is the path of the file that they read.

    per_process: what they return holds the file open, and a forked process must not share the
    file's position with its parent.
    """

    def decorate(
        function: Callable[Concatenate[Path, P], R],
    ) -> Callable[Concatenate[Path, P], R]:
        @lru_cache(maxsize)
        def read(
            version: tuple[int, int], process: int, path: Path, *args: P.args, **kwargs: P.kwargs
        ) -> R:
            return function(path, *args, **kwargs)

        @wraps(function)
        def cached(path: Path, /, *args: P.args, **kwargs: P.kwargs) -> R:
            process = os.getpid() if per_process else 0
            return read(version_of(path), process, path, *args, **kwargs)  # type: ignore[arg-type]

        return cached

    return decorate
