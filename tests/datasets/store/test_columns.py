"""Columns of many samples are cut into chunks, and ids have keys; older stores have neither."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import zarr

import aclnet
from aclnet.datasets.formats.atomic import write_json
from aclnet.datasets.spec import AclnetError
from aclnet.datasets.store import keyed_random, manifest, zarr_io
from aclnet.datasets.store.verify import verify

FILES = ("samples/id/c/3", "samples/rotation/c/3/0/0", "keys/id/c/3", "splits/xsub/test/c/3")


@pytest.fixture(scope="module")
def chunked(people, people_store, prepare_raw, tmp_path_factory):
    """The store of `people` with chunks of twenty rows in its columns."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zarr_io, "COLUMN_ROWS", 20)
        out = tmp_path_factory.mktemp("chunked") / "people.zarr"
        prepare_raw(people, out)
        yield out


@pytest.fixture
def cut(chunked, tmp_path):
    """A copy to be damaged."""
    shutil.copytree(chunked, tmp_path / "cut.zarr")
    return tmp_path / "cut.zarr"


@pytest.mark.slow
def test_columns_in_chunks_hold_the_same(chunked, people_store):
    whole, cut = aclnet.open_store(people_store), aclnet.open_store(chunked)
    assert all((chunked / name).is_file() and not (people_store / name).exists() for name in FILES)
    names = [name for name, _ in zarr.open_group(people_store, mode="r")["samples"].arrays()]
    for name in names:
        expected = whole.column(name)
        assert cut.column(name).dtype == expected.dtype
        np.testing.assert_array_equal(cut.column(name), expected)
        plain = np.asarray(zarr.open_group(chunked, mode="r")[f"samples/{name}"][...])
        np.testing.assert_array_equal(plain.astype(expected.dtype), expected)
    assert cut.splits.keys() == whole.splits.keys()
    for name, mask in whole.splits.items():
        np.testing.assert_array_equal(cut.splits[name], mask)
    np.testing.assert_array_equal(cut.sample_keys, whole.sample_keys)
    assert list(verify(chunked)) == []


@pytest.mark.parametrize(
    "texts",
    [
        [f"S{n}\u00fc\u20ac" * (n % 5) for n in range(250)],
        ["x", "", "yy"],
        [""] * 30,
        ["a" * 70_000] * 3,
    ],
    ids=["several chunks", "short", "empty", "long"],
)
@pytest.mark.parametrize("kind", [str, np.dtypes.StringDType()], ids=["fixed", "variable"])
def test_texts_have_the_bytes_that_zarr_writes(texts, kind, tmp_path, monkeypatch):
    monkeypatch.setattr(zarr_io, "COLUMN_ROWS", 100)
    zarr_io.create_group(tmp_path / "group", {})
    zarr_io.create_column(tmp_path / "group", "x", np.array(texts, dtype=kind), ("sample",))
    array = zarr_io.open_array(tmp_path / "group", "x", "r+")
    assert array[:].tolist() == texts
    files = sorted((tmp_path / "group/x/c").iterdir())
    ours = [file.read_bytes() for file in files]
    array.with_config({"write_empty_chunks": True})[:] = np.array(texts, dtype=object)
    assert [file.read_bytes() for file in files] == ours


@pytest.mark.parametrize("file", FILES)
def test_a_damaged_chunk_is_told_before_it_is_read(cut, file):
    data = bytearray((cut / file).read_bytes())
    data[20] ^= 1
    (cut / file).write_bytes(data)
    store = aclnet.open_store(cut)
    read = {
        "samples/id": lambda: store.column("id"),
        "samples/rotation": lambda: store.column("rotation"),
        "keys/id": lambda: store.sample_keys,
        "splits/xsub/test": lambda: store.splits,
    }[file.partition("/c/")[0]]
    with pytest.raises(AclnetError, match=f"{file} differs from what was written"):
        read()
    assert any(file in problem for problem in verify(cut))


def test_a_chunk_that_goes_after_opening_never_reads_as_fill(cut):
    store = aclnet.open_store(cut)
    (cut / "samples/label/c/2").unlink()
    with pytest.raises(AclnetError, match="samples/label/c/2 is missing"):
        store.column("label")


def test_the_keys_are_those_of_ids_and_recordings(people_store):
    store = aclnet.open_store(people_store)
    expected = keyed_random.sample_keys(store.column("id"))
    np.testing.assert_array_equal(zarr.open_array(people_store / "keys/id", mode="r"), expected)
    np.testing.assert_array_equal(store.sample_keys, expected)
    recordings = keyed_random.sample_keys(store.column("original"))
    np.testing.assert_array_equal(store.recording_keys, recordings)


@pytest.mark.slow
def test_a_store_without_keys_streams_the_same(copy, people_store):
    """As stores of earlier versions are."""
    shutil.rmtree(copy / "keys")
    written = json.loads((copy / manifest.NAME).read_text())
    kept = {name: f for name, f in written["files"].items() if not name.startswith("keys/")}
    zarr_io.consolidate(copy)
    kept[zarr_io.METADATA] = manifest.describe_file(copy / zarr_io.METADATA).model_dump()
    write_json(copy / manifest.NAME, {**written, "files": kept})
    assert list(verify(copy)) == []
    batches = [
        list(
            aclnet.open_store(path).stream(
                "xsub/train", batch_size=8, sampling=aclnet.UniformSampling(5), seed=3
            )
        )
        for path in (people_store, copy)
    ]
    for new, old in zip(*batches, strict=True):
        for name in ("sample", "key", "keypoint"):
            np.testing.assert_array_equal(getattr(new, name), getattr(old, name))


def test_keys_of_other_ids_are_damage(copy):
    array = zarr.open_array(copy / "keys/id", mode="r+")
    array[5] = 7
    written = json.loads((copy / manifest.NAME).read_text())
    written["files"]["keys/id/c/0"] = manifest.describe_file(copy / "keys/id/c/0").model_dump()
    write_json(copy / manifest.NAME, written)
    (problem,) = verify(copy)
    assert problem.endswith("keys/id are not the keys of samples/id")
