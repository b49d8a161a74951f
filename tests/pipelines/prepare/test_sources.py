"""Prepare with synthetic sources: long, scored, absent, with their own splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import aclnet
from aclnet.datasets.registry import get_dataset
from aclnet.datasets.spec import AclnetError, Item, SkeletonSequence, Source
from aclnet.datasets.spec.layouts import get_layout
from aclnet.pipelines.prepare import samples
from aclnet.pipelines.prepare.executor import open_executor
from aclnet.pipelines.prepare.options import PrepareOptions
from aclnet.pipelines.prepare.sides import own_sides
from aclnet.pipelines.prepare.stages import prepare
from aclnet.pipelines.steps.normalise import normalise

LAYOUT = get_layout("nturgb+d")


class MadeUp(Source):
    """A source of sequences in memory, with splits of its own."""

    def __init__(self, sequences, splits=()) -> None:
        super().__init__(get_dataset("ntu60"), Path("made-up.pkl"))
        object.__setattr__(self, "_sequences", {s.sample_id: s for s in sequences})
        object.__setattr__(self, "_splits", dict(splits))

    def scan(self):
        return [Item(i, "", s.keypoint.nbytes) for i, s in self._sequences.items()], []

    def splits(self):
        return self._splits

    def read(self, item):
        return self._sequences[item.sample_id]


def sequence(sample_id: str, persons: int = 1, frames: int = 5, seed: int = 0) -> SkeletonSequence:
    rng = np.random.default_rng([seed, frames])
    return SkeletonSequence(
        sample_id=sample_id,
        keypoint=rng.normal(size=(persons, frames, 25, 3)).astype(np.float32),
        label=0,
        present=np.ones((persons, frames), dtype=bool),
        frame_index=np.arange(frames, dtype=np.int32),
    )


def prepared(source: MadeUp, out: Path, **options):
    with open_executor() as run:
        report = prepare(source, out, PrepareOptions(**options), run, lambda *_: None)
    return report, aclnet.open_store(out)


def test_a_sequence_longer_than_a_shard_becomes_linked_samples(tmp_path, monkeypatch):
    monkeypatch.setattr(samples, "MAX_ROWS", 17)
    long, short = sequence("long#1", persons=3, frames=11), sequence("short")
    report, store = prepared(MadeUp([long, short]), tmp_path / "l.zarr")
    assert report.cut == 1
    pieces = [store.sequence(f"long#1#{n}") for n in (1, 2, 3)]
    whole = normalise(long.keypoint, long.present, LAYOUT)
    np.testing.assert_array_equal(
        np.concatenate([p.keypoint for p in pieces], axis=1), whole.keypoint
    )
    np.testing.assert_array_equal(np.concatenate([p.frame_index for p in pieces]), long.frame_index)
    assert all(p.present.size <= 17 for p in pieces)
    assert list(store.column("original")).count("long#1") == 3
    assert np.ptp(store.column("centre")[store.column("original") == "long#1"], axis=0).max() == 0


def test_numbers_that_a_store_cannot_hold_are_rejected(tmp_path):
    large, largest = sequence("a"), sequence("b", seed=1)
    large.subject, large.source, largest.subject = 2**31, "a.npy", 2**31 - 1
    report, store = prepared(MadeUp([large, largest]), tmp_path / "n.zarr")
    assert report.examples == (
        "a.npy: `subject` is 2147483648; a store holds numbers below 2,147,483,648",
    )
    assert store.column("subject").tolist() == [2**31 - 1]


def test_pieces_of_a_sequence_count_as_one_recording(tmp_path, monkeypatch):
    monkeypatch.setattr(samples, "MAX_ROWS", 4)
    long = sequence("a", frames=11)
    long.subject, long.camera = 1, 1
    report, store = prepared(MadeUp([long]), tmp_path / "l.zarr")
    assert len(store) == report.samples == 3
    assert {c.side: c.found for c in report.counts}["xsub/train"] == 1


def test_a_piece_with_the_id_of_another_recording_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(samples, "MAX_ROWS", 8)
    long, short = sequence("a", frames=11), sequence("a#2", frames=3)
    short.source = "short.npy"
    words = r"a \(\) and a#2 \(short\.npy\) both have a sample with the id a#2; rename"
    with pytest.raises(AclnetError, match=words):
        prepared(MadeUp([long, short]), tmp_path / "l.zarr")
    assert not list(tmp_path.glob("*.wip"))


def test_persons_who_are_never_there_do_not_hide_the_others(tmp_path):
    three = sequence("a", persons=3)
    three.present[:2] = False
    three.keypoint[:2] = 0
    _, store = prepared(MadeUp([three]), tmp_path / "t.zarr")
    found = store.sequence("a")
    assert len(found.keypoint) == 1
    alone = normalise(three.keypoint[2:], three.present[2:], LAYOUT)
    np.testing.assert_array_equal(found.keypoint, alone.keypoint)


def test_frames_without_the_main_person_go_and_the_others_keep_their_numbers(tmp_path):
    gaps = sequence("a", frames=6)
    gaps.frame_index += 10
    gaps.present[0, [0, 3]] = False
    gaps.keypoint[~gaps.present] = 0
    _, store = prepared(MadeUp([gaps]), tmp_path / "g.zarr")
    assert store.sequence("a").frame_index.tolist() == [11, 12, 14, 15]


def test_splits_of_the_source_decide(tmp_path):
    sequences = [sequence(i) for i in "abcd"]
    splits = {"train": ["a", "b"], "val": ["c"], "fold_val2": ["a"], "fold_test2": ["d"]}
    _, store = prepared(MadeUp(sequences, splits.items()), tmp_path / "s.zarr")
    found = {name: sorted(store.column("id")[mask]) for name, mask in store.splits.items()}
    assert found == {
        "own/train": ["a", "b"],
        "own/test": ["c"],
        "fold2/val": ["a"],
        "fold2/test": ["d"],
    }
    assert store.protocols == ["own", "fold2"]  # none of the samples tells its subject


def test_an_odd_split_name_is_refused_before_anything_is_read(tmp_path):
    source = MadeUp([sequence("a")], {"everything": ["a"]}.items())
    with pytest.raises(AclnetError, match="'everything' does not name its side"):
        prepared(source, tmp_path / "s.zarr")
    assert not list(tmp_path.iterdir())


def test_pyskl_names_of_splits():
    names = ["xsub_train", "xsub_val", "train1", "test1", "a_b_train", "a_b_val", "a_b_test"]
    source = MadeUp([], {n: [n] for n in names}.items())
    assert own_sides(source) == {
        "xsub/train": ["xsub_train"],
        "xsub/test": ["xsub_val"],
        "own1/train": ["train1"],
        "own1/test": ["test1"],
        "a_b/train": ["a_b_train"],
        "a_b/val": ["a_b_val"],
        "a_b/test": ["a_b_test"],
    }


def test_memory_that_does_not_suffice_stops_it(tmp_path, monkeypatch):
    source = MadeUp([sequence("a")])

    def read(*_):
        raise MemoryError

    monkeypatch.setattr(MadeUp, "read", read)
    with pytest.raises(AclnetError, match="not enough memory"):
        prepared(source, tmp_path / "m.zarr")


def test_a_source_keeps_its_own_list(tmp_path, monkeypatch):
    source = MadeUp([sequence("a"), sequence("b")])
    own = source.scan()[0]
    monkeypatch.setattr(MadeUp, "scan", lambda _: (own, []))
    prepared(source, tmp_path / "o.zarr")
    assert [item.sample_id for item in own] == ["a", "b"]


def test_scores_are_stored_with_their_persons_and_frames(tmp_path):
    scored = sequence("a", persons=2, frames=6)
    scored.present[0, :3] = False  # the second is the main person
    scored.score = np.random.default_rng(1).random((2, 6, 25)).astype(np.float32)
    _, store = prepared(MadeUp([scored]), tmp_path / "s.zarr")
    np.testing.assert_array_equal(store.sequence("a").score, scored.score[::-1])


@pytest.mark.parametrize(
    "name",
    [
        *("a/b_train", "../x_train", "..train", "__a_train", "a\0_train", "\ud800_train"),
        *("x\n_val", "a\\b_train", f"{'x' * 300}_train"),
    ],
)
def test_splits_that_cannot_name_a_folder(tmp_path, name):
    source = MadeUp([sequence("a"), sequence("b")], {name: ["a"], "test": ["b"]})
    with pytest.raises(AclnetError, match=r"split .* (cannot name a folder|does not name its)"):
        prepared(source, tmp_path / "s.zarr")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("name", ["größe_train", "v1.2_train", "a b_train", "train", "x_train3"])
def test_splits_that_can(tmp_path, name):
    source = MadeUp([sequence("a"), sequence("b")], {name: ["a"], "test": ["b"]})
    _, store = prepared(source, tmp_path / "s.zarr")
    (side,) = [side for side in own_sides(source) if side.endswith("/train")]
    assert store.mask(side).sum() == 1


@pytest.mark.parametrize("broken", ["\ud800", "a\0"])
def test_ids_and_conditions_that_are_no_text_are_rejected(tmp_path, broken):
    with_condition = sequence("c")
    with_condition.condition = broken
    sequences = [sequence("a"), sequence(broken), with_condition]
    report, store = prepared(MadeUp(sequences), tmp_path / "s.zarr")
    assert store.column("id").tolist() == ["a"]
    assert report.rejections == {"damaged": 2}
