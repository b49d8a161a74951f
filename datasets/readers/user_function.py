"""Datasets without an entry: a Python function, named on the command line, opens the raw data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aclnet.datasets.spec import AclnetError, Source
from aclnet.datasets.spec.user_code import load_function, told

if TYPE_CHECKING:
    from pathlib import Path


def open_with(reader: str, raw: Path) -> Source:
    """The Source that `package.module:function` returns for the absolute path of raw data.

    The module is also searched for in the working folder. Raises AclnetError if it cannot be
    imported, holds no such function, or if the function fails or does not return a Source.
    """
    if not raw.exists():
        raise AclnetError(f"{raw} does not exist; --raw must be the path that {reader} reads")
    function = load_function(reader, "--reader").call
    try:
        source = function(raw.absolute())
    except AclnetError:
        raise
    except Exception as error:
        raise AclnetError(f"{reader} failed for {raw}: {told(error)}") from error
    if not isinstance(source, Source):
        raise AclnetError(
            f"{reader} returned a {type(source).__name__}; "
            "it must return an aclnet.datasets.spec.source.Source"
        )
    return source
