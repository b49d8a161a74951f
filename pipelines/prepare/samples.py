"""One raw recording becomes samples of a store: cleaned, converted, normalised, cut, augmented."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from aclnet.datasets.spec import DamageError, NobodyError, Rejection, shown
from aclnet.datasets.spec.layouts import get_layout
from aclnet.datasets.store import keyed_random
from aclnet.pipelines.prepare.sides import split_masks
from aclnet.pipelines.steps.clean import clean, take_persons
from aclnet.pipelines.steps.convert import convert
from aclnet.pipelines.steps.normalise import normalise
from aclnet.pipelines.steps.plausible import check_plausible
from aclnet.pipelines.steps.resample import resample

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from aclnet.datasets.spec import DatasetSpec, Item, SkeletonSequence, Source
    from aclnet.datasets.spec.layouts import Layout
    from aclnet.pipelines.prepare.options import PrepareOptions

MAX_ROWS = 65_536
"""Rows of the largest shard; a longer sequence is cut into linked samples."""
_NUMBERS = ("label", "subject", "camera", "setup", "replication", "width", "height")
_STORED_VARIANT = 4
_LARGEST = 2**31
_LONGEST_TEXT = 1000
"""Limit of an id or condition in characters: each row of a column takes as much as the longest."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample of the store: a normalised sequence and the inverse of its normalisation."""

    sequence: SkeletonSequence
    centre: NDArray[np.float32]
    rotation: NDArray[np.float32]
    original: str
    """Id of the recording. The sample is this recording, a piece of it or a variant of it."""
    variant: int = 0


def prepare_item(
    source: Source, item: Item, spec: DatasetSpec, options: PrepareOptions
) -> list[Sample] | Rejection:
    """The samples of a recording, several if it is longer than a shard; or its rejection."""
    result = read_checked(source, item)
    if not isinstance(result, Rejection):
        result = clean_sequence(result, source, spec, options)
    if isinstance(result, Rejection):
        return result
    sample = normalise_sequence(result, get_layout(spec.layout), options)
    if isinstance(sample, Rejection):
        return sample
    return [replace(sample, sequence=piece) for piece in _cut(sample.sequence)]


def read_checked(source: Source, item: Item) -> SkeletonSequence | Rejection:
    """Reads an item; rejects it if a store cannot hold its numbers, its id or its condition."""
    result = source.read(item)
    if isinstance(result, Rejection):
        return result
    for name in _NUMBERS:
        if abs(getattr(result, name)) >= _LARGEST:
            reason = (
                f"`{name}` is {getattr(result, name)}; a store holds numbers below {_LARGEST:,}"
            )
            return Rejection(result.source or item.path, None, reason)
    broken = next((t for t in (result.sample_id, result.condition) if not _is_text(t)), None)
    if broken is not None:
        reason = f"the id or condition {shown(broken)!r} has characters that no file can hold"
        return Rejection(result.source or item.path, None, reason)
    longest = max(len(result.sample_id), len(result.condition))
    if longest > _LONGEST_TEXT:
        reason = (
            f"an id or condition has {longest:,} characters; at most {_LONGEST_TEXT:,} are possible"
        )
        return Rejection(result.source or item.path, None, reason)
    return result


def normalise_sequence(
    sequence: SkeletonSequence, layout: Layout, options: PrepareOptions
) -> Sample | Rejection:
    """The sample from a clean sequence of any length, or the reason for its rejection."""
    if sequence.prepared is not None:
        known = sequence.prepared
        return Sample(sequence, known.centre, known.rotation, known.original, known.variant)
    normalised = normalise(
        sequence.keypoint, sequence.present, layout, align=options.align, by=options.normalise
    )
    if not np.isfinite(normalised.keypoint).all():
        return _not_finite(sequence, "after normalisation")
    there = normalised.present.any(axis=1)
    persons = normalised.order[there]
    in_image = options.normalise == "default"
    score = sequence.score
    moved = replace(
        sequence,
        keypoint=normalised.keypoint[there],
        present=normalised.present[there],
        frame_index=sequence.frame_index[normalised.kept],
        score=None if score is None else score[persons][:, normalised.kept],
        body_ids=[sequence.body_ids[m] for m in persons] if sequence.body_ids else [],
        width=sequence.width if in_image else 0,
        height=sequence.height if in_image else 0,
    )
    return Sample(moved, normalised.centre, normalised.rotation, sequence.sample_id)


def clean_sequence(
    sequence: SkeletonSequence, source: Source, spec: DatasetSpec, options: PrepareOptions
) -> SkeletonSequence | Rejection:
    """A source's sequence after cleaning, with the persons to keep, in the layout of `spec`."""
    result: SkeletonSequence | Rejection = sequence
    if sequence.prepared is None:
        try:
            check_plausible(sequence, spec, options.max_coordinate)
        except DamageError as damage:
            return damage.at(sequence.source or sequence.sample_id)
        result = clean(sequence, source, track=options.track, persons=options.persons)
    if isinstance(result, Rejection):
        return result
    if result.prepared is None:
        result = _first_persons(result, spec.max_persons)
        if not result.present.any():
            return NobodyError().at(sequence.source)
        result = _without_absent(result)
        if options.fps is not None:
            try:
                result = _at_rate(result, options.fps)
            except DamageError as damage:
                return damage.at(sequence.source or sequence.sample_id)
    return convert(result, spec.raw_layout, spec.layout) if spec.raw_layout else result


def _at_rate(sequence: SkeletonSequence, fps: float) -> SkeletonSequence:
    resampled = resample(sequence, fps)
    if not resampled.present.any():
        raise NobodyError(f"at {fps:g} frames per second: ")
    return resampled


def _not_finite(sequence: SkeletonSequence, when: str) -> Rejection:
    return Rejection(
        sequence.source or sequence.sample_id,
        None,
        f"{sequence.sample_id}: {when} coordinates are infinite or NaN",
    )


def _first_persons(sequence: SkeletonSequence, count: int | None) -> SkeletonSequence:
    return take_persons(sequence, np.arange(len(sequence.present))[:count])


def _without_absent(sequence: SkeletonSequence) -> SkeletonSequence:
    """The sequence with only the persons that are in some frame; the first is the main person."""
    return take_persons(sequence, np.flatnonzero(sequence.present.any(axis=1)))


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


def with_variants(
    samples: list[Sample], source: Source, spec: DatasetSpec, options: PrepareOptions
) -> tuple[list[Sample], list[Rejection]]:
    """The samples; those that train in any protocol are followed by their stored variants.

    A recording with a variant that is not finite is rejected with all its pieces and variants.
    """
    masks = split_masks(source, to_arrays(to_columns(samples)))
    trains = np.any([mask for side, mask in masks.items() if side.endswith("/train")], axis=0)
    layout = get_layout(spec.layout)
    found: list[Sample] = []
    for sample, is_training in zip(samples, np.broadcast_to(trains, len(samples)), strict=True):
        found.append(sample)
        if is_training:
            found += _variants(sample, layout, options)
    broken: dict[str, Rejection] = {}
    for sample in found:
        if not np.isfinite(sample.sequence.keypoint).all():
            when = f"after --augment {options.augment}"
            broken.setdefault(sample.original, _not_finite(sample.sequence, when))
    return [s for s in found if s.original not in broken], list(broken.values())


def _variants(sample: Sample, layout: Layout, options: PrepareOptions) -> Iterator[Sample]:
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


def to_columns(samples: list[Sample]) -> dict[str, list[Any]]:
    """Columns of the samples' table in the store: a list per column, a value per sample."""
    columns: dict[str, list[Any]] = {
        name: [int(getattr(s.sequence, name)) for s in samples] for name in _NUMBERS
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


def _is_text(text: str) -> bool:
    """True if a text is UTF-8 without NUL, as Zarr's strings must be."""
    return "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text)


def _printable(path: str) -> str:
    """A path with bytes that are not UTF-8 escaped, because Zarr's strings are UTF-8."""
    return path.encode("utf-8", "backslashreplace").decode()


def to_arrays(columns: dict[str, list[Any]]) -> dict[str, NDArray[Any]]:
    """The store's arrays from the lists of `to_columns`.

    Raises ValueError if columns are missing or unknown, or if a store cannot hold a text.
    """
    text = ("id", "original", "condition", "source")
    types: dict[str, Any] = {
        **dict.fromkeys(text, str),
        "source": np.dtypes.StringDType(),  # long names; other text takes four bytes a character
        **dict.fromkeys(("centre", "rotation"), np.float32),
    }
    if columns.keys() != to_columns([]).keys():
        raise ValueError("the columns differ from those of samples")
    if not all(_is_text(value) for name in text for value in columns[name]):
        raise ValueError("a text has characters that no file can hold")
    return {name: np.array(v, dtype=types.get(name, np.int32)) for name, v in columns.items()}
