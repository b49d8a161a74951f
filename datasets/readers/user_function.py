"""A dataset without an entry: a Python function that opens raw data, named on the command line."""

from __future__ import annotations

import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from aclnet.datasets.spec import AclnetError, Source

if TYPE_CHECKING:
    from collections.abc import Callable


def open_with(reader: str, raw: Path) -> Source:
    """What `package.module:function` returns for the absolute path of raw data.

    The module is looked for in the working folder too. AclnetError where it cannot be imported,
    holds no such function, or where that fails or does not return a Source.
    """
    if not raw.exists():
        raise AclnetError(f"{raw} is not there; --raw says what {reader} shall read")
    function = _find(reader)
    try:
        source = function(raw.absolute())
    except AclnetError:
        raise
    except Exception as error:
        raise AclnetError(f"{reader} failed for {raw}: {_told(error)}") from error
    if not isinstance(source, Source):
        raise AclnetError(
            f"{reader} returned a {type(source).__name__}; "
            "it must return an aclnet.datasets.spec.source.Source"
        )
    return source


def _find(reader: str) -> Callable[[Path], object]:
    module_name, separator, name = reader.partition(":")
    if not separator or not module_name or not name:
        raise AclnetError(f"--reader {reader!r} is not of the form package.module:function")
    folder = str(Path.cwd())
    if folder not in sys.path:  # worker processes are told of it too
        sys.path.insert(0, folder)
    try:
        module = import_module(module_name)
    except Exception as error:
        raise AclnetError(
            f"module {module_name} of --reader {reader} cannot be imported: {_told(error)}; "
            f"it must be installed, or lie below {folder}"
        ) from error
    function = getattr(module, name, None)
    if not callable(function):
        own = {n: v for n, v in vars(module).items() if callable(v) and not n.startswith("_")}
        known = [n for n, v in own.items() if getattr(v, "__module__", "") == module_name]
        raise AclnetError(
            f"{module.__file__ or module_name} has no function {name!r}; "
            f"it has {', '.join(known) or 'none'}"
        )
    return function  # type: ignore[no-any-return]


def _told(error: Exception) -> str:
    """The error and where in the user's code it was raised."""
    places = [
        f" ({frame.filename}:{frame.lineno})"
        for frame in traceback.extract_tb(error.__traceback__)
        if "importlib" not in frame.filename and frame.filename != __file__
    ]
    return f"{type(error).__name__}: {error}{places[-1] if places else ''}"
