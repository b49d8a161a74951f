"""The store as users open it: its contents, and streams of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Concatenate, ParamSpec

from aclnet.datasets.store.contents import StoreContents
from aclnet.datasets.store.stream import Stream, StreamOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

_P = ParamSpec("_P")


def _stream(
    make_options: Callable[_P, StreamOptions],
) -> Callable[Concatenate[Store, str | NDArray[np.bool_], _P], Stream]:
    """The method `Store.stream`, whose options are declared once, in `StreamOptions`."""

    def stream(
        self: Store, split: str | NDArray[np.bool_], /, *args: _P.args, **options: _P.kwargs
    ) -> Stream:
        """Batches of a split, or of a mask of samples; the options are those of `StreamOptions`."""
        mask = self.mask(split) if isinstance(split, str) else split
        return Stream(self, mask, make_options(*args, **options))

    return stream


class Store(StoreContents):
    """A finished store, opened for reading and streaming."""

    stream = _stream(StreamOptions)
