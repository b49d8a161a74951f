"""First stage of prepare: batches of raw items become fragments, ragged arrays with their table.

A fragment is a folder that is renamed into place when it is whole: one that is there is done.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aclnet.datasets.formats.atomic import replacing
from aclnet.datasets.formats.json_text import parse_json
from aclnet.datasets.formats.npy import MAX_HEADER, parse_header
from aclnet.datasets.spec import DamageError, Rejection
from aclnet.pipelines.prepare.preparation import check_there, reading
from aclnet.pipelines.prepare.samples import prepare_item, to_arrays, to_columns, with_variants

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from aclnet.datasets.spec import DatasetSpec, Item, Source
    from aclnet.pipelines.prepare.options import PrepareOptions
    from aclnet.pipelines.prepare.samples import Sample

_TABLE = "table.json"
_UNSOUND = (ValueError, TypeError, LookupError, AttributeError, OverflowError)
"""Exceptions of reading tables whose values are not those that were written."""


@dataclass(frozen=True, slots=True)
class FragmentJob:
    """A batch of raw items, and all that a worker needs to turn it into a fragment."""

    number: int
    work: Path
    spec: DatasetSpec
    """Of the store; its layout may be another one than the source's."""
    source: Source
    items: tuple[Item, ...]
    options: PrepareOptions
    on_disk: bool
    """Was the source's root there when it was listed? A reader of one's own may need none."""


@dataclass(frozen=True, slots=True)
class Fragment:
    """What a fragment holds: one table row a sample, in the order of its frames' rows."""

    number: int
    columns: dict[str, NDArray[Any]]
    rejections: list[Rejection]
    largest: float
    """Largest absolute coordinate."""

    @property
    def rows(self) -> NDArray[np.int64]:
        """Frame rows of each sample."""
        rows: NDArray[np.int64] = self.columns["n_frames"] * self.columns["n_persons"]
        return rows


@dataclass(frozen=True, slots=True)
class FragmentTable:
    """The samples of all fragments, and where their frame rows are."""

    columns: dict[str, NDArray[Any]]
    fragment: NDArray[np.int64]
    first: NDArray[np.int64]
    """First row in the fragment."""
    rows: NDArray[np.int64]
    rejections: list[Rejection]
    largest: float
    scored: bool

    @property
    def size(self) -> int:
        return len(self.rows)


def fragment_folder(work: Path, number: int) -> Path:
    """Where a fragment lies once it is whole."""
    return work / "fragments" / f"{number:06d}"


def fragment_is_done(job: FragmentJob) -> bool:
    """Was the fragment made before, and is it whole?"""
    try:
        rows = int(load_fragment(job.work, job.number).rows.sum())
        names = _read_table(job.work, job.number)["arrays"]
        return all(_is_whole(_array_file(job.work, job.number, name), rows) for name in names)
    except (OSError, DamageError, *_UNSOUND):
        return False


def _is_whole(file: Path, rows: int) -> bool:
    """Has a `.npy` file so many rows, and the length that its header says?"""
    with file.open("rb") as stream:
        header = parse_header(stream.read(MAX_HEADER))
    size = header.begin + math.prod(header.shape) * header.dtype.itemsize
    return header.shape[:1] == (rows,) and file.stat().st_size == size


def make_fragment(job: FragmentJob) -> tuple[int, int]:
    """Reads, cleans, normalises and augments a batch; returns items done and items rejected.

    Raises AclnetError where it is no fault of a recording that it cannot be read.
    """
    samples: list[Sample] = []
    rejections: list[Rejection] = []
    for item in job.items:
        with reading(job.source, item):
            result = prepare_item(job.source, item, job.spec, job.options)
        if isinstance(result, Rejection):
            rejections.append(result)
        else:
            samples += result
    if rejections and job.on_disk:
        check_there(job.source)
    if job.options.variants and samples:
        samples, broken = with_variants(samples, job.source, job.spec, job.options)
        rejections += broken
    with replacing(fragment_folder(job.work, job.number)) as folder:
        folder.mkdir()
        _write(folder, samples, rejections)
    return len(job.items), len(rejections)


def load_fragment(work: Path, number: int) -> Fragment:
    """The table of a fragment."""
    entry = _read_table(work, number)
    return Fragment(
        number=number,
        columns=to_arrays(entry["columns"]),  # Python's own numbers would take ten times as much
        rejections=[Rejection(*r) for r in entry["rejections"]],
        largest=entry["largest"],
    )


def load_table(work: Path) -> FragmentTable:
    """The samples of all fragments, in the order of the raw items."""
    numbers = sorted(int(f.name) for f in (work / "fragments").iterdir() if f.name.isdigit())
    loaded = [load_fragment(work, number) for number in numbers]
    rows = [one.rows for one in loaded]
    filled = [one.columns for one in loaded if len(one.rows)] or [loaded[0].columns]
    # taken out of the fragments, column by column: no two are in memory twice
    columns = {n: np.concatenate([one.pop(n) for one in filled]) for n in list(filled[0])}
    return FragmentTable(
        columns=columns,
        fragment=np.repeat(numbers, [len(r) for r in rows]),
        first=np.concatenate([np.cumsum(r) - r for r in rows]),
        rows=np.concatenate(rows),
        rejections=[r for one in loaded for r in one.rejections],
        largest=max(one.largest for one in loaded),
        scored=any((fragment_folder(work, n) / "score.npy").is_file() for n in numbers),
    )


def fragment_rows(work: Path, number: int, name: str) -> NDArray[Any]:
    """The rows of `keypoint`, `present`, `index` or `score` of a fragment, mapped from its file."""
    return np.load(_array_file(work, number, name), mmap_mode="r")  # type: ignore[no-any-return]


def _array_file(work: Path, number: int, name: str) -> Path:
    return fragment_folder(work, number) / f"{name}.npy"


def _read_table(work: Path, number: int) -> Any:  # noqa: ANN401 - whatever JSON holds
    return parse_json((fragment_folder(work, number) / _TABLE).read_bytes())


def _write(folder: Path, samples: list[Sample], rejections: list[Rejection]) -> None:
    sequences = [sample.sequence for sample in samples]
    largest = 0.0
    if sequences:
        keypoint = _rows([s.keypoint for s in sequences])
        largest = float(np.abs(keypoint).max(initial=0))
        np.save(folder / "keypoint.npy", keypoint)
        np.save(folder / "present.npy", _rows([s.present for s in sequences]))
        index = [np.broadcast_to(s.frame_index, s.present.shape) for s in sequences]
        np.save(folder / "index.npy", _rows(index).astype(np.int32))
        scores = [s.score for s in sequences if s.score is not None]
        if scores and len(scores) != len(sequences):
            raise ValueError("a reader gives scores for all its sequences or for none")
        if scores:
            np.save(folder / "score.npy", _rows(scores))
    entry = {
        "arrays": sorted(file.stem for file in folder.glob("*.npy")),
        "columns": to_columns(samples),
        "rejections": [[r.path, r.line, r.reason, r.kind] for r in rejections],
        "largest": largest,
    }
    (folder / _TABLE).write_text(json.dumps(entry))


def _rows(tracks: list[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate([t.reshape(-1, *t.shape[2:]) for t in tracks])
