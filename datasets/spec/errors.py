"""Exceptions that commands turn into one message, and the warning."""

from __future__ import annotations


class AclnetError(Exception):
    """Something the user can mend: the message names the file, the place and the remedy.

    Commands print the message and exit with status 2; they never show a traceback for it.
    """


class Stopped(KeyboardInterrupt):
    """A signal asked the process to stop; commands exit with status 128 plus its number."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class AclnetWarning(UserWarning):
    """A remark for the user that stops nothing; the commands print it in one line."""
