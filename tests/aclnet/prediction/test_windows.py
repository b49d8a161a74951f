"""Windows cover a recording, and segments follow from them as a plain loop over frames says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from aclnet.datasets.spec import UNLABELLED, SkeletonSequence
from aclnet.prediction.windows import Segment, SegmentSettings, Window, cut, merge, windows_of

LENGTHS = st.integers(1, 12)


@given(st.integers(0, 50), st.integers(1, 60), LENGTHS, LENGTHS)
def test_windows_cover_the_recording(first, frames, length, stride):
    numbers = np.arange(first, first + frames, dtype=np.int32)
    found = windows_of(numbers, length, min(stride, length))
    held = np.concatenate([np.arange(w.first, w.last + 1) for w in found])
    assert {*held.tolist()} == {*numbers.tolist()}
    assert {w.last + 1 - w.first for w in found} == {min(length, frames)}
    assert len({*found}) == len(found)


def sequence(present, numbers=None):
    present = np.array(present, bool)
    persons, frames = present.shape
    keypoint = np.arange(persons * frames, dtype=np.float32).reshape(persons, frames, 1, 1) + 1
    numbers = np.arange(frames) if numbers is None else np.array(numbers)
    return SkeletonSequence(
        "a", keypoint * present[..., None, None], UNLABELLED, present, numbers.astype(np.int32)
    )


def test_a_window_has_its_frames_and_who_is_there():
    both = sequence([[1, 1, 1, 1, 1, 0], [0, 0, 0, 1, 1, 1]], [0, 1, 2, 5, 6, 7])
    part = cut(both, Window(1, 3))
    assert part.frame_index.tolist() == [1, 2]
    assert part.keypoint[:, :, 0, 0].tolist() == [[2, 3]]
    part = cut(both, Window(5, 7))
    assert part.present.tolist() == [[True, True, False], [True, True, True]]


def test_a_window_with_few_frames_of_anybody_is_none():
    assert cut(sequence([[1, 1, 0, 0]]), Window(0, 3)) is not None
    assert cut(sequence([[1, 0, 0, 0]]), Window(0, 3)) is None
    assert cut(sequence([[1, 1, 1]], [0, 1, 9]), Window(2, 8)) is None


def naive(windows, scores, settings):
    """Frame by frame: the mean of the windows that hold it, then the rule of hysteresis."""
    found, current, begun, shares = [], None, 0, []

    def end(frame):
        if current is not None and frame - begun >= settings.shortest:
            found.append((begun, frame - 1, current, float(np.mean(shares))))

    last = max(w.last for w in windows)
    for frame in range(last + 2):
        rows = [s for w, s in zip(windows, scores, strict=True) if w.first <= frame <= w.last]
        mean = np.mean(rows, axis=0) if rows else None
        following = current
        if mean is None or (current is not None and mean[current] < settings.leave):
            following = None
        if mean is not None and mean.max() >= settings.enter:
            following = int(mean.argmax())
        if following != current:
            end(frame)
            current, begun, shares = following, frame, []
        if current is not None:
            shares.append(mean[current])
    end(last + 2)
    return found


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 10)), min_size=1, max_size=8),
    st.integers(0, 2**32 - 1),
    st.integers(1, 5),
)
def test_segments_are_those_of_a_loop_over_frames(places, seed, shortest):
    """Probabilities are whole 32nds, so sums are exact in any order; many lie on the thresholds."""
    windows = [Window(first, first + length - 1) for first, length in places]
    scores = np.random.default_rng(seed).integers(0, 33, (len(windows), 3)) / 32
    settings = SegmentSettings(window=1, enter=0.625, leave=0.34375, shortest=shortest)
    found = merge(windows, scores, settings)
    expected = naive(windows, scores, settings)
    assert [(s.first, s.last, s.label) for s in found] == [one[:3] for one in expected]
    np.testing.assert_allclose([s.probability for s in found], [one[3] for one in expected])


def test_a_segment_outlasts_a_weak_moment_and_ends_with_another_class():
    windows = [Window(10 * n, 10 * n + 9) for n in range(6)]
    shares = [0.9, 0.4, 0.7, 0.2, 0.1, 0.4]
    scores = np.array([[share, 1 - share] for share in shares])
    settings = SegmentSettings(window=10, enter=0.75, leave=0.3)
    assert merge(windows, scores, settings) == [
        Segment(0, 29, 0, pytest.approx((0.9 + 0.4 + 0.7) / 3)),
        Segment(30, 59, 1, pytest.approx((0.8 + 0.9 + 0.6) / 3)),
    ]
    assert merge([], np.empty((0, 2)), settings) == []


@pytest.mark.parametrize(
    "wrong", [{"window": 0}, {"stride": 0}, {"enter": 1.5}, {"leave": 0.6}, {"shortest": 0}]
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValidationError):
        SegmentSettings(**{"window": 4, **wrong})
