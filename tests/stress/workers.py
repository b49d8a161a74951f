"""Failures of dask: schedulers and workers over TCP in processes of their own, local workers."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

from tests.stress.campaign import Tally
from tests.stress.scene import PATCHES, PREPARE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.stress.commands import Child, Ended
    from tests.stress.scene import Scene

_EXECUTOR = "aclnet.pipelines.prepare.executor"
_SOON = {f"{_EXECUTOR}._GONE_SECONDS": 3, f"{_EXECUTOR}._WORKER_SECONDS": 3}
"""Seconds that a command waits without any worker, shortened where this is tested."""
_START_SECONDS = 60
_TTL = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "5s"}
"""Silence after which the scheduler drops a worker; dask's own value is five minutes."""


class Cluster:
    """A scheduler and its workers, in processes of their own; a context manager."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self.workers: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        file = self._folder / "scheduler.json"
        options = ("--host", "127.0.0.1", "--port", "0", "--dashboard-address", ":0")
        self.scheduler = self._start("scheduler", *options, "--scheduler-file", file)
        # the file is completely written
        _until(lambda: file.exists() and file.read_text().rstrip().endswith("}"))
        self.address = json.loads(file.read_text())["address"]
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add_worker(self) -> None:
        """Starts a worker of two threads."""
        self.workers.append(
            self._start("worker", self.address, "--nthreads", "2", "--no-dashboard", "--no-nanny")
        )

    def _start(self, *arguments: object) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", *map(str, arguments)],
            cwd=self._folder,
            env={**os.environ, **_TTL, "PYTHONPATH": os.getcwd()},  # noqa: PTH109 - a text
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        return process


class Try:
    """One preparation on a cluster, disturbed in its middle."""

    def __init__(self, scene: Scene, place: Path, cluster: Cluster, rng: random.Random) -> None:
        self.scene, self.place, self.cluster, self.rng = scene, place, cluster, rng

    def start(self, **patches: Any) -> Child:
        """Starts the command on the cluster."""
        command = (*PREPARE.arguments, "--scheduler", self.cluster.address)
        return self.scene.commands.start(*command, folder=self.place, patches=PATCHES | patches)

    def middle(self) -> None:
        """Waits until some part of the work is done."""
        stage = self.rng.choice(("fragments", "shards"))
        work = self.place / "made.zarr.wip"
        wanted = self.rng.randrange(1, 5)
        _until(lambda: (self.place / "made.zarr").exists() or _count(work, stage) >= wanted)


def _killed_worker(at: Try) -> Ended:
    at.cluster.add_worker()
    at.cluster.add_worker()
    child = at.start()
    at.middle()
    at.cluster.workers[0].kill()
    return child.wait()


def _late_worker(at: Try) -> Ended:
    child = at.start()
    time.sleep(at.rng.uniform(0, 3))
    at.cluster.add_worker()
    return child.wait()


def _no_worker(at: Try) -> Ended:
    return at.start(**_SOON).wait()


def _all_workers_killed(at: Try) -> Ended:
    at.cluster.add_worker()
    child = at.start(**_SOON)
    at.middle()
    at.cluster.workers[0].kill()
    return child.wait()


def _frozen_worker(at: Try) -> Ended:
    at.cluster.add_worker()
    at.cluster.add_worker()
    child = at.start()
    at.middle()
    at.cluster.workers[0].send_signal(signal.SIGSTOP)
    return child.wait()


def _killed_client(at: Try) -> Ended:
    """The next command begins while the workers may still run the jobs of the killed one."""
    at.cluster.add_worker()
    child = at.start()
    at.middle()
    child.signal(signal.SIGKILL)
    child.wait()
    return at.start().wait()


def _killed_scheduler(at: Try) -> Ended:
    at.cluster.add_worker()
    child = at.start()
    at.middle()
    at.cluster.scheduler.kill()
    return child.wait()


OVER_TCP: dict[str, Callable[[Try], Ended]] = {
    "killed worker": _killed_worker,
    "late worker": _late_worker,
    "no worker": _no_worker,
    "all workers killed": _all_workers_killed,
    "frozen worker": _frozen_worker,
    "killed client": _killed_client,
    "killed scheduler": _killed_scheduler,
}
REFUSED = {"no worker", "all workers killed", "killed scheduler"}
"""Failures from which a command cannot recover, unless it was done before."""


def over_tcp(scene: Scene, what: str, number: int, seed: int) -> Tally:
    """Causes a failure of a cluster `number` times, then repeats the command in its own process."""
    tally, rng = Tally(f"dask over TCP: {what}"), random.Random(f"{seed} {what}")
    for _ in range(number):
        with scene.place() as place, scene.place() as elsewhere, Cluster(elsewhere) as cluster:
            ended = OVER_TCP[what](Try(scene, place, cluster, rng))
            if ended.code and not (what in REFUSED and ended.told):
                tally.count(f"{what}: status {ended.code}: {ended.err}")
                continue
            wrong = scene.again(PREPARE, place)
            tally.count(wrong and f"{what}: {wrong}", told=ended.told)
    return tally


def kill_local_workers(scene: Scene, number: int, seed: int) -> Tally:
    """Kills a command with two workers in its middle: all of its processes, or only the first."""
    tally, rng = Tally("kill -9 of prepare --workers 2"), random.Random(seed)
    for n in range(number):
        with scene.place() as place:
            command = (*PREPARE.arguments, "--workers", "2")
            child = scene.commands.start(*command, folder=place, patches=PATCHES)
            Try(scene, place, None, rng).middle()  # type: ignore[arg-type]
            if n % 2:
                child.signal(signal.SIGKILL)
            else:
                os.kill(child.pid, signal.SIGKILL)
            child.wait()
            wrong = scene.again(PREPARE, place)
            tally.count(wrong and f"two workers, {'all' if n % 2 else 'command'} killed: {wrong}")
    return tally


def _count(work: Path, stage: str) -> int:
    return sum(not file.name.endswith(".tmp") for file in work.glob(f"*/{stage}/0000/*"))


def _until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + _START_SECONDS
    while not done():
        if time.monotonic() > end:
            raise TimeoutError("the disturbed command does not begin")
        time.sleep(0.001)
