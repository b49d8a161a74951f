"""Stores that are prepared in parts, compared with one preparation of all recordings."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

import aclnet
from aclnet.datasets.registry import get_dataset, open_raw
from aclnet.datasets.spec import AclnetError
from aclnet.datasets.store.store import Store
from aclnet.datasets.store.verify import verify
from aclnet.pipelines.prepare.options import PrepareOptions
from aclnet.pipelines.prepare.preparation import Portion

if TYPE_CHECKING:
    from pathlib import Path

PARTS = 3


def prepare_parts(dataset: str, raw: Path, out: Path, **options: object) -> Store:
    """Prepares all parts, the last one first, and joins them."""
    for number in range(PARTS, 0, -1):
        aclnet.prepare(dataset, raw, out, shards=f"{number}/{PARTS}", **options)
    aclnet.finalise(out)
    return aclnet.open_store(out)


def assert_same_sequences(joined: Store, whole: Store) -> None:
    """Compares the samples of two stores by their ids, bit for bit."""
    assert sorted(joined.column("id")) == sorted(whole.column("id"))
    assert joined.column_names == whole.column_names
    rows = {sample: row for row, sample in enumerate(whole.column("id").tolist())}
    order = np.array([rows[sample] for sample in joined.column("id").tolist()])
    for name in whole.column_names:
        if name != "start":
            np.testing.assert_array_equal(joined.column(name), whole.column(name)[order], name)
    np.testing.assert_array_equal(joined.sample_keys, whole.sample_keys[order])
    for row, found in enumerate(joined.sequences(np.arange(len(joined)))):
        wanted = whole.sequence(int(order[row]))
        for name in ("keypoint", "present", "frame_index"):
            np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
        assert (found.score is None) == (wanted.score is None)
        if wanted.score is not None:
            np.testing.assert_array_equal(found.score, wanted.score)


@pytest.fixture(scope="module")
def ntu_raw(people, tmp_path_factory) -> Path:
    """A folder with 12 recordings and another file. One recording is damaged."""
    raw = tmp_path_factory.mktemp("ntu-raw")
    for file in people.glob("S00[12]C00[12]*R001*"):
        shutil.copyfile(file, raw / file.name)
    damaged = sorted(raw.iterdir())[4]
    damaged.write_bytes(damaged.read_bytes()[:-2000])
    (raw / "notes.skeleton").write_text("no recording")
    return raw


@pytest.fixture(scope="module", params=["ntu60", "custom", "finegym"])
def prepared(request, ntu_raw, home, pixel_pickle, pixel_store, tmp_path_factory):
    """Dataset, raw data, the store of one go, and the set of three parts."""
    folder = tmp_path_factory.mktemp("parts")
    if request.param == "finegym":
        raw, whole = pixel_pickle, pixel_store.path
    else:
        raw, whole = {"ntu60": ntu_raw, "custom": home}[request.param], folder / "whole.zarr"
        aclnet.prepare(request.param, raw, whole)
    joined = prepare_parts(request.param, raw, folder / "set.zarr")
    return request.param, raw, Store(whole), joined


@pytest.mark.slow
def test_the_sequences_are_those_of_one_go(prepared):
    _, _, whole, joined = prepared
    assert len(joined.members) == PARTS
    assert max(map(len, joined.members)) - min(map(len, joined.members)) <= 2
    assert (joined.class_names, joined.layout) == (whole.class_names, whole.layout)
    assert_same_sequences(joined, whole)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{"dtype": "int16"}, {"augment": "rotate=0.2", "variants": 1}], ids=str
)
def test_rounding_and_stored_variants_are_those_of_one_go(options, home, tmp_path):
    chosen = aclnet.PrepareOptions(**options)
    whole = aclnet.prepare("custom", home, tmp_path / "whole.zarr", options=chosen)
    joined = prepare_parts("custom", home, tmp_path / "set.zarr", options=chosen)
    assert (joined.column("variant") > 0).sum() == whole.variants
    assert_same_sequences(joined, Store(whole.path))


def test_sides_and_rejections_are_those_of_one_go(prepared):
    _, _, whole, joined = prepared
    assert joined.protocols == whole.protocols
    assert [*joined.splits] == [*whole.splits]
    for name, mask in whole.splits.items():
        wanted = sorted(whole.column("id")[mask])
        assert sorted(joined.column("id")[joined.mask(name)]) == wanted
        assert joined.classes_of(name.partition("/")[0]) == whole.classes_of(name.partition("/")[0])
    assert joined.attributes.protocols == whole.attributes.protocols
    assert joined.attributes.rejected == whole.attributes.rejected
    lines = [(part.path / "rejected.csv").read_text().splitlines() for part in joined.members]
    whole_lines = (whole.path / "rejected.csv").read_text().splitlines()
    assert sorted(line for part in lines for line in part[1:]) == sorted(whole_lines[1:])
    assert joined.attributes.options == whole.attributes.options
    assert joined.remarks == ()
    assert list(verify(joined.path)) == []


def test_a_training_has_every_sample_once(prepared):
    _, _, whole, joined = prepared
    side = f"{whole.default_protocol}/train"
    sampling = aclnet.UniformSampling(4)
    stream = joined.stream(side, batch_size=1, sampling=sampling, seed=5)
    seen = [str(joined.column("id")[batch.sample[0]]) for batch in stream]
    assert sorted(seen) == sorted(whole.column("id")[whole.mask(side)])


def test_done_parts_and_sets_are_left_alone(prepared):
    dataset, raw, _, joined = prepared
    report = aclnet.prepare(dataset, raw, joined.path, shards="2/3")
    assert (report.existed, report.part) == (True, "2/3")
    assert aclnet.finalise(joined.path).existed
    # the set is what one preparation makes of the same files with the same options
    assert aclnet.prepare(dataset, raw, joined.path).existed
    assert aclnet.open_store(joined.path).digest == joined.digest


@pytest.mark.parametrize("of", [1, 2, 7])
def test_portions_are_a_partition_by_file(home, of):
    source = open_raw(get_dataset("custom"), home)
    items, _ = source.scan()
    portions = [Portion(number, of).choose(source, items) for number in range(1, of + 1)]
    assert sorted(i.sample_id for p in portions for i in p) == sorted(i.sample_id for i in items)
    paths = [{item.path for item in portion} for portion in portions]
    assert sum(map(len, paths)) == len(set.union(*paths))
    assert max(map(len, paths)) - min(map(len, paths)) <= 1


def test_a_file_with_all_recordings_is_dealt_out_too(pixel_pickle):
    source = open_raw(get_dataset("finegym"), pixel_pickle)
    items, _ = source.scan()
    assert len({item.path for item in items}) == 1
    portions = [Portion(number, 5).choose(source, items) for number in range(1, 6)]
    assert [len(portion) for portion in portions] == [3, 3, 2, 2, 2]
    assert sorted(i.sample_id for p in portions for i in p) == sorted(i.sample_id for i in items)
    with pytest.raises(AclnetError, match="12 recordings cannot be 13 parts"):
        Portion(1, 13).choose(source, items)


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "1/0", "-1/2", "1/2/3", ""])
def test_what_is_no_part(text):
    with pytest.raises(AclnetError, match="the second of eight parts"):
        Portion.parse(text)


@pytest.mark.slow
def test_wrong_parts_are_named(home, home_store, tmp_path):
    out = tmp_path / "set.zarr"
    for shards in ("1/3", "3/3"):
        aclnet.prepare("custom", home, out, shards=shards)
    with pytest.raises(AclnetError, match=r"1 of 3 parts .*: 2; .*--shards 2/3"):
        aclnet.finalise(out)
    with pytest.raises(AclnetError, match=r"`aclnet finalise .*set\.zarr` joins"):
        aclnet.open_store(out)
    other = aclnet.PrepareOptions(persons=1)
    aclnet.prepare("custom", home, tmp_path / "other.zarr", shards="2/3", options=other)
    parts = [out, tmp_path / "other.zarr"]
    with pytest.raises(AclnetError, match="parts of different preparations"):
        aclnet.finalise(tmp_path / "x.zarr", *parts)
    with pytest.raises(AclnetError, match="is not a part of a preparation"):
        aclnet.finalise(tmp_path / "x.zarr", out, home_store)
    shutil.copytree(out / "part-1-of-3", tmp_path / "again")
    with pytest.raises(AclnetError, match="are both part 1/3"):
        aclnet.finalise(tmp_path / "x.zarr", out, tmp_path / "again")
    with pytest.raises(AclnetError, match="without options"):
        aclnet.finalise(out, prefix_ids=True)
    assert not (tmp_path / "x.zarr").exists()


@pytest.mark.slow
def test_parts_of_several_processes_on_several_disks(home, home_store, tmp_path):
    command = [sys.executable, "-m", "aclnet", "prepare", "custom", "--raw", home]
    other = subprocess.Popen([*command, "--out", tmp_path / "disk1", "--shards", "1/2"])
    aclnet.prepare("custom", home, tmp_path / "disk2", shards="2/2")
    assert other.wait() == 0
    report = aclnet.finalise(tmp_path / "set.zarr", tmp_path / "disk2", tmp_path / "disk1")
    assert [path for path, _ in report.members] == [
        str(tmp_path / f"disk{number}" / f"part-{number}-of-2") for number in (1, 2)
    ]
    joined = aclnet.open_store(tmp_path / "set.zarr")
    assert sorted(joined.column("id")) == sorted(Store(home_store).column("id"))


def test_what_a_set_may_not_replace(home, home_store, people_store, tmp_path):
    plain = tmp_path / "plain.zarr"
    shutil.copytree(home_store, plain)
    with pytest.raises(AclnetError, match="is a store of its own"):
        aclnet.prepare("custom", home, plain, shards="1/2")
    with pytest.raises(AclnetError, match="is a store, not a set"):
        aclnet.finalise(plain, home_store, people_store)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("a")
    with pytest.raises(AclnetError, match="exists and is not a set"):
        aclnet.finalise(tmp_path / "notes", home_store, people_store)
    out = tmp_path / "set.zarr"
    with pytest.raises(AclnetError, match="alone is not a set"):
        aclnet.finalise(out, home_store)
    with pytest.raises(AclnetError, match="holds no parts"):
        aclnet.finalise(out)
    aclnet.finalise(out, home_store, people_store)
    with pytest.raises(AclnetError, match="cannot be a member of itself"):
        aclnet.finalise(out, out, people_store)
    with pytest.raises(AclnetError, match="--overwrite"):
        aclnet.finalise(out, people_store, home_store)
    report = aclnet.finalise(out, people_store, home_store, overwrite=True)
    assert aclnet.open_store(out).digest == report.digest


def test_prepare_does_not_replace_a_set_with_its_members(home, tmp_path, files_below):
    out = tmp_path / "set.zarr"
    for shards in ("1/2", "2/2"):
        aclnet.prepare("custom", home, out, shards=shards)
    aclnet.finalise(out)
    before = files_below(out)
    other = PrepareOptions(seed=5)
    with pytest.raises(AclnetError, match=r"other files or options; choose another --out$"):
        aclnet.prepare("custom", home, out, options=other)
    with pytest.raises(AclnetError, match=r"set\.zarr is a set and may hold its members"):
        aclnet.prepare("custom", home, out, options=other, overwrite=True)
    assert files_below(out) == before
