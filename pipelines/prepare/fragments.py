"""First stage of prepare: batches of raw items become parts, ragged arrays with their table.

A part is a folder that is renamed into place when it is whole; its presence means it is done.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from aclnet.datasets.spec import protocols
from aclnet.datasets.spec.errors import AclnetError
from aclnet.datasets.spec.layouts import get_layout
from aclnet.datasets.spec.sequence import Rejection, SkeletonSequence
from aclnet.datasets.store import keyed_random
from aclnet.pipelines.steps.clean import CLEANERS, step_of
from aclnet.pipelines.steps.convert import convert
from aclnet.pipelines.steps.normalise import normalise

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from aclnet.datasets.spec.layouts import Layout
    from aclnet.datasets.spec.sequence import Prepared
    from aclnet.datasets.spec.source import DatasetSpec, Item, Source
    from aclnet.pipelines.prepare.options import PrepareOptions

MAX_ROWS = 65_536
"""Rows of the largest shard; a longer sequence is cut into linked samples."""
_TABLE = "table.json"
_STORED_VARIANT = 4
_OWN_SPLIT = re.compile(r"(.*?)_?(train|val|test|gallery|probe)(\d*)")


@dataclass(frozen=True, slots=True)
class PartJob:
    """A batch of raw items, and all that a worker needs to turn it into a part."""

    number: int
    folder: Path
    spec: DatasetSpec
    """Of the store; its layout may be another one than the source's."""
    source: Source
    items: tuple[Item, ...]
    options: PrepareOptions


@dataclass(frozen=True, slots=True)
class Part:
    """What a part holds: one table row a sample, in the order of its frames' rows."""

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
class PartTable:
    """The samples of all parts, and where their frame rows are."""

    columns: dict[str, NDArray[Any]]
    part: NDArray[np.int64]
    first: NDArray[np.int64]
    """First row in the part."""
    rows: NDArray[np.int64]
    rejections: list[Rejection]
    largest: float
    scored: bool

    @property
    def size(self) -> int:
        return len(self.rows)


def part_folder(folder: Path, number: int) -> Path:
    """Where a part lies once it is whole."""
    return folder / "parts" / f"{number:06d}"


def is_done(job: PartJob) -> bool:
    """Was the part made before?"""
    return (part_folder(job.folder, job.number) / _TABLE).is_file()


def make_part(job: PartJob) -> tuple[int, int]:
    """Reads, cleans, normalises and augments a batch; returns items done and items rejected.

    Raises AclnetError where memory does not suffice: a sound recording must not be left out for it.
    """
    samples: list[_Sample] = []
    rejections: list[Rejection] = []
    for item in job.items:
        try:
            result = _prepare_item(job.source, item, job.spec, job.options)
        except MemoryError:
            raise AclnetError(
                f"{job.source.root / item.path}: memory does not suffice to read it; "
                "run the same command with fewer --workers, it goes on where it stopped"
            ) from None
        if isinstance(result, Rejection):
            rejections.append(result)
        else:
            samples += result
    if job.options.variants and samples:
        samples = _with_variants(samples, job)
    _write_part(job, samples, rejections)
    return len(job.items), len(rejections)


def _write_part(job: PartJob, samples: list[_Sample], rejections: list[Rejection]) -> None:
    target = part_folder(job.folder, job.number)
    temporary = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    _write(temporary, samples, rejections)
    shutil.rmtree(target, ignore_errors=True)
    temporary.rename(target)


def split_masks(source: Source, columns: dict[str, NDArray[Any]]) -> dict[str, NDArray[np.bool_]]:
    """Mask of each `protocol/side` over samples; stored variants only ever train.

    Where the source brings splits of its own, they decide, and protocols of the dataset in which no
    sample takes part (its ids do not tell subject or camera) are left out.
    """
    masks = protocols.sides(source.spec.protocols, columns)
    own = own_sides(source)
    if own:
        used = {name.partition("/")[0] for name, mask in masks.items() if mask.any()}
        masks = {name: mask for name, mask in masks.items() if name.partition("/")[0] in used}
    masks |= {name: np.isin(columns["original"], ids) for name, ids in own.items()}
    for name, mask in masks.items():
        if not name.endswith("/train"):
            masks[name] = mask & (columns["variant"] == 0)
    return masks


def own_sides(source: Source) -> dict[str, list[str]]:
    """Sample ids of the splits that the source itself defines, by `protocol/side`.

    PYSKL's names become `xsub_train` -> `xsub/train`, `xsub_val` -> `xsub/test` (unless there is an
    `xsub_test` too), `train` -> `own/train`, `test2` -> `own2/test`. AclnetError for other names.
    """
    sides = {}
    splits = source.splits()
    for name, ids in splits.items():
        match = _OWN_SPLIT.fullmatch(name)
        if match is None:
            raise AclnetError(
                f"{source.root}: split {name!r} does not say which side it is; "
                "its name must end in train, val, test, gallery or probe"
            )
        prefix, side, number = match.groups()
        if side == "val" and f"{name[: match.start(2)]}test{number}" not in splits:
            side = "test"
        sides[f"{prefix or protocols.OWN}{number}/{side}"] = ids
    return sides


def load_part(folder: Path, number: int) -> Part:
    """The table of a part."""
    entry = json.loads((part_folder(folder, number) / _TABLE).read_text())
    return Part(
        number=number,
        columns=_arrays(entry["columns"]),  # Python's own numbers would take ten times as much
        rejections=[Rejection(*r) for r in entry["rejections"]],
        largest=entry["largest"],
    )


def load_table(folder: Path) -> PartTable:
    """The samples of all parts, in the order of the raw items."""
    numbers = sorted(int(f.name) for f in (folder / "parts").iterdir() if f.name.isdigit())
    loaded = [load_part(folder, number) for number in numbers]
    rows = [part.rows for part in loaded]
    filled = [part.columns for part in loaded if len(part.rows)] or [loaded[0].columns]
    # taken out of the parts, column by column: no two are in memory twice
    columns = {n: np.concatenate([part.pop(n) for part in filled]) for n in list(filled[0])}
    return PartTable(
        columns=columns,
        part=np.repeat(numbers, [len(r) for r in rows]),
        first=np.concatenate([np.cumsum(r) - r for r in rows]),
        rows=np.concatenate(rows),
        rejections=[r for part in loaded for r in part.rejections],
        largest=max(part.largest for part in loaded),
        scored=any((part_folder(folder, n) / "score.npy").is_file() for n in numbers),
    )


def _arrays(columns: dict[str, list[Any]]) -> dict[str, NDArray[Any]]:
    text = {"id": str, "original": str, "condition": str, "source": str}
    vectors = {"centre": np.float32, "rotation": np.float32}
    types = {**text, **vectors}
    return {name: np.array(v, dtype=types.get(name, np.int64)) for name, v in columns.items()}


def part_rows(folder: Path, number: int, name: str) -> NDArray[Any]:
    """The rows of `keypoint`, `present`, `index` or `score` of a part, mapped from its file."""
    return np.load(part_folder(folder, number) / f"{name}.npy", mmap_mode="r")  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class _Sample:
    """One sample of the store to be: a normalised sequence and what undoes its normalisation."""

    sequence: SkeletonSequence
    centre: NDArray[np.float32]
    rotation: NDArray[np.float32]
    original: str
    """Id of the recording that this is, is a piece of, or is a variant of."""
    variant: int = 0


def _prepare_item(
    source: Source, item: Item, spec: DatasetSpec, options: PrepareOptions
) -> list[_Sample] | Rejection:
    result = source.read(item)
    if isinstance(result, SkeletonSequence):
        result = clean(result, source, spec, options)
    if isinstance(result, Rejection):
        return result
    if result.prepared is not None:
        return _as_it_was(result, result.prepared)
    layout = get_layout(spec.layout)
    normalised = normalise(
        result.keypoint, result.present, layout, align=options.align, by=options.normalise
    )
    there = normalised.present.any(axis=1)
    persons = normalised.order[there]
    in_image = options.normalise == "default"
    sequence = replace(
        result,
        keypoint=normalised.keypoint[there],
        present=normalised.present[there],
        frame_index=result.frame_index[normalised.kept],
        score=None if result.score is None else result.score[persons][:, normalised.kept],
        body_ids=[result.body_ids[m] for m in persons] if result.body_ids else [],
        width=result.width if in_image else 0,
        height=result.height if in_image else 0,
    )
    undo = (normalised.centre, normalised.rotation)
    return [_Sample(piece, *undo, item.sample_id) for piece in _cut(sequence)]


def clean(
    sequence: SkeletonSequence, source: Source, spec: DatasetSpec, options: PrepareOptions
) -> SkeletonSequence | Rejection:
    """What a source read, cleaned, those persons alone who count, in the layout of `spec`."""
    result: SkeletonSequence | Rejection = sequence
    step = step_of(source, track=options.track)
    if step:
        result = CLEANERS[step](sequence)
    if isinstance(result, Rejection):
        return result
    if result.prepared is None:
        result = _first_persons(result, spec.max_persons)
        if not result.present.any():
            return Rejection(sequence.source, None, "no person in any frame")
        result = _without_absent(result)
    return convert(result, spec.raw_layout, spec.layout) if spec.raw_layout else result


def _as_it_was(sequence: SkeletonSequence, known: Prepared) -> list[_Sample]:
    """The samples of a store that a sequence was, from the store's export."""
    undo = (known.centre, known.rotation)
    return [_Sample(piece, *undo, known.original, known.variant) for piece in _cut(sequence)]


def _first_persons(sequence: SkeletonSequence, count: int | None) -> SkeletonSequence:
    return _persons(sequence, np.arange(len(sequence.present))[:count])


def _without_absent(sequence: SkeletonSequence) -> SkeletonSequence:
    """Only the persons that are there in some frame: the first of them is the main one."""
    return _persons(sequence, np.flatnonzero(sequence.present.any(axis=1)))


def _persons(sequence: SkeletonSequence, chosen: NDArray[np.int64]) -> SkeletonSequence:
    if len(chosen) == len(sequence.present):
        return sequence
    return replace(
        sequence,
        keypoint=sequence.keypoint[chosen],
        present=sequence.present[chosen],
        score=None if sequence.score is None else sequence.score[chosen],
        body_ids=[sequence.body_ids[m] for m in chosen] if sequence.body_ids else [],
    )


def _cut(sequence: SkeletonSequence) -> Iterator[SkeletonSequence]:
    """The sequence itself, or pieces of it that fit a shard, named id#1, id#2, ..."""
    persons, frames = sequence.present.shape
    pieces = -(-frames // max(1, MAX_ROWS // persons))
    if pieces == 1:
        yield sequence
        return
    for number, chosen in enumerate(np.array_split(np.arange(frames), pieces), start=1):
        cut = slice(chosen[0], chosen[-1] + 1)
        yield replace(
            sequence,
            sample_id=f"{sequence.sample_id}#{number}",
            keypoint=sequence.keypoint[:, cut],
            present=sequence.present[:, cut],
            frame_index=sequence.frame_index[cut],
            score=None if sequence.score is None else sequence.score[:, cut],
        )


def _with_variants(samples: list[_Sample], job: PartJob) -> list[_Sample]:
    """The samples, those that train in any protocol followed by their variants."""
    masks = split_masks(job.source, _arrays(_columns(samples)))
    trains = np.any([mask for side, mask in masks.items() if side.endswith("/train")], axis=0)
    layout = get_layout(job.spec.layout)
    found: list[_Sample] = []
    for sample, is_training in zip(samples, np.broadcast_to(trains, len(samples)), strict=True):
        found.append(sample)
        if is_training:
            found += _variants(sample, layout, job.options)
    return found


def _variants(sample: _Sample, layout: Layout, options: PrepareOptions) -> Iterator[_Sample]:
    """Augmented copies id@1, id@2, ..., by the operations that training applies online."""
    import torch

    from aclnet.pipelines.inputs.augment import AugmentSpec, augment

    spec = AugmentSpec.parse(options.augment)
    sequence = sample.sequence
    persons, frames = sequence.present.shape
    scored, in_plane = sequence.score is not None, sequence.keypoint.shape[-1] == 2
    tells_width = sequence.width > 0 or options.normalise != "default"
    joints = np.ascontiguousarray(sequence.keypoint)
    if sequence.score is not None:
        joints = np.concatenate([joints, sequence.score[..., None]], axis=-1)
    for variant in range(1, options.variants + 1):
        key = keyed_random.fold(
            keyed_random.sample_keys([sequence.sample_id]), options.seed, variant, _STORED_VARIANT
        )
        moved = augment(
            torch.from_numpy(joints),
            torch.zeros(persons, dtype=torch.int64),
            torch.from_numpy(key),
            spec,
            layout,
            frame=torch.arange(frames).expand(persons, -1),
            present=torch.from_numpy(np.ascontiguousarray(sequence.present)),
            width=torch.tensor([sequence.width]) if in_plane and tells_width else None,
            scored=scored,
        ).numpy()
        copy = replace(
            sequence,
            sample_id=f"{sequence.sample_id}@{variant}",
            keypoint=moved[..., :-1] if scored else moved,
            score=moved[..., -1] if scored else None,
        )
        yield replace(sample, sequence=copy, variant=variant)


def _write(folder: Path, samples: list[_Sample], rejections: list[Rejection]) -> None:
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
        "columns": _columns(samples),
        "rejections": [[r.path, r.line, r.reason, r.kind] for r in rejections],
        "largest": largest,
    }
    (folder / _TABLE).write_text(json.dumps(entry))


def _rows(tracks: list[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate([t.reshape(-1, *t.shape[2:]) for t in tracks])


def _columns(samples: list[_Sample]) -> dict[str, list[Any]]:
    names = ("label", "subject", "camera", "setup", "replication", "width", "height")
    columns: dict[str, list[Any]] = {
        name: [int(getattr(s.sequence, name)) for s in samples] for name in names
    }
    return columns | {
        "id": [s.sequence.sample_id for s in samples],
        "original": [s.original for s in samples],
        "condition": [s.sequence.condition for s in samples],
        "source": [_printable(s.sequence.source) for s in samples],
        "n_persons": [s.sequence.present.shape[0] for s in samples],
        "n_frames": [s.sequence.present.shape[1] for s in samples],
        "variant": [s.variant for s in samples],
        "centre": [s.centre.tolist() for s in samples],
        "rotation": [s.rotation.tolist() for s in samples],
    }


def _printable(path: str) -> str:
    """A path whose bytes are no UTF-8 has them escaped: Zarr's strings are UTF-8."""
    return path.encode("utf-8", "backslashreplace").decode()
