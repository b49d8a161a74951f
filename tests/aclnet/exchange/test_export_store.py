"""Stores as files for other code: read by plain pickle, numpy and h5py, and prepared again."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest

import aclnet
from aclnet.datasets.exports.forms import STORE_FORMS
from aclnet.datasets.registry import get_dataset, open_raw
from aclnet.datasets.spec import AclnetError, Item, SkeletonSequence, Source
from aclnet.datasets.store import store as stores
from aclnet.exchange.export_store import default_file, export_store
from aclnet.pipelines.prepare import samples
from aclnet.pipelines.prepare.executor import open_executor
from aclnet.pipelines.prepare.options import PrepareOptions
from aclnet.pipelines.prepare.stages import prepare

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aclnet.datasets.store.store import Store

LOST = {"start"}
"""Columns that say where in the store a sample lies."""


class Odd(Source):
    """Sequences in memory with everything that a store can hold beside joints."""

    def __init__(self, persons: int = 3) -> None:
        super().__init__(get_dataset("ntu60"), Path("odd.pkl"))
        object.__setattr__(self, "persons", persons)

    def scan(self):
        return [Item(f"odd {n}", "", 1) for n in range(6)], []

    def splits(self):
        ids = [item.sample_id for item in self.scan()[0]]
        names = ("train", "val", "test2", "a_b_val", "a_b_test", "fold1_train", "fold1_test")
        return {name: ids[n : n + 2] for n, name in enumerate(names[:5])} | {
            name: ids[n : n + 3] for n, name in enumerate(names[5:])
        }

    def read(self, item):
        number = int(item.sample_id[-1])
        rng = np.random.default_rng(number)
        persons, frames = 1 + number % self.persons, 5 + number
        keypoint = rng.normal([0, 0, 3], 0.5, (persons, frames, 25, 3)).astype(np.float32)
        present = np.ones((persons, frames), np.bool_)
        present[0, 1] = False
        present[1:, -1] = False
        keypoint[~present] = 0
        keypoint[0, 2] = 0  # there, with every joint hidden
        return SkeletonSequence(
            sample_id=item.sample_id,
            keypoint=keypoint,
            label=number,
            present=present,
            frame_index=np.arange(10, 10 + 2 * frames, 2, dtype=np.int32),
            score=rng.random(keypoint.shape[:3], np.float32) * present[..., None],
            subject=number,
            camera=2,
            setup=3,
            replication=4,
            condition=f"with a bäg {number}",
            source=f"folder/{number}.txt",
        )


def prepared(source: Source, out: Path) -> Store:
    with open_executor() as run:
        prepare(source, out, PrepareOptions(), run, lambda *_: None)
    return aclnet.open_store(out)


KINDS = ("people", "pixels", "real", "int16", "int16 pixels", "variants", "aligned", "cut", "odd")


@pytest.fixture(scope="module")
def make_store(people_store, people, pixel_store, pixel_pickle, prepare_raw, tmp_path_factory):
    """Stores by kind, made when they are first asked for."""
    made: dict[str, Store] = {}
    few = tmp_path_factory.mktemp("few")
    for file in people.glob("*C00[12]*R001*"):  # both sides of both protocols
        (few / file.name).symlink_to(file)

    def build(kind: str, request: pytest.FixtureRequest) -> Store:
        out = tmp_path_factory.mktemp("of") / f"{kind.replace(' ', '-')}.zarr"
        raw, options = few, {}
        match kind:
            case "people":
                return aclnet.open_store(people_store)
            case "pixels":
                return pixel_store
            case "odd":
                return prepared(Odd(), out)
            case "two":
                return prepared(Odd(persons=2), out)
            case "real":
                raw, options = tmp_path_factory.mktemp("utd"), {"dataset": "utd-mhad"}
                folder = request.getfixturevalue("real_data") / "utd_mhad"
                for file in folder.rglob("a[1-3]_*.mat"):
                    (raw / file.name).symlink_to(file)
            case "int16 pixels":
                raw, options = pixel_pickle, {"dataset": "finegym", "dtype": "int16"}
            case "variants":
                options = {"augment": "rotate=0.2,limb-mask=0.5", "variants": 2}
            case "int16":
                options = {"dtype": "int16"}
            case "aligned":
                options = {"align": True}
        prepare_raw(raw, out, **options)
        return aclnet.open_store(out)

    def get(kind: str, request: pytest.FixtureRequest) -> Store:
        if kind not in made:
            made[kind] = build(kind, request)
        return made[kind]

    return get


@pytest.fixture
def store(request, make_store, monkeypatch) -> Store:
    """A store of the kind that the test is parametrised with."""
    if request.param == "cut":
        monkeypatch.setattr(samples, "MAX_ROWS", 64)
    return make_store(request.param, request)


def rows_of(
    store: Store, *, originals: bool = False, among: NDArray[np.bool_] | None = None
) -> dict[str, int]:
    return {
        str(sample_id): row
        for row, sample_id in enumerate(store.column("id"))
        if not originals or store.column("variant")[row] == 0
        if among is None or among[row]
    }


def assert_same_store(found: Store, expected: Store, *, originals: bool = False) -> None:
    """Equal bit for bit, whatever the order; with `originals`, to what is not a variant."""
    theirs, ours = rows_of(expected, originals=originals), rows_of(found)
    assert_same_samples(found, expected, theirs)
    a, b = list(ours.values()), [theirs[sample_id] for sample_id in ours]
    assert found.splits.keys() == expected.splits.keys()
    assert found.protocols == expected.protocols
    for name, mask in found.splits.items():
        np.testing.assert_array_equal(mask[a], expected.splits[name][b], err_msg=name)


def assert_same_samples(found: Store, expected: Store, theirs: dict[str, int]) -> None:
    """All that there is of the one store is what those rows of the other are, bit for bit."""
    ours = rows_of(found)
    assert ours.keys() == theirs.keys()
    assert found.has_score == expected.has_score
    for sample_id, row in ours.items():
        a, b = found.sequence(row), expected.sequence(theirs[sample_id])
        for name in ("keypoint", "present", "frame_index", "score"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=sample_id)
    a, b = list(ours.values()), [theirs[sample_id] for sample_id in ours]
    columns = {name for name, _ in expected._group["samples"].arrays()} - LOST
    assert {"centre", "rotation", "original", "condition", "source"} <= columns
    for name in columns:
        np.testing.assert_array_equal(found.column(name)[a], expected.column(name)[b], err_msg=name)
    for name in ("title", "layout", "units", "class_names", "normalisation", "coordinates"):
        assert getattr(found.attributes, name) == getattr(expected.attributes, name)


@pytest.mark.slow
@pytest.mark.parametrize("to", ["pyskl", "hdf5"])
@pytest.mark.parametrize("store", KINDS, indirect=True)
def test_an_export_is_prepared_to_the_same_store(store, to, tmp_path, prepare_raw):
    remarks = export_store(store, to, tmp_path / f"x{STORE_FORMS[to][0]}")
    prepare_raw(tmp_path / f"x{STORE_FORMS[to][0]}", tmp_path / "b.zarr", dataset=store.name)
    back = aclnet.open_store(tmp_path / "b.zarr")
    lacks_variants = to == "pyskl" and store.column("variant").any()
    assert_same_store(back, store, originals=lacks_variants)
    count = int((store.column("variant") > 0).sum())
    assert remarks == ([f"{count} stored variants were left out"] if lacks_variants else [])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("store", "protocol"),
    [
        ("people", "xsub"), ("people", "xview"), ("pixels", "own"), ("real", "xsub"),
        ("int16", "xsub"), ("int16 pixels", "own"), ("variants", "xsub"), ("aligned", "xsub"),
        ("cut", "xsub"), ("two", "fold1"), ("two", "own"),
    ],
    indirect=["store"],
)  # fmt: skip
def test_an_npz_is_prepared_to_the_same_recordings(store, protocol, tmp_path, prepare_raw):
    export_store(store, "npz", tmp_path / "x.npz", protocol)
    prepare_raw(tmp_path / "x.npz", tmp_path / "b.zarr", dataset=store.name)
    back = aclnet.open_store(tmp_path / "b.zarr")
    sides = [f"{protocol}/{side}" for side in ("train", "test")]
    chosen = np.logical_or(*map(store.mask, sides))
    assert_same_samples(back, store, rows_of(store, originals=True, among=chosen))
    for side in sides:
        ids = [set(s.column("id")[masked(s, side)]) for s in (back, store)]
        assert ids[0] == ids[1]
    assert protocol in back.protocols


@pytest.mark.slow
def test_fixed_point_stays_what_it_is(make_store, request, tmp_path, prepare_raw):
    store = make_store("int16", request)
    export_store(store, "hdf5", tmp_path / "x.h5")
    prepare_raw(tmp_path / "x.h5", tmp_path / "b.zarr", dtype="int16")
    assert_same_store(aclnet.open_store(tmp_path / "b.zarr"), store)


@pytest.mark.slow
def test_the_kinds_are_what_they_are_called(make_store, request, monkeypatch):
    monkeypatch.setattr(samples, "MAX_ROWS", 64)
    cut = make_store("cut", request)
    pieces = cut.column("id") != cut.column("original")
    assert pieces.any()
    assert (cut.column("n_persons")[pieces] == 2).any()
    monkeypatch.undo()
    assert make_store("variants", request).column("variant").max() == 2
    assert len(make_store("real", request)) == 3 * 8 * 4
    odd = make_store("odd", request)
    assert set(odd.column("n_persons")) == {1, 2, 3}
    assert odd.has_score
    assert sorted(odd.splits) == [
        "a_b/test", "a_b/val", "fold1/test", "fold1/train", "own/test", "own/train", "own2/test",
        "xsub/test", "xsub/train", "xview/test", "xview/train",
    ]  # fmt: skip
    hidden = odd.sequence("odd 4")
    assert hidden.present[0, 1]
    assert not hidden.keypoint[0, 1].any()


# The files, as others open them


def masked(store: Store, split: str) -> list[int]:
    return np.flatnonzero(store.splits[split] & (store.column("variant") == 0)).tolist()


def test_a_pickle_is_what_pyskl_reads(made_up_store, tmp_path):
    store = aclnet.open_store(made_up_store)
    export_store(store, "pyskl", tmp_path / "x.pkl")
    data = (tmp_path / "x.pkl").read_bytes()
    assert b"numpy._core" not in data  # numpy 1 has no such module
    content = pickle.loads(data)  # noqa: S301
    assert list(content["split"]) == ["xsub_train", "xsub_val", "xview_train", "xview_val"]
    for name, split in (("xsub_train", "xsub/train"), ("xview_val", "xview/test")):
        assert sorted(content["split"][name]) == sorted(store.column("id")[masked(store, split)])
    assert len(content["annotations"]) == len(store)
    assert {a["keypoint"].shape[0] for a in content["annotations"]} == {1, 2}
    for annotation in content["annotations"]:
        sequence = store.sequence(annotation["frame_dir"])
        keypoint = annotation["keypoint"]
        assert keypoint.dtype == np.float32
        assert keypoint.flags.writeable
        np.testing.assert_array_equal(keypoint, sequence.keypoint)
        assert annotation["total_frames"] == keypoint.shape[1]
        assert annotation["label"] == sequence.label
        assert not {"keypoint_score", "img_shape"} & set(annotation)
    assert content["aclnet"]["class_names"] == tuple(store.class_names)
    assert content["aclnet"]["normalisation"] == "centre-first-frame/1"


def test_a_pickle_of_pixels_has_the_joints_and_sizes_that_pyskl_knows(pixel_store, tmp_path):
    export_store(pixel_store, "pyskl", tmp_path / "x.pkl")
    content = pickle.loads((tmp_path / "x.pkl").read_bytes())  # noqa: S301
    assert list(content["split"]) == ["train", "val"]
    for annotation in content["annotations"]:
        sequence = pixel_store.sequence(annotation["frame_dir"])
        np.testing.assert_array_equal(annotation["keypoint"], sequence.keypoint[:, :, :17])
        np.testing.assert_array_equal(annotation["keypoint_score"], sequence.score[:, :, :17])
        size = (sequence.height, sequence.width)
        assert annotation["img_shape"] == annotation["original_shape"] == size
    assert content["aclnet"]["file_layout"] == "coco"


def test_joints_that_cannot_be_made_again_exactly_are_written(make_store, request, tmp_path):
    store = make_store("int16 pixels", request)
    export_store(store, "pyskl", tmp_path / "x.pkl")
    content = pickle.loads((tmp_path / "x.pkl").read_bytes())  # noqa: S301
    assert {a["keypoint"].shape[2] for a in content["annotations"]} == {20}
    assert content["aclnet"]["file_layout"] == "coco_new"


def check_npz(path: Path, store: Store, protocol: str, channels: int) -> None:
    """Against CTR-GCN's own way to take its arrays apart."""
    joints = store.layout.num_joints
    with np.load(path) as arrays:
        content = {name: arrays[name] for name in arrays.files}
    longest = 0
    for side in ("train", "test"):
        x, y = content[f"x_{side}"], content[f"y_{side}"]
        ids = content[f"id_{side}"]
        rows = masked(store, f"{protocol}/{side}")
        assert sorted(ids) == sorted(store.column("id")[rows])
        assert x.dtype == y.dtype == np.float32
        parted = x.reshape(len(ids), -1, 2, joints, channels).transpose(0, 4, 1, 3, 2)
        assert len(y) == len(ids)
        for sample_id, one, label in zip(ids, parted, y, strict=True):
            sequence = store.sequence(str(sample_id))
            persons, frames = sequence.present.shape
            expected = np.zeros((channels, x.shape[1], joints, 2), np.float32)
            for m in range(persons):
                for t in range(frames):
                    expected[: store.coordinates, t, :, m] = sequence.keypoint[m, t].T
                    if channels > store.coordinates:
                        expected[-1, t, :, m] = sequence.score[m, t]
            np.testing.assert_array_equal(one, expected)
            assert np.flatnonzero(label).tolist() == [sequence.label]
            longest = max(longest, frames)
    assert content["x_train"].shape[1] == content["x_test"].shape[1] == longest
    assert content["y_train"].shape[1] == len(store.class_names)


@pytest.mark.parametrize(
    ("store", "protocol", "channels"),
    [("people", "xview", 3), ("pixels", "own", 3), ("variants", "xsub", 3), ("real", "xsub", 3)],
    indirect=["store"],
)
def test_npz_is_what_ctr_gcn_reads(store, protocol, channels, tmp_path):
    remarks = export_store(store, "npz", tmp_path / "x.npz", protocol)
    check_npz(tmp_path / "x.npz", store, protocol, channels)
    assert any("variants" in remark for remark in remarks) == bool(store.column("variant").any())


@pytest.mark.slow
@pytest.mark.parametrize("store", ["cut"], indirect=True)
def test_what_was_cut_is_one_recording_again(store, make_store, request, tmp_path, monkeypatch):
    export_store(store, "npz", tmp_path / "x.npz", "xsub")
    monkeypatch.undo()
    check_npz(tmp_path / "x.npz", make_store("whole", request), "xsub", 3)


def test_npz_says_what_it_leaves_out(make_store, request, tmp_path):
    store = make_store("two", request)
    remarks = export_store(store, "npz", tmp_path / "x.npz", "fold1")
    assert remarks == ["2 samples are on neither side of fold1 and were left out"]


def test_npz_has_room_for_two(make_store, request, tmp_path):
    store = make_store("odd", request)
    with pytest.raises(AclnetError, match=r"odd 2 has 3 persons.* export to pyskl or hdf5"):
        export_store(store, "npz", tmp_path / "x.npz", "fold1")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("store", ["pixels", "variants"], indirect=True)
def test_an_hdf5_file_tells_all_by_its_schema(store, tmp_path):
    export_store(store, "hdf5", tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5") as file:
        frames, samples = file["frames"], file["samples"]
        ids = samples["id"].asstr()[...]
        sizes = samples["n_persons"][...] * samples["n_frames"][...]
        assert len(frames["keypoint"]) == sizes.sum()
        for n, sample_id in enumerate(ids):
            sequence = store.sequence(sample_id)
            rows = slice(samples["start"][n], samples["start"][n] + sizes[n])
            for name in ("keypoint", "present", *(["score"] if store.has_score else [])):
                expected = getattr(sequence, name)
                np.testing.assert_array_equal(frames[name][rows].reshape(expected.shape), expected)
            index = frames["index"][rows].reshape(sequence.present.shape)
            np.testing.assert_array_equal(index, [sequence.frame_index] * len(index))
        for name, mask in store.splits.items():
            np.testing.assert_array_equal(file["splits"][name][...], mask)
        assert file["class_names"].asstr()[...].tolist() == store.class_names
        assert json.loads(file["layout"].asstr()[()]) == store.layout.model_dump(mode="json")
        assert file.attrs["dataset"] == store.name
        assert file.attrs["units"] == store.attributes.units


# What must not happen


@pytest.mark.parametrize("to", ["npz", "hdf5"])
def test_rows_are_taken_from_the_store_a_shard_at_a_time(people_store, to, tmp_path, monkeypatch):
    store = aclnet.open_store(people_store)
    reads = []
    rows = stores.Store.read_rows

    def counted(self, name, wanted):
        block = rows(self, name, wanted)
        reads.append((name, wanted.start // self.shard_rows, len(block)))
        return block

    monkeypatch.setattr(stores.Store, "read_rows", counted)
    export_store(store, to, tmp_path / f"x{STORE_FORMS[to][0]}")
    assert len(store.manifest.shards) > 4
    assert max(size for *_, size in reads) <= store.shard_rows
    shards = [(name, shard) for name, shard, _ in reads]
    assert len(shards) == len(set(shards))  # none is decoded twice


def test_npz_is_written_row_by_row(people_store, tmp_path, monkeypatch):
    store = aclnet.open_store(people_store)
    written = []
    opened = zipfile.ZipFile.open

    def watched(self, name, *args, **kwargs):
        stream = opened(self, name, *args, **kwargs)
        write = stream.write
        stream.write = lambda data: (written.append((name, len(data))), write(data))[1]
        return stream

    monkeypatch.setattr(zipfile.ZipFile, "open", watched)
    export_store(store, "npz", tmp_path / "x.npz")
    largest = max(size for name, size in written if name.startswith("x_"))
    assert largest == store.column("n_frames").max() * 2 * 25 * 3 * 4


@pytest.mark.parametrize("to", list(STORE_FORMS))
def test_a_file_is_whole_or_not_there(people_store, to, tmp_path, monkeypatch):
    store = aclnet.open_store(people_store)
    file = tmp_path / f"x{STORE_FORMS[to][0]}"

    def stopped(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stores.Store, "read_rows", stopped)
        with pytest.raises(KeyboardInterrupt):
            export_store(store, to, file)
    assert not list(tmp_path.iterdir())
    file.write_bytes(b"mine")
    with pytest.raises(AclnetError, match="already exists; choose another --out"):
        export_store(store, to, file)
    assert file.read_bytes() == b"mine"


def test_only_npz_is_of_one_protocol(pixel_store, tmp_path):
    with pytest.raises(AclnetError, match="--protocol is for npz"):
        export_store(pixel_store, "hdf5", tmp_path / "x.h5", "own")
    with pytest.raises(AclnetError, match="has no split 'xsub/train'"):
        export_store(pixel_store, "npz", tmp_path / "x.npz", "xsub")
    assert not list(tmp_path.iterdir())


def test_files_lie_beside_their_store(people_store, monkeypatch):
    store = aclnet.open_store(people_store)
    names = [default_file(store, to).name for to in STORE_FORMS]
    assert names == ["people.pkl", "people-xsub.npz", "people.h5"]
    assert default_file(store, "npz", "xview") == people_store.parent / "people-xview.npz"
    monkeypatch.chdir(people_store)
    assert default_file(aclnet.open_store("."), "hdf5") == people_store.parent / "people.h5"


@pytest.mark.parametrize("options", [{"align": True}, {"augment": "rotate=0.1", "variants": 1}])
@pytest.mark.parametrize("to", list(STORE_FORMS))
def test_an_exported_store_is_not_normalised_or_varied_again(
    people_store, to, options, tmp_path, prepare_raw
):
    file = tmp_path / f"x{STORE_FORMS[to][0]}"
    export_store(aclnet.open_store(people_store), to, file)
    with pytest.raises(AclnetError, match="is an exported store"):
        prepare_raw(file, tmp_path / "b.zarr", **options)


@pytest.mark.parametrize("to", list(STORE_FORMS))
def test_another_dataset_does_not_take_it(people_store, to, tmp_path):
    file = tmp_path / f"x{STORE_FORMS[to][0]}"
    export_store(aclnet.open_store(people_store), to, file)
    with pytest.raises(AclnetError, match="holds the dataset ntu60, not utd-mhad"):
        open_raw(get_dataset("utd-mhad"), file)
