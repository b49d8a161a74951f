"""Exported HDF5 files: sound ones, changed ones, and sound files of unsound content."""

from __future__ import annotations

import pickle
import shutil
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aclnet.datasets.exports.hdf5 import Hdf5Source, seal
from aclnet.datasets.registry import get_dataset, open_raw
from aclnet.datasets.spec import AclnetError, Item, Rejection, SkeletonSequence
from aclnet.datasets.spec.layouts import get_layout
from aclnet.exchange.export_store import export_store

if TYPE_CHECKING:
    from pathlib import Path

FINEGYM = get_dataset("finegym")


@pytest.fixture(scope="module")
def exported(pixel_store, tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("exported") / "finegym.h5"
    export_store(pixel_store, "hdf5", file)
    return file


@pytest.fixture
def edited(exported, tmp_path):
    """Opens a copy in which a function has changed something, sealed again."""

    def edit(change) -> Hdf5Source:
        path = tmp_path / "edited.hdf5"
        copy = shutil.copy(exported, tmp_path / "copy")
        with h5py.File(copy, "r+") as file:
            change(file)
        seal(copy)
        copy.replace(path)
        return open_raw(FINEGYM, path)

    return edit


def read_all(source: Hdf5Source) -> list[SkeletonSequence | Rejection]:
    items, rejections = source.scan()
    return [*rejections, *map(source.read, items)]


def replace(file: h5py.File, name: str, values: object) -> None:
    del file[name]
    file[name] = values


def test_a_source_is_read_by_other_processes(exported, pixel_store):
    source = pickle.loads(pickle.dumps(open_raw(FINEGYM, exported)))  # noqa: S301
    items, rejections = source.scan()
    assert not rejections
    assert [item.sample_id for item in items] == pixel_store.column("id").tolist()
    rows = pixel_store.column("n_persons") * pixel_store.column("n_frames")
    assert [item.size for item in items] == (rows * 20 * 2 * 4).tolist()
    assert source.splits().keys() == {"own_train", "own_test"}
    sequence = source.read(items[3])
    assert isinstance(sequence, SkeletonSequence)
    assert sequence.prepared.original == items[3].sample_id


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), cut=st.booleans())
def test_a_changed_file_never_reaches_hdf5(exported, tmp_path_factory, place, bit, cut):
    data = bytearray(exported.read_bytes())
    position = int(place * len(data))
    data[position] ^= 1 << bit
    path = tmp_path_factory.mktemp("changed") / "x.h5"
    path.write_bytes(data[:position] if cut else data)
    with pytest.raises(AclnetError, match=r"differs from what|is not a file of"):
        open_raw(FINEGYM, path)


@given(data=st.binary(max_size=600))
def test_other_bytes_are_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("bytes") / "x.h5"
    path.write_bytes(data)
    with pytest.raises(AclnetError, match="is not a file of `aclnet export"):
        open_raw(FINEGYM, path)


def test_hdf5_of_other_software_is_refused(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["keypoint"] = np.zeros(3)
    with pytest.raises(AclnetError, match="is not a file of `aclnet export"):
        open_raw(FINEGYM, tmp_path / "x.h5")


def test_a_file_that_is_replaced_or_gone_is_noticed(exported, edited, tmp_path):
    source = edited(lambda file: None)
    before = source.fingerprint()
    items, _ = source.scan()
    assert isinstance(source.read(items[0]), SkeletonSequence)
    assert isinstance(source.read(Item("nobody", "", 0)), Rejection)
    edited(lambda file: file["samples/label"].__setitem__(0, 7))
    assert source.read(items[0]).label == 7
    assert source.fingerprint() != before
    source.root.unlink()
    with pytest.raises(FileNotFoundError):
        source.read(items[0])


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("samples/label", 99, "no class has the label 99"),
        ("samples/label", -1, "no class has the label -1"),
        ("samples/start", -1, "has no rows -1 to"),
        ("samples/start", 10**7, "has no rows 10000000 to"),
        ("samples/n_persons", 0, "has no rows"),
        ("samples/n_frames", 10**6, "has no rows"),
        ("frames/keypoint", np.nan, "`frames/keypoint` has values that are not finite"),
        ("frames/score", np.inf, "`frames/score` has values that are not finite"),
    ],
)
def test_an_unsound_sample_is_rejected_and_the_others_are_read(edited, name, value, reason):
    found = read_all(edited(lambda file: file[name].__setitem__(0, value)))
    rejections = [result for result in found if isinstance(result, Rejection)]
    assert len(rejections) == 1
    assert len(found) == 12
    assert reason in rejections[0].reason
    assert rejections[0].path == "edited.hdf5"


def test_frames_of_different_numbers_are_no_sequence(edited, pixel_store):
    two = int(np.flatnonzero(pixel_store.column("n_persons") == 2)[0])

    def change(file: h5py.File) -> None:
        file["frames/index"][file["samples/start"][two]] = 77

    source = edited(change)
    items, _ = source.scan()
    assert "different frame numbers" in source.read(items[two]).reason


def test_one_id_is_of_one_sample(edited):
    def change(file: h5py.File) -> None:
        file["samples/id"][4] = file["samples/id"][2]

    items, rejections = edited(change).scan()
    assert len(items) == 11
    assert [(r.kind, r.reason[:8]) for r in rejections] == [("there twice", "sample 4")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.__delitem__("samples/subject"), "subject"),
        (lambda file: file.__delitem__("splits"), "splits"),
        (lambda file: file.__delitem__("class_names"), "class_names"),
        (lambda file: replace(file, "samples/camera", np.zeros(5, int)), "camera is int64"),
        (lambda file: replace(file, "samples/centre", np.zeros((12, 3))), "samples/centre"),
        (lambda file: replace(file, "samples/rotation", np.full((12, 2, 2), np.nan)), "finite"),
        (lambda file: replace(file, "samples/setup", np.full(12, 2**40)), "is out of range"),
        (lambda file: replace(file, "samples/condition", ["a", "b"]), "condition does not have 12"),
        (lambda file: replace(file, "samples/id", np.zeros(12)), "id is not a list of text"),
        (lambda file: file.create_group("splits/a/b"), "splits/a/b is not an array"),
        (lambda file: file.attrs.modify("schema_version", 2), "schema_version"),
        (lambda file: file.attrs.modify("units", "inch"), "units"),
        (lambda file: file.attrs.modify("layout", "mine"), r"put the file of .*mine\.json"),
        (lambda file: file.attrs.modify("dataset", "ntu60"), "holds the dataset ntu60, not "
            "finegym"),
    ],
)  # fmt: skip
def test_a_file_without_its_tables_is_the_users_mistake(edited, change, message):
    with pytest.raises(AclnetError, match=message):
        edited(change)


def test_missing_frames_reject_every_sample(edited):
    found = read_all(edited(lambda file: replace(file, "frames/present", np.zeros(3))))
    assert len(found) == 12
    assert all("`frames/present` is not" in result.reason for result in found)


def test_a_layout_of_ones_own_lies_beside_the_file(edited, tmp_path):
    layout = get_layout("coco_new").model_dump_json(exclude={"name"})
    (tmp_path / "mine.json").write_text(layout)
    source = edited(lambda file: file.attrs.modify("layout", "mine"))
    assert source.spec.layout == str(tmp_path / "mine.json")
    assert all(isinstance(result, SkeletonSequence) for result in read_all(source))
