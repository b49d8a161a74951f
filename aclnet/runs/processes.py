"""Agreement of the processes of one command: what fails on one of them fails on all.

A process that raises while the others wait for it in a collective would leave them waiting until a
timeout of many minutes. Work that may fail on some processes alone is therefore done in
`together` or `on_first`. In a single process, both only do the work.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from torch import distributed

from aclnet.datasets.spec import AclnetError
from aclnet.datasets.store.plan import WHOLE, Share

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Found = TypeVar("Found")


@contextmanager
def together() -> Iterator[None]:
    """Ends the block on all processes at once, with an error on all if it failed on one.

    The block must not wait for other processes. A process in which it failed raises its own
    exception. The others raise an AclnetError with the first failed process and its reason.
    """
    if not _several():
        yield
        return
    failure: Exception | None = None
    try:
        yield
    except Exception as error:  # for any exception: the others must not wait
        failure = error
    reasons: list[str | None] = [None] * distributed.get_world_size()
    distributed.all_gather_object(reasons, failure and (str(failure) or type(failure).__name__))
    if failure is not None:
        raise failure
    for number, reason in enumerate(reasons):
        if reason is not None:
            raise AclnetError(f"process {number} stopped: {reason}")


def is_first() -> bool:
    """True if this process is the first, or the only one."""
    return not _several() or distributed.get_rank() == 0


def own_share() -> Share:
    """Share of this process among the processes of the command."""
    if not _several():
        return WHOLE
    return Share(distributed.get_rank(), distributed.get_world_size())


def on_first(work: Callable[[], Found]) -> Found:
    """Runs `work` on the first process and returns its result on every process.

    Files that may change are read in this way, because a shared disk can show several machines
    several states. Raises the error of `work` on the first process, and AclnetError on the others.
    """
    if not _several():
        return work()
    found: list[Found | None] = [None]
    with together():
        if is_first():
            found[0] = work()
    distributed.broadcast_object_list(found)
    return found[0]  # type: ignore[return-value]


def gather_on_first(found: Found) -> list[Found] | None:
    """Results of all processes, in their order, on the first process; None on the others."""
    if not _several():
        return [found]
    parts: list[Any] | None = [None] * distributed.get_world_size() if is_first() else None
    distributed.gather_object(found, parts)
    return parts


@contextmanager
def naming_lost_process() -> Iterator[None]:
    """Raises AclnetError if another process ended while this one waited for it.

    gloo notices this at once. NCCL notices only after a timeout; torchrun, and srun with
    --kill-on-bad-exit, end the processes before it.
    """
    try:
        yield
    except RuntimeError as error:
        lost = isinstance(error, distributed.DistError) or "gloo" in str(error)
        if not (lost and _several()):
            raise
        raise AclnetError(
            "another process of this command ended, see its output for the reason; then run the "
            "command again"
        ) from error


def leave_processes() -> None:
    """Ends the connection of gloo to the other processes; call it before Python ends.

    Threads of gloo keep the tensors of the last collective for a moment. If Python ends meanwhile,
    they abort the process, which then has another exit status (pytorch/pytorch#179291). Fabric ends
    the connections of NCCL itself.
    """
    if _several() and distributed.get_backend() == "gloo":
        distributed.destroy_process_group()


def _several() -> bool:
    return (
        distributed.is_available()
        and distributed.is_initialized()
        and distributed.get_world_size() > 1
    )
