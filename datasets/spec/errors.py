"""The exception that a user's mistake raises, and the warning."""


class AclnetError(Exception):
    """Something the user can mend: the message names the file, the place and the remedy.

    Commands print the message and exit with status 2; they never show a traceback for it.
    """


class AclnetWarning(UserWarning):
    """A remark for the user that stops nothing; the commands print it in one line."""
