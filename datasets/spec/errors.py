"""The one exception that a user's mistake raises."""


class AclnetError(Exception):
    """Something the user can mend: the message names the file, the place and the remedy.

    Commands print the message and exit with status 2; they never show a traceback for it.
    """
