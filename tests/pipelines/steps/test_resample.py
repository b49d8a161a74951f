"""Recordings brought to one frame rate, against a naive interpolation frame by frame."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aclnet.datasets.spec import DamageError, SkeletonSequence
from aclnet.pipelines.steps.resample import resample


def sequence(numbers: list[int], fps: float, seed: int = 0, persons: int = 2) -> SkeletonSequence:
    rng = np.random.default_rng(seed)
    shape = (persons, len(numbers), 4)
    keypoint = rng.uniform(0.5, 2, (*shape, 3)).astype(np.float32)
    keypoint[rng.random(shape) < 0.1] = 0
    present = rng.random(shape[:2]) < 0.9
    keypoint[~present] = 0
    score = np.where((keypoint != 0).any(-1), rng.uniform(0.1, 1, shape), 0).astype(np.float32)
    index = np.array(numbers, np.int32)
    return SkeletonSequence("a", keypoint, 0, present, index, score=score, fps=fps)


def naive(raw: SkeletonSequence, fps: float) -> dict[int, np.ndarray]:
    """(M, V, 4) coordinates and confidence of each new frame by its number."""
    joints = np.concatenate([raw.keypoint, raw.score[..., None]], axis=-1).astype(float)
    times = [n / raw.fps for n in raw.frame_index.tolist()]
    usual = np.median(np.diff(raw.frame_index)) if len(times) > 1 else 1
    found = {}
    for number in range(int(times[0] * fps) - 1, int(times[-1] * fps) + 2):
        time = number / fps
        for i, at in enumerate(times):
            if abs(time - at) < 1e-9:
                found[number] = joints[:, i]
            elif (
                i + 1 < len(times) and at < time < times[i + 1] and abs(time - times[i + 1]) > 1e-9
            ):
                if raw.frame_index[i + 1] - raw.frame_index[i] >= 2 * usual:
                    continue
                share = (time - at) / (times[i + 1] - at)
                a, b = joints[:, i], joints[:, i + 1]
                both = a[..., :3].any(-1) & b[..., :3].any(-1)
                found[number] = np.where(both[..., None], a + share * (b - a), 0)
    return found


@pytest.mark.parametrize("fps", [10, 15, 24, 25, 30, 50, 60, 29.97])
@pytest.mark.parametrize(
    "numbers",
    [[*range(20)], [*range(5, 25)], [0, 1, 2, 9, 10, 11, 12], [*range(1, 40, 2)], [7], [3, 4]],
)
def test_new_frames_lie_between_old_ones(numbers, fps):
    raw = sequence(numbers, 30, seed=len(numbers))
    found, expected = resample(raw, fps), naive(raw, fps)
    assert found.frame_index.tolist() == list(expected)
    assert found.fps == fps
    for t, joints in enumerate(expected.values()):
        np.testing.assert_allclose(found.keypoint[:, t], joints[..., :3], atol=1e-4)
        np.testing.assert_allclose(found.score[:, t], joints[..., 3], atol=1e-4)
    assert not found.keypoint[~found.present].any()
    assert (found.keypoint.dtype, found.score.dtype) == (np.float32, np.float32)


@given(
    steps=st.lists(st.sampled_from([1, 1, 1, 2, 5]), min_size=1, max_size=30),
    factor=st.integers(2, 4),
)
def test_up_and_down_again_gives_the_frames_back(steps, factor):
    numbers = np.cumsum(steps).tolist()
    raw = sequence(numbers, 30, persons=1)
    raw.present[:] = True
    again = resample(resample(raw, 30 * factor), 30)
    kept = np.isin(again.frame_index, raw.frame_index)
    assert again.frame_index[kept].tolist() == numbers
    np.testing.assert_allclose(again.keypoint[:, kept], raw.keypoint, atol=1e-4)


def test_the_same_motion_at_two_rates_is_the_same_sequence():
    """Joints that move steadily, filmed at 60 and at 30 frames per second."""
    speed = np.random.default_rng(1).uniform(-1, 1, (4, 3))

    def filmed(fps: int) -> SkeletonSequence:
        time = np.arange(fps + 1)[:, None, None] / fps
        keypoint = (3 + time * speed)[None].astype(np.float32)
        present = np.ones((1, fps + 1), np.bool_)
        index = np.arange(fps + 1, dtype=np.int32)
        return SkeletonSequence("a", keypoint, 0, present, index, fps=fps)

    fast, slow = (resample(filmed(fps), 25) for fps in (60, 30))
    assert fast.frame_index.tolist() == slow.frame_index.tolist() == list(range(26))
    np.testing.assert_allclose(fast.keypoint, slow.keypoint, atol=1e-5)


def test_a_recording_of_that_rate_stays_and_one_of_no_rate_is_refused():
    raw = sequence([4, 5, 6, 9], 30)
    same = resample(raw, 30)
    for name in ("keypoint", "present", "frame_index", "score"):
        np.testing.assert_array_equal(getattr(same, name), getattr(raw, name), err_msg=name)
    with pytest.raises(DamageError, match="frame rate is not known; give it in the column `fps`"):
        resample(sequence([0, 1, 2], 0), 30)
