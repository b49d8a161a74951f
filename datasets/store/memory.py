"""A store without files: sequences in memory that stream like those of a store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aclnet.datasets.store.store import Store

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aclnet.datasets.store.attributes import StoreAttributes


class MemoryStore(Store):
    """Sequences in memory as one shard.

    Args:
        name: source of the sequences, for messages.
        attributes: attributes of the store; `shard_rows` is the number of all rows.
        columns: values per sample by name, those of a store's `samples`.
        frames: rows of the frames by name, for example `frames/keypoint` (rows, V, C) float32.
    """

    def __init__(
        self,
        name: str,
        attributes: StoreAttributes,
        columns: dict[str, NDArray[Any]],
        frames: dict[str, NDArray[Any]],
    ) -> None:
        self.path = Path(name)
        self.distant = False
        self.attributes = attributes
        self.layout = attributes.layout
        self.class_names = attributes.class_names
        self.shard_rows = attributes.shard_rows
        self._columns = columns
        self._arrays = frames
        self._files = {}

    @property
    def shards(self) -> int:
        return 1

    @property
    def digest(self) -> str:
        """Digest for the state of streams. Sequences in memory are identified by their object."""
        return f"memory-{id(self)}"

    def read_rows(self, name: str, rows: slice) -> NDArray[Any]:
        return np.asarray(self._arrays[name][rows])
