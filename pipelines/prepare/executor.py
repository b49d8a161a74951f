"""Where tasks run: in this process, in local worker processes, or on a dask cluster."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from aclnet.datasets.spec import AclnetError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")

_LOCAL_PAGE = "127.0.0.1:0"
"""Any free port for the status page of dask, which else takes 8787, and warns if it cannot."""
_CONNECT_SECONDS = 20
_WORKER_SECONDS = 60
"""How long a cluster may take to start its first worker."""
_MAIN_MEMORY, _WORKER_MEMORY = 200 << 20, 200 << 20
"""Bytes for the main process, and the least for a worker (measured: 156 and 103 MB, for 50,000
recordings of NTU RGB+D)."""


_AHEAD = 4
"""Jobs for each thread of a worker that dask is told of: it keeps in memory all that it knows."""


class Executor(Protocol):
    """Runs a function over jobs and yields the results as they come, in any order."""

    def __call__(
        self, function: Callable[[_Job], _Result], jobs: Sequence[_Job]
    ) -> Iterator[_Result]: ...


@contextmanager
def open_executor(
    workers: int = 0, scheduler: str | None = None, max_memory: int | str | None = None
) -> Iterator[Executor]:
    """A way to run jobs: `workers` local processes, a dask `scheduler` address, or in-process.

    Jobs and results must be small: arrays go through files, never through the scheduler. The
    workers of a `scheduler` must see the same files at the same absolute paths.

    max_memory: what local workers and this process may take together, in bytes or as `2GB`. The
    workers share what this process leaves of it: fewer start where not all have room, and one that
    grows beyond its share is ended.

    Raises AclnetError where both kinds of workers are given, where `max_memory` is too little or
    there is no worker to limit, where no scheduler or none with a worker answers, and where workers
    die or the connection breaks while jobs run.
    """
    if workers and scheduler:
        raise AclnetError("choose either local workers or a scheduler, which has its own")
    limit = _bytes(max_memory) if max_memory else 0
    if limit and not workers:
        raise AclnetError("--max-memory limits local workers: say how many with --workers")
    if scheduler:
        with _connect(scheduler) as client:
            yield _on(client)
    elif workers:
        from distributed import Client, LocalCluster

        number, share = _shares(workers, limit)
        cluster = LocalCluster(
            n_workers=number,
            threads_per_worker=1,
            dashboard_address=_LOCAL_PAGE,
            memory_limit=share,
            # a paused worker would wait for ever: what it holds is not the scheduler's to move
            config={"distributed.worker.memory.pause": False},
        )
        with cluster, Client(cluster) as client:
            yield _on(client)
    else:
        yield _in_process


def _bytes(memory: int | str) -> int:
    from pydantic import ByteSize, TypeAdapter, ValidationError

    try:
        return int(TypeAdapter(ByteSize).validate_python(memory))
    except ValidationError:
        raise AclnetError(
            f"--max-memory {memory!r} is no amount of memory; write it as 2GB"
        ) from None


def _shares(workers: int, max_memory: int) -> tuple[int, int]:
    """How many workers there may be, and the bytes for each; 0: without limit."""
    if not max_memory:
        return workers, 0
    left = max_memory - _MAIN_MEMORY
    number = min(workers, left // _WORKER_MEMORY)
    if number < 1:
        least = (_MAIN_MEMORY + _WORKER_MEMORY) >> 20
        raise AclnetError(
            f"--max-memory {max_memory >> 20} MiB: one worker and what directs it take {least} MiB"
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


def _in_process(function: Callable[[_Job], _Result], jobs: Sequence[_Job]) -> Iterator[_Result]:
    return map(function, jobs)


def _on(client: Any) -> Executor:  # noqa: ANN401 - distributed is untyped
    def run(function: Callable[[_Job], _Result], jobs: Sequence[_Job]) -> Iterator[_Result]:
        from distributed import CancelledError, KilledWorker, as_completed
        from distributed.comm.core import CommClosedError

        waiting = iter(jobs)
        running = as_completed(loop=client.loop)

        def start(count: int) -> None:
            for job in islice(waiting, count):
                running.add(client.submit(function, job, pure=False))

        try:
            start(_AHEAD * sum(client.nthreads().values()))
            for future in running:
                start(1)
                yield future.result()
        except KilledWorker:
            raise AclnetError(
                "a worker process died, most likely for lack of memory; run the same command with "
                "fewer --workers or more --max-memory, it goes on where it stopped"
            ) from None
        except (CancelledError, CommClosedError):
            raise AclnetError(
                "the connection to the dask scheduler broke; "
                "run the same command again, it goes on where it stopped"
            ) from None
        finally:
            client.cancel(list(running.futures))

    return run
