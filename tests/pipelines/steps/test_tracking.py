"""Persons of frames joined to tracks."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aclnet.datasets.registry import get_dataset, open_raw
from aclnet.datasets.spec import SkeletonSequence
from aclnet.datasets.synth import Request
from aclnet.datasets.synth.kinetics import FORMS
from aclnet.pipelines.steps.clean import best_by_score, clean, ghosts_last
from aclnet.pipelines.steps.tracking import (
    FARTHEST,
    MAX_DISTANCE,
    MAX_GAP,
    MAX_SPEED,
    MIN_FRAMES,
    _same,
    best_tracks,
)

FIGURE = np.random.default_rng(7).uniform(0, [40, 100], (18, 2)).astype(np.float32)
"""Somebody about a hundred pixels tall."""


def listed(
    frames: list[list[tuple[float, float]]], numbers: list[int] | None = None
) -> SkeletonSequence:
    """A sequence of frames that list persons as (place in x, score)."""
    shape = (max(map(len, frames)), len(frames), 18)
    keypoint, score = np.zeros((*shape, 2), np.float32), np.zeros(shape, np.float32)
    present = np.zeros(shape[:2], np.bool_)
    for t, people in enumerate(frames):
        for m, (x, confidence) in enumerate(people):
            keypoint[m, t], score[m, t], present[m, t] = FIGURE + np.array([x, 50]), confidence, 1
    index = np.array(numbers or range(len(frames)), np.int32)
    return SkeletonSequence("a", keypoint, 0, present, index, score=score, width=340, height=256)


def places(sequence: SkeletonSequence) -> list[list[float | None]]:
    """The x of the persons in each frame; None if a person is absent."""
    return [
        [round(float(x)) if there else None for x, there in zip(row, present, strict=True)]
        for row, present in zip(
            sequence.keypoint[:, :, 0, 0] - FIGURE[0, 0], sequence.present, strict=True
        )
    ]


def test_persons_keep_their_track_whatever_the_order_of_the_list():
    sequence = listed([[(100, 0.9), (200, 0.5)], [(204, 0.5), (103, 0.9)], [(106, 0.9), (208, 1)]])
    found = best_tracks(sequence)
    assert places(found) == [[100, 103, 106], [200, 204, 208]]
    assert found.score[:, :, 0].tolist() == [
        pytest.approx([0.9, 0.9, 0.9]),
        pytest.approx([0.5, 0.5, 1]),
    ]
    assert found.frame_index.tolist() == [0, 1, 2]


def test_the_two_surest_tracks_are_kept_the_surer_first():
    sequence = listed([[(10, 0.2), (100, 0.4), (200, 0.9)], [(10, 1), (100, 0.4), (200, 0.9)]])
    assert places(best_tracks(sequence)) == [[200, 200], [10, 10]]
    equals = listed([[(10, 0.5), (100, 0.5), (200, 0.5)]])
    assert places(best_tracks(equals)) == [[10], [100]]


@pytest.mark.parametrize(("gap", "is_bridged"), [(MAX_GAP, True), (MAX_GAP + 1, False)])
def test_gaps_are_bridged_for_a_few_frames_of_the_recording(gap: int, is_bridged: bool):
    sequence = listed([[(100, 0.5)], [], [(100, 0.5)]], numbers=[3, 4, 3 + gap])
    expected = [[100, None, 100]] if is_bridged else [[100, None, None], [None, None, 100]]
    assert places(best_tracks(sequence)) == expected


def test_whom_nobody_near_was_before_begins_a_track():
    size = float(np.linalg.norm(np.ptp(FIGURE, axis=0)))
    for distance, tracks in ((0.99 * MAX_DISTANCE * size, 1), (1.01 * MAX_DISTANCE * size, 2)):
        found = best_tracks(listed([[(100, 0.5)], [(100 + distance, 0.5)]]))
        assert len(found.present) == tracks


SIZE = float(np.linalg.norm(np.ptp(FIGURE, axis=0)))


@pytest.mark.parametrize("gap", [1, 3, 6, 20])
def test_the_gate_widens_with_the_frames_since_the_last_sight(gap: int):
    reach = min(MAX_DISTANCE + MAX_SPEED * (gap - 1), FARTHEST) * SIZE
    for distance, tracks in ((0.99 * reach, 1), (1.01 * reach, 2)):
        sequence = listed([[(100, 0.5)], [(100 + distance, 0.5)]], numbers=[4, 4 + gap])
        assert len(best_tracks(sequence).present) == tracks


def test_a_walker_who_is_lost_again_and_again_stays_one_person():
    """At 0.9 body sizes a second of 30 frames, with gaps of 5, 12 and 25 frames."""
    seen = [t for t in range(120) if not (20 <= t < 25 or 50 <= t < 62 or 80 <= t < 105)]
    frames = [[(100 + 0.03 * SIZE * t, 0.9)] for t in seen]
    found = best_tracks(listed(frames, numbers=seen))
    assert found.present.shape == (1, len(seen))
    assert found.present.all()


def test_a_short_track_is_a_false_detection_beside_a_long_one():
    long = [[(100, 0.5)] for _ in range(4 * MIN_FRAMES)]
    for frames, tracks in ((MIN_FRAMES - 1, 1), (MIN_FRAMES, 2)):
        ghost = [[(300, 0.9), *people] for people in long[:frames]]
        assert len(best_tracks(listed([*ghost, *long[frames:]])).present) == tracks


def test_with_one_person_kept_it_is_the_surest_one():
    frames = [[(300, 0.2), (100 + t, 0.9)] for t in range(8)]
    assert places(best_tracks(listed(frames), 1)) == [[100 + t for t in range(8)]]
    assert places(best_by_score(listed(frames), 1)) == [[100 + t for t in range(8)]]


def test_a_ghost_that_is_listed_first_does_not_become_the_first_person():
    frames = [[(100, 0.9)], [(300, 0.04), (101, 0.9)], [(102, 0.9), (200, 0.5)], []]
    found = ghosts_last(listed(frames))
    assert places(found) == [[100, 101, 102, None], [None, 300, 200, None]]
    together = [[(10, 0.5), (20, 0.9)], [(11, 0.3), (21, 0.9)]]
    assert places(ghosts_last(listed(together))) == [[10, 11], [20, 21]], "the order of the list"


class Tracked:
    """A source whose persons are the same in all frames."""

    cleaned, root = True, "raw"

    def tracked(self) -> bool:
        return True


@pytest.mark.parametrize("scored", [True, False])
def test_of_tracked_persons_the_surest_or_longest_are_kept(scored: bool):
    sequence = listed([[(1, 0.3), (2, 0.9), (3, 0.1)]] * 3)
    sequence.present[0, 1] = sequence.present[1, 1:] = False
    sequence.score[~sequence.present] = 0  # sums 0.6, 0.9, 0.3; frames 2, 1, 3
    sequence.keypoint[~sequence.present] = 0
    if not scored:
        sequence.score = None
    kept = clean(sequence, Tracked(), track=False, persons=2)
    expected = [[2, None, None], [1, None, 1]] if scored else [[3, 3, 3], [1, None, 1]]
    assert places(kept) == expected


def test_of_whom_little_is_seen_the_size_is_half_the_median_one():
    for distance, tracks in ((0.49 * MAX_DISTANCE * SIZE, 1), (0.51 * MAX_DISTANCE * SIZE, 2)):
        others = [(300, 0.3), (500, 0.3)]  # seen whole, so that the median size is theirs
        sequence = listed([[*others, (100, 0.5)], [*others, (100 + distance, 0.5)]])
        sequence.keypoint[2, :, 1:] = 0
        assert len(best_tracks(sequence, 4).present) == len(others) + tracks


def test_without_confidences_the_longest_are_kept():
    sequence = listed([[(10, 1), (100, 1)], [(100, 1)], [(100, 1), (200, 1)], [(200, 1)]])
    found = best_tracks(replace(sequence, score=None))
    assert found.score is None
    assert places(found) == [[100, 100, 100, None], [None, None, 200, 200]]


def test_only_joints_that_are_seen_in_both_frames_tell():
    sequence = listed([[(100, 0.5)], [(100, 0.5)]])
    sequence.keypoint[0, 0, ::2] = 0
    sequence.keypoint[0, 1, :9] = 0
    assert len(best_tracks(sequence).present) == 1
    sequence.keypoint[0, 0, 9:] = 0
    sequence.keypoint[0, 0, 0] = 5
    assert len(best_tracks(sequence).present) == 2


poses = st.integers(0, 2**32 - 1).map(np.random.default_rng)


@given(rng=poses, before=st.integers(1, 4), now=st.integers(1, 4))
def test_the_assignment_is_the_cheapest_one(rng: np.random.Generator, before: int, now: int):
    """Against all assignments of five joints a body, one by one."""
    a, b = (rng.uniform(1, 60, (n, 5, 2)).astype(np.float32) for n in (before, now))
    a[rng.random(a.shape[:2]) < 0.3] = 0
    b[rng.random(b.shape[:2]) < 0.3] = 0

    reach = rng.uniform(6, 27, (before, now))

    def cost(i: int, j: int) -> float:
        joints = [v for v in range(5) if a[i, v].any() and b[j, v].any()]
        if not joints:
            return 1
        mean = np.mean([np.hypot(*(a[i, v] - b[j, v])) for v in joints])
        return min(mean / reach[i, j], 1)

    def total(chosen) -> float:
        return sum(cost(*pair) for pair in chosen)

    if before <= now:
        choices = [list(enumerate(p)) for p in permutations(range(now), before)]
    else:
        choices = [[(i, j) for j, i in enumerate(p)] for p in permutations(range(before), now)]
    found = _same(a, b, reach)
    assert all(cost(i, j) < 1 for j, i in found.items())
    left = min(before, now) - len(found)
    summed = total((i, j) for j, i in found.items()) + left
    assert summed == pytest.approx(min(map(total, choices)), abs=1e-5)


def test_made_up_actors_are_followed(tmp_path):
    """A person at alternating places in the list becomes one track, with few and small jumps."""
    generate = FORMS["kinetics"]["json"]
    generate(tmp_path, Request(sequences=16, subjects=2, seed=1))
    source = open_raw(get_dataset("kinetics"), tmp_path)

    def largest_step(sequence: SkeletonSequence) -> float:
        neck = sequence.keypoint[0, sequence.present[0], 1]
        neck = neck[neck.any(axis=1)]
        return float(np.linalg.norm(np.diff(neck, axis=0), axis=1).max())

    crowds = [s for s in map(source.read, source.scan()[0]) if len(s.present) > 2]
    assert len(crowds) > 3
    raw = [largest_step(sequence) for sequence in crowds]
    tracked = [largest_step(best_tracks(sequence)) for sequence in crowds]
    assert max(tracked) < 20 < np.median(raw)


def test_best_by_score_chooses_frame_by_frame():
    sequence = listed(
        [[(1, 0.2), (2, 0.9), (3, 0.5)], [(4, 0.5), (5, 0.5), (6, 0.5)], [], [(7, 1)]]
    )
    found = best_by_score(sequence)
    assert places(found) == [[2, 4, None, 7], [3, 5, None, None]]
    assert found.score[:, :, 3].tolist() == [
        pytest.approx([0.9, 0.5, 0, 1]),
        pytest.approx([0.5, 0.5, 0, 0]),
    ]
    assert not found.keypoint[~found.present].any()


def test_best_by_score_of_real_clips(real_data):
    """Against a loop over the frames of the files."""
    source = open_raw(get_dataset("kinetics"), real_data / "kinetics_json")
    for item in source.scan()[0]:
        raw = source.read(item)
        assert isinstance(raw, SkeletonSequence)
        found = best_by_score(raw)
        for t in range(raw.present.shape[1]):
            people = [m for m in range(len(raw.present)) if raw.present[m, t]]
            people.sort(key=lambda m, t=t: -raw.score[m, t].sum())
            assert found.present[:, t].sum() == min(2, len(people))
            for place, m in enumerate(people[:2]):
                assert (found.keypoint[place, t] == raw.keypoint[m, t]).all()
