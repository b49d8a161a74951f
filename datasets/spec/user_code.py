"""Code of the user: functions that the command line, a recipe or an installed package names.

The name never comes from a run or a store: opening the folder of another person must not run code
that this folder names.
"""

from __future__ import annotations

import hashlib
import sys
import traceback
from dataclasses import dataclass
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aclnet.datasets.spec.errors import AclnetError
from aclnet.datasets.spec.wording import shown

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

_NOT_THE_USER = ("aclnet", "importlib", "_frozen_importlib", "_frozen_importlib_external")
"""Packages whose lines of a traceback do not help the user."""


@dataclass(frozen=True, slots=True)
class UserFunction:
    """A function of the user."""

    name: str
    """Name that the user gave."""
    call: Callable[..., Any]
    file: Path | None
    """The source file of its module; None if the module has none."""

    def sha256(self) -> str | None:
        """sha256 of the source file."""
        return hashlib.sha256(self.file.read_bytes()).hexdigest() if self.file else None


def names_code(name: str) -> bool:
    """True if a name is of the form `package.module:function` or `path/to/file.py:function`."""
    return ":" in name


def load_function(name: str, setting: str) -> UserFunction:
    """The function at `package.module:function` or `path/to/file.py:function`.

    The module is also searched for in the working folder. Raises AclnetError, with `setting`, if
    the module cannot be imported or has no such function.
    """
    place, separator, function_name = name.rpartition(":")
    if not separator or not place or not function_name:
        raise AclnetError(
            f"{setting} {shown(repr(name))} is not of the form package.module:function"
        )
    module = _module(place, f"{setting} {shown(name)}")
    function = getattr(module, function_name, None)
    if not callable(function):
        own = {n: v for n, v in vars(module).items() if callable(v) and not n.startswith("_")}
        known = [n for n, v in own.items() if getattr(v, "__module__", "") == module.__name__]
        raise AclnetError(
            f"{module.__file__ or place} has no function {shown(repr(function_name))}; "
            f"it has {', '.join(known) or 'none'}"
        )
    return UserFunction(name, function, file_of(module))


def told(error: BaseException) -> str:
    """The error, and the last line of the user's code that led to it."""
    places = [
        f" ({frame.f_code.co_filename}:{line})"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if frame.f_globals.get("__name__", "").partition(".")[0] not in _NOT_THE_USER
        and "site-packages" not in frame.f_code.co_filename
    ]
    return f"{type(error).__name__}: {shown(error, 500)}{places[-1] if places else ''}"


def _module(place: str, what: str) -> ModuleType:
    folder = str(Path.cwd())
    if folder not in sys.path:  # worker processes get it too
        sys.path.insert(0, folder)
    try:
        return _from_file(Path(place)) if place.endswith(".py") else import_module(place)
    except Exception as error:
        raise AclnetError(
            f"module {shown(place)} of {what} cannot be imported: {told(error)}; it must be "
            f"installed or be below {folder}"
        ) from error


def _from_file(path: Path) -> ModuleType:
    """A file as a separate module; it is run once per process."""
    name = str(path.resolve())
    if name not in sys.modules:
        spec = spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{path} is not a Python file")
        module = sys.modules[name] = module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except BaseException:  # also for Ctrl-C: the next import must not find half of a module
            del sys.modules[name]
            raise
    return sys.modules[name]


def file_of(module: ModuleType) -> Path | None:
    """The source file of a module; None if it has none."""
    file = getattr(module, "__file__", None)
    return Path(file) if file else None
