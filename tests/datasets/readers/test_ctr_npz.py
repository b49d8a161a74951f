"""CTR-GCN's arrays, written here by hand and by the generator."""

from __future__ import annotations

import gzip
import pickle
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import aclnet
from aclnet.datasets.readers.ctr_npz import CtrNpzSource
from aclnet.datasets.readers.ntu import parse_name, usable
from aclnet.datasets.registry import get_dataset, open_raw
from aclnet.datasets.spec import AclnetError, Item, Rejection, SkeletonSequence
from aclnet.datasets.spec.layouts import get_layout
from aclnet.datasets.spec.protocols import check_counts, sides
from aclnet.datasets.synth import Request, get_generator
from aclnet.datasets.synth.ntu import choose_names, synthesise_tracks
from aclnet.pipelines.steps.normalise import normalise

TABLES = Path(__file__).parents[3].parent / "shared" / "tables"


def row(frames: int, persons: int, *, twice: bool = False) -> np.ndarray:
    """(10, 150) rows with some filled frames."""
    values = np.zeros((10, 2, 75), np.float32)
    values[:frames, :persons] = np.random.default_rng(frames).normal(size=(frames, persons, 75))
    if twice:
        values[:, 1] = values[:, 0]
    return values.reshape(10, 150)


def one_hot(labels: list[int], classes: int = 60) -> np.ndarray:
    return np.eye(classes)[labels]


def arrays() -> dict[str, np.ndarray]:
    gap = row(6, 2)
    gap[2] = 0
    gap[4, 75:] = 0
    train = [row(4, 1), row(10, 2), gap, row(3, 1, twice=True)]
    return {
        "x_train": np.stack(train),
        "y_train": one_hot([3, 59, 0, 7]),
        "x_test": np.stack([row(0, 0), row(1, 2)]),
        "y_test": one_hot([1, 2]),
    }


def save(path: Path, *, compressed: bool = False, **changes: np.ndarray) -> dict[str, np.ndarray]:
    values = arrays() | changes
    (np.savez_compressed if compressed else np.savez)(path, **values)
    return values


def source_of(path: Path, dataset: str = "ntu60") -> CtrNpzSource:
    source = open_raw(get_dataset(dataset), path)
    assert isinstance(source, CtrNpzSource)
    return pickle.loads(pickle.dumps(source))  # noqa: S301 - workers get it so


@pytest.mark.parametrize("compressed", [False, True])
def test_persons_frames_and_labels(tmp_path: Path, compressed: bool):
    values = save(tmp_path / "NTU60_CS.npz", compressed=compressed)
    source = source_of(tmp_path / "NTU60_CS.npz")
    items, rejections = source.scan()
    assert not rejections
    names = [f"train-{n:06}" for n in range(4)] + ["test-000000", "test-000001"]
    assert [item.sample_id for item in items] == names
    assert items[2].path == "NTU60_CS.npz/x_train/2"
    found = dict(zip(names, map(source.read, items), strict=True))
    nobody = found.pop("test-000000")
    assert isinstance(nobody, Rejection)
    assert nobody.kind == "no person"
    shapes = {name: (*s.present.shape, s.label, s.subject) for name, s in found.items()}
    assert shapes == {
        "train-000000": (2, 4, 3, -1),
        "train-000001": (2, 10, 59, -1),
        "train-000002": (2, 5, 0, -1),
        "train-000003": (1, 3, 7, -1),
        "test-000001": (2, 1, 2, -1),
    }
    gap = found["train-000002"]
    assert gap.frame_index.tolist() == [0, 1, 3, 4, 5]
    assert gap.present[1].tolist() == [True, True, True, False, True]
    for person, frame, joint, axis in [(0, 2, 24, 1), (1, 4, 7, 2)]:
        place = 75 * person + 3 * joint + axis
        expected = values["x_train"][2, gap.frame_index[frame], place]
        assert gap.keypoint[person, frame, joint, axis] == expected
    assert not found["train-000000"].present[1].any()


@pytest.mark.parametrize(
    ("file", "dataset", "sides"),
    [
        ("NTU60_CS.npz", "ntu60", ("xsub_train", "xsub_test")),
        ("NTU60_CV.npz", "ntu60", ("xview_train", "xview_test")),
        ("NTU120_CSub.npz", "ntu120", ("xsub_train", "xsub_test")),
        ("NTU120_CSet.npz", "ntu120", ("xset_train", "xset_test")),
        ("NTU60_CSet.npz", "ntu60", ("train", "test")),
        ("mine.npz", "ntu60", ("train", "test")),
    ],
)
def test_the_name_of_the_file_tells_the_protocol(tmp_path: Path, file, dataset, sides):
    classes = {"ntu60": 60, "ntu120": 120}[dataset]
    save(tmp_path / file, y_train=one_hot([0] * 4, classes), y_test=one_hot([0] * 2, classes))
    splits = source_of(tmp_path / file, dataset).splits()
    expected = [[f"train-{n:06}" for n in range(4)], [f"test-{n:06}" for n in range(2)]]
    assert splits == dict(zip(sides, expected, strict=True))


def in_order_of(dataset: str, protocol: str) -> dict[str, list[str]]:
    """Names of both sides as the scripts of CTR-GCN put them one after another."""
    first, last = {"xsub": (9, 12), "xview": (5, 8), "xset": (1, 4)}[protocol]
    subjects = {1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38}
    train = {"xsub": subjects, "xview": {2, 3}, "xset": set(range(2, 33, 2))}[protocol]
    groups: dict[int, list[str]] = {}
    for name in usable(dataset):
        groups.setdefault(int(name[first:last]), []).append(name)
    return {
        "train": list(chain(*(groups[g] for g in sorted(groups) if g in train))),
        "test": list(chain(*(groups[g] for g in sorted(groups) if g not in train))),
    }


def save_whole_set(path: Path, names: dict[str, list[str]], classes: int) -> None:
    """One frame a sample, whose first joint tells the number of the recording in sorted order."""
    number = {name: n for n, name in enumerate(sorted(chain(*names.values())))}
    values = {}
    for side, chosen in names.items():
        x = np.zeros((len(chosen), 1, 150), np.float16)
        numbers = np.array([number[name] for name in chosen])
        x[:, 0, :3] = np.stack([numbers // 256, numbers % 256, np.ones_like(numbers)], axis=1)
        values[f"x_{side}"] = x
        values[f"y_{side}"] = np.zeros((len(chosen), classes), np.uint8)
        labels = [int(name[17:]) - 1 for name in chosen]
        values[f"y_{side}"][np.arange(len(chosen)), labels] = 1
    np.savez(path, **values)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dataset", "protocol", "file"),
    [("ntu60", "xsub", "NTU60_CS.npz"), ("ntu60", "xview", "x.npz"), ("ntu120", "xset", "y.npz")],
)
def test_names_of_a_whole_set_are_recovered(tmp_path: Path, dataset, protocol, file):
    names, spec = in_order_of(dataset, protocol), get_dataset(dataset)
    save_whole_set(tmp_path / file, names, len(spec.class_names))
    source = source_of(tmp_path / file, dataset)
    items, _ = source.scan()
    assert [item.sample_id for item in items] == names["train"] + names["test"]
    assert source.splits() == {}
    known = usable(dataset)
    for item in items[:: len(items) // 50]:
        sequence = source.read(item)
        high, low, _ = sequence.keypoint[0, 0, 0].astype(int)
        assert known[256 * high + low] == item.sample_id
        name = parse_name(item.sample_id)
        assert (sequence.setup, sequence.camera) == (name.setup, name.camera)
        assert (sequence.subject, sequence.replication) == (name.subject, name.replication)
        assert sequence.label == name.action - 1
    told = np.array([parse_name(item.sample_id) for item in items]).T
    columns = dict(zip(("setup", "camera", "subject", "replication", "label"), told, strict=True))
    columns["label"] = columns["label"] - 1
    masks = sides(spec.protocols, columns)
    counts = check_counts(spec.protocols, {side: int(m.sum()) for side, m in masks.items()})
    assert {count.verdict for count in counts} == {"complete"}


@pytest.mark.slow
def test_one_other_label_and_no_name_is_believed(tmp_path: Path):
    names = in_order_of("ntu60", "xsub")
    save_whole_set(tmp_path / "NTU60_CS.npz", names, 60)
    with np.load(tmp_path / "NTU60_CS.npz") as stored:
        values = dict(stored)
    values["y_test"][100] = np.roll(values["y_test"][100], 1)
    np.savez(tmp_path / "NTU60_CS.npz", **values)
    source = source_of(tmp_path / "NTU60_CS.npz")
    assert source.scan()[0][0].sample_id == "train-000000"
    splits = source.splits()
    assert {side: len(ids) for side, ids in splits.items()} == {
        "xsub_train": 40_091,
        "xsub_test": 16_487,
    }


@pytest.mark.parametrize("dataset", ["ntu60", "ntu120"])
def test_the_list_of_recordings_is_that_of_the_authors(dataset: str):
    path = TABLES / f"{dataset}_samples.txt.gz"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    assert usable(dataset) == gzip.decompress(path.read_bytes()).decode().split()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"x_train": np.zeros((4, 10, 75), np.float32)}, r"x_train is float32 \(4, 10, 75\)"),
        ({"x_train": np.zeros((4, 10, 150), np.int32)}, "x_train is int32"),
        ({"y_train": one_hot([1] * 3)}, r"y_train is \(3, 60\), but x_train has 4 samples"),
        ({"y_test": one_hot([1] * 2, 120)}, r"y_test is \(2, 120\).* 60 classes"),
        ({"y_test": np.array([1, 2])}, r"y_test is \(2,\)"),
    ],
)
def test_a_file_of_another_kind(tmp_path: Path, changes, reason: str):
    save(tmp_path / "a.npz", **changes)
    with pytest.raises(AclnetError, match=reason):
        source_of(tmp_path / "a.npz").scan()


def test_a_file_without_one_of_the_arrays(tmp_path: Path):
    values = arrays()
    del values["y_test"]
    np.savez(tmp_path / "a.npz", **values)
    with pytest.raises(AclnetError, match=r"a\.npz has no array 'y_test'"):
        source_of(tmp_path / "a.npz").scan()


def test_bad_rows_are_rejected_by_their_place(tmp_path: Path):
    values = arrays()
    values["x_train"][1, 9, 149] = np.inf
    values["y_train"][0] = 0
    values["y_train"][2, 5] = 1
    values["y_train"][3] = np.nan
    values["y_test"][1] = -values["y_test"][1]
    save(tmp_path / "a.npz", **values)
    source = source_of(tmp_path / "a.npz")
    told = {r.path: r.reason for r in map(source.read, source.scan()[0])}
    assert told == {
        "a.npz/x_train/0": "row 0 of y_train is not one-hot",
        "a.npz/x_train/1": "a value is not finite",
        "a.npz/x_train/2": "row 2 of y_train is not one-hot",
        "a.npz/x_train/3": "row 3 of y_train is not one-hot",
        "a.npz/x_test/0": "no person in any frame",
        "a.npz/x_test/1": "row 1 of y_test is not one-hot",
    }
    for path in ("a.npz/x_train/4", "a.npz/x_val/0", ""):
        assert isinstance(source.read(Item("train-000004", path, 0)), Rejection)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ctr")


@pytest.mark.slow
@given(data=st.data())
def test_changed_and_cut_compressed_files_are_sequences_or_refused(
    folder: Path, refusal_of, data: st.DataObject
):
    save(folder / "whole.npz", compressed=True)
    changed = bytearray((folder / "whole.npz").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.none() | st.integers(0, len(changed)))
    (folder / "a.npz").write_bytes(changed[:cut])
    source = source_of(folder / "a.npz")
    with refusal_of("a.npz"):
        items, _ = source.scan()
        assert all(isinstance(source.read(item), SkeletonSequence | Rejection) for item in items)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dataset", "file"), [("ntu60", "NTU60_CS.npz"), ("ntu120", "NTU120_CSub.npz")]
)
def test_made_up_people_arrive_in_the_store(tmp_path: Path, prepare_raw, dataset, file):
    request = Request(sequences=24, subjects=4, seed=2, damage=0.125)
    get_generator(dataset, "ctr")(tmp_path, request)
    report = prepare_raw(tmp_path / file, tmp_path / "c.zarr", dataset=dataset)
    assert (report.samples, report.rejections) == (21, {"damaged": 2, "no person": 1})
    store = aclnet.open_store(tmp_path / "c.zarr")
    assert store.protocols == ["xsub"]
    names = choose_names(request)
    trains = [n for n in names if int(n[9:12]) in (1, 2, 4, 5, 8)]
    in_file = sorted(trains, key=lambda n: (n[8:12], n))
    pairs = 0
    for sample_id in store.column("id")[store.mask("xsub/train")]:
        name = in_file[int(sample_id[-6:])]
        sequence = store.sequence(sample_id)
        assert sequence.label == int(name[17:]) - 1
        tracks = synthesise_tracks(name, seed=2).astype(np.float32)
        pairs += len(tracks) == 2
        there = np.ones(tracks.shape[:2], np.bool_)
        expected = normalise(tracks, there, get_layout("nturgb+d")).keypoint
        np.testing.assert_allclose(sequence.keypoint, expected, atol=2e-6)
    assert pairs
    assert len(store.mask("xsub/train")) == 21
