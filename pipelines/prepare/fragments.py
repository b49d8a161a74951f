"""First stage of prepare: batches of raw items become fragments, ragged arrays with a table.

A fragment is a folder that is renamed into place when it is complete. An existing folder is
therefore done.
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
from aclnet.pipelines.prepare.memory import give_memory_back
from aclnet.pipelines.prepare.preparation import check_there, numbered, reading
from aclnet.pipelines.prepare.samples import prepare_item, to_arrays, to_columns, with_variants

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from aclnet.datasets.spec import DatasetSpec, Item, Source
    from aclnet.pipelines.prepare.options import PrepareOptions
    from aclnet.pipelines.prepare.samples import Sample

_TABLE = "table.json"
_AT_ONCE = 32
"""Fragments whose small arrays are in memory at a time; many small arrays leave unusable gaps."""
_UNSOUND = (ValueError, TypeError, LookupError, AttributeError, OverflowError)
"""Exceptions of reading tables with values that prepare did not write."""


@dataclass(frozen=True, slots=True)
class FragmentJob:
    """A batch of raw items, with everything that a worker needs to make a fragment from it."""

    number: int
    work: Path
    spec: DatasetSpec
    """The store's dataset; its layout may differ from the source's."""
    source: Source
    items: tuple[Item, ...]
    options: PrepareOptions
    on_disk: bool
    """True if the source's root existed when it was listed. A user's reader may need none."""


@dataclass(frozen=True, slots=True)
class Fragment:
    """Table of a fragment: one row per sample, in the order of its frames' rows."""

    number: int
    columns: dict[str, NDArray[Any]]
    rejections: list[Rejection]
    largest: float
    """Largest absolute coordinate."""

    @property
    def rows(self) -> NDArray[np.int64]:
        """Number of frame rows of each sample."""
        rows: NDArray[np.int32] = self.columns["n_frames"] * self.columns["n_persons"]
        return rows.astype(np.int64)


@dataclass(frozen=True, slots=True)
class FragmentTable:
    """The samples of all fragments, and the positions of their frame rows."""

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
    """Folder of a complete fragment."""
    return work / "fragments" / numbered(number)


def fragment_is_done(work: Path, number: int) -> bool:
    """True if the fragment was made before and is complete."""
    try:
        rows = int(load_fragment(work, number).rows.sum())
        names = _read_table(work, number)["arrays"]
        return all(_is_whole(_array_file(work, number, name), rows) for name in names)
    except (OSError, DamageError, *_UNSOUND):
        return False


def _is_whole(file: Path, rows: int) -> bool:
    """True if a `.npy` file has this number of rows, and the length that its header gives."""
    with file.open("rb") as stream:
        header = parse_header(stream.read(MAX_HEADER))
    size = header.begin + math.prod(header.shape) * header.dtype.itemsize
    return header.shape[:1] == (rows,) and file.stat().st_size == size


def make_fragment(job: FragmentJob) -> tuple[int, int]:
    """Reads, cleans, normalises and augments a batch; returns items done and items rejected.

    Raises AclnetError if reading fails for a reason outside the recording.
    """
    give_memory_back()  # what the job before needed
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
    place = fragment_folder(job.work, job.number)
    place.parent.mkdir(exist_ok=True)
    with replacing(place) as folder:
        folder.mkdir()
        _write(folder, samples, rejections)
    return len(job.items), len(rejections)


def load_fragment(work: Path, number: int) -> Fragment:
    """The table of a fragment."""
    entry = _read_table(work, number)
    return Fragment(
        number=number,
        # Python's own numbers would take about ten times as much memory
        columns=to_arrays(entry["columns"]),
        rejections=[Rejection(*r) for r in entry["rejections"]],
        largest=entry["largest"],
    )


def load_table(work: Path) -> FragmentTable:
    """The samples of all fragments, in the order of the raw items."""
    folders = (work / "fragments").glob("*/*")
    numbers = sorted(int(folder.name) for folder in folders if folder.name.isdigit())
    parts, rows, rejections, largest = [], [], [], 0.0
    for begin in range(0, len(numbers), _AT_ONCE):
        loaded = [load_fragment(work, number) for number in numbers[begin : begin + _AT_ONCE]]
        rows += [one.rows for one in loaded]
        rejections += [r for one in loaded for r in one.rejections]
        largest = max(largest, *(one.largest for one in loaded))
        parts.append(_joined([one.columns for one in loaded if len(one.rows)]))
    columns = _joined([part for part in parts if part]) or to_arrays(to_columns([]))
    if np.array_equal(columns["original"], columns["id"]):
        columns["original"] = columns["id"]  # without variants, one of them is enough
    return FragmentTable(
        columns=columns,
        fragment=np.repeat(numbers, [len(r) for r in rows]),
        first=np.concatenate([np.cumsum(r) - r for r in rows]),
        rows=np.concatenate(rows),
        rejections=rejections,
        largest=largest,
        scored=any((fragment_folder(work, n) / "score.npy").is_file() for n in numbers),
    )


def _joined(parts: list[dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """The columns of several tables as those of one; takes them out of `parts`.

    At most one column is in memory twice.
    """
    names = list(parts[0]) if parts else []
    return {name: np.concatenate([part.pop(name) for part in parts]) for name in names}


def fragment_rows(work: Path, number: int, name: str) -> NDArray[Any]:
    """The rows of `keypoint`, `present`, `index` or `score` of a fragment, mapped from its file."""
    return np.load(_array_file(work, number, name), mmap_mode="r")  # type: ignore[no-any-return]


def _array_file(work: Path, number: int, name: str) -> Path:
    return fragment_folder(work, number) / f"{name}.npy"


def _read_table(work: Path, number: int) -> Any:  # noqa: ANN401 - whatever JSON holds
    return parse_json((fragment_folder(work, number) / _TABLE).read_bytes())


def frame_rows(samples: Sequence[Sample]) -> dict[str, NDArray[Any]]:
    """Rows of the samples' frames, one sample and track after another, by the arrays' names."""
    sequences = [sample.sequence for sample in samples]
    index = [np.broadcast_to(s.frame_index, s.present.shape) for s in sequences]
    scores = [s.score for s in sequences if s.score is not None]
    if scores and len(scores) != len(sequences):
        raise ValueError("a reader must return scores for all its sequences or for none")
    return {
        "keypoint": _rows([s.keypoint for s in sequences]),
        "present": _rows([s.present for s in sequences]),
        "index": _rows(index).astype(np.int32),
        **({"score": _rows(scores)} if scores else {}),
    }


def _write(folder: Path, samples: list[Sample], rejections: list[Rejection]) -> None:
    arrays = frame_rows(samples) if samples else {}
    for name, rows in arrays.items():
        np.save(folder / f"{name}.npy", rows)
    entry = {
        "arrays": sorted(arrays),
        "columns": to_columns(samples),
        "rejections": [[r.path, r.line, r.reason, r.kind] for r in rejections],
        "largest": float(np.abs(arrays["keypoint"]).max(initial=0)) if arrays else 0.0,
    }
    (folder / _TABLE).write_text(json.dumps(entry))


def _rows(tracks: list[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate([t.reshape(-1, *t.shape[2:]) for t in tracks])
