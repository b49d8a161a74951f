from __future__ import annotations

import os
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from aclnet.datasets.errors import AclnetError
from aclnet.datasets.readers import Item, get_dataset
from aclnet.datasets.readers.pyskl import PysklSource
from aclnet.datasets.sequence import Rejection, Sequence

if TYPE_CHECKING:
    from pathlib import Path

STEM = "S001C002P003R002A013"


def annotation(frame_dir: str = STEM, **changes: Any) -> dict[str, Any]:
    keypoint = np.random.default_rng(0).normal(size=(2, 6, 25, 3)).astype(np.float16)
    keypoint[1, 2:4] = 0
    return {"frame_dir": frame_dir, "label": 12, "total_frames": 6, "keypoint": keypoint} | changes


def source(folder: Path, content: object) -> PysklSource:
    path = folder / "own.pkl"
    path.write_bytes(pickle.dumps(content))
    return PysklSource(path, num_classes=60)


def only(folder: Path, entry: object) -> Sequence | Rejection:
    opened = source(folder, [entry])
    items, rejections = opened.scan()
    assert not rejections
    return opened.read(items[0])


def test_an_annotation_becomes_a_sequence(tmp_path: Path):
    sequence = only(tmp_path, annotation())
    assert isinstance(sequence, Sequence)
    assert sequence.keypoint.dtype == np.float32
    assert (sequence.keypoint == annotation()["keypoint"]).all()
    assert sequence.present.tolist() == [[True] * 6, [True, True, False, False, True, True]]
    assert sequence.frame_index.tolist() == list(range(6))
    assert (sequence.label, sequence.setup, sequence.camera) == (12, 1, 2)
    assert (sequence.subject, sequence.replication, sequence.source) == (3, 2, "own.pkl")


def test_values_of_rounding_size_are_nobody(tmp_path: Path):
    keypoint = annotation()["keypoint"].astype(np.float32)
    keypoint[1] = 1e-8
    keypoint[0, 0] = 0
    keypoint[0, 0, 3, 1] = 2e-8
    sequence = only(tmp_path, annotation(keypoint=keypoint))
    assert isinstance(sequence, Sequence)
    assert sequence.present.tolist() == [[True] * 6, [False] * 6]
    assert not sequence.keypoint[1].any()


def test_names_of_other_sets_carry_no_metadata(tmp_path: Path):
    sequence = only(tmp_path, annotation("my_walk_07"))
    assert isinstance(sequence, Sequence)
    assert (sequence.sample_id, sequence.subject, sequence.camera) == ("my_walk_07", -1, -1)


def keypoint_with(value: float) -> np.ndarray:
    keypoint = annotation()["keypoint"].astype(np.float64)
    keypoint[0, 3, 5, 1] = value
    return keypoint


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"keypoint": None}, "`keypoint` is missing"),
        ({"keypoint": [[0.0]]}, "not an array of numbers"),
        ({"keypoint": np.array([["a"]])}, "not an array of numbers"),
        ({"keypoint": np.zeros((2, 6, 17, 3))}, "(2, 6, 17, 3)"),
        ({"keypoint": np.zeros((6, 25, 3))}, "(6, 25, 3)"),
        ({"keypoint": np.zeros((0, 6, 25, 3))}, "(0, 6, 25, 3)"),
        ({"keypoint": np.zeros((2, 6, 25, 3))}, "no person"),
        ({"keypoint": keypoint_with(np.nan)}, "not finite"),
        ({"keypoint": keypoint_with(1e300)}, "not finite"),
        ({"keypoint_score": np.ones((2, 6, 25))}, "2-D"),
        ({"total_frames": 7}, "`total_frames` is 7, `keypoint` has 6"),
        ({"total_frames": None}, "`total_frames` is None"),
        ({"label": 60}, "`label` is 60, 0 to 59"),
        ({"label": -1}, "`label` is -1"),
        ({"label": None}, "`label` is None"),
        ({"label": True}, "`label` is True"),
    ],
)
def test_damage_is_rejected(tmp_path: Path, changes: dict[str, Any], reason: str):
    opened = source(tmp_path, [annotation("sound"), annotation(**changes)])
    items, _ = opened.scan()
    rejection = opened.read(items[0])
    assert isinstance(rejection, Rejection)
    assert rejection.path == "own.pkl"
    assert reason in rejection.reason
    assert STEM in rejection.reason
    assert isinstance(opened.read(items[1]), Sequence)


def test_annotations_without_an_id_of_their_own_are_rejected(tmp_path: Path):
    entries = [annotation("b"), None, annotation("a"), annotation("b", label=3), {"label": 1}]
    opened = source(tmp_path, entries)
    items, rejections = opened.scan()
    assert [item.sample_id for item in items] == ["a", "b"]
    assert [r.reason for r in rejections] == [
        "annotation 1 (counting from 0) is NoneType, not a dict",
        "annotation 3 (counting from 0) has the `frame_dir` of an earlier one, 'b'",
        "annotation 4 (counting from 0) has no `frame_dir`",
    ]
    first = opened.read(items[1])
    assert isinstance(first, Sequence)
    assert first.label == 12
    assert isinstance(opened.read(Item("c", "", 0)), Rejection)


def test_filename_is_the_id_where_the_first_annotation_has_one(tmp_path: Path):
    opened = source(tmp_path, [annotation("x") | {"filename": "y"}])
    assert [item.sample_id for item in opened.scan()[0]] == ["y"]


def test_splits_are_kept(tmp_path: Path):
    splits = {"xsub_train": ["a"], "xsub_val": ["b", "c"]}
    content = {"split": splits, "annotations": [annotation("a")]}
    assert source(tmp_path, content).splits() == splits
    assert source(tmp_path, [annotation("a")]).splits() == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"split": {}}, "not a PYSKL pickle"),
        ("text", "not a PYSKL pickle"),
        ({"annotations": [], "split": {"train": "abc"}}, "`split` must map"),
        ({"annotations": [], "split": {"train": [1]}}, "`split` must map"),
        ([annotation(keypoint=np.zeros((1, 6, 17, 2)), keypoint_score=0)], "_3danno"),
    ],
)
def test_whole_files_of_another_kind_are_the_users_mistake(
    tmp_path: Path, content: object, message: str
):
    with pytest.raises(AclnetError, match=message):
        source(tmp_path, content).scan()


def test_a_file_that_is_gone_or_replaced_is_noticed(tmp_path: Path):
    opened = source(tmp_path, [annotation("a")])
    items, _ = opened.scan()
    source(tmp_path, [annotation("b")])
    os.utime(opened.root, ns=(1, 1))
    assert [item.sample_id for item in opened.scan()[0]] == ["b"]
    opened.root.unlink()
    assert isinstance(opened.read(items[0]), Rejection)
    with pytest.raises(AclnetError, match=r"own\.pkl cannot be read"):
        opened.scan()


def test_the_pickle_of_the_real_recordings(goldens: Path):
    opened = get_dataset("ntu60").open(goldens / "ntu_pyskl.pkl")
    assert opened.cleaned
    opened = pickle.loads(pickle.dumps(opened))  # noqa: S301
    items, rejections = opened.scan()
    expected = np.load(goldens / "ntu_preprocess.npz")
    assert not rejections
    assert sorted({name.split("/")[0] for name in expected.files}) == [i.sample_id for i in items]
    for item in items:
        sequence = opened.read(item)
        assert isinstance(sequence, Sequence)
        raw = expected[f"{item.sample_id}/raw"]
        assert (sequence.keypoint == raw.astype(np.float16)).all()
        assert sequence.label == int(item.sample_id[-3:]) - 1
    assert {id_ for ids in opened.splits().values() for id_ in ids} == {i.sample_id for i in items}
