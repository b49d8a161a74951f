"""Frames one by one: the predictions are those of the windows of the whole recording."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aclnet.datasets.spec import AclnetError

STRIDE, WINDOW = 7, 20


def frames_of(sequence):
    """Joints of each frame by time, None where a frame was left out."""
    joints = sequence.keypoint
    if sequence.score is not None:
        joints = np.concatenate([joints, sequence.score[..., None]], axis=-1)
    first = sequence.frame_index[0]
    frames = [None] * int(sequence.frame_index[-1] - first + 1)
    for t, number in enumerate(sequence.frame_index.tolist()):
        frames[number - first] = joints[:, t]
    return frames


def without(sequence, *gone):
    """Some frames left out."""
    kept = np.setdiff1d(np.arange(len(sequence.frame_index)), gone)
    score = sequence.score
    return replace(
        sequence,
        keypoint=sequence.keypoint[:, kept],
        present=sequence.present[:, kept],
        frame_index=sequence.frame_index[kept],
        score=None if score is None else score[:, kept],
    )


def in_stream(model, frames):
    stream = model.stream(WINDOW, STRIDE)
    found = [*map(stream.push, frames), stream.close()]
    return [one for one in found if one is not None]


def assert_same(streamed, offline, first, assert_alike):
    places = [(w.first + first, w.last + first) for w, _ in streamed]
    assert places == [tuple(w) for w, _ in offline]
    for (_, one), (_, other) in zip(streamed, offline, strict=True):
        assert_alike(one.probabilities, other.probabilities)


@pytest.mark.slow
def test_a_stream_predicts_the_windows_of_the_recording(known, assert_alike):
    """A recording of two people, with frames in which nobody was seen."""
    model = known.model
    sequences = model.read(known.raw)
    whole = max(sequences, key=lambda s: (len(s.present), len(s.frame_index)))
    for sequence in (whole, without(whole, 3, 4, 25, 26, 27)):
        offline = model.windows(sequence, WINDOW, STRIDE)
        assert len(offline) > 3
        streamed = in_stream(model, frames_of(sequence))
        assert_same(streamed, offline, int(sequence.frame_index[0]), assert_alike)


@pytest.mark.slow
def test_somebody_who_comes_later_gets_a_row(ntu, assert_alike):
    sequences = ntu.model.read(ntu.raw)
    pair = next(s for s in sequences if len(s.present) == 2)
    alone = replace(pair, keypoint=pair.keypoint.copy(), present=pair.present.copy())
    alone.keypoint[1, :25], alone.present[1, :25] = 0, False
    frames = frames_of(alone)
    frames = [f[:1] if t < 25 else f for t, f in enumerate(frames)]
    frames[0] = frames[0][0]  # one person needs no axis
    offline = ntu.model.windows(alone, WINDOW, STRIDE)
    assert_same(in_stream(ntu.model, frames), offline, int(alone.frame_index[0]), assert_alike)


def test_a_short_recording_is_predicted_at_the_end(ntu, assert_alike):
    sequence = ntu.model.read(ntu.raw)[0]
    part = without(sequence, *range(9, len(sequence.frame_index)))
    ((window, found),) = in_stream(ntu.model, frames_of(part))
    assert (window.first, window.last) == (0, 8)
    assert_alike(found.probabilities, ntu.model.predict(part).probabilities)


def test_nobody_is_no_prediction(ntu):
    assert in_stream(ntu.model, [None] * 30) == []
    assert in_stream(ntu.model, [np.zeros((25, 3))] * 30) == []
    assert in_stream(ntu.model, []) == []


def test_frames_of_another_shape_are_refused(ntu):
    with pytest.raises(AclnetError, match=r"20, 3\); \(25, 3\) or \(M, 25, 3\) is expected"):
        ntu.model.stream(4).push(np.ones((20, 3)))
    with pytest.raises(AclnetError, match="both must be at least 1 frame"):
        ntu.model.stream(4, 0)


def test_windows_are_as_long_as_the_median_training_sequence(ntu):
    lengths = ntu.store.column("n_frames")[ntu.store.mask("xsub/train")]
    assert ntu.model.stream().window == int(np.median(lengths))
