"""Even sampling: one frame of each of equal parts, whatever the length of the sequence."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from aclnet.datasets.spec import AclnetError
from aclnet.datasets.store.keyed_random import fold
from aclnet.pipelines.inputs.sampling import EvenClips, EvenSampling


def keys(count, seed=0):
    return fold(np.arange(count), seed)


def parts(n, length):
    """(length, n): the frames of each part; every frame fills `length` places of the sequence."""
    return np.repeat(np.arange(n), length).reshape(length, n)


@given(
    n_frames=st.lists(st.integers(1, 500), min_size=1, max_size=8),
    length=st.integers(1, 120),
    seed=st.integers(0, 2**32),
)
@settings(deadline=None)
def test_each_part_gives_one_of_its_frames(n_frames, length, seed):
    drawn = EvenSampling(length)(np.array(n_frames), keys(len(n_frames), seed))
    assert drawn.shape == (len(n_frames), length)
    assert drawn.dtype == np.int64
    for n, frames in zip(n_frames, drawn, strict=True):
        assert (parts(n, length) == frames[:, None]).any(axis=1).all()
        assert (np.diff(frames) >= 0).all()


@pytest.mark.parametrize(("n", "length"), [(3, 4), (4, 4), (7, 4), (12, 4), (30, 4)])
def test_all_places_of_a_part_are_equally_likely(n, length):
    count = 4000
    drawn = EvenSampling(length)(np.full(count, n), keys(count))
    seen, expected = (
        np.concatenate([np.bincount(one, minlength=n) for one in frames])
        for frames in (drawn.T, parts(n, length))
    )
    possible = expected > 0
    assert not seen[~possible].any()
    each = {"f_exp": expected[possible] * count / n, "ddof": length - 1}
    if possible.sum() > length:
        assert stats.chisquare(seen[possible], **each).pvalue > 1e-3


def test_the_parts_are_drawn_independently():
    drawn = EvenSampling(2)(np.full(4000, 6), keys(4000)) - [0, 3]
    assert stats.chisquare(np.bincount(drawn @ [3, 1], minlength=9)).pvalue > 1e-3


@given(n=st.integers(1, 300), low=st.floats(0.05, 1), seed=st.integers(0, 2**32))
@settings(deadline=None)
def test_an_interval_crops_a_run_of_the_drawn_share(n, low, seed):
    frames = EvenSampling(20, (low, low))(np.full(50, n), keys(50, seed))
    assert frames.min() >= 0
    assert frames.max() < n
    assert (np.ptp(frames, axis=1) < max(1, int(low * n))).all()


def test_a_crop_can_be_anywhere_in_the_sequence():
    frames = EvenSampling(4, (0.5, 0.5))(np.full(500, 8), keys(500))
    assert (frames.min(), frames.max()) == (0, 7)


@given(
    n_frames=st.lists(st.integers(1, 200), min_size=1, max_size=5),
    length=st.integers(1, 40),
    clips=st.integers(1, 12),
)
@settings(deadline=None)
def test_clips_take_the_places_in_the_middle_of_equal_shares(n_frames, length, clips):
    sampling = EvenClips(length, clips)
    drawn = sampling(np.array(n_frames), keys(len(n_frames)))
    assert drawn.shape == (len(n_frames), clips * length)
    for n, row in zip(n_frames, drawn.reshape(len(n_frames), clips, length), strict=True):
        for number, clip in enumerate(row):
            place = math.floor(Fraction(2 * number + 1, 2 * clips) * n)
            np.testing.assert_array_equal(clip, parts(n, length)[:, place])
        if clips * length >= n:
            assert set(row.ravel()) == set(range(n))


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (1, [0, 0, 0, 0, 0]),
        (2, [0, 0, 1, 1, 1]),
        (3, [0, 0, 1, 2, 2]),
        (5, [0, 1, 2, 3, 4]),
        (15, [1, 4, 7, 10, 13]),
    ],
)
def test_one_clip_by_hand(n, expected):
    assert EvenClips(5, 1)(np.array([n]), keys(1)).tolist() == [expected]


def test_a_sample_gets_the_same_frames_in_any_batch():
    n_frames, sample_keys, sampling = np.arange(1, 81), keys(80), EvenSampling(32, (0.5, 1.0))
    together = sampling(n_frames, sample_keys)
    alone = [sampling(n_frames[i : i + 1], sample_keys[i : i + 1])[0] for i in range(80)]
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (EvenSampling, {"length": 0}, "length must be at least 1"),
        (EvenSampling, {"interval": (0.9, 0.5)}, "interval must be"),
        (EvenClips, {"length": 0}, "length must be at least 1"),
        (EvenClips, {"clips": 0}, "clips must be at least 1"),
    ],
)
def test_impossible_settings_are_refused(kind, options, message):
    with pytest.raises(AclnetError, match=message):
        kind(**options)
