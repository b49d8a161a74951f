"""Pickles of `aclnet export`: the keys that PYSKL does not know, sound and unsound."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aclnet.datasets.exports.pyskl import ExportedPickle
from aclnet.datasets.readers.pyskl import PysklSource
from aclnet.datasets.registry import get_dataset, open_raw
from aclnet.datasets.spec import AclnetError, Rejection, SkeletonSequence

if TYPE_CHECKING:
    from pathlib import Path

NTU60 = get_dataset("ntu60")
DESCRIPTION = {
    "dataset": "ntu60",
    "title": "NTU RGB+D 60",
    "layout": "nturgb+d",
    "file_layout": "nturgb+d",
    "units": "m",
    "scored": False,
    "normalisation": "centre-first-frame/1",
    "class_names": ("walk", "sit"),
}


def annotation(**changes: Any) -> dict[str, Any]:
    keypoint = np.random.default_rng(0).normal(size=(2, 4, 25, 3)).astype(np.float32)
    present = np.array([[1, 1, 1, 1], [0, 1, 1, 1]], np.bool_)
    keypoint[~present] = 0
    keypoint[0, 2] = 0  # there, but hidden
    return {
        "frame_dir": "S001C002P003R002A013",
        "label": 1,
        "total_frames": 4,
        "keypoint": keypoint,
        "present": present,
        "frame_index": np.array([3, 4, 6, 9], np.int32),
        "subject": 70,
        "camera": 80,
        "setup": -1,
        "replication": 90,
        "condition": "dark",
        "source": "a/b.txt",
        "centre": np.array([0, 1, 3], np.float32),
        "rotation": np.eye(3, dtype=np.float32),
    } | changes


def write(folder: Path, entry: object, **description: Any) -> Path:
    content = {"aclnet": DESCRIPTION | description, "split": {}, "annotations": [entry]}
    (folder / "x.pkl").write_bytes(pickle.dumps(content))
    return folder / "x.pkl"


def only(path: Path) -> SkeletonSequence | Rejection:
    source = open_raw(NTU60, path)
    assert isinstance(source, ExportedPickle)
    items, _ = source.scan()
    return source.read(items[0])


def test_what_the_store_knew_decides(tmp_path):
    sequence = only(write(tmp_path, annotation()))
    assert isinstance(sequence, SkeletonSequence)
    np.testing.assert_array_equal(sequence.present, annotation()["present"])
    assert sequence.frame_index.tolist() == [3, 4, 6, 9]
    numbers = (sequence.subject, sequence.camera, sequence.setup, sequence.replication)
    assert numbers == (70, 80, -1, 90)  # not those of the name
    assert (sequence.condition, sequence.source) == ("dark", "a/b.txt")
    assert sequence.prepared.centre.tolist() == [0, 1, 3]
    assert sequence.prepared.original == sequence.sample_id


def test_joints_in_space_may_have_a_score(tmp_path):
    score = np.random.default_rng(1).random((2, 4, 25)).astype(np.float32)
    score[1, 0] = 0
    sequence = only(write(tmp_path, annotation(keypoint_score=score), scored=True))
    np.testing.assert_array_equal(sequence.score, score)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"present": None}, "`present` is missing"),
        ({"present": np.ones((2, 4))}, "`present` is missing or not an array of bool"),
        ({"present": np.ones((1, 4), bool)}, "`present` is (1, 4)"),
        ({"frame_index": np.arange(4.0)}, "`frame_index` is missing or not"),
        ({"frame_index": np.arange(3, dtype=np.int32)}, "`frame_index` (3,)"),
        ({"subject": "me"}, "`subject` is 'me'"),
        ({"camera": 2**31}, "`camera` is 2147483648"),
        ({"setup": True}, "`setup` is True"),
        ({"condition": 3}, "`condition` is 3"),
        ({"source": None}, "`source` is None"),
        ({"centre": np.zeros(2)}, "`centre` is (2,)"),
        ({"rotation": np.full((3, 3), np.nan)}, "`rotation` has values that are not finite"),
        ({"keypoint": np.zeros((2, 4, 20, 3))}, "(2, 4, 20, 3)"),
        ({"label": 2}, "`label` is 2; 0 to 1"),
    ],
)
def test_an_unsound_annotation_is_rejected(tmp_path, changes, reason):
    rejection = only(write(tmp_path, annotation(**changes)))
    assert isinstance(rejection, Rejection)
    assert reason in rejection.reason


def test_promised_scores_must_be_there(tmp_path):
    rejection = only(write(tmp_path, annotation(), scored=True))
    assert isinstance(rejection, Rejection)
    assert "`keypoint_score` is missing" in rejection.reason


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"units": 3}, "does not describe its store correctly .units"),
        ({"schema_version": 2}, "schema_version"),
        ({"class_names": None}, "class_names"),
        ({"dataset": "pkummd"}, "holds the dataset pkummd, not ntu60"),
        ({"layout": "mine"}, r"put the file of the layout beside it, as .*mine\.json"),
    ],
)
def test_a_file_must_say_which_store_it_is_of(tmp_path, changes, message):
    with pytest.raises(AclnetError, match=message):
        open_raw(NTU60, write(tmp_path, annotation(), **changes))


def test_a_pickle_without_the_description_is_pyskls(tmp_path):
    entry = annotation(subject="a word of somebody else's")
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"split": {}, "annotations": [entry]}))
    source = open_raw(NTU60, tmp_path / "x.pkl")
    assert type(source) is PysklSource
    assert source.normalisation() is None
    sequence = source.read(source.scan()[0][0])
    assert sequence.subject == 3
    assert sequence.prepared is None


@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255), cut=st.booleans())
def test_a_changed_file_gives_sequences_or_says_why_not(
    tmp_path_factory, refusal_of, place, value, cut
):
    folder = tmp_path_factory.mktemp("changed")
    data = bytearray(write(folder, annotation()).read_bytes())
    position = int(place * len(data))
    data[position] = value
    (folder / "x.pkl").write_bytes(data[:position] if cut else data)
    with refusal_of("x.pkl"):
        source = open_raw(NTU60, folder / "x.pkl")
        for item in source.scan()[0]:
            assert isinstance(source.read(item), SkeletonSequence | Rejection)
