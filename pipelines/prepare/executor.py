"""Executors of tasks: this process, local worker processes, or a dask cluster."""

from __future__ import annotations

import logging
import signal
import time
from contextlib import ExitStack, contextmanager
from functools import cache
from importlib.util import find_spec
from itertools import islice
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from aclnet.datasets.spec import AclnetError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")

_LOCAL_PAGE = "127.0.0.1:0"
"""Any free port for dask's status page; dask's default is 8787, with a warning if it is taken."""
_CONNECT_SECONDS = 20
_WORKER_SECONDS = 60
"""Time limit for a cluster to start its first worker."""
_MAIN_MEMORY, _WORKER_MEMORY = 200 << 20, 200 << 20
"""Bytes for the main process, and the least for a worker (measured: 96 and 83 MB, for 50,000
recordings of NTU RGB+D)."""
_CONFIG = {
    # A paused worker would never continue: the scheduler cannot move the data that it holds.
    "distributed.worker.memory.pause": False,
    # Logs of a thousand messages would keep the jobs in them, in this process and the workers.
    "distributed.admin.low-level-log-length": 10,
}
"""dask's configuration of local workers and their scheduler."""
_LOOK_SECONDS, _GONE_SECONDS = 2, 20
"""Interval of the checks for workers while no job ends, and the time limit without any worker: dask
restarts a local worker after a crash."""
_AHEAD = 4
"""Number of submitted jobs per worker thread: dask keeps all submitted jobs in memory."""


class Executor(Protocol):
    """Runs a function over jobs and yields the results as they finish, in any order."""

    def __call__(
        self, function: Callable[[_Job], _Result], jobs: Iterable[_Job]
    ) -> Iterator[_Result]: ...


@contextmanager
def open_executor(
    workers: int = 0,
    scheduler: str | None = None,
    max_memory: int | str | None = None,
    tell: Callable[[str], object] = lambda text: None,
) -> Iterator[Executor]:
    """An executor: `workers` local processes, a dask `scheduler` address, or this process.

    Jobs and results must be small: arrays go through files, never through the scheduler. The
    workers of a `scheduler` must see the same files at the same absolute paths.

    max_memory: limit of local workers and this process together, in bytes or as `2GB`. The workers
    share what this process leaves. Fewer workers start if there is not enough memory for all, and a
    worker that exceeds its share is ended.

    tell: receives the address of dask's status page, which needs bokeh. Local workers start with
    the first jobs.

    Raises AclnetError if both kinds of workers are given, if `max_memory` is too small or there is
    no worker to limit, if no scheduler with a worker answers, or if workers crash or the connection
    breaks while jobs run.
    """
    if workers and scheduler:
        raise AclnetError("choose either --workers or --scheduler, which has its own workers")
    limit = _bytes(max_memory) if max_memory else 0
    if limit and not workers:
        raise AclnetError("--max-memory limits local workers: give their number with --workers")
    if (workers or scheduler) and not find_spec("distributed"):
        raise AclnetError(
            "--workers and --scheduler need further packages: pip install 'aclnet[distributed]'; "
            "without these options, one process prepares"
        )
    if scheduler:
        with _silence(), _connect(scheduler) as client:
            tell(_page(client))
            yield _on(client)
    elif workers:
        number, share = _shares(workers, limit)
        with ExitStack() as started:
            yield _at_first_jobs(lambda: started.enter_context(_local(number, share)), tell)
    else:
        yield _in_process


def _at_first_jobs(start: Callable[[], Any], tell: Callable[[str], object]) -> Executor:
    """An executor that starts its workers when it gets its first jobs.

    Before that, recordings are listed. If dask started at the same time, its many small objects
    would lie between those of the lists, and deleting the lists would free no memory.
    """

    @cache
    def client() -> Any:  # noqa: ANN401 - distributed is untyped
        started = start()
        tell(_page(started))
        return started

    def run(function: Callable[[_Job], _Result], jobs: Iterable[_Job]) -> Iterator[_Result]:
        return _on(client())(function, jobs)

    return run


@contextmanager
def _local(number: int, share: int) -> Iterator[Any]:
    """A client of `number` local workers with `share` bytes each; 0: without limit."""
    import dask
    from distributed import Client, LocalCluster

    with dask.config.set(_CONFIG):
        with _no_interrupts():
            cluster = LocalCluster(
                n_workers=number,
                threads_per_worker=1,
                dashboard_address=_LOCAL_PAGE,
                memory_limit=share,
                silence_logs=logging.CRITICAL,  # errors in a task are raised here instead
                config=_CONFIG,
            )
        with cluster, Client(cluster) as client:
            yield client


@contextmanager
def _no_interrupts() -> Iterator[None]:
    """Hides Ctrl-C from threads and processes that start inside; this thread sees it afterwards.

    A terminal sends Ctrl-C to all processes of a command. Only this process may answer it: workers
    would print tracebacks, and dask's threads would stop in the middle of a start.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    # without this, it would start with the first worker and unblock the signal
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _silence() -> Iterator[None]:
    """Stops dask's logging in the block, because errors are raised here."""
    from distributed.utils import silence_logging_cmgr

    tasks = logging.getLogger("asyncio")  # it logs the tasks of a broken connection
    before = tasks.level
    tasks.setLevel(logging.CRITICAL)
    try:
        with silence_logging_cmgr(logging.CRITICAL):
            yield
    finally:
        tasks.setLevel(before)


def _bytes(memory: int | str) -> int:
    from pydantic import ByteSize, TypeAdapter, ValidationError

    try:
        return int(TypeAdapter(ByteSize).validate_python(memory))
    except ValidationError:
        raise AclnetError(
            f"--max-memory {memory!r} is not an amount of memory; write it as 2GB"
        ) from None


def _shares(workers: int, max_memory: int) -> tuple[int, int]:
    """Number of workers, and the bytes for each; 0: without limit."""
    if not max_memory:
        return workers, 0
    left = max_memory - _MAIN_MEMORY
    number = min(workers, left // _WORKER_MEMORY)
    if number < 1:
        least = (_MAIN_MEMORY + _WORKER_MEMORY) >> 20
        raise AclnetError(
            f"--max-memory {max_memory >> 20} MiB: one worker and the main process need {least} MiB"
        )
    return number, left // number


def _connect(scheduler: str) -> Any:  # noqa: ANN401 - distributed is untyped
    from distributed import Client

    try:
        client = Client(scheduler, timeout=_CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise AclnetError(
            f"no dask scheduler answers at {scheduler} ({error}); "
            "start one with `dask scheduler`, or use --workers"
        ) from None
    try:
        client.wait_for_workers(1, timeout=_WORKER_SECONDS)
    except TimeoutError:
        client.close()
        raise AclnetError(
            f"the dask scheduler at {scheduler} has no worker; "
            f"start some with `dask worker {scheduler}`"
        ) from None
    return client


def _page(client: Any) -> str:  # noqa: ANN401 - distributed is untyped
    return f"dask's dashboard shows the workers: {client.dashboard_link}"


def _in_process(function: Callable[[_Job], _Result], jobs: Iterable[_Job]) -> Iterator[_Result]:
    return map(function, jobs)


def _on(client: Any) -> Executor:  # noqa: ANN401 - distributed is untyped
    def run(function: Callable[[_Job], _Result], jobs: Iterable[_Job]) -> Iterator[_Result]:
        from distributed import CancelledError, KilledWorker
        from distributed.comm.core import CommClosedError

        waiting = iter(jobs)
        running: set[Any] = set()

        def start(count: int) -> None:
            running.update(
                client.submit(function, job, pure=False) for job in islice(waiting, count)
            )

        try:
            start(_AHEAD * max(1, sum(client.nthreads().values())))
            while running:
                for future in _some_done(client, running):
                    try:
                        result = future.result(_LOOK_SECONDS)
                    except TimeoutError:
                        if future.status == "error":
                            raise  # the job itself raised the error
                        # its worker crashed with the result; another worker repeats the job
                        continue
                    running.remove(future)
                    start(1)
                    yield result
        except KilledWorker:
            raise AclnetError(
                "a worker process ended, probably because of too little memory; run the same "
                "command with fewer --workers or more --max-memory to resume"
            ) from None
        except (CancelledError, CommClosedError):
            raise AclnetError(
                "the connection to the dask scheduler was lost; run the same command again to "
                "resume"
            ) from None
        finally:
            client.cancel(list(running))

    return run


def _some_done(client: Any, running: set[Any]) -> set[Any]:  # noqa: ANN401 - distributed is untyped
    """The jobs that have ended, at least one; raises AclnetError if no worker is left."""
    from distributed import wait

    seen = time.monotonic()
    while True:
        try:
            return wait(running, _LOOK_SECONDS, return_when="FIRST_COMPLETED").done  # type: ignore[no-any-return]
        except TimeoutError:
            now = time.monotonic()
            if client.nthreads():
                seen = now
            elif now - seen > _GONE_SECONDS:
                raise AclnetError(
                    "there are no worker processes left; start workers again, and run the same "
                    "command again to resume"
                ) from None
