"""Check of raw data without conversion, which reports all problems at once.

Every recording is read and cleaned as in `prepare`. Besides unreadable inputs, `check` reports data
that `prepare` would accept although they are probably mistakes: sides and classes without
recordings, joints that never move, fractions of the image where pixels are expected.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from aclnet.datasets.registry import all_datasets
from aclnet.datasets.spec import UNLABELLED, AclnetError, Rejection, first_of, protocols, silent
from aclnet.datasets.spec.layouts import get_layout
from aclnet.pipelines.prepare.preparation import batches, check_there, is_there, reading, scan
from aclnet.pipelines.prepare.samples import clean_sequence
from aclnet.pipelines.prepare.sides import (
    doubts,
    missing_sides,
    rates_differ,
    sizes_unknown,
    split_masks,
)
from aclnet.pipelines.steps.convert import with_layout
from aclnet.pipelines.steps.resample import GAP

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from aclnet.datasets.spec import DatasetSpec, Item, Progress, SkeletonSequence, Source
    from aclnet.pipelines.prepare.executor import Executor
    from aclnet.pipelines.prepare.options import PrepareOptions

_LEAST_PIXELS = 2.0
_LACKS = ("empty class", "empty side", "classes")
"""Kinds of problems that are normal for a part of a published dataset."""
_COLUMNS = ("label", "subject", "camera", "setup", "replication", "condition", "width")


class Problem(NamedTuple):
    """A problem, or a remark on the data."""

    kind: str
    """Kind under which it is counted."""
    path: str
    """Path of the file, relative as in the source; empty if the problem concerns all files."""
    line: int | None
    text: str

    def __str__(self) -> str:
        place = self.path if self.line is None else f"{self.path}:{self.line}"
        return f"{place}: {self.text}" if place else self.text


@dataclass(slots=True)
class Checked:
    """Results of a check."""

    recordings: int
    """Number of recordings, usable or not."""
    usable: int
    listed: int
    """Number of recordings that the dataset's authors list as unusable, which is not a problem."""
    outside: int
    """Number of sound recordings that belong to a larger dataset."""
    problems: list[Problem] = field(default_factory=list)
    remarks: list[Problem] = field(default_factory=list)
    """Remarks, for example on sides that a part of a published dataset lacks. They are not
    problems."""
    counts: tuple[protocols.SideCount, ...] = ()
    """Usable recordings on each side, with the published numbers."""

    @property
    def by_kind(self) -> Counter[str]:
        return Counter(problem.kind for problem in self.problems)

    def as_dict(self) -> dict[str, Any]:
        """The result as plain values for JSON."""
        lists = {
            name: [problem._asdict() for problem in getattr(self, name)]
            for name in ("problems", "remarks")
        }
        return asdict(self) | lists


@dataclass(frozen=True, slots=True)
class _Job:
    number: int
    source: Source
    spec: DatasetSpec
    items: tuple[Item, ...]
    options: PrepareOptions
    on_disk: bool
    """See `fragments.FragmentJob`."""


@dataclass(slots=True)
class _Batch:
    """Results of a batch of items, small enough to send."""

    number: int
    seen: NDArray[np.bool_]
    """(V,) joints that are present in some recording."""
    moved: NDArray[np.bool_]
    """(V,) joints that move in some recording."""
    problems: list[Problem] = field(default_factory=list)
    listed: int = 0
    rejected: int = 0
    gaps: list[tuple[int, str]] = field(default_factory=list)
    """Longest gap in frames of each recording that has one, and its path."""
    samples: list[tuple[str, str, bool, list[Any]]] = field(default_factory=list)
    """Id, path, whether it has scores, and values of _COLUMNS of each usable recording."""


def check(
    source: Source, options: PrepareOptions, execute: Executor, progress: Progress = silent
) -> Checked:
    """Reads all of a source; raises AclnetError only if it cannot be read as a whole."""
    source = options.choose_boxes(source)
    items, unusable = scan(source)
    spec = with_layout(source.spec, options.layout)
    on_disk = is_there(source)
    jobs = [
        _Job(number, source, spec, batch, options, on_disk)
        for number, batch in enumerate(batches(items) if items else [])
    ]
    found: list[_Batch] = []
    done = rejected = 0
    progress("check", done, len(items))
    for batch in execute(_check_batch, jobs):
        found.append(batch)
        done += len(jobs[batch.number].items)
        rejected += batch.rejected
        progress("check", done, len(items), f"{rejected} rejected" if rejected else "")
    found.sort(key=lambda batch: batch.number)
    listed = sum(batch.listed for batch in found)
    listed += sum(r.kind == "listed as unusable" for r in unusable)
    samples = [sample for batch in found for sample in batch.samples]
    checked = Checked(len(items), len(samples), listed, source.outside())
    checked.problems += [_problem(r) for r in unusable if r.kind != "listed as unusable"]
    checked.problems += [problem for batch in found for problem in batch.problems]
    checked.problems.sort(key=lambda problem: (problem.path, problem.line or 0))
    if samples:
        columns = _columns(samples)
        of_all = [
            *_of_scores(samples),
            *_of_classes(spec, columns["label"]),
            *_of_joints(spec, found),
            *(Problem("rates", "", None, text) for text in rates_differ(source, options.fps)),
            *_of_sides(source, items, columns, [path for _, path, *_ in samples], checked),
        ]
        if options.normalise == "default":
            told = sizes_unknown(spec.units, columns["width"])
            checked.remarks += [Problem("width", "", None, text) for text in told]
        checked.remarks += _of_gaps(found)
        is_part = _is_part(source.spec, checked.counts)
        for problem in of_all:
            lacks = is_part and problem.kind in _LACKS
            (checked.remarks if lacks else checked.problems).append(problem)
    else:
        checked.problems.append(
            Problem("nothing usable", "", None, f"{source.root}: no recording can be used")
        )
    return checked


def _check_batch(job: _Job) -> _Batch:
    # The layout of custom data may be unknown if no recording can be read.
    joints = get_layout(job.spec.layout).num_joints if job.spec.layout else 0
    batch = _Batch(job.number, np.zeros(joints, np.bool_), np.zeros(joints, np.bool_))
    for item in job.items:
        with reading(job.source, item):
            result = job.source.read(item)
        if not isinstance(result, Rejection):
            wrong = list(_breaches(result, item, job.source.spec))
            if wrong:
                batch.rejected += 1
                text = f"the reader returned a wrong sequence: {'; '.join(wrong)}"
                batch.problems.append(Problem("reader", item.path, None, text))
                continue
            result = clean_sequence(result, job.source, job.spec, job.options)
        if not isinstance(result, Rejection):
            _look_at(result, item, job.spec, batch)
        elif result.kind == "listed as unusable":
            batch.listed += 1
        else:
            batch.rejected += 1
            batch.problems.append(_problem(result))
    if batch.problems and job.on_disk:
        check_there(job.source)
    return batch


def _problem(rejection: Rejection) -> Problem:
    return Problem(rejection.kind, rejection.path, rejection.line, rejection.reason)


def _breaches(sequence: SkeletonSequence, item: Item, spec: DatasetSpec) -> Iterator[str]:
    """Violations of `aclnet.datasets.spec.sequence` in a sequence."""
    keypoint, present, score = sequence.keypoint, sequence.present, sequence.score
    shape = (get_layout(spec.source_layout).num_joints, spec.dimensions)
    if sequence.sample_id != item.sample_id:
        yield f"id is {sequence.sample_id!r}, not {item.sample_id!r}"
    if keypoint.ndim != 4 or keypoint.shape[2:] != shape or keypoint.dtype != np.float32:
        v, c = shape
        yield f"keypoint is {keypoint.shape} of {keypoint.dtype}, not (M, T, {v}, {c}) of float32"
        return
    if present.shape != keypoint.shape[:2] or present.dtype != np.bool_:
        yield f"present is {present.shape} of {present.dtype}, not {keypoint.shape[:2]} of bool"
        return
    if (
        sequence.frame_index.shape != keypoint.shape[1:2]
        or (np.diff(sequence.frame_index) < 1).any()
    ):
        yield f"frame_index is not {keypoint.shape[1]} increasing numbers"
    if not np.isfinite(keypoint).all():
        yield "keypoint is not finite everywhere"
    elif keypoint[~present].any():
        yield "keypoint is not zero where no person is present"
    if score is not None and (score.shape != keypoint.shape[:3] or score.dtype != np.float32):
        yield f"score is {score.shape} of {score.dtype}, not {keypoint.shape[:3]} of float32"
    if not UNLABELLED <= sequence.label < len(spec.class_names):
        yield f"label is {sequence.label}, but there are {len(spec.class_names)} classes"


def _look_at(sequence: SkeletonSequence, item: Item, spec: DatasetSpec, batch: _Batch) -> None:
    """Adds the facts of a usable recording to its batch."""
    moved = np.zeros_like(batch.moved)
    for keypoint, present in zip(sequence.keypoint, sequence.present, strict=True):
        there = keypoint[present]
        batch.seen |= (there != 0).any(axis=(0, 2))
        moved |= (there[1:] != there[:-1]).any(axis=(0, 2))
    batch.moved |= moved
    steps = np.diff(sequence.frame_index[sequence.present.any(axis=0)])
    if len(steps) and steps.max() >= GAP * np.median(steps):
        batch.gaps.append((int(steps.max()) - 1, item.path))
    frames = int(sequence.present.any(axis=0).sum())
    largest = float(np.abs(sequence.keypoint).max())

    def tell(kind: str, text: str) -> None:
        batch.problems.append(Problem(kind, item.path, None, text))

    if frames == 1:
        tell("one frame", "only one frame shows a person")
    elif not moved.any():
        tell("nothing moves", f"all {frames} frames are the same")
    if spec.units == "px" and largest <= _LEAST_PIXELS:
        tell(
            "size",
            f"the largest coordinate is {largest:.3g} pixels; these may be fractions of the image",
        )
    values = [getattr(sequence, name) for name in _COLUMNS]
    batch.samples.append((item.sample_id, item.path, sequence.score is not None, values))


def _columns(samples: list[tuple[str, str, bool, list[Any]]]) -> dict[str, NDArray[Any]]:
    """The columns of usable recordings by which protocols divide."""
    values = zip(*(values for *_, values in samples), strict=True)
    ids = np.array([sample_id for sample_id, *_ in samples])
    columns = {name: np.array(column) for name, column in zip(_COLUMNS, values, strict=True)}
    return columns | {"id": ids, "original": ids, "variant": np.zeros(len(ids), np.int64)}


def _of_scores(samples: list[tuple[str, str, bool, list[Any]]]) -> Iterator[Problem]:
    if len({scored for _, _, scored, _ in samples}) > 1:
        path = next(path for _, path, scored, _ in samples if not scored)
        yield Problem(
            "confidences", path, None, "there are no confidences; other recordings have them"
        )


def _of_classes(spec: DatasetSpec, labels: NDArray[Any]) -> Iterator[Problem]:
    if (labels == UNLABELLED).all():
        return
    absent = np.setdiff1d(np.arange(len(spec.class_names)), labels)
    if len(absent):
        names = first_of([f"{label} ({spec.class_names[label]})" for label in absent.tolist()])
        text = f"{len(absent)} of {len(spec.class_names)} classes have no usable recording: {names}"
        yield Problem("empty class", "", None, text)


def _is_part(spec: DatasetSpec, counts: tuple[protocols.SideCount, ...]) -> bool:
    """True if this is a part of a published dataset in which some protocol has all its sides."""
    known = all_datasets().get(spec.name)
    if known is None or not known.class_names or known.class_names != spec.class_names:
        return False
    sides: dict[str, list[int]] = {}
    for count in counts:
        sides.setdefault(count.side.rpartition("/")[0], []).append(count.found)
    return any(min(found) > 0 for found in sides.values())


def _shared_subjects(
    spec: DatasetSpec, masks: dict[str, NDArray[np.bool_]], subjects: NDArray[np.int64]
) -> Iterator[str]:
    """Sentences about custom sides that share subjects, which makes tests easier."""
    published = {protocol.name for protocol in spec.protocols}
    for name, test in masks.items():
        protocol, _, side = name.rpartition("/")
        train = masks.get(f"{protocol}/train")
        if side == "test" and train is not None and protocol not in published:
            both = np.intersect1d(subjects[train], subjects[test])
            both = both[both >= 0]
            if len(both):
                said = first_of(list(map(str, both.tolist())))
                yield f"protocol {protocol}: subjects on both sides, training and test: {said}"


def _of_gaps(found: list[_Batch]) -> Iterator[Problem]:
    gaps = [gap for batch in found for gap in batch.gaps]
    if gaps:
        longest, path = max(gaps)
        text = (
            f"recordings with gaps in the frame numbers: {len(gaps)}; missing frames in the "
            f"longest gap: {longest} ({path}); data.motion=timed divides motion by the number of "
            "frames between"
        )
        yield Problem("gaps", "", None, text)


def _of_joints(spec: DatasetSpec, found: list[_Batch]) -> Iterator[Problem]:
    seen = np.logical_or.reduce([batch.seen for batch in found])
    moved = np.logical_or.reduce([batch.moved for batch in found])
    for joint, is_seen, has_moved in zip(get_layout(spec.layout).joints, seen, moved, strict=True):
        if not is_seen:
            yield Problem("joint", "", None, f"{joint} is missing in all recordings")
        elif not has_moved:
            yield Problem("joint", "", None, f"{joint} never moves")


def _of_sides(
    source: Source,
    items: list[Item],
    columns: dict[str, NDArray[Any]],
    paths: list[str],
    checked: Checked,
) -> Iterator[Problem]:
    """Problems of protocols; the sides' counts go to `checked`."""
    try:
        masks = split_masks(source, columns)
    except AclnetError as error:
        yield Problem("sides", "", None, str(error))
        return
    known = {item.sample_id for item in items}
    for name, ids in source.splits().items():
        lost = sorted(set(ids) - known)
        if lost:
            absent = first_of(lost, 3)
            text = f"split {name} names {len(lost)} recordings that do not exist: {absent}"
            yield Problem("sides", "", None, text)
    found = {name: int(mask.sum()) for name, mask in masks.items()}
    checked.counts = protocols.check_counts(source.spec.protocols, found)
    for count in checked.counts:
        if count.verdict == "wrong":
            yield Problem("sides", "", None, f"not the published samples: {count}")
        if not count.found:
            yield Problem("empty side", "", None, f"{count.side} has no usable recording")
    labelled = columns["label"] != UNLABELLED
    for text in missing_sides(masks) if labelled.any() else ():
        yield Problem("sides", "", None, text)
    for text in _shared_subjects(source.spec, masks, columns["subject"]):
        checked.remarks.append(Problem("subjects", "", None, text))
    for text in doubts(source.spec, masks, columns["label"]):
        yield Problem("classes", "", None, text)
    if masks:
        on_none = np.flatnonzero(labelled & ~np.logical_or.reduce(list(masks.values())))
        for row in on_none.tolist():
            text = "on no side of any protocol: it is used for neither training nor test"
            yield Problem("no side", paths[row], None, text)
