"""Second stage of prepare: a plan of all shards; then one task per shard gathers its rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aclnet.datasets.formats.atomic import write_json
from aclnet.datasets.spec.records import Record
from aclnet.datasets.store import keyed_random, manifest, zarr_io
from aclnet.datasets.store.codec import ContentHash, decode_int16, encode_int16
from aclnet.datasets.store.contents import FILL, KEYPOINT
from aclnet.pipelines.prepare import samples
from aclnet.pipelines.prepare.fragments import fragment_rows
from aclnet.pipelines.prepare.memory import give_memory_back
from aclnet.pipelines.prepare.preparation import numbered

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_SHARDS_PER_SIDE = 8
_MANY_SHARDS = 256


@dataclass(frozen=True, slots=True)
class Packing:
    """Position of each sample in the store."""

    shard: NDArray[np.int64]
    start: NDArray[np.int64]
    """Row in the whole frames array."""
    shard_rows: int
    shards: int


def choose_shard_rows(rows: NDArray[np.int64], sides: list[NDArray[np.bool_]]) -> int:
    """Rows per shard: `MAX_ROWS`, or less so that every protocol side has at least eight shards.

    The number is a power of two and fits the longest sequence. A side that is much smaller than the
    others gets fewer shards, because it would cut the whole store into thousands of files.
    """
    smallest = min((int(rows[side].sum()) for side in sides if side.any()), default=int(rows.sum()))
    wanted = max(smallest // _SHARDS_PER_SIDE, int(rows.sum()) // _MANY_SHARDS, 1)
    longest = 1 << (int(rows.max()) - 1).bit_length()
    return min(samples.MAX_ROWS, max(longest, 1 << (wanted.bit_length() - 1)))


def pack(
    rows: NDArray[np.int64], sides: list[NDArray[np.bool_]], shard_rows: int, seed: int
) -> Packing:
    """Packs samples of `rows` (N,) rows into shards, those of the same protocol sides together.

    Every side is therefore a union of whole shards. The order is random and depends only on the
    seed, so that neighbours in a shard are not neighbours in the recordings (same camera, same
    subject).
    """
    cell = np.zeros(len(rows), dtype=np.int64)
    for side in sides:
        cell = np.unique(cell * 2 + side, return_inverse=True)[1]
    order = keyed_random.generator(seed, len(rows)).permutation(len(rows))
    order = order[np.argsort(cell[order], kind="stable")]
    ends = np.cumsum(rows[order])
    borders = np.append(np.flatnonzero(np.diff(cell[order])) + 1, len(order))  # of the cells
    firsts, first = [], 0  # place in the order of the first sample of each shard
    while first < len(order):
        firsts.append(first)
        full = np.searchsorted(ends, ends[first] - rows[order[first]] + shard_rows, side="right")
        border = borders[np.searchsorted(borders, first, side="right")]
        first = max(first + 1, int(min(full, border)))
    sizes = np.diff(firsts, append=len(order))
    begins = ends - rows[order]
    shard, start = np.empty_like(order), np.empty_like(order)
    shard[order] = np.repeat(np.arange(len(firsts)), sizes)
    start[order] = shard[order] * shard_rows + begins - np.repeat(begins[firsts], sizes)
    return Packing(shard, start, shard_rows, len(firsts))


@dataclass(frozen=True, slots=True)
class ShardJob:
    """Sources and positions of the rows of one shard."""

    number: int
    work: Path
    plan: str
    shard_rows: int
    pieces: NDArray[np.int64]
    """(samples, 4): fragment, first row there, rows, first row in the shard; by fragment."""
    arrays: tuple[str, ...]
    scale: float | None
    """Step of int16 fixed point; None for float32."""


class Receipt(Record):
    """Receipt of a shard that is completely written."""

    plan: str
    shard: manifest.Shard
    error: float
    """Largest rounding error."""


def store_folder(work: Path) -> Path:
    """Folder of the store before it is renamed into place."""
    return work / "store"


def receipt_file(work: Path, number: int) -> Path:
    """Receipt of a shard: its presence means that the shard is whole."""
    return work / "shards" / f"{numbered(number)}.json"


def shard_is_done(job: ShardJob) -> bool:
    """True if the shard was written before, by the same plan, and still exists."""
    try:
        receipt = read_receipt(job.work, job.number)
        store = store_folder(job.work)
        return receipt.plan == job.plan and all(
            manifest.describe_file(store / name) == file
            for name, file in receipt.shard.files.items()
        )
    except (OSError, ValueError):
        return False


def make_shard(job: ShardJob) -> int:
    """Gathers, writes and describes one shard; returns its number."""
    give_memory_back()  # what the job before needed
    store, content = store_folder(job.work), ContentHash()
    files, worst = {}, 0.0
    for name in sorted(job.arrays):
        array = _ShardArray(job, name, content)
        zarr_io.write_shard(store, name, job.number, array.rows)
        worst = max(worst, array.error)
        file = zarr_io.shard_file(name, job.number, 1 + len(array.row_shape))
        files[file] = manifest.describe_file(store / file)
    shard = manifest.Shard(
        files=files,
        content=content.hexdigest(),
        samples=len(job.pieces),
        rows=int(job.pieces[:, 2].sum()),
    )
    receipt = Receipt(plan=job.plan, shard=shard, error=worst)
    place = receipt_file(job.work, job.number)
    place.parent.mkdir(exist_ok=True)
    write_json(place, receipt.model_dump())
    return job.number


def read_receipt(work: Path, number: int) -> Receipt:
    """The receipt of a written shard; raises OSError or ValueError if it is missing or damaged."""
    return Receipt.model_validate_json(receipt_file(work, number).read_bytes())


class _ShardArray:
    """One array of a shard, gathered from the fragments part by part."""

    def __init__(self, job: ShardJob, name: str, content: ContentHash) -> None:
        """`content` receives the rows as they are stored."""
        self.job, self.name, self.content = job, name, content
        self.error = 0.0
        """Largest rounding error so far."""
        source = self._rows_of(int(job.pieces[0, 0]))
        self.source_dtype, self.row_shape = source.dtype, source.shape[1:]
        self.scale = job.scale if name == KEYPOINT else None
        dtype = source.dtype if self.scale is None else np.dtype(np.int16)
        content.begin(dtype, (job.shard_rows, *self.row_shape))

    def rows(self, part: slice) -> NDArray[Any]:
        """The rows of a part of the shard as they are stored; the parts must come in order."""
        rows = self._gather(part.start, part.stop)
        if self.scale is not None:
            exact, rows = rows, encode_int16(rows, self.scale)
            difference = np.abs(decode_int16(rows, self.scale) - exact)
            self.error = max(self.error, float(np.nanmax(difference, initial=0)))
        self.content.add(rows)
        return rows

    def _gather(self, first: int, last: int) -> NDArray[Any]:
        """Rows from `first` to `last`; those without a sample hold the fill value."""
        found = np.full((last - first, *self.row_shape), FILL[self.name], dtype=self.source_dtype)
        begins = self.job.pieces[:, 3]
        inside = (begins < last) & (begins + self.job.pieces[:, 2] > first)
        fragment, source = -1, np.empty(0)
        for number, begin, count, target in self.job.pieces[inside].tolist():
            if number != fragment:
                fragment, source = number, self._rows_of(number)
            start, stop = max(target, first), min(target + count, last)
            moved = begin - target
            found[start - first : stop - first] = source[start + moved : stop + moved]
        return found

    def _rows_of(self, fragment: int) -> NDArray[Any]:
        return fragment_rows(self.job.work, fragment, self.name.rpartition("/")[2])
