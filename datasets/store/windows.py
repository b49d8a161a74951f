"""Shards for a stream: decoded shards in memory, windows, and a thread that reads ahead."""

from __future__ import annotations

import queue
import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from aclnet.datasets.store.contents import StoreContents

CACHE_BYTES = 1 << 30
"""Decoded shards are kept up to this size, so that small sets are decoded once."""
_T = TypeVar("_T")


class Block(NamedTuple):
    """Rows of a store's frames; the axes before those named are any."""

    keypoint: NDArray[np.float32]
    """(..., V, C)"""
    present: NDArray[np.bool_]
    """(...)"""
    number: NDArray[np.int32]
    """(...) number of the frame in the recording."""


class ShardCache:
    """Decoded shards, the least recently used ones dropped beyond `CACHE_BYTES`."""

    def __init__(self, store: StoreContents, *, score: bool) -> None:
        self._store, self._score = store, score
        self._kept: OrderedDict[int, Block] = OrderedDict()

    def __call__(self, shard: int) -> Block:
        block = self._kept.pop(shard, None)
        if block is None:
            joints = self._store.read_shard(shard, score=self._score)
            block = Block(*joints, self._store.read_frame_numbers(shard))
        self._kept[shard] = block
        each = sum(array.nbytes for array in block)
        while len(self._kept) > 1 and len(self._kept) * each > CACHE_BYTES:
            self._kept.popitem(last=False)
        return block

    @property
    def shard_rows(self) -> int:
        return self._store.shard_rows


@dataclass(slots=True)
class _Window:
    """The rows of some shards in one buffer."""

    rows: Block
    offset: NDArray[np.int64]
    """Where in the buffer each of the store's shards begins, as far as they are in it."""


class ShardWindows:
    """The windows of an epoch, the next one read while one is used.

    Two are held at a time, or as many as one batch goes through.
    """

    def __init__(self, shards: list[NDArray[np.int64]], cache: ShardCache) -> None:
        self._shards, self._cache = shards, cache
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="aclnet-reader")
        self._open: dict[int, Future[_Window]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.shutdown(cancel_futures=True)

    def forget_before(self, number: int) -> None:
        """Lets go of the windows before; batches do not come back to them."""
        self._open = {n: window for n, window in self._open.items() if n >= number}

    def take(self, rows: NDArray[np.int64], window_of: NDArray[np.int64]) -> Block:
        """Rows (P, N) of the store's frames, each track in its window."""
        numbers = np.unique(window_of)
        if len(numbers) == 1:
            return self._take(rows, int(numbers[0]))
        parts = {n: self._take(rows[window_of == n], n) for n in numbers.tolist()}
        shapes = [(*rows.shape, *array.shape[2:]) for array in next(iter(parts.values()))]
        taken = Block(*map(np.empty, shapes, (np.float32, np.bool_, np.int32)))
        for number, part in parts.items():
            for whole, array in zip(taken, part, strict=True):
                whole[window_of == number] = array
        return taken

    def _take(self, rows: NDArray[np.int64], number: int) -> Block:
        window = self._get(number)
        shard_rows = self._cache.shard_rows
        shard = rows[:, :1] // shard_rows  # a sequence lies inside one
        local = rows + (window.offset[shard] - shard * shard_rows)
        keypoint, present, numbers = window.rows
        return Block(keypoint.take(local, axis=0), present.take(local), numbers.take(local))

    def _get(self, number: int) -> _Window:
        for wanted in (number, number + 1):
            if wanted not in self._open and wanted < len(self._shards):
                self._open[wanted] = self._reader.submit(self._load, self._shards[wanted])
        return self._open[number].result()

    def _load(self, shards: NDArray[np.int64]) -> _Window:
        blocks = [self._cache(shard) for shard in shards.tolist()]
        offset = np.empty(int(shards.max()) + 1, dtype=np.int64)
        offset[shards] = np.arange(len(shards)) * self._cache.shard_rows
        return _Window(Block(*map(np.concatenate, zip(*blocks, strict=True))), offset)


def read_ahead(items: Iterator[_T], depth: int) -> Iterator[_T]:
    """The same items, made up to `depth` ahead by a thread; its exceptions are raised here.

    Left early, it stops the thread and closes `items` before it returns.
    """
    ready: queue.Queue[tuple[_T | None, BaseException | None]] = queue.Queue(depth)
    stopped = threading.Event()

    def put(item: tuple[_T | None, BaseException | None]) -> bool:
        while not stopped.is_set():
            try:
                ready.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def produce() -> None:
        try:
            for item in items:
                if not put((item, None)):
                    break
            else:
                put((None, None))
        except BaseException as error:
            put((None, error))
        finally:
            close: Any = getattr(items, "close", None)
            if close:
                close()

    thread = threading.Thread(target=produce, name="aclnet-batches", daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is None:
                return
            yield item
    finally:
        stopped.set()
        thread.join()
