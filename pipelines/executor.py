"""Where tasks run: in this process, in local worker processes, or on a dask cluster."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from aclnet.datasets.errors import AclnetError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")


class Run(Protocol):
    """Runs a function over jobs and yields the results as they come, in any order."""

    def __call__(
        self, function: Callable[[_Job], _Result], jobs: Sequence[_Job]
    ) -> Iterator[_Result]: ...


@contextmanager
def executor(workers: int = 0, scheduler: str | None = None) -> Iterator[Run]:
    """A way to run jobs: `workers` local processes, a dask `scheduler` address, or in-process.

    Jobs and results must be small: arrays go through files, never through the scheduler.
    """
    if not workers and not scheduler:
        yield _in_process
        return
    from distributed import Client, LocalCluster

    if scheduler:
        try:
            client = Client(scheduler, timeout="20s")
        except (OSError, ValueError) as error:
            raise AclnetError(f"no dask scheduler answers at {scheduler}: {error}") from None
        with client:
            yield _on(client)
        return
    cluster = LocalCluster(
        n_workers=workers, threads_per_worker=1, dashboard_address=None, memory_limit=0
    )
    with cluster, Client(cluster) as client:
        yield _on(client)


def _in_process(function: Callable[[_Job], _Result], jobs: Sequence[_Job]) -> Iterator[_Result]:
    return map(function, jobs)


def _on(client: Any) -> Run:  # noqa: ANN401 - distributed is untyped
    def run(function: Callable[[_Job], _Result], jobs: Sequence[_Job]) -> Iterator[_Result]:
        from distributed import KilledWorker, as_completed

        futures = client.map(function, jobs, pure=False)
        try:
            for future in as_completed(futures):
                yield future.result()
        except KilledWorker:
            raise AclnetError(
                "a worker process died, most likely for lack of memory; "
                "run the same command with fewer --workers, it goes on where it stopped"
            ) from None
        finally:
            client.cancel(futures)

    return run
