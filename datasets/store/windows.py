"""Shards for a stream: decoded shards in memory, windows, and threads that read ahead."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Self, TypeVar

import numpy as np

from aclnet.datasets.store import machine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from aclnet.datasets.store.contents import StoreContents

_CACHE_PART = 4
"""Divisor of the free memory for the caches of all processes on a machine together."""
_THREADS = 4
"""Most threads that decode shards; more of them wait for one another."""
_DISTANT_THREADS = 16
"""Threads, of all processes on a machine, that read shards where most of the time is waiting."""
_T = TypeVar("_T")


class Block(NamedTuple):
    """Rows of a store's frames; the leading axes may be any."""

    keypoint: NDArray[np.float32]
    """(..., V, C) coordinates."""
    present: NDArray[np.bool_]
    """(...) whether the person is in the frame."""
    number: NDArray[np.int32]
    """(...) number of the frame in the recording."""


def default_cache(processes: int) -> int:
    """Bytes of decoded shards for each of the processes on this machine.

    It depends on the free memory. The order and the content of batches never depend on it.
    """
    return machine.available_memory() // (_CACHE_PART * processes)


def default_threads(processes: int, *, distant: bool = False) -> int:
    """Number of threads that decode shards in each of the processes on this machine.

    distant: the shards are in an object store.
    """
    if distant:
        return max(_THREADS, _DISTANT_THREADS // processes)
    return max(1, min(_THREADS, machine.cores() // processes))


class ShardCache:
    """Decoded shards; the first ones that fit in `limit` bytes are kept.

    No shard replaces another one. An epoch uses each shard once, so that the least recently used
    shard is often the next one: keeping the first shards hits more often.
    """

    def __init__(self, store: StoreContents, *, score: bool, limit: int) -> None:
        self._store, self._score, self._limit = store, score, limit
        self._kept: dict[int, Block] = {}
        self._lock = threading.Lock()

    def __call__(self, shard: int) -> Block:
        block = self._kept.get(shard)
        if block is None:
            joints = self._store.read_shard(shard, score=self._score)
            block = Block(*joints, self._store.read_frame_numbers(shard))
            each = sum(array.nbytes for array in block)
            with self._lock:
                if (len(self._kept) + 1) * each <= self._limit:
                    self._kept[shard] = block
        return block

    def empty(self, shards: int) -> Block:
        """A buffer for the rows of this number of shards."""
        rows = shards * self.shard_rows
        row = (self._store.layout.num_joints, self._store.coordinates + self._score)
        joints = np.empty((rows, *row), np.float32)
        return Block(joints, np.empty(rows, np.bool_), np.empty(rows, np.int32))

    @property
    def shard_rows(self) -> int:
        return self._store.shard_rows


@dataclass(slots=True)
class _Window:
    """The rows of some shards in one buffer, which threads fill."""

    rows: Block
    offset: NDArray[np.int64]
    """Start in the buffer of each of the store's shards that it holds."""
    filled: list[Future[None]]


class ShardWindows:
    """The windows of an epoch; `threads` threads read the next one of each lane while one is used.

    Two of each lane are in memory at a time, or as many as one batch needs.

    Args:
        shards: of each window, lane by lane.
        lane_of: (windows,) lane of each window.
        cache: where shards come from.
        threads: number of threads.
    """

    def __init__(
        self,
        shards: list[NDArray[np.int64]],
        lane_of: NDArray[np.int64],
        cache: ShardCache,
        threads: int,
    ) -> None:
        self._shards, self._lane_of, self._cache = shards, lane_of, cache
        self._readers = ThreadPoolExecutor(threads, thread_name_prefix="aclnet-reader")
        self._open: dict[int, _Window] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._readers.shutdown(cancel_futures=True)

    def turn_to(self, numbers: list[int]) -> None:
        """Opens the windows of a batch, begins to read those after them, and drops all others.

        Batches do not return to the windows before.
        """
        last = len(self._shards) - 1
        after = [n + 1 for n in numbers if n < last and self._lane_of[n] == self._lane_of[n + 1]]
        wanted = dict.fromkeys([*numbers, *after])
        self._open = {n: self._open.get(n) or self._begin(self._shards[n]) for n in wanted}
        for number in numbers:
            for reading in self._open[number].filled:
                reading.result()
            self._open[number].filled.clear()

    def take(self, rows: NDArray[np.int64], window_of: NDArray[np.int64]) -> Block:
        """(P, N) rows of the store's frames, each track from its window.

        `window_of` (P,) are open windows, ascending.
        """
        shapes = [(*rows.shape, *array.shape[1:]) for array in self._cache.empty(0)]
        taken = Block(*map(np.empty, shapes, (np.float32, np.bool_, np.int32)))
        numbers, first = np.unique(window_of, return_index=True)
        ends = [*first[1:].tolist(), len(rows)]
        for number, begin, end in zip(numbers.tolist(), first.tolist(), ends, strict=True):
            self._take(rows[begin:end], number, taken, slice(begin, end))
        return taken

    def _take(self, rows: NDArray[np.int64], number: int, taken: Block, tracks: slice) -> None:
        """Copies rows of one window to tracks of `taken`."""
        window = self._open[number]
        shard_rows = self._cache.shard_rows
        shard = rows[:, :1] // shard_rows  # a sequence is inside one shard
        local = rows + (window.offset[shard] - shard * shard_rows)
        for array, to in zip(window.rows, taken, strict=True):
            array.take(local, axis=0, out=to[tracks], mode="clip")  # other modes copy `out`

    def _begin(self, shards: NDArray[np.int64]) -> _Window:
        """A window that the threads have begun to read."""
        rows = self._cache.empty(len(shards))
        offset = np.empty(int(shards.max()) + 1, dtype=np.int64)
        offset[shards] = np.arange(len(shards)) * self._cache.shard_rows
        places = zip(shards.tolist(), offset[shards].tolist(), strict=True)
        filled = [self._readers.submit(self._read, shard, rows, at) for shard, at in places]
        return _Window(rows, offset, filled)

    def _read(self, shard: int, rows: Block, begin: int) -> None:
        for whole, part in zip(rows, self._cache(shard), strict=True):
            whole[begin : begin + self._cache.shard_rows] = part


class ReadAhead(Generic[_T]):
    """Iterator over the same items, made up to `depth` ahead by a thread that begins at once.

    Exceptions of `items` are raised here, in their place. `close` stops the thread and closes
    `items` before it returns; so do the last item and an exception.
    """

    def __init__(self, items: Iterator[_T], depth: int) -> None:
        self._items = items
        self._ready: queue.Queue[tuple[_T | None, BaseException | None]] = queue.Queue(depth)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._produce, name="aclnet-batches", daemon=True)
        self._thread.start()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> _T:
        if self._stopped.is_set():
            raise StopIteration
        item, error = self._ready.get()
        if item is None:
            self.close()
            raise error or StopIteration
        return item

    def close(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _produce(self) -> None:
        try:
            for item in self._items:
                if not self._put((item, None)):
                    break
            else:
                self._put((None, None))
        except BaseException as error:
            self._put((None, error))
        finally:
            close: Any = getattr(self._items, "close", None)
            if close:
                close()

    def _put(self, item: tuple[_T | None, BaseException | None]) -> bool:
        while not self._stopped.is_set():
            try:
                self._ready.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False
