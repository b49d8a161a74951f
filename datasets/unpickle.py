"""Pickles of arrays, loaded without running anything that they name.

A pickle can call any importable function. These may only name what numpy needs to rebuild arrays,
types of numbers and scalars.
"""

from __future__ import annotations

import codecs
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np

from aclnet.datasets.errors import AclnetError

if TYPE_CHECKING:
    from pathlib import Path

# Asked from numpy itself: the functions have moved between its modules, and pickles name either.
_RECONSTRUCT: Any = np.zeros(1).__reduce__()[0]
_FROM_BUFFER: Any = np.zeros(1).__reduce_ex__(5)[0]
_SCALAR: Any = np.float64(0).__reduce__()[0]

_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): codecs.encode,  # bytes in pickles of protocol 2
    **{
        (f"numpy.{core}.{module}", function.__name__): function
        for core in ("core", "_core")
        for module, function in (
            ("multiarray", _RECONSTRUCT),
            ("multiarray", _SCALAR),
            ("numeric", _FROM_BUFFER),
        )
    },
}


class _ForbiddenError(Exception):
    pass


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - functions and classes
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise _ForbiddenError(f"{module}.{name}") from None


def load_pickle(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    """The object in a pickle of plain containers, numbers, text and numpy arrays.

    Raises AclnetError where the file cannot be read, is no whole pickle, or names a function or
    class other than numpy's for arrays.
    """
    try:
        with path.open("rb") as file:
            return _Unpickler(file).load()
    except _ForbiddenError as error:
        raise AclnetError(
            f"{path} wants to use {error}, which no file of skeletons needs; it was not run. "
            "Get the file from its authors, or save plain dicts, lists and numpy arrays"
        ) from None
    except OSError as error:
        raise AclnetError(f"{path} cannot be read: {error.strerror}") from None
    except Exception as error:  # bytes that are no pickle make the unpickler raise about anything
        raise AclnetError(
            f"{path} is no whole pickle ({type(error).__name__}: {error}); fetch it again"
        ) from None
