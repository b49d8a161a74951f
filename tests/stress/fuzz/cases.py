"""A parser that is ready to be fuzzed, and the rules for its behaviour."""

from __future__ import annotations

import os
import resource
import sys
import traceback
import warnings
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


ROOT = Path(__file__).resolve().parents[3]
SECONDS = 10
"""Time limit of one input."""
MEGABYTES = 1536
"""Limit of the memory that one input takes."""
LONGEST_MESSAGE = 5000
"""Limit of a message in characters."""


class Case(NamedTuple):
    """A parser that is ready to be fuzzed."""

    seeds: list[bytes]
    """Inputs that the mutations begin with."""
    parse: Callable[[bytes], object]
    typed: bool = False
    """True if a user types the input. Then a message may repeat the input, however long it is."""

    def warm_up(self) -> None:
        """Parses some seeds unguarded, because first imports may write caches."""
        for seed in self.seeds[:3]:
            with warnings.catch_warnings(action="ignore"), suppress(Exception):
                self.parse(seed)


class Forbidden(BaseException):
    """An act that no parser may do. It is not an Exception, so that no handler catches it."""


_PROCESSES = {
    *("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "pty.spawn"),
    *("subprocess.Popen", "socket.connect", "socket.getaddrinfo", "webbrowser.open"),
}
"""Audit events of starting programs and of connections."""
_CHANGES = {
    *("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.symlink", "os.link", "os.truncate"),
    *("os.chmod", "os.chown", "os.utime"),
}
"""Audit events of changes of files, whose arguments are paths."""
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class _Guard:
    """Raises Forbidden on forbidden acts while it is active."""

    def __init__(self) -> None:
        self.folder: str | None = None
        """The only place where files may be changed; None: the guard is not active."""
        self.seen: list[str] = []
        code = (ROOT, sys.prefix, sys.base_prefix, os.path.realpath(sys.prefix))
        system = ("/proc/", "/sys/", "/dev/", "/usr/share/zoneinfo", "/etc/localtime")
        self._readable = (*map(str, code), *system)

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if self.folder is None:
            return
        if event in _PROCESSES:
            self._refuse(f"{event}{args!r}"[:200])
        if event in _CHANGES:
            # The last argument is the open folder, if any, that the paths are relative to.
            base = f"/proc/self/fd/{args[-1]}" if isinstance(args[-1], int) else ""
            for path in args:
                if isinstance(path, str | bytes | os.PathLike):
                    place = Path(base if args[-1] != -1 else "", os.fsdecode(path))
                    if not self._is_inside(place):
                        self._refuse(f"{event} {place}"[:200])
        if event == "open":
            self._check_open(*args)

    def _check_open(self, path: object, mode: object, flags: object) -> None:
        if not isinstance(path, str | bytes | os.PathLike) or self._is_inside(path):
            return
        name = os.path.realpath(os.fsdecode(path))
        writes = isinstance(flags, int) and flags & _WRITING
        writes = writes or (isinstance(mode, str) and any(letter in mode for letter in "wax+"))
        if name.endswith(os.devnull) or "__pycache__" in name:
            return
        if writes or not name.startswith(self._readable):
            self._refuse(f"{'write' if writes else 'read'} {name}")

    def _is_inside(self, path: str | bytes | os.PathLike[str]) -> bool:
        name = os.path.realpath(os.fsdecode(path))
        return self.folder is not None and f"{name}/".startswith(f"{self.folder}/")

    def _refuse(self, what: str) -> None:
        self.seen.append(what)
        raise Forbidden(what)


@cache
def _guard() -> _Guard:
    guard = _Guard()
    sys.addaudithook(guard)  # hooks cannot be removed, so there is only one
    return guard


@contextmanager
def guarded(folder: Path) -> Iterator[list[str]]:
    """Refuses and lists forbidden acts of the parser in the block."""
    guard = _guard()
    guard.folder, guard.seen = os.path.realpath(folder), []
    try:
        yield guard.seen
    finally:
        guard.folder = None


def examine(case: Case, data: bytes, folder: Path) -> Finding | None:
    """Lets a parser read an input, and returns the finding, if there is one."""
    from aclnet.datasets.spec import AclnetError, DamageError

    before = peak_megabytes()
    problem: BaseException | None = None
    with warnings.catch_warnings(), guarded(folder) as forbidden:
        warnings.simplefilter("error")
        try:
            case.parse(data)
        except (AclnetError, DamageError) as error:
            length = len(str(error).strip())
            if not length or (length > LONGEST_MESSAGE and not case.typed):
                problem = error
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # any exception is the finding
            problem = error
    if problem is not None:
        return _finding(problem)
    if forbidden:
        return Finding("Forbidden", forbidden[0], "")
    if peak_megabytes() - before > MEGABYTES:
        return Finding("memory", f"{peak_megabytes() - before:.0f} MB", "")
    return None


class Finding(NamedTuple):
    """Fault of a parser."""

    kind: str
    """Name of the exception, or `hang`, `crash`, `memory`."""
    text: str
    place: str
    """Function and line of aclnet, or of this package."""
    trace: str = ""
    input: str = ""
    """Path of the input, where it was saved."""

    @property
    def key(self) -> str:
        """Key that is equal for similar findings."""
        return f"{self.kind} {self.place}"


def _finding(error: BaseException) -> Finding:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if f.filename.startswith(str(ROOT)) and ".venv" not in f.filename]
    last = (ours or frames)[-1]
    place = f"{Path(last.filename).name}:{last.lineno} {last.name}"
    trace = "".join(traceback.format_exception(error))[-4000:]
    return Finding(type(error).__name__, str(error)[:300], place, trace)


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
