from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from aclnet.datasets.readers.ntu import NtuSource
from aclnet.datasets.registry import get_dataset
from aclnet.datasets.spec import Rejection, SkeletonSequence
from aclnet.pipelines.steps.clean import CLEANERS, clean_ntu

if TYPE_CHECKING:
    from pathlib import Path


def person(num_frames: int, motion: float, width: float = 0.5, seed: int = 0) -> np.ndarray:
    """(n, 25, 3) of someone 1.6 m tall, as wide as told, who moves in x by `motion` metres."""
    rng = np.random.default_rng(seed)
    joints = np.stack([np.linspace(0, width, 25), np.linspace(-0.8, 0.8, 25), np.full(25, 3)], 1)
    walk = np.linspace(0, motion, num_frames)[:, None, None] * [1, 0, 0]
    return (joints + walk + rng.normal(0, 1e-3, (num_frames, 25, 3))).astype(np.float32)


def recording(num_frames: int, *bodies: tuple[list[int] | range, np.ndarray]) -> SkeletonSequence:
    """Sequence of bodies, given as (frames in which they are seen, positions there)."""
    keypoint = np.zeros((len(bodies), num_frames, 25, 3), np.float32)
    present = np.zeros(keypoint.shape[:2], np.bool_)
    for m, (frames, positions) in enumerate(bodies):
        keypoint[m, list(frames)] = positions
        present[m, list(frames)] = True
    return SkeletonSequence(
        sample_id="S001C001P001R001A050",
        keypoint=keypoint,
        label=49,
        present=present,
        frame_index=np.arange(100, 100 + num_frames, dtype=np.int32),
        body_ids=[str(m) for m in range(len(bodies))],
        source="a.skeleton",
    )


def cleaned(sequence: SkeletonSequence) -> SkeletonSequence:
    result = clean_ntu(sequence)
    assert isinstance(result, SkeletonSequence)
    return result


def read_all(folder: Path) -> dict[str, SkeletonSequence]:
    source = NtuSource(get_dataset("ntu60"), folder)
    sequences = {item.sample_id: source.read(item) for item in source.scan()[0]}
    assert all(isinstance(sequence, SkeletonSequence) for sequence in sequences.values())
    return sequences


def assert_consistent(sequence: SkeletonSequence) -> None:
    m, t = sequence.keypoint.shape[:2]
    assert sequence.keypoint.dtype == np.float32
    assert sequence.keypoint.flags.c_contiguous
    assert sequence.present.shape == (m, t)
    assert len(sequence.frame_index) == t
    assert len(sequence.body_ids) == m
    assert (sequence.keypoint.any(axis=(2, 3)) == sequence.present).all()
    assert sequence.present.any(axis=1).tolist() == [bool(body) for body in sequence.body_ids]


def test_real_recordings_match_the_official_code(real_data: Path, goldens: Path):
    expected = np.load(goldens / "ntu_preprocess.npz")
    sequences = read_all(real_data / "ntu_raw")
    assert len(sequences) == 7
    for sample_id, sequence in sequences.items():
        result = cleaned(sequence)
        np.testing.assert_array_equal(result.keypoint, expected[f"{sample_id}/raw"])
        assert_consistent(result)


def test_tricky_bodies_match_the_official_code(goldens: Path):
    expected = np.load(goldens / "ntu_multibody" / "expected.npz")
    sequences = read_all(goldens / "ntu_multibody")
    assert sorted(sequences) == sorted(expected.files)
    for sample_id, sequence in sequences.items():
        result = cleaned(sequence)
        np.testing.assert_array_equal(result.keypoint, expected[sample_id], err_msg=sample_id)
        assert_consistent(result)


def test_a_single_body_is_left_alone():
    brief_and_wide = recording(5, (range(5), person(5, 0, width=3)))
    assert clean_ntu(brief_and_wide) is brief_and_wide


def test_the_larger_motion_is_the_first_person():
    still, moving = person(20, 0.1), person(20, 1.0)
    result = cleaned(recording(20, (range(20), still), (range(20), moving)))
    assert result.body_ids == ["1", "0"]
    np.testing.assert_array_equal(result.keypoint, [moving, still])


@pytest.mark.parametrize(("num_frames", "survives"), [(11, False), (12, True)])
def test_brief_bodies_are_noise(num_frames: int, survives: bool):
    body, other = person(30, 0.1), person(num_frames, 1.0)
    result = cleaned(recording(30, (range(30), body), (range(num_frames), other)))
    assert result.body_ids == (["1", "0"] if survives else ["0"])


@pytest.mark.parametrize(("num_wide", "survives"), [(69, True), (70, False)])
def test_bodies_that_are_mostly_wide_are_noise(num_wide: int, survives: bool):
    body, other = person(100, 0.1), person(100, 2.0)
    other[:num_wide, :, 0] *= 10
    result = cleaned(recording(100, (range(100), body), (range(100), other)))
    assert ("1" in result.body_ids) is survives


def test_wide_frames_do_not_add_motion():
    body, other = person(40, 0.5), person(40, 0.1)
    other[:10, :, 0] *= 100
    result = cleaned(recording(40, (range(40), body), (range(40), other)))
    assert result.body_ids == ["0", "1"]


def test_no_survivor_is_a_rejection():
    brief = recording(20, (range(5), person(5, 1)), (range(9, 20), person(11, 1)))
    wide = recording(20, *[(range(20), person(20, 1, width=3, seed=s)) for s in (0, 1)])
    for sequence, reason in ((brief, "12 frames"), (wide, "implausible spread")):
        rejection = clean_ntu(sequence)
        assert isinstance(rejection, Rejection)
        assert rejection.path == "a.skeleton"
        assert reason in rejection.reason


def test_the_only_survivor_keeps_its_true_frames():
    frames = [*range(3, 15), *range(18, 25)]
    body = person(len(frames), 0.5)
    result = cleaned(recording(30, (range(11), person(11, 1.0)), (frames, body)))
    np.testing.assert_array_equal(result.keypoint, body[None])
    assert result.frame_index.tolist() == [100 + frame for frame in frames]
    assert result.present.all()
    assert result.body_ids == ["1"]


def test_a_body_that_follows_another_joins_its_track():
    first, second = person(20, 1.0), person(20, 0.5)
    result = cleaned(recording(40, (range(20), first), (range(20, 40), second)))
    np.testing.assert_array_equal(result.keypoint[0], np.concatenate([first, second]))
    assert result.present.tolist() == [[True] * 40, [False] * 40]
    assert result.body_ids == ["0", ""]


def test_bodies_that_share_a_frame_go_to_two_tracks():
    first, second = person(20, 1.0), person(20, 0.5)
    result = cleaned(recording(39, (range(20), first), (range(19, 39), second)))
    assert result.present.sum(axis=1).tolist() == [20, 20]


def test_a_body_that_overlaps_both_tracks_is_dropped():
    bodies = [person(20, motion) for motion in (3.0, 2.0, 1.0)]
    result = cleaned(recording(20, *[(range(20), body) for body in bodies]))
    np.testing.assert_array_equal(result.keypoint, bodies[:2])


def test_a_body_that_returns_is_moved_up():
    still, returning = person(30, 0.1), person(20, 1.0)
    frames = [*range(10), *range(15, 25)]
    result = cleaned(recording(30, (range(30), still), (frames, returning)))
    np.testing.assert_array_equal(result.keypoint[0, :20], returning)
    assert result.present[0].tolist() == [True] * 20 + [False] * 10


def test_empty_ends_are_cut_and_inner_gaps_stay():
    first, second = person(20, 1.0), person(20, 0.5)
    brief = person(10, 1.0)
    sequence = recording(70, (range(5, 25), first), (range(35, 55), second), (range(10), brief))
    result = cleaned(sequence)
    assert result.keypoint.shape == (2, 50, 25, 3)
    assert result.frame_index.tolist() == list(range(105, 155))
    assert result.present[0].tolist() == [True] * 20 + [False] * 10 + [True] * 20


def test_the_person_who_is_there_first_comes_first():
    early, late = person(20, 0.5), person(20, 1.0)
    result = cleaned(recording(30, (range(20), early), (range(10, 30), late)))
    assert result.body_ids == ["0", "1"]
    np.testing.assert_array_equal(result.keypoint[0, :20], early)
    assert_consistent(result)


def test_zeros_all_over_are_rejected():
    zeros = np.zeros((20, 25, 3), np.float32)
    result = clean_ntu(recording(20, (range(20), zeros), (range(20), zeros)))
    assert isinstance(result, Rejection)


def test_what_is_no_keypoint_stays():
    sequence = recording(20, (range(20), person(20, 1.0)), (range(20), person(20, 0.1)))
    result = cleaned(sequence)
    assert (result.sample_id, result.label, result.source) == (
        "S001C001P001R001A050",
        49,
        "a.skeleton",
    )


def test_identities_are_optional():
    sequence = recording(20, (range(20), person(20, 1.0)), (range(20), person(20, 0.1)))
    sequence.body_ids = []
    assert cleaned(sequence).body_ids == []


def test_the_step_goes_by_its_name():
    assert CLEANERS["ntu"] is clean_ntu
