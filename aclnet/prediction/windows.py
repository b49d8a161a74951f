"""Sliding windows of long recordings, and the segments that their labels are merged into."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from aclnet.pipelines.steps.clean import take_persons

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from numpy.typing import NDArray

    from aclnet.datasets.spec import SkeletonSequence

_FILLED = 0.5
"""Smallest share of a window's frames that must show a person; other windows are ignored."""


class SegmentSettings(BaseModel):
    """Settings for the division of a long recording into segments."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    window: int = Field(ge=1)
    """Frames of a window."""
    stride: int | None = Field(default=None, ge=1)
    """Frames from the start of a window to the start of the next; None: half a window."""
    enter: float = Field(default=0.5, ge=0, le=1)
    """Least probability of the class at the begin of a segment."""
    leave: float = Field(default=0.3, ge=0, le=1)
    """A segment ends if its class has less than this probability, or if another class begins."""
    shortest: int = Field(default=1, ge=1)
    """Frames of the shortest segment that is kept."""

    @model_validator(mode="after")
    def _is_hysteresis(self) -> Self:
        if self.leave > self.enter:
            raise ValueError(f"leave={self.leave:g} must not be above enter={self.enter:g}")
        return self

    @property
    def step(self) -> int:
        return self.stride or max(1, self.window // 2)


class Window(NamedTuple):
    """A part of a recording, by the numbers of its frames."""

    first: int
    last: int
    """Last frame, which is part of the window."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive frames of one class."""

    first: int
    """Number of the first frame in the recording, from 0."""
    last: int
    """Number of the last frame, which is part of the segment."""
    label: int
    probability: float
    """Probability of the class, averaged over the frames."""


def windows_of(numbers: NDArray[np.int32], length: int, stride: int) -> list[Window]:
    """Windows of `length` frames, `stride` apart, over recorded frames `numbers` (T,), ascending.

    The last window ends with the last frame. A shorter recording is one window.
    """
    begin, end = int(numbers[0]), int(numbers[-1]) + 1
    if end - begin <= length:
        return [Window(begin, end - 1)]
    starts = [*range(begin, end - length + 1, stride)]
    if starts[-1] + length < end:
        starts.append(end - length)
    return [Window(start, start + length - 1) for start in starts]


def cut(sequence: SkeletonSequence, window: Window) -> SkeletonSequence | None:
    """The frames of a window and the present persons; None if too few frames show a person."""
    begin, end = np.searchsorted(sequence.frame_index, [window.first, window.last + 1])
    frames = slice(int(begin), int(end))
    present = sequence.present[:, frames]
    if present.any(axis=0).sum() < _FILLED * (window.last + 1 - window.first):
        return None
    score = sequence.score
    part = replace(
        sequence,
        keypoint=sequence.keypoint[:, frames],
        present=present,
        frame_index=sequence.frame_index[frames],
        score=None if score is None else score[:, frames],
    )
    return take_persons(part, np.flatnonzero(present.any(axis=1)))


def merge(
    windows: Sequence[Window], probabilities: NDArray[np.float32], settings: SegmentSettings
) -> list[Segment]:
    """Segments in the order of time.

    `probabilities` is (N, C) of N windows. A frame has the mean probabilities (C,) of the windows
    that contain it. A segment begins where the most probable class reaches `settings.enter`. It
    ends where the probability of its class falls below `settings.leave`, where another class
    begins, or where no window contains the frame.
    """
    if not windows:
        return []
    starts = np.array([window.first for window in windows])
    ends = np.array([window.last + 1 for window in windows])
    borders = np.unique([starts, ends])
    change = np.zeros((len(borders), 1 + probabilities.shape[1]))
    counted = np.concatenate([np.ones((len(windows), 1)), probabilities], axis=1)
    np.add.at(change, np.searchsorted(borders, starts), counted)
    np.subtract.at(change, np.searchsorted(borders, ends), counted)
    sums = np.cumsum(change, axis=0)[:-1]
    count = np.rint(sums[:, 0])
    mean = sums[:, 1:] / np.maximum(count, 1)[:, None]
    label = _labels(mean, count > 0, settings)
    found = []
    for begin, end in _runs(label):
        sizes = np.diff(borders[begin : end + 1])
        first, last = int(borders[begin]), int(borders[end]) - 1
        if label[begin] < 0 or last + 1 - first < settings.shortest:
            continue
        of_class = mean[begin:end, label[begin]]
        probability = float(np.average(of_class, weights=sizes))
        found.append(Segment(first, last, int(label[begin]), probability))
    return found


def _labels(
    mean: NDArray[np.float64], covered: NDArray[np.bool_], settings: SegmentSettings
) -> NDArray[np.int64]:
    """(N,) class of each interval between borders, -1 for none."""
    found = np.full(len(mean), -1)
    current = -1
    for number, row in enumerate(mean):
        best = int(row.argmax())
        if not covered[number] or (current >= 0 and row[current] < settings.leave):
            current = -1
        if covered[number] and best != current and row[best] >= settings.enter:
            current = best
        found[number] = current
    return found


def _runs(label: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Half-open ranges of equal neighbours."""
    edges = np.flatnonzero(np.diff(label)) + 1
    return list(zip([0, *edges.tolist()], [*edges.tolist(), len(label)], strict=True))
