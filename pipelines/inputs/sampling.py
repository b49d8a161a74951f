"""Choice of the frames of a sequence that the network sees.

Uniform sampling of PoseConv3D and PYSKL, for actions: L of the n frames of a sequence are chosen. A
short sequence (n < L) runs in a loop from a random start, a middle one (L <= n < 2L) skips n - L
random frames, and a long one is cut into L equal bins with one random frame from each.

Even sampling, for actions: a sequence of any length is cut into L equal parts, and each part gives
the frame at one of its places. A short sequence (n < L) repeats frames, and keeps its beginning and
its end, which a loop from a random start joins.

Consecutive sampling, for gait and re-identification: L frames that follow one another. A short
sequence runs from its first frame to its last, back and forth (0 1 2 1 0 1 ...), until there are L.
GaitGraph2 pads by such mirroring as well, but on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np

from aclnet.datasets.spec import AclnetError
from aclnet.datasets.store.keyed_random import fold, integers, uniform

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SAMPLING = 1  # folded into the keys, so that no other module draws the same numbers
_SHARE, _OFFSET, _START, _SLOTS = 0, 1, 2, 3  # draw numbers; slots take the rest

Short = Literal["random", "spread"]

_CLIP_SEED = 255  # the official code's value; published scores come from these clips


@dataclass(frozen=True)
class UniformSampling:
    """Sampling for training: one random clip of `length` frames.

    `interval` is the range from which the share of the sequence that the clip spans is drawn.
    """

    length: int = 100
    interval: tuple[float, float] = (1.0, 1.0)
    clips: int = field(default=1, init=False)

    def __post_init__(self) -> None:
        _check_length(self.length)
        _check_interval(self.interval)

    def __call__(self, n_frames: NDArray[np.int64], keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """(B, length) frame numbers for (B,) lengths and keys."""
        return uniform_frames(n_frames, self.length, keys, self.interval)


@dataclass(frozen=True)
class ClipSampling:
    """Sampling for tests: `clips` clips of `length` frames, the same in every run.

    `short` chooses the begin of the clips of a sequence with fewer frames, see `clip_frames`.
    """

    length: int = 100
    clips: int = 10
    short: Short = "random"

    def __post_init__(self) -> None:
        _check_length(self.length)
        _check_clips(self.clips)

    def __call__(self, n_frames: NDArray[np.int64], keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """(B, clips * length) frame numbers for (B,) lengths; the keys do not matter."""
        return clip_frames(n_frames, self.length, self.clips, self.short)


@dataclass(frozen=True)
class EvenSampling:
    """Sampling for training: `length` equal parts give one frame each, at a random place.

    `interval` is the range from which the share of the sequence that the clip spans is drawn.
    """

    length: int = 32
    interval: tuple[float, float] = (1.0, 1.0)
    clips: int = field(default=1, init=False)

    def __post_init__(self) -> None:
        _check_length(self.length)
        _check_interval(self.interval)

    def __call__(self, n_frames: NDArray[np.int64], keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """(B, length) ascending frame numbers for (B,) lengths and keys."""
        keys = fold(keys, _SAMPLING)
        window, offset = _crop(n_frames, keys, self.interval)
        slots = _SLOTS + np.arange(self.length)
        place = integers(keys[:, None], slots, window[:, None])
        return offset[:, None] + _even(window[:, None], self.length, place)


@dataclass(frozen=True)
class EvenClips:
    """Sampling for tests: `clips` clips of `length` frames, clip after clip.

    Each clip has the frames at one place of the `length` equal parts of a sequence. The places are
    in the middle of `clips` equal shares of a part.
    """

    length: int = 32
    clips: int = 10

    def __post_init__(self) -> None:
        _check_length(self.length)
        _check_clips(self.clips)

    def __call__(self, n_frames: NDArray[np.int64], keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """(B, clips * length) frame numbers for (B,) lengths; the keys do not matter."""
        n = n_frames[:, None, None]
        place = (2 * np.arange(self.clips)[:, None] + 1) * n // (2 * self.clips)
        return _even(n, self.length, place).reshape(len(n_frames), -1)


@dataclass(frozen=True)
class ConsecutiveSampling:
    """Sampling for training: `length` consecutive frames from a random start."""

    length: int = 60
    clips: int = field(default=1, init=False)

    def __post_init__(self) -> None:
        _check_length(self.length)

    def __call__(self, n_frames: NDArray[np.int64], keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """(B, length) frame numbers for (B,) lengths and keys."""
        starts = np.maximum(n_frames - self.length, 0) + 1
        start = integers(fold(keys, _SAMPLING), _START, starts)
        return _consecutive(start[:, None], n_frames, self.length)


@dataclass(frozen=True)
class ConsecutiveClips:
    """Sampling for tests: `clips` clips of `length` consecutive frames, clip after clip.

    They are in the middle of `clips` equal parts of the possible starts, so that a single clip is
    the centre of the sequence, as in GaitGraph's test.
    """

    length: int = 60
    clips: int = 1

    def __post_init__(self) -> None:
        _check_length(self.length)
        _check_clips(self.clips)

    def __call__(self, n_frames: NDArray[np.int64], keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """(B, clips * length) frame numbers for (B,) lengths; the keys do not matter."""
        last = np.maximum(n_frames - self.length, 0)
        start = (2 * np.arange(self.clips) + 1) * last[:, None] // (2 * self.clips)
        return _consecutive(start, n_frames, self.length)


@dataclass(frozen=True)
class WindowSampling:
    """`count` windows of each sequence from number `first` on, window after window.

    Window w holds the frames from w * length on, see `num_windows`. If a sequence ends before,
    its last window replaces the missing windows.
    """

    length: int
    first: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        _check_length(self.length)
        if self.first < 0 or self.count < 1:
            raise AclnetError(
                f"the first window must be at least 0 and the count at least 1, not {self.first} "
                f"and {self.count}"
            )

    @property
    def clips(self) -> int:
        return self.count

    def __call__(self, n_frames: NDArray[np.int64], keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """(B, count * length) frame numbers for (B,) lengths; the keys do not matter."""
        last = num_windows(n_frames, self.length)[:, None] - 1
        window = np.minimum(self.first + np.arange(self.count), last)
        return _consecutive(window * self.length, n_frames, self.length)


def num_windows(n_frames: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """(B,) windows of `length` frames, without overlap, in sequences of `n_frames` (B,) frames.

    The remaining frames are dropped; a sequence shorter than a window has one window.
    """
    return np.asarray(np.maximum(n_frames // length, 1))


def uniform_frames(
    n_frames: NDArray[np.int64],
    length: int,
    keys: NDArray[np.int64],
    interval: tuple[float, float] = (1.0, 1.0),
) -> NDArray[np.int64]:
    """(B, length) random frame numbers of sequences of `n_frames` (B,) frames, at least 1 each.

    The draws depend only on `keys` (B,). `interval` (low, high) first crops a random run of
    frames whose share of the sequence is uniform in that range.
    """
    keys = fold(keys, _SAMPLING)
    window, offset = _crop(n_frames, keys, interval)
    frames = np.empty((len(keys), length), np.int64)
    short, long = window < length, window >= 2 * length
    for rows, rule in ((short, _loop), (~(short | long), _skip), (long, _bins)):
        if rows.any():
            frames[rows] = rule(window[rows], length, keys[rows])
    return frames + offset[:, None]


def clip_frames(
    n_frames: NDArray[np.int64], length: int, clips: int = 10, short: Short = "random"
) -> NDArray[np.int64]:
    """(B, clips * length) frame numbers of the test clips of sequences of `n_frames` (B,) frames.

    The official test reseeds numpy's global generator for each sample, so that the clips of a
    sequence depend only on its number of frames. The clips follow one another in the result. In
    sequences shorter than `length`, clips begin at `random` frames (the official test of 3-D data)
    or are `spread` evenly (that of 2-D data).
    """
    return np.stack([_clip_table(n, length, clips, short) for n in n_frames.tolist()])


@lru_cache(maxsize=1024)
def _clip_table(n: int, length: int, clips: int, short: Short) -> NDArray[np.int64]:
    """(clips * length,) frame numbers; the order of the draws is that of the official code."""
    draws = np.random.RandomState(_CLIP_SEED)
    table = np.empty((clips, length), np.int64)
    for number, clip in enumerate(table):
        draws.random_sample()  # the share of the sequence, always 1 in a test
        if n < length:
            evenly = number if n < clips else number * n // clips
            start = evenly if short == "spread" else draws.randint(n)
            clip[:] = (start + np.arange(length)) % n
        elif n < 2 * length:
            skipped = np.zeros(length + 1, np.int64)
            skipped[draws.choice(length + 1, n - length, replace=False)] = 1
            clip[:] = np.arange(length) + np.cumsum(skipped)[:length]
        else:
            borders = _borders(n, length)
            clip[:] = borders[:-1] + draws.randint(np.diff(borders))
    return table.reshape(-1)


def _crop(
    n_frames: NDArray[np.int64], keys: NDArray[np.int64], interval: tuple[float, float]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(B,) frames and first frame of the run that each clip spans."""
    low, high = interval
    share = low + (high - low) * uniform(keys, _SHARE)
    window = np.maximum((share * n_frames).astype(np.int64), 1)
    return window, integers(keys, _OFFSET, n_frames - window + 1)


def _loop(n: NDArray[np.int64], length: int, keys: NDArray[np.int64]) -> NDArray[np.int64]:
    start = integers(keys, _START, n)
    return np.asarray((start[:, None] + np.arange(length)) % n[:, None])


def _skip(n: NDArray[np.int64], length: int, keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Skips a frame before each of the n - L slots with the lowest hashes, out of L + 1.

    The last slot is after the clip. The hashes of one key never tie: `fold` is a bijection.
    """
    hashes = fold(keys[:, None], _SLOTS + np.arange(length + 1))
    bound = np.take_along_axis(np.sort(hashes, axis=1), (n - length)[:, None], axis=1)
    return np.asarray(np.arange(length) + np.cumsum(hashes < bound, axis=1)[:, :length])


def _bins(n: NDArray[np.int64], length: int, keys: NDArray[np.int64]) -> NDArray[np.int64]:
    borders = _borders(n[:, None], length)
    slots = _SLOTS + np.arange(length)
    return np.asarray(borders[:, :-1] + integers(keys[:, None], slots, np.diff(borders)))


def _even(n: NDArray[np.int64], length: int, place: NDArray[np.int64]) -> NDArray[np.int64]:
    """(..., L) frames at the places (..., L or 1) of L parts; 0 <= place < n spans a part."""
    return np.asarray((np.arange(length) * n + place) // length)


def _borders(n: NDArray[np.int64] | int, length: int) -> NDArray[np.int64]:
    """(..., L + 1) borders of L bins over n frames."""
    return np.asarray(np.arange(length + 1) * n // length)


def _consecutive(
    start: NDArray[np.int64], n_frames: NDArray[np.int64], length: int
) -> NDArray[np.int64]:
    """(B, S * length) frames from each start (B, S) on, mirrored at the ends of the sequence."""
    frames = (start[:, :, None] + np.arange(length)).reshape(len(start), -1)
    period = np.maximum(2 * (n_frames - 1), 1)[:, None]
    frames %= period
    return np.asarray(np.minimum(frames, period - frames))


def _check_length(length: int) -> None:
    if length < 1:
        raise AclnetError(f"length must be at least 1 frame, not {length}")


def _check_clips(clips: int) -> None:
    if clips < 1:
        raise AclnetError(f"clips must be at least 1, not {clips}")


def _check_interval(interval: tuple[float, float]) -> None:
    low, high = interval
    if not 0 < low <= high <= 1:
        raise AclnetError(f"interval must be 0 < low <= high <= 1, not {low}, {high}")
