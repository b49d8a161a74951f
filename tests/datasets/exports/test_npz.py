"""Exported `.npz` files: sound ones, changed ones, and sound files of unsound content."""

from __future__ import annotations

import json
import pickle
import zipfile
import zlib
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from aclnet.datasets.readers.ctr_npz import CtrNpzSource
from aclnet.datasets.registry import get_dataset, open_raw
from aclnet.datasets.spec import AclnetError, Item, Rejection, SkeletonSequence
from aclnet.exchange.export_store import export_store

if TYPE_CHECKING:
    from pathlib import Path

    from aclnet.datasets.exports.npz import ExportedNpz

FINEGYM = get_dataset("finegym")


@pytest.fixture(scope="module")
def exported(pixel_store, tmp_path_factory) -> Path:
    """Eight recordings that train and four that test, of 20 joints in pixels with confidence."""
    file = tmp_path_factory.mktemp("exported") / "finegym.npz"
    export_store(pixel_store, "npz", file)
    return file


@pytest.fixture
def edited(exported, tmp_path):
    """Opens a copy in which a function has changed the dict of arrays."""

    def edit(change) -> ExportedNpz:
        with np.load(exported) as arrays:
            content = dict(arrays)
        change(content)
        np.savez_compressed(tmp_path / "x.npz", **content)
        return open_raw(FINEGYM, tmp_path / "x.npz")

    return edit


def described(**changes: object):
    """A change of the description alone."""

    def change(content: dict) -> None:
        values = json.loads(content["aclnet"][0]) | changes
        content["aclnet"] = np.array([json.dumps(values)])

    return change


def read_all(source: ExportedNpz) -> list[SkeletonSequence | Rejection]:
    items, rejections = source.scan()
    return [*rejections, *map(source.read, items)]


def test_it_begins_with_what_it_is(exported):
    with zipfile.ZipFile(exported) as archive:
        assert archive.namelist()[0] == "aclnet.npy"
    with np.load(exported) as arrays:
        description = json.loads(arrays["aclnet"][0])
    assert (description["dataset"], description["protocol"]) == ("finegym", "own")


def test_what_lies_beside_the_arrays_of_ctr_gcn(exported, pixel_store):
    with np.load(exported) as arrays:
        content = dict(arrays)
    assert len(content["id_train"]) == 8
    for row, sample_id in enumerate(content["id_train"]):
        sequence = pixel_store.sequence(str(sample_id))
        persons, frames = sequence.present.shape
        assert content["n_persons_train"][row] == persons
        assert content["n_frames_train"][row] == frames
        present = content["present_train"][row]
        np.testing.assert_array_equal(present[:frames, :persons].T, sequence.present)
        assert present.sum() == sequence.present.sum()
        index = content["frame_index_train"][row]
        np.testing.assert_array_equal(index[:frames], sequence.frame_index)
        assert content["width_train"][row] == sequence.width
        assert content["source_train"][row] == sequence.source
    assert "score_train" not in content  # it is in x_train


def test_a_source_is_read_by_other_processes(exported, pixel_store):
    source = pickle.loads(pickle.dumps(open_raw(FINEGYM, exported)))  # noqa: S301
    items, rejections = source.scan()
    assert not rejections
    splits = source.splits()
    assert {name: len(ids) for name, ids in splits.items()} == {"own_train": 8, "own_test": 4}
    assert [item.sample_id for item in items] == splits["own_train"] + splits["own_test"]
    assert items[9].path == "finegym.npz/x_test/1"
    for item in (items[9], items[3]):  # back, too
        sequence, expected = source.read(item), pixel_store.sequence(item.sample_id)
        assert sequence.prepared.original == item.sample_id
        for name in ("keypoint", "score", "present", "frame_index"):
            np.testing.assert_array_equal(getattr(sequence, name), getattr(expected, name))
        assert (sequence.label, sequence.width) == (expected.label, expected.width)


def test_rows_are_where_items_say(exported):
    source = open_raw(FINEGYM, exported)
    for path in ("finegym.npz/x_test/4", "finegym.npz/x_val/0", "", "x_train/0"):
        assert isinstance(source.read(Item("a", path, 0)), Rejection)


def test_a_recording_on_both_sides_is_read_once(edited):
    def change(content: dict) -> None:
        content["id_test"][0] = content["id_train"][2]

    source = edited(change)
    items, rejections = source.scan()
    assert (len(items), rejections) == (11, [])
    assert source.splits()["own_test"][0] == source.splits()["own_train"][2]


def test_one_id_is_of_one_row_of_a_side(edited):
    def change(content: dict) -> None:
        content["id_test"][3] = content["id_test"][1]

    items, rejections = edited(change).scan()
    assert len(items) == 11
    assert [(r.kind, str(r)) for r in rejections] == [
        ("there twice", "x.npz/x_test/3: the same recording is at x.npz/x_test/1")
    ]


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("x", np.nan, "row 1 of x has values that are not finite"),
        ("rotation", np.inf, "row 1 of rotation has values that are not finite"),
        ("y", 0, "row 1 of y is not one-hot"),
        ("y", np.nan, "row 1 of y is not one-hot"),
        ("n_persons", 3, "3 persons in"),
        ("n_persons", 0, "0 persons in"),
        ("n_frames", 10**6, "in 1000000 frames do not fit"),
        ("n_frames", -1, "in -1 frames do not fit"),
        ("source", "\ud800", "a text has invalid characters"),
    ],
)
def test_an_unsound_row_is_rejected_and_the_others_are_read(edited, name, value, reason):
    found = read_all(edited(lambda content: content[f"{name}_train"].__setitem__(1, value)))
    rejections = [result for result in found if isinstance(result, Rejection)]
    assert [r.path for r in rejections] == ["x.npz/x_train/1"]
    assert reason in rejections[0].reason
    assert len(found) == 12


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("subject_test"), "has no array 'subject_test'"),
        (lambda c: c.update(camera_train=np.zeros(5, np.int32)), r"camera_train is int32 \(5,\)"),
        (lambda c: c.update(setup_train=np.zeros(8)), "setup_train is float64"),
        (lambda c: c.update(x_train=c["x_train"][..., :60]), "x_train is float32"),
        (lambda c: c.update(x_train=np.zeros(8, np.float32)), "x_train is float32"),
        (lambda c: c.update(present_test=c["present_test"][:, :3]), "present_test is bool"),
        (lambda c: c.update(y_test=np.zeros(4, np.float32)), r"y_test is float32 \(4,\)"),
        (lambda c: c.update(y_test=np.zeros((4, 400), np.float32)), "y_test does not have 99"),
        (lambda c: c.update(id_test=np.zeros(4)), "id_test: .*text is expected"),
        (lambda c: c.update(id_test=np.array(["\ud800"] * 4)), "id_test: a text has"),
        (lambda c: c.update(aclnet=np.array([], str)), "does not describe its store correctly"),
        (lambda c: c.update(aclnet=np.array(["{" * 2000])), "does not describe its store"),
        (lambda c: c.update(aclnet=np.array(["[" * 99999])), "does not describe its store"),
        (described(protocol="a/b"), "does not describe its store correctly .protocol"),
        (described(schema_version=2), "schema_version"),
        (described(dataset="ntu60"), "holds the dataset ntu60, not finegym"),
        (described(layout="mine"), r"put the file of the layout beside it, as .*mine\.json"),
        (described(scored=False), "x_train is float32"),
    ],
)  # fmt: skip
def test_a_file_without_its_tables_is_the_users_mistake(edited, change, message):
    with pytest.raises(AclnetError, match=message):
        edited(change).scan()


def test_a_file_that_is_replaced_or_gone_is_noticed(edited):
    source = edited(lambda _: None)
    before = source.fingerprint()
    items, _ = source.scan()
    assert source.read(items[0]).camera == -1
    edited(lambda content: content["camera_train"].__setitem__(0, 7))
    assert source.read(items[0]).camera == 7
    assert source.fingerprint() != before
    source.root.unlink()
    with pytest.raises(FileNotFoundError):
        source.read(items[0])
    with pytest.raises(AclnetError, match="cannot be read"):
        source.fingerprint()


def test_other_npz_files_are_other_readers(exported, tmp_path):
    with np.load(exported) as arrays:
        np.savez(tmp_path / "x.npz", **{name: arrays[name] for name in ("x_train", "y_train")})
    source = open_raw(get_dataset("ntu60"), tmp_path / "x.npz")
    assert type(source) is CtrNpzSource
    with pytest.raises(AclnetError, match="has no array 'x_test'"):
        source.scan()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("changed")


def _unpack(archive: bytes, member: zipfile.ZipInfo) -> bytes | None:
    try:
        return zipfile.ZipFile(BytesIO(archive)).read(member)
    except (zipfile.BadZipFile, zlib.error):
        return None


@settings(max_examples=30)
@given(
    name=st.sampled_from(["x_train", "x_test", "present_train", "frame_index_test", "id_test"]),
    place=st.floats(0.1, 0.9),
    bit=st.integers(0, 7),
)
def test_a_changed_array_never_goes_unsaid(exported, folder, refusal_of, name, place, bit):
    """At the latest with its last row: then its checksum is compared."""
    changed = bytearray(exported.read_bytes())
    with zipfile.ZipFile(exported) as archive:
        info = archive.getinfo(f"{name}.npy")
        array = archive.read(info)
    begin = info.header_offset + 100  # behind its header
    changed[begin + int(place * (info.compress_size - 100))] ^= 1 << bit
    # a copy from another place within a run of zeros unpacks to the same array
    assume(_unpack(bytes(changed), info) != array)
    (folder / "y.npz").write_bytes(changed)
    with refusal_of("y.npz"):
        found = read_all(open_raw(FINEGYM, folder / "y.npz"))
        assert any(isinstance(result, Rejection) for result in found)


@pytest.mark.slow
@settings(max_examples=60)
@given(data=st.data(), cut=st.booleans())
def test_a_changed_file_gives_sequences_or_says_why_not(exported, folder, refusal_of, data, cut):
    changed = bytearray(exported.read_bytes())
    # half of the changes in the list of arrays, at the end
    begin = data.draw(st.sampled_from([0, len(changed) - 2500]))
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(begin, len(changed) - 1))
        changed[position] = data.draw(st.integers(0, 255))
    (folder / "x.npz").write_bytes(changed[:position] if cut else changed)
    with refusal_of("x.npz"):
        source = open_raw(FINEGYM, folder / "x.npz")
        for result in read_all(source):
            assert isinstance(result, SkeletonSequence | Rejection)
            if isinstance(result, SkeletonSequence):
                assert np.isfinite(result.keypoint).all()
        source.splits()
        source.fingerprint()
