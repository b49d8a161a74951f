"""Prediction of many recordings: files, folders and stores, one after the other."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aclnet.datasets.spec import Rejection, silent
from aclnet.datasets.store.windows import ReadAhead
from aclnet.prediction.recordings import (
    Preparer,
    each_person,
    originals,
    store_at,
    store_sequences,
)
from aclnet.prediction.windows import cut, merge, windows_of
from aclnet.runs.network import check_same_input

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Iterator, Mapping, Sequence
    from pathlib import PurePath

    from numpy.typing import NDArray

    from aclnet.datasets.spec import Progress, SkeletonSequence
    from aclnet.datasets.store.store import Store
    from aclnet.pipelines.prepare.samples import Sample
    from aclnet.prediction.model import Model
    from aclnet.prediction.windows import Segment, SegmentSettings, Window

    Read = list[SkeletonSequence] | Rejection
    Scored = tuple["_Tag", NDArray[np.float32] | Rejection]

_READ_AHEAD = 256
"""Number of sequences that are read while the network computes."""
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class FileSettings:
    """Settings for the prediction of recordings."""

    dataset: str | None = None
    """Dataset of their form; None: the run's dataset, or else `custom`."""
    per_person: bool = False
    """Predict each person separately."""
    segments: SegmentSettings | None = None
    """Cut recordings into segments; None: one prediction per recording."""
    fps: float = 0.0
    """Frames a second of recordings that do not tell; 0: not known."""
    top: int = 5
    """Number of the most probable classes in a row."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result for one recording."""

    key: str
    """Identity of the recording: path, place in the path, size."""
    rows: list[Row]
    rejection: Rejection | None = None
    """Reasons why the recording, or one of its persons, was not predicted."""


@dataclass(frozen=True, slots=True)
class _Tag:
    """Description of a sample that goes through the network."""

    key: str
    sequence: SkeletonSequence | None = None
    window: Window | None = None


@dataclass(frozen=True, slots=True)
class _Listed:
    """Recordings of one path."""

    keys: list[str]
    read: Callable[[Container[str]], Iterator[tuple[str, Read]]]
    """Reads the recordings whose keys are not in `done`, in their order."""


def predict_files(
    model: Model,
    paths: Sequence[Path],
    settings: FileSettings,
    done: Mapping[str, Outcome] | None = None,
    progress: Progress = silent,
    ours: Collection[Path] = (),
) -> Iterator[Outcome]:
    """Predicts recordings, reading ahead while the network computes.

    Args:
        paths: files, folders, archives or stores.
        done: outcomes that are known, by their keys; these recordings are not read.
        ours: absolute paths of files that are not recordings although they may look alike.

    Yields:
        One outcome per recording, and one for each file that is not a recording. Known outcomes
        come before those that are computed.

    Raises:
        AclnetError: a path has no readable recording, a store differs from the run's training
            data, or a recording cannot be read for an external reason.
    """
    model.check_classifies()
    first, *others = model.runs
    preparer = Preparer(first, per_person=settings.per_person, others=others)
    unusable: list[Outcome] = []
    done = done or {}
    different = {path.absolute(): path for path in paths}.values()
    listed = [_list(model, preparer, path, settings, unusable, ours) for path in different]
    total = sum(len(one.keys) for one in listed)
    known = [done[key] for one in listed for key in one.keys if key in done]
    count, rejected = len(known), 0
    progress("predict", count, total)
    yield from unusable
    yield from known
    recordings = chain.from_iterable(one.read(done) for one in listed)
    with closing(ReadAhead(_samples(preparer, recordings, settings), _READ_AHEAD)) as samples:
        for key, scored in groupby(model.score_each(samples), key=lambda pair: pair[0].key):
            outcome = _outcome(model, key, [*scored], settings)
            count, rejected = count + 1, rejected + (outcome.rejection is not None)
            progress("predict", count, total, f"{rejected} unusable" if rejected else "")
            yield outcome


def _list(
    model: Model,
    preparer: Preparer,
    path: Path,
    settings: FileSettings,
    unusable: list[Outcome],
    ours: Collection[Path],
) -> _Listed:
    """The recordings of a path; other files are added to `unusable`."""
    store = store_at(path)
    if store:
        for run in model.runs:
            check_same_input(run, store)
        return _of_store(preparer, store, settings)
    found = preparer.open(path, settings.dataset).without(ours)
    unusable += [Outcome(key_of(path, r.path, r.line), [], r) for r in found.unusable]
    keys = [key_of(path, item.path, item.sample_id, item.size) for item in found.items]

    def read(done: Container[str]) -> Iterator[tuple[str, Read]]:
        for key, item in zip(keys, found.items, strict=True):
            if key not in done:
                yield key, preparer.read(found, item, settings.fps)

    return _Listed(keys, read)


def _of_store(preparer: Preparer, store: Store, settings: FileSettings) -> _Listed:
    rows = originals(store)
    keys = [key_of(store.path, sample_id) for sample_id in store.column("id")[rows].tolist()]
    raw = settings.segments is not None or settings.per_person

    def read(done: Container[str]) -> Iterator[tuple[str, Read]]:
        waiting = np.array([key not in done for key in keys], np.bool_)
        for row, sequence in zip(
            np.flatnonzero(waiting).tolist(),
            store_sequences(store, rows[waiting], raw=raw),
            strict=True,
        ):
            timed = replace(sequence, fps=settings.fps)
            yield keys[row], each_person(timed) if preparer.per_person else [timed]

    return _Listed(keys, read)


def _samples(
    preparer: Preparer, recordings: Iterator[tuple[str, Read]], settings: FileSettings
) -> Iterator[tuple[_Tag, Sample | Rejection]]:
    """Yields the samples for the network and the rejections: at least one for each recording."""
    for key, result in recordings:
        if isinstance(result, Rejection):
            yield _Tag(key), result
            continue
        for sequence in result:
            if settings.segments is None:
                yield _Tag(key, sequence), preparer.fit(sequence)
                continue
            places = windows_of(
                sequence.frame_index, settings.segments.window, settings.segments.step
            )
            parts = [(place, part) for place in places if (part := cut(sequence, place))]
            for place, part in parts:
                yield _Tag(key, sequence, place), preparer.fit(part)
            if not parts:
                reason = f"{sequence.sample_id}: no window shows a person in half of its frames"
                yield _Tag(key), Rejection(sequence.source, None, reason, "no person")


def _outcome(model: Model, key: str, scored: list[Scored], settings: FileSettings) -> Outcome:
    """The rows of a recording."""
    rejection = next((found for _, found in scored if isinstance(found, Rejection)), None)
    sound = [
        (tag.sequence, tag.window, found)
        for tag, found in scored
        if tag.sequence is not None and not isinstance(found, Rejection)
    ]
    rows: list[Row] = []
    for _, group in groupby(sound, key=lambda one: id(one[0])):
        sequences, windows, scores = zip(*group, strict=True)
        sequence = sequences[0]
        file = sequence.source.encode("utf-8", "backslashreplace").decode()
        about = {"id": sequence.sample_id, "file": file}
        if settings.per_person:
            about["person"] = sequence.body_ids[0]
        if settings.segments is None:
            rows.append(about | _row(model, sequence, scores[0], settings.top))
            continue
        segments = merge(windows, np.array(scores), settings.segments)
        rows += [about | _segment(model, sequence, segment) for segment in segments]
    return Outcome(key, rows, rejection)


def _row(model: Model, sequence: SkeletonSequence, scores: NDArray[np.float32], top: int) -> Row:
    prediction = model.prediction(sequence, scores)
    return {
        "frames": len(sequence.frame_index),
        "label": prediction.label,
        "probability": prediction.probability,
        "family": list(prediction.family),
        "top": [{"label": name, "probability": p} for name, p in prediction.top(top)],
    }


def _segment(model: Model, sequence: SkeletonSequence, segment: Segment) -> Row:
    fps = sequence.fps
    return {
        "start": segment.first,
        "end": segment.last,
        "start_seconds": segment.first / fps if fps else None,
        "end_seconds": (segment.last + 1) / fps if fps else None,
        "label": model.classes[segment.label],
        "probability": segment.probability,
    }


def key_of(path: PurePath, *place: object) -> str:
    """Key of a recording at a path, and at a place in the path.

    It does not depend on the working folder.
    """
    path = path.absolute() if isinstance(path, Path) else path
    return json.dumps([str(path), *map(str, place)])


def path_of_key(key: str) -> str:
    """The path that `key_of` got, as an absolute path."""
    return str(json.loads(key)[0])
