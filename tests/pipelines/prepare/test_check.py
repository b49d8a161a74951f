"""`check` on sources with known faults: each is told, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aclnet.datasets.registry import get_dataset, open_raw
from aclnet.datasets.spec import Item, Rejection, SkeletonSequence, Source
from aclnet.datasets.synth import Request
from aclnet.datasets.synth.custom import FORMS
from aclnet.pipelines.prepare.check import check
from aclnet.pipelines.prepare.executor import open_executor
from aclnet.pipelines.prepare.options import PrepareOptions

UTD = replace(get_dataset("utd-mhad"), class_names=("walk", "run"), protocols=())


class MadeUp(Source):
    """Sequences in memory, with splits of its own."""

    def __init__(self, results, splits, spec=UTD, unusable=()) -> None:
        super().__init__(spec, Path("made-up"))
        object.__setattr__(self, "_results", results)
        object.__setattr__(self, "_splits", splits)
        object.__setattr__(self, "_unusable", list(unusable))

    def scan(self):
        return [Item(name, f"{name}.txt", 9) for name in self._results], self._unusable

    def splits(self):
        return self._splits

    def read(self, item):
        return self._results[item.sample_id]


def sequence(name: str, label: int = 0, frames: int = 5, **changes) -> SkeletonSequence:
    keypoint = np.random.default_rng([frames, label]).uniform(0.1, 2, (1, frames, 20, 3))
    values = {
        "sample_id": name,
        "keypoint": keypoint.astype(np.float32),
        "label": label,
        "present": np.ones((1, frames), np.bool_),
        "frame_index": np.arange(frames, dtype=np.int32),
        "source": f"{name}.txt",
    }
    return SkeletonSequence(**(values | changes))


def four(**changes) -> dict[str, SkeletonSequence | Rejection]:
    return {name: sequence(name, label=n % 2) for n, name in enumerate("abcd")} | changes


SIDES = {"train": ["a", "b"], "test": ["c", "d"]}


def checked(source: Source, **options):
    with open_executor() as run:
        return check(source, PrepareOptions(**options), run, lambda *_: None)


def told(source: Source, **options) -> list[str]:
    return [f"{p.kind}| {p}" for p in checked(source, **options).problems]


def test_sound_data_have_no_problem():
    found = checked(MadeUp(four(), SIDES))
    assert found.problems == []
    assert (found.recordings, found.usable) == (4, 4)
    assert {count.side: count.found for count in found.counts} == {"own/train": 2, "own/test": 2}


def scaled(name: str, factor: float) -> SkeletonSequence:
    found = sequence(name, label=1)
    found.keypoint *= factor
    return found


def still(name: str) -> SkeletonSequence:
    found = sequence(name, label=1)
    found.keypoint[:] = found.keypoint[:, :1]
    return found


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (Rejection("d.txt", 7, "no number"), "damaged| d.txt:7: no number"),
        (sequence("d", 1, frames=1), "one frame| d.txt: only one frame shows a person"),
        (still("d"), "nothing moves| d.txt: all 5 frames are the same"),
        (scaled("d", 1000), "metres, at most 100 is plausible; these may be millimetres"),
        (
            sequence("d", 1, present=np.zeros((1, 5), np.bool_)),
            "keypoint is not zero where no person",
        ),
        (
            sequence("d", 2),
            "reader| d.txt: the reader returned a wrong sequence: label is 2, but there",
        ),
        (sequence("e", 1), "wrong sequence: id is 'e', not 'd'"),
        (
            sequence("d", 1, keypoint=np.ones((1, 5, 20, 3))),
            "keypoint is (1, 5, 20, 3) of float64, not (M, T, 20, 3) of float32",
        ),
        (sequence("d", 1, keypoint=np.ones((1, 5, 25, 3), np.float32)), "not (M, T, 20, 3)"),
        (sequence("d", 1, present=np.ones((5, 1), np.bool_)), "present is (5, 1) of bool"),
        (sequence("d", 1, frame_index=np.zeros(5, np.int32)), "frame_index is not 5 increasing"),
        (sequence("d", 1, score=np.ones((1, 5, 19), np.float32)), "score is (1, 5, 19)"),
        (
            sequence("d", 1, score=np.ones((1, 5, 20), np.float32)),
            "confidences| a.txt: there are no confidences; other recordings have them",
        ),
        (
            sequence("d", 1, keypoint=np.full((1, 5, 20, 3), np.nan, np.float32)),
            "keypoint is not finite everywhere",
        ),
    ],
)
def test_what_is_wrong_with_one_recording_is_told_with_its_file(result, said):
    (found,) = told(MadeUp(four(d=result), SIDES))
    assert said in found


def test_pixels_that_are_shares():
    spec = replace(UTD, units="px")
    results = four()
    for found in results.values():
        found.keypoint = found.keypoint[..., :2] / 4
    assert len(told(MadeUp(results, SIDES, spec))) == 4


def test_joints_that_never_move_or_are_always_missing():
    results = four()
    for found in results.values():
        found.keypoint[..., 3, :] = 0
        found.keypoint[..., 5, :] = found.keypoint[:, :1, 5]
    results["b"].keypoint[..., 7, :] = 0  # only here
    assert told(MadeUp(results, SIDES)) == [
        "joint| HipCenter is missing in all recordings",
        "joint| ElbowLeft never moves",
    ]


def test_joints_are_those_of_the_layout_that_is_asked_for():
    results = four()
    for found in results.values():
        found.keypoint[..., 3, :] = 0  # kinect_v1 has it in the first place
    assert told(MadeUp(results, SIDES), layout="kinect_v1") == [
        "joint| HipCenter is missing in all recordings"
    ]


def test_classes_without_recordings():
    results = four()
    for found in results.values():
        found.label = 1
    assert told(MadeUp(results, SIDES)) == [
        "empty class| 1 of 2 classes have no usable recording: 0 (walk)",
        "classes| protocol own trains one class (run); a network needs two",
    ]


@pytest.mark.parametrize(
    ("splits", "said"),
    [
        ({}, ["sides| the recordings are not divided into training and test"]),
        ({"train": [*"abcd"]}, ["sides| protocol own has no side test"]),
        ({"train": ["a", "b"], "test": ["c"]}, ["no side| d.txt: on no side of any protocol"]),
        ({"train": ["a", "b"], "probe": ["c"], "gallery": ["d"]}, []),
        (
            {**SIDES, "fold_train": ["a", "b"], "fold_test": []},
            ["empty side| fold/test has no usable recording"],
        ),
        (
            {**SIDES, "test": ["c", "d", "x", "y"]},
            ["sides| split test names 2 recordings that do not exist: x, y"],
        ),
        ({**SIDES, "all": ["a"]}, ["sides| made-up: split 'all' does not name its side"]),
    ],
)
def test_sides(splits, said):
    found = told(MadeUp(four(), splits))
    assert len(found) == len(said)
    assert all(problem.startswith(text) for problem, text in zip(found, said, strict=True))


def test_counts_that_are_wrong_and_sides_that_are_empty(people):
    """All subjects on X-Sub's training side, and more of them than the whole set has."""
    spec = get_dataset("ntu60")
    fewer = tuple(replace(p, published={"train": 1, "test": 1}) for p in spec.protocols)
    source = open_raw(replace(spec, protocols=fewer), people)
    found = checked(source)
    said = "not the published samples: xsub/train: 54 of 1 (wrong)"
    assert said in [problem.text for problem in found.problems]
    (text,) = (remark.text for remark in found.remarks if remark.kind == "empty class")
    assert text.startswith("57 of 60 classes have no usable recording: 1 (eat meal/snack), 2 (")
    assert text.endswith(" and 52 more")


def test_a_part_of_a_published_dataset_may_lack_classes_and_sides(people):
    found = checked(open_raw(get_dataset("ntu120"), people))
    assert found.problems == []
    kinds = {remark.kind for remark in found.remarks}
    assert kinds == {"empty class", "empty side", "gaps"}
    assert sum(remark.kind == "empty class" for remark in found.remarks) == 1


def test_a_part_of_which_no_protocol_has_all_sides_is_a_problem(people, tmp_path):
    for file in people.iterdir():
        if "C001P001R001A001" in file.name:  # trains X-Sub, and tests X-View
            (tmp_path / file.name).write_bytes(file.read_bytes())
    found = checked(open_raw(get_dataset("ntu60"), tmp_path))
    assert {problem.kind for problem in found.problems} >= {"empty class", "empty side"}
    assert {remark.kind for remark in found.remarks} <= {"gaps"}


def test_recordings_of_one_frame_are_usable_and_not_counted_as_rejected():
    said = []
    with open_executor() as run:
        source = MadeUp(four(d=sequence("d", 1, frames=1)), SIDES)
        found = check(source, PrepareOptions(), run, lambda *of: said.append(of))
    assert found.usable == 4
    assert said[-1] == ("check", 4, 4, "")


@pytest.mark.parametrize(
    ("numbers", "gap"),
    [
        ([0, 1, 2, 300, 301, 302], 297),
        ([0, 2, 4, 6, 8, 10], None),
        ([5, 6, 7, 8, 9, 10], None),
        ([0, 1, 2, 3, 5, 6], 1),
    ],
)
def test_gaps_in_the_numbers_of_frames_are_remarks(numbers, gap):
    """Case 08 of the public cases: hundreds of frames in which nobody was found have no file."""
    frame_index = np.array(numbers, np.int32)
    found = checked(MadeUp(four(d=sequence("d", 1, 6, frame_index=frame_index)), SIDES))
    assert not found.problems
    said = [remark.text for remark in found.remarks]
    assert len(said) == (gap is not None)
    if gap is not None:
        assert (
            f"gaps in the frame numbers: 1; missing frames in the longest gap: {gap} (d.txt)"
        ) in said[0]


def test_subjects_on_both_sides_are_a_remark():
    """Case 38 of the public cases: many sets do so on purpose."""
    results = four()
    for name, subject in (("a", 1), ("b", 2), ("c", 1), ("d", 3)):
        results[name].subject = subject
    found = checked(MadeUp(results, SIDES))
    assert not found.problems
    assert [remark.text for remark in found.remarks] == [
        "protocol own: subjects on both sides, training and test: 1"
    ]


def test_rejections_are_sorted_by_file_and_line():
    unusable = [Rejection("x.csv", 9, "no"), Rejection("x.csv", 3, "no"), Rejection("b.csv", 1, "")]
    found = checked(MadeUp(four(d=Rejection("d.txt", None, "no")), SIDES, unusable=unusable))
    places = [(p.path, p.line) for p in found.problems if p.path]
    assert places == [("b.csv", 1), ("d.txt", None), ("x.csv", 3), ("x.csv", 9)]


def test_recordings_known_as_unusable_are_no_problem():
    listed = Rejection("d.txt", None, "listed", "listed as unusable")
    found = checked(MadeUp(four(d=listed), {"train": ["a", "b"], "test": ["c"]}))
    assert (found.problems, found.listed, found.usable) == ([], 1, 3)


def test_nothing_usable_is_told_with_its_reasons():
    bad = {name: Rejection(f"{name}.txt", None, "empty") for name in "ab"}
    unusable = [Rejection("c.dat", None, "odd name", "unknown name")]
    assert told(MadeUp(bad, {}, unusable=unusable)) == [
        "damaged| a.txt: empty",
        "damaged| b.txt: empty",
        "unknown name| c.dat: odd name",
        "nothing usable| made-up: no recording can be used",
    ]
    assert told(MadeUp({}, {})) == ["nothing usable| made-up: no recording can be used"]


@pytest.mark.parametrize("form", ["csv", "openpose"])
def test_damage_of_a_generated_folder_is_found_and_nothing_else(tmp_path, form):
    summary = FORMS["custom"][form](
        tmp_path, Request(sequences=24, subjects=4, seed=1, damage=0.25)
    )
    found = checked(open_raw(get_dataset("custom"), tmp_path))
    assert {p.kind for p in found.problems} == {"damaged"}
    assert sorted(p.path for p in found.problems) == sorted(summary.damaged)
    assert (found.recordings, found.usable) == (24, 18)


@pytest.mark.slow
def test_workers_find_the_same(tmp_path):
    FORMS["custom"]["csv"](tmp_path, Request(sequences=12, subjects=4, seed=1, damage=0.5))
    source = open_raw(get_dataset("custom"), tmp_path)
    with open_executor(workers=1) as run:
        found = check(source, PrepareOptions(), run, lambda *_: None)
    assert found == checked(source)
