"""Arrays of ST-GCN and 2s-AGCN, written here by hand and by the generator."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import aclnet
from aclnet.datasets.readers.agcn_npy import AgcnSource
from aclnet.datasets.registry import get_dataset, open_raw
from aclnet.datasets.spec import AclnetError, Item, Rejection, SkeletonSequence
from aclnet.datasets.synth import Request, get_generator
from aclnet.datasets.synth.ntu import synthesise_tracks

NAMES = {
    "train": ["S001C001P001R001A001", "S001C002P002R002A060"],
    "val": ["S002C003P003R001A010"],
}
KINETICS = replace(
    get_dataset("kinetics"), layout="openpose", raw_layout=None, units="px", clean=None
)


def data(side: str) -> np.ndarray:
    """(N, 3, 6, 25, 2): in the second sample two persons, one of them from frame 2 to 4."""
    values = np.zeros((len(NAMES[side]), 3, 6, 25, 2), np.float32)
    values[..., 0] = np.random.default_rng(len(NAMES[side])).normal(size=values.shape[:-1])
    if side == "train":
        values[1, :, 2:5, :, 1] = 1.5
        values[1, :, 5] = 0
    return values


def write(folder: Path, end: str = "_data_joint.npy", **changes: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for side, names in NAMES.items():
        labels = [int(name[17:]) - 1 for name in names]
        pair = ([f"{name}.skeleton" for name in names], labels)
        np.save(folder / f"{side}{end}", changes.get(f"{side}_data", data(side)))
        content = pickle.dumps(changes.get(f"{side}_label", pair))
        (folder / f"{side}_label.pkl").write_bytes(content)


def source_of(folder: Path, dataset: str = "ntu60") -> AgcnSource:
    source = open_raw(get_dataset(dataset), folder)
    assert isinstance(source, AgcnSource)
    return pickle.loads(pickle.dumps(source))  # noqa: S301 - workers get it so


@pytest.mark.parametrize("end", ["_data_joint.npy", "_data.npy"])
def test_persons_frames_names_and_labels(tmp_path: Path, end: str):
    write(tmp_path, end)
    source = source_of(tmp_path)
    items, rejections = source.scan()
    assert not rejections
    size = 3 * 6 * 25 * 2 * 4
    assert items == [
        Item(NAMES["train"][0], f"train{end}/0", size),
        Item(NAMES["train"][1], f"train{end}/1", size),
        Item(NAMES["val"][0], f"val{end}/0", size),
    ]
    first, second, third = map(source.read, items)
    assert [s.label for s in (first, second, third)] == [0, 59, 9]
    assert (second.setup, second.camera, second.subject, second.replication) == (1, 2, 2, 2)
    assert first.present.tolist() == [[True] * 6, [False] * 6]
    # only of the frame without anybody can one say that it is none
    assert second.frame_index.tolist() == [0, 1, 2, 3, 4]
    assert second.present[1].tolist() == [False, False, True, True, True]
    assert second.keypoint.dtype == np.float32
    values = data("train")
    for person, frame, joint, axis in [(0, 4, 24, 2), (1, 3, 0, 1), (1, 0, 0, 0)]:
        expected = values[1, axis, frame, joint, person]
        assert second.keypoint[person, frame, joint, axis] == expected
    assert second.score is None
    assert not source.tracked()


@pytest.mark.parametrize(("name", "prefix"), [("xsub", "xsub_"), ("xview", "xview_"), ("x", "")])
def test_the_folder_tells_the_protocol(tmp_path: Path, name: str, prefix: str):
    write(tmp_path / name)
    splits = source_of(tmp_path / name).splits()
    assert splits == {f"{prefix}train": NAMES["train"], f"{prefix}val": NAMES["val"]}
    if prefix:
        assert source_of(tmp_path).root == tmp_path / name


def test_one_side_is_enough(tmp_path: Path):
    write(tmp_path)
    (tmp_path / "val_data_joint.npy").unlink()
    source = source_of(tmp_path)
    assert [item.sample_id for item in source.scan()[0]] == NAMES["train"]
    assert source.splits() == {"train": NAMES["train"]}


def test_folders_of_several_protocols_hold_the_same_recordings(tmp_path: Path):
    write(tmp_path / "xsub")
    write(tmp_path / "xview")
    with pytest.raises(
        AclnetError, match="holds arrays of xsub and xview, each with all recordings"
    ):
        open_raw(get_dataset("ntu60"), tmp_path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"train_data": np.zeros((2, 3, 6, 18, 2), np.float32)},
            r"the array is \(2, 3, 6, 18, "
            r"2\)",
        ),
        (
            {"train_data": np.zeros((2, 2, 6, 25, 2), np.float32)},
            r"the array is \(2, 2, 6, 25, "
            r"2\)",
        ),
        ({"train_data": np.zeros((2, 3, 6, 25), np.float32)}, r"the array is \(2, 3, 6, 25\)"),
        ({"train_data": np.zeros((2, 3, 6, 25, 2), int)}, "of int64"),
        ({"train_data": np.asfortranarray(data("train"))}, "row by row"),
        ({"train_label": "text"}, r"train_label\.pkl is not a pair"),
        ({"train_label": (["a"], [0, 1])}, r"train_label\.pkl does not hold 2 names and labels"),
        ({"val_label": (["a"], 3)}, r"val_label\.pkl does not hold 1 names and labels"),
        ({"val_label": Path("x")}, r"val_label\.pkl uses"),
    ],
)
def test_files_of_another_kind(tmp_path: Path, changes, reason: str):
    write(tmp_path, **changes)
    with pytest.raises(AclnetError, match=reason):
        source_of(tmp_path).scan()


def test_labels_that_are_missing(tmp_path: Path):
    write(tmp_path)
    (tmp_path / "val_label.pkl").unlink()
    with pytest.raises(AclnetError, match=r"val_label\.pkl does not exist.*val_data_joint\.npy"):
        source_of(tmp_path).scan()


def test_bad_rows_are_rejected_by_their_place(tmp_path: Path):
    values = np.repeat(data("train")[:1], 6, axis=0)
    values[1, 0, 0, 0, 0] = np.nan
    values[2] = 0
    names = [*"abcde", 7]
    write(tmp_path, train_data=values, train_label=(names, [0, 0, 0, 60, "1", 0]))
    source = source_of(tmp_path)
    items, rejections = source.scan()
    assert [(r.path, r.reason) for r in rejections] == [
        ("train_data_joint.npy/5", "its name is not text")
    ]
    told = {i.path: r.reason for i in items if isinstance(r := source.read(i), Rejection)}
    assert told == {
        "train_data_joint.npy/1": "a value is not finite",
        "train_data_joint.npy/2": "no person in any frame",
        "train_data_joint.npy/3": "its label is 60; 0 to 59 is expected",
        "train_data_joint.npy/4": "its label is '1'; 0 to 59 is expected",
    }
    for path in ("train_data_joint.npy/6", "test_data.npy/0", ""):
        assert isinstance(source.read(Item("x", path, 0)), Rejection)


def test_a_name_that_is_there_twice_counts_once(tmp_path: Path):
    write(tmp_path, val_label=([NAMES["train"][1]], [59]))
    items, rejections = source_of(tmp_path).scan()
    assert [item.path for item in items] == ["train_data_joint.npy/0", "train_data_joint.npy/1"]
    assert [r.kind for r in rejections] == ["there twice"]
    assert source_of(tmp_path).splits() == {"train": NAMES["train"]}


@pytest.mark.parametrize(("end", "sign"), [("_data_joint.npy", -1), ("_data.npy", 1)])
def test_pixels_and_scores_of_kinetics(tmp_path: Path, end: str, sign: int):
    values = np.zeros((1, 3, 300, 18, 2), np.float32)
    values[0, :, 4, 3, 0] = 0.25, sign * -0.5, 0.75  # a quarter right of the middle, at the top
    values[0, :, 4, 5, 0] = 0.25, 0.25, 0  # not found
    write(tmp_path, end, train_data=values, train_label=(["abcdefghij-.json"], [399]))
    (tmp_path / f"val{end}").unlink()
    source = AgcnSource(KINETICS, tmp_path)
    (item,), _ = source.scan()
    sequence = source.read(item)
    assert (sequence.sample_id, sequence.label) == ("abcdefghij-", 399)
    assert (sequence.width, sequence.height) == (340, 256)
    assert sequence.frame_index.tolist() == [4]
    assert sequence.keypoint.shape == (2, 1, 18, 2)
    assert sequence.keypoint[0, 0, 3].tolist() == [255, 0]
    assert sequence.score[0, 0, 3] == 0.75
    assert np.count_nonzero(sequence.keypoint) == np.count_nonzero(sequence.score) == 1
    assert source.splits() == {"train": ["abcdefghij-"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("agcn")


@given(draw=st.data())
def test_changed_and_cut_labels_are_sequences_or_refused(
    folder: Path, refusal_of, draw: st.DataObject
):
    write(folder)
    file = "train_label.pkl"
    changed = bytearray((folder / file).read_bytes())
    for _ in range(draw.draw(st.integers(1, 4))):
        changed[draw.draw(st.integers(0, len(changed) - 1))] = draw.draw(st.integers(0, 255))
    cut = draw.draw(st.none() | st.integers(0, len(changed)))
    (folder / file).write_bytes(changed[:cut])
    source = source_of(folder)
    with refusal_of(file):
        items, _ = source.scan()
        assert all(isinstance(source.read(item), SkeletonSequence | Rejection) for item in items)


@pytest.mark.slow
def test_made_up_people_arrive_in_the_store(tmp_path: Path, prepare_raw):
    get_generator("ntu60", "agcn")(
        tmp_path, Request(sequences=24, subjects=4, seed=2, damage=0.125)
    )
    report = prepare_raw(tmp_path, tmp_path / "a.zarr")
    assert (report.samples, report.rejections) == (21, {"damaged": 2, "no person": 1})
    store = aclnet.open_store(tmp_path / "a.zarr")
    assert store.protocols == ["xsub", "xview"]
    train = np.isin(store.column("subject"), (1, 2, 4, 5))
    np.testing.assert_array_equal(store.mask("xsub/train"), train)
    np.testing.assert_array_equal(store.mask("xview/test"), store.column("camera") == 1)
    pairs = 0
    for sample_id in store.column("id"):
        sequence = store.sequence(sample_id)
        tracks = synthesise_tracks(sample_id, seed=2)
        persons, frames = tracks.shape[:2]
        pairs += persons == 2
        assert sequence.keypoint.shape == (persons, 300, 25, 3)
        found = sequence.keypoint.astype(np.float64)
        # turned and moved frame by frame: distances stay, and all frames come again in order
        for joint in (3, 7, 19, 24):
            was = np.linalg.norm(tracks[:, :, joint] - tracks[:1, :, 1], axis=-1)
            now = np.linalg.norm(found[:, :, joint], axis=-1)
            np.testing.assert_allclose(now, was[:, np.arange(300) % frames], atol=1e-5)
        spine, across = -found[0, 0, 0], found[0, 0, 8] - found[0, 0, 4]
        assert np.linalg.norm(across[1:]) < 1e-5 < across[0]
        assert spine[2] > 0
    assert pairs
