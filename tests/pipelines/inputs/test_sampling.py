"""Sampling: the official test clips, and training draws that follow the three-case rule."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from aclnet.datasets.spec import AclnetError
from aclnet.datasets.store.keyed_random import fold
from aclnet.pipelines.inputs.sampling import (
    ClipSampling,
    ConsecutiveClips,
    ConsecutiveSampling,
    UniformSampling,
    WindowSampling,
    clip_frames,
    num_windows,
    uniform_frames,
)


def naive(n, length, draws, share=1.0):
    """The rule of formats.md 9.6 for one clip, by numpy's legacy generator `draws`."""
    draws.rand()
    window = int(share * n)
    offset = draws.randint(n - window + 1)
    if window < length:
        start = draws.randint(0, window)
        frames = [(start + i) % window for i in range(length)]
    elif window < 2 * length:
        flags = np.zeros(length + 1, int)
        flags[draws.choice(length + 1, window - length, replace=False)] = 1
        frames = [i + flags[: i + 1].sum() for i in range(length)]
    else:
        borders = np.array([i * window // length for i in range(length + 1)])
        frames = borders[:-1] + draws.randint(borders[1:] - borders[:-1])
    return [int(f) + offset for f in frames]


def keys(count, seed=0):
    return fold(np.arange(count), seed)


@pytest.mark.parametrize("file", ["ntu_preprocess.npz", "preprocess_tricky.npz"])
def test_test_clips_are_those_of_the_official_code(goldens, file):
    with np.load(goldens / file) as golden:
        for sample in sorted({name.split("/")[0] for name in golden.files}):
            x, expected = golden[f"{sample}/prenorm"], golden[f"{sample}/clips_j"]
            frames = clip_frames(np.array([x.shape[1]]), 100).reshape(10, 100)[[0, 4, 9]]
            clips = x[:, frames].swapaxes(0, 1)
            np.testing.assert_array_equal(expected[:, : len(x)], clips, err_msg=sample)


@given(
    n_frames=st.lists(st.integers(1, 60), min_size=1, max_size=5),
    length=st.integers(1, 20),
    clips=st.integers(1, 3),
)
@settings(deadline=None)
def test_test_clips_are_the_rule_with_a_fresh_seed_for_each_sample(n_frames, length, clips):
    expected = []
    for n in n_frames:
        draws = np.random.RandomState(255)
        expected.append([frame for _ in range(clips) for frame in naive(n, length, draws)])
    ours = clip_frames(np.array(n_frames), length, clips)
    assert ours.dtype == np.int64
    assert ours.tolist() == expected


def test_changing_a_result_does_not_change_the_next():
    first = clip_frames(np.array([7]), 4, 2)
    before = first.copy()
    first[:] = -1
    np.testing.assert_array_equal(clip_frames(np.array([7]), 4, 2), before)


@given(
    n_frames=st.lists(st.integers(1, 500), min_size=1, max_size=8),
    length=st.integers(1, 120),
    seed=st.integers(0, 2**32),
)
@settings(deadline=None)
def test_training_frames_have_the_structure_of_their_case(n_frames, length, seed):
    drawn = uniform_frames(np.array(n_frames), length, keys(len(n_frames), seed))
    assert drawn.shape == (len(n_frames), length)
    assert drawn.dtype == np.int64
    for n, frames in zip(n_frames, drawn, strict=True):
        assert ((frames >= 0) & (frames < n)).all()
        steps = np.diff(frames)
        if n < length:
            assert set(steps % n) <= {1 % n}
        elif n < 2 * length:
            assert set(steps) <= {1, 2}
            skipped = frames[0] + (steps - 1).sum() + (n - 1 - frames[-1])
            assert skipped == n - length
        else:
            bins = np.arange(length + 1) * n // length
            assert ((bins[:-1] <= frames) & (frames < bins[1:])).all()


@pytest.mark.parametrize(
    ("n", "length", "outcomes"),
    [(1, 4, 1), (3, 5, 3), (3, 3, 1), (4, 3, 4), (5, 3, 6), (6, 3, 8), (8, 3, 18), (10, 3, 36)],
)
def test_training_frames_are_distributed_as_by_the_rule(n, length, outcomes):
    count = 6000
    ours = uniform_frames(np.full(count, n), length, keys(count)).tolist()
    draws = np.random.RandomState(0)
    theirs = [naive(n, length, draws) for _ in range(count)]
    possible = sorted({tuple(frames) for frames in theirs})
    assert len(possible) == outcomes
    assert {tuple(frames) for frames in ours} == set(possible)
    if outcomes > 1:
        frequencies = [[side.count(list(o)) for o in possible] for side in (ours, theirs)]
        assert stats.chi2_contingency(frequencies).pvalue > 1e-3


def test_all_outcomes_of_long_clips_are_equally_likely():
    count = 4000
    frames = uniform_frames(np.full(count, 300), 100, keys(count))
    offsets = frames - np.arange(100) * 3
    assert stats.chisquare(np.bincount(offsets.ravel(), minlength=3)).pvalue > 1e-3
    together = np.bincount(offsets[:, 40] * 3 + offsets[:, 41], minlength=9)
    assert stats.chisquare(together).pvalue > 1e-3


@given(n=st.integers(1, 300), low=st.floats(0.05, 1), seed=st.integers(0, 2**32))
@settings(deadline=None)
def test_an_interval_crops_a_run_of_the_drawn_share(n, low, seed):
    frames = uniform_frames(np.full(50, n), 20, keys(50, seed), (low, low))
    assert frames.min() >= 0
    assert frames.max() < n
    assert (np.ptp(frames, axis=1) < max(1, int(low * n))).all()


def test_an_interval_is_distributed_as_by_the_rule():
    n, length, count = 12, 4, 4000
    ours = uniform_frames(np.full(count, n), length, keys(count), (0.5, 1.0))
    draws = np.random.RandomState(1)
    theirs = np.array([naive(n, length, draws, draws.uniform(0.5, 1.0)) for _ in range(count)])
    for one, other in zip(ours.T, theirs.T, strict=True):
        table = [np.bincount(side, minlength=n) for side in (one, other)]
        seen = np.sum(table, axis=0) > 0
        assert stats.chi2_contingency(np.array(table)[:, seen]).pvalue > 1e-3


def test_a_sample_gets_the_same_frames_in_any_batch():
    rng = np.random.default_rng(0)
    n_frames, sample_keys = rng.integers(1, 400, 40), keys(40)
    together = uniform_frames(n_frames, 100, sample_keys, (0.5, 1.0))
    alone = [
        uniform_frames(n_frames[i : i + 1], 100, sample_keys[i : i + 1], (0.5, 1.0))[0]
        for i in range(40)
    ]
    np.testing.assert_array_equal(together, alone)


def test_the_samplings_of_the_stream():
    n_frames, sample_keys = np.array([50, 150, 250]), keys(3)
    training, test = UniformSampling(length=64, interval=(0.5, 1.0)), ClipSampling(length=64)
    assert (training.length, training.clips) == (64, 1)
    assert (test.length, test.clips) == (64, 10)
    np.testing.assert_array_equal(
        training(n_frames, sample_keys), uniform_frames(n_frames, 64, sample_keys, (0.5, 1.0))
    )
    assert test(n_frames, sample_keys).shape == (3, 640)
    np.testing.assert_array_equal(test(n_frames, sample_keys), test(n_frames, sample_keys + 1))
    assert UniformSampling().length == ClipSampling().length == 100


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (UniformSampling, {"length": 0}, "length must be at least 1"),
        (UniformSampling, {"interval": (0.0, 1.0)}, "interval must be"),
        (UniformSampling, {"interval": (0.9, 0.5)}, "interval must be"),
        (UniformSampling, {"interval": (0.5, 1.1)}, "interval must be"),
        (ClipSampling, {"length": -1}, "length must be at least 1"),
        (ClipSampling, {"clips": 0}, "clips must be at least 1"),
    ],
)
def test_impossible_settings_are_refused(kind, options, message):
    with pytest.raises(AclnetError, match=message):
        kind(**options)


def test_short_clips_can_be_spread_over_the_sequence():
    """UniformSampleFrames of the released code: formats.md 9.7."""
    for n in (1, 4, 7, 10, 23, 99):
        clips = clip_frames(np.array([n]), 100, 10, "spread").reshape(10, 100)
        starts = [i if n < 10 else i * n // 10 for i in range(10)]
        expected = [[(start + t) % n for t in range(100)] for start in starts]
        np.testing.assert_array_equal(clips, expected)


@pytest.mark.parametrize("n", [100, 150, 199, 200, 431])
def test_clips_that_are_not_short_are_the_same_either_way(n):
    either = [clip_frames(np.array([n]), 100, 10, short) for short in ("random", "spread")]
    np.testing.assert_array_equal(*either)
    sampling = ClipSampling(100, 10, "spread")
    np.testing.assert_array_equal(sampling(np.array([n]), np.zeros(1, np.int64)), either[0])


# Consecutive frames


def walked(n, start, length):
    """Frame by frame, turning round at either end."""
    frames, step = [start], 1
    while len(frames) < length:
        if not 0 <= frames[-1] + step < n:
            step = -step
        frames.append(frames[-1] + step if n > 1 else 0)
    return frames


@given(
    n_frames=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    length=st.integers(1, 40),
    seed=st.integers(0, 2**32),
)
@settings(deadline=None)
def test_consecutive_frames_run_from_a_start_or_back_and_forth(n_frames, length, seed):
    drawn = ConsecutiveSampling(length)(np.array(n_frames), keys(len(n_frames), seed))
    assert drawn.shape == (len(n_frames), length)
    assert drawn.dtype == np.int64
    for n, frames in zip(n_frames, drawn.tolist(), strict=True):
        start = frames[0]
        assert 0 <= start <= max(n - length, 0)
        assert frames == walked(n, start, length)


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (1, [0, 0, 0, 0, 0]),
        (2, [0, 1, 0, 1, 0]),
        (3, [0, 1, 2, 1, 0]),
        (4, [0, 1, 2, 3, 2]),
        (5, [0, 1, 2, 3, 4]),
    ],
)
def test_short_sequences_by_hand(n, expected):
    n_frames = np.array([n])
    for sampling in (ConsecutiveSampling(5), ConsecutiveClips(5), WindowSampling(5)):
        assert sampling(n_frames, keys(1)).tolist() == [expected]


def test_all_starts_are_equally_likely():
    starts = ConsecutiveSampling(5)(np.full(4000, 11), keys(4000))[:, 0]
    counts = np.bincount(starts)
    assert len(counts) == 7
    assert stats.chisquare(counts).pvalue > 1e-3


def test_consecutive_frames_of_a_sample_are_the_same_in_any_batch():
    n_frames, sample_keys, sampling = np.arange(1, 41), keys(40), ConsecutiveSampling(10)
    together = sampling(n_frames, sample_keys)
    alone = [sampling(n_frames[i : i + 1], sample_keys[i : i + 1])[0] for i in range(40)]
    np.testing.assert_array_equal(together, alone)


@given(
    n_frames=st.lists(st.integers(1, 60), min_size=1, max_size=5),
    length=st.integers(1, 20),
    clips=st.integers(1, 5),
)
@settings(deadline=None)
def test_clips_lie_evenly(n_frames, length, clips):
    sampling = ConsecutiveClips(length, clips)
    drawn = sampling(np.array(n_frames), keys(len(n_frames)))
    assert sampling.clips == clips
    for n, row in zip(n_frames, drawn.reshape(len(n_frames), clips, length), strict=True):
        starts = [clip[0] for clip in row]
        for clip, start in zip(row.tolist(), starts, strict=True):
            assert clip == walked(n, start, length)
        room = max(n - length, 0)
        for number, start in enumerate(starts):
            assert start <= room * (number + 0.5) / clips < start + 1
        mirrored = [room - start for start in reversed(starts)]
        assert np.abs(np.subtract(starts, mirrored)).max() <= 1


@pytest.mark.parametrize("n", [60, 61, 62, 63, 100, 247])
def test_one_clip_is_the_centre_as_in_gaitgraph(n):
    first = int(n / 2 - 60 / 2)
    frames = ConsecutiveClips()(np.array([n]), keys(1))
    np.testing.assert_array_equal(frames, [np.arange(first, first + 60)])


@given(
    n_frames=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    length=st.integers(1, 15),
    count=st.integers(1, 4),
)
@settings(deadline=None)
def test_windows_of_whole_sequences(n_frames, length, count):
    """Taken `count` at a time and trimmed, they are the chunks that a list is cut into."""
    n_frames = np.array(n_frames)
    numbers = num_windows(n_frames, length)
    taken = [[] for _ in n_frames]
    for first in range(0, numbers.max(), count):
        sampling = WindowSampling(length, first, count)
        assert sampling.clips == count
        drawn = sampling(n_frames, keys(len(n_frames)))
        for row, frames in enumerate(drawn.reshape(len(n_frames), count, length).tolist()):
            taken[row] += frames
    for n, number, frames in zip(n_frames.tolist(), numbers, taken, strict=True):
        chunks = [list(range(i, i + length)) for i in range(0, n - length + 1, length)]
        expected = chunks or [walked(n, 0, length)]
        assert frames[:number] == expected
        assert all(more == expected[-1] for more in frames[number:])


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (ConsecutiveSampling, {"length": 0}, "length must be at least 1"),
        (ConsecutiveClips, {"length": 0}, "length must be at least 1"),
        (ConsecutiveClips, {"clips": 0}, "clips must be at least 1"),
        (WindowSampling, {"length": 0}, "length must be at least 1"),
        (WindowSampling, {"length": 6, "first": -1}, "not -1 and 1"),
        (WindowSampling, {"length": 6, "count": 0}, "not 0 and 0"),
    ],
)
def test_impossible_settings_of_consecutive_frames_are_refused(kind, options, message):
    with pytest.raises(AclnetError, match=message):
        kind(**options)
