"""Exceptions that commands turn into one message, and the warning that they print."""

from __future__ import annotations


class AclnetError(Exception):
    """An error that the user can fix: the message names the file, the place and the remedy.

    Commands print the message and exit with status 2, without a traceback.
    """


class Stopped(KeyboardInterrupt):
    """A signal asked the process to stop; commands exit with status 128 plus its number."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class AclnetWarning(UserWarning):
    """A remark for the user that stops nothing. Commands print it in one line."""
