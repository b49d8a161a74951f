"""Commands of aclnet in processes of their own, which can be killed at any change of a file.

A server process imports aclnet once and forks itself for every command. This takes milliseconds
instead of the seconds of a new Python, so that hundreds of kills take minutes. It runs
`aclnet.cli.main.main`, like the installed command.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[2]
TIMEOUT = 300.0
"""Seconds after which a command counts as hanging."""
_CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.symlink")
"""Events of Python's audit hooks that change files; opening for writing is another."""
_MODULES = (
    "aclnet.cli.prepare", "aclnet.cli.train", "aclnet.cli.evaluate", "aclnet.cli.export",
    "aclnet.training.launch", "aclnet.pipelines.prepare.stages", "aclnet.evaluation.scorer",
    "aclnet.exchange.export_run", "aclnet.datasets.exports.hdf5", "aclnet.cli.families",
    "aclnet.cli.compare", "aclnet.cli.occlusion_bench", "aclnet.evaluation.occlusion_bench",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Request:
    """A command and its fault."""

    arguments: list[str]
    folder: str
    """Folder in which it runs."""
    at: int | None = None
    """Number of the change of a file, from 0, before which the fault happens; None for never."""
    delay: float = 0.0
    """Seconds after that change until the fault."""
    signal: int = signal.SIGKILL
    """Signal that the process then sends to itself."""
    vanishes: str = ""
    """Link in the folder that is then deleted instead of a signal, as when a disk is removed; with
    a slash at its end, an empty folder replaces it."""
    patches: dict[str, Any] = field(default_factory=dict)
    """Values by the name of a module's or class's variable, as JSON or `tests.module:function`."""
    environment: dict[str, str] = field(default_factory=dict)
    """Further environment variables."""
    limits: dict[str, int] = field(default_factory=dict)
    """Soft limits by name, as `RLIMIT_NOFILE`; RLIMIT_AS is added to the present memory."""


@dataclass(frozen=True, slots=True)
class Ended:
    """End of a command."""

    code: int
    """Exit status; negative: the signal that killed it."""
    out: str
    err: str
    changes: int
    """Number of changes of files; 0 if it was killed."""

    @property
    def words(self) -> str:
        """All that it printed on stderr, in one line."""
        return " ".join(self.err.split())

    @property
    def told(self) -> bool:
        """True if it ended with a message of aclnet."""
        return self.code == 2 and "error: " in self.err and "Traceback" not in self.err


class Child:
    """A running command."""

    def __init__(self, server: Commands, pid: int, files: Path) -> None:
        self.pid = pid
        self._server, self._files = server, files

    def wait(self, timeout: float = TIMEOUT) -> Ended:
        """The end of the command; a command that hangs is killed, and its status is -SIGALRM."""
        code = self._server.ask(wait=self.pid, timeout=timeout)
        changes = self._files / "changes"
        return Ended(
            code=code,
            out=(self._files / "out").read_text(errors="replace"),
            err=(self._files / "err").read_text(errors="replace"),
            # the kill may come while the number is written
            changes=int((changes.read_text() if changes.exists() else "") or 0),
        )

    def signal(self, number: int) -> None:
        """Sends a signal to the command and to the processes that it started."""
        os.killpg(self.pid, number)


class Commands:
    """The server; a context manager."""

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory()
        self._count = 0
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.stress.commands"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._server.communicate()  # it ends with its input
        self._folder.cleanup()

    def ask(self, **request: Any) -> int:
        """The server's answer to a request."""
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())

    def start(self, *arguments: object, folder: Path, **options: Any) -> Child:
        """Starts a command; `options` are fields of `Request`."""
        self._count += 1
        files = Path(self._folder.name) / str(self._count)
        files.mkdir()
        words = [str(argument) for argument in arguments]
        request = {"arguments": words, "folder": str(folder), **options}
        return Child(self, self.ask(start=request, files=str(files)), files)

    def run(self, *arguments: object, folder: Path, **options: Any) -> Ended:
        """Runs a command to its end."""
        return self.start(*arguments, folder=folder, **options).wait()


def _serve() -> None:
    for name in _MODULES:
        importlib.import_module(name)
    for line in sys.stdin:
        request = json.loads(line)
        if "start" in request:
            answer = _fork(Request(**request["start"]), Path(request["files"]))
        else:
            answer = _wait(request["wait"], request["timeout"])
        print(answer, flush=True)  # noqa: T201 - the protocol


def _fork(request: Request, files: Path) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setsid()
        _redirect(files)
        code = _run(request, files)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _redirect(files: Path) -> None:
    new = os.O_WRONLY | os.O_CREAT
    opened = (os.open(os.devnull, os.O_RDONLY), *(os.open(files / n, new) for n in ("out", "err")))
    for target, source in enumerate(opened):
        os.dup2(source, target)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _run(request: Request, files: Path) -> int:
    from aclnet.cli.main import main

    os.chdir(request.folder)
    os.environ.update(request.environment)
    for name, value in request.patches.items():
        owner, _, variable = name.rpartition(".")
        setattr(pkgutil.resolve_name(owner), variable, _value(value))
    changes = _count_changes(request)
    for name, value in request.limits.items():
        _limit(name, value)
    code = 0
    try:
        main(list(request.arguments))
    except SystemExit as stop:
        code = int(stop.code or 0)
    for name in request.limits:
        number = getattr(resource, name)
        resource.setrlimit(number, (resource.getrlimit(number)[1],) * 2)
    (files / "changes").write_text(str(changes[0]))
    return code


def _value(value: Any) -> Any:
    """The value of a patch; `module:name` is a function of a module of tests."""
    if isinstance(value, str) and value.startswith("tests."):
        return pkgutil.resolve_name(value)
    return value


def _count_changes(request: Request) -> list[int]:
    """Counts changes of files from now on, and causes the fault at the requested change."""
    count = [0]
    folder = os.fspath(Path(request.folder).resolve())

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) or not isinstance(path, str):
                return
            if not os.path.abspath(path).startswith(folder):  # noqa: PTH100 - no Path in a hook
                return
        elif event not in _CHANGES:
            return
        count[0] += 1
        if count[0] - 1 != request.at:
            return
        if request.delay:
            threading.Timer(request.delay, _happen, [request]).start()
        else:
            _happen(request)

    sys.addaudithook(hook)
    return count


def _happen(request: Request) -> None:
    if not request.vanishes:
        os.kill(os.getpid(), request.signal)
        return
    link = Path(request.folder, request.vanishes.rstrip("/"))
    link.unlink()
    if request.vanishes.endswith("/"):
        link.mkdir()


def _limit(name: str, value: int) -> None:
    number = getattr(resource, name)
    if name == "RLIMIT_AS":
        value += int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    if name == "RLIMIT_FSIZE":
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(number, (value, resource.getrlimit(number)[1]))


def _wait(pid: int, timeout: float) -> int:
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return -signal.SIGALRM


if __name__ == "__main__":
    _serve()
