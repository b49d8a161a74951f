"""Functions that replace others in the processes of commands."""

from __future__ import annotations

import errno
import os
import signal
from typing import NoReturn


def disk_is_full(*_: object, **__: object) -> NoReturn:
    """Fails as a write to a full disk does."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def die(*_: object, **__: object) -> None:
    """Ends the process at once."""
    os.kill(os.getpid(), signal.SIGKILL)
