"""Signals that ask a training to stop: it saves first."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from aclnet.datasets.spec import Stopped

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
"""Sent by Ctrl-C, by batch systems at the end of a job, by terminals that close, and by Slurm's
`--signal=USR1` some time before the end."""


class StopRequest:
    """Request of a signal that this process stops."""

    def __init__(self) -> None:
        self.number = 0
        """Number of the signal; 0 before one arrives."""

    def ask(self, number: int, _: FrameType | None = None) -> None:
        """Handles a signal: the first one is recorded, the second one stops at once."""
        if self.number:
            raise Stopped(number)
        self.number = number


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Inside this block, signals that would end the process only make a request.

    Ignored signals stay ignored. Outside the main thread nothing changes, because Python handles
    signals only in the main thread.
    """
    request = StopRequest()
    before = {}
    if threading.current_thread() is threading.main_thread():
        for name in _NAMES:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, request.ask)
    try:
        yield request
    finally:
        for number, answer in before.items():
            signal.signal(number, answer)
