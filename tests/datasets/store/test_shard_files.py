"""Files of shards that are written chunk by chunk, against those that zarr writes itself."""

from __future__ import annotations

import numpy as np
import pytest

import aclnet
from aclnet.datasets.store import zarr_io
from aclnet.datasets.store.verify import verify

ROWS = 64
ARRAYS = {
    "float32": ((5, 3), np.nan),
    "int16": ((5, 3), -32768),
    "bool": ((), False),
    "int32": ((), -1),
}


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(zarr_io, "_CHUNK_BYTES", 256)


@pytest.fixture(params=ARRAYS)
def group(request, tmp_path, small_chunks):
    """A group with an array of two shards, in chunks where rows are large enough."""
    row_shape, fill = ARRAYS[request.param]
    zarr_io.create_group(tmp_path / "group", {})
    zarr_io.create_frames(
        tmp_path / "group",
        "frames/x",
        shards=2,
        shard_rows=ROWS,
        row_shape=row_shape,
        dtype=request.param,
        fill=fill,
        axes=("row", "joint", "space")[: 1 + len(row_shape)],
    )
    return tmp_path / "group"


def rows_of(array) -> np.ndarray:
    """Random rows; the last third, and a block in the middle, have fill values alone."""
    rng = np.random.default_rng(0)
    rows = (100 * rng.normal(size=(ROWS, *array.shape[1:]))).astype(array.dtype)
    rows[16:32] = rows[40:] = array.fill_value
    return rows


def test_a_shard_has_the_bytes_that_zarr_writes(group):
    array = zarr_io.open_array(group, "frames/x", "r+")
    rows, file = rows_of(array), group / zarr_io.shard_file("frames/x", 1, array.ndim)
    zarr_io.write_shard(group, "frames/x", 1, rows.__getitem__)
    ours = file.read_bytes()
    np.testing.assert_array_equal(array[ROWS:], rows)
    file.unlink()
    array[ROWS:] = rows
    assert file.read_bytes() == ours


def test_a_shard_of_fill_values_is_a_file_too(group):
    array = zarr_io.open_array(group, "frames/x")
    rows = np.full_like(rows_of(array), array.fill_value)
    zarr_io.write_shard(group, "frames/x", 1, rows.__getitem__)
    np.testing.assert_array_equal(array[ROWS:], rows)
    assert (group / zarr_io.shard_file("frames/x", 1, array.ndim)).is_file()


def test_a_shard_with_other_rows_is_not_written(group):
    rows = rows_of(zarr_io.open_array(group, "frames/x"))[:-1]
    with pytest.raises(ValueError, match=r"a chunk of frames/x has \d+ rows, not \d+"):
        zarr_io.write_shard(group, "frames/x", 0, rows.__getitem__)
    assert not [file for file in group.rglob("c/*") if file.is_file()]


@pytest.mark.parametrize("dtype", [pytest.param("float32", marks=pytest.mark.slow), "int16"])
def test_sequences_across_chunks_are_whole(people, people_store, prepare_raw, tmp_path, dtype):
    whole = people_store
    if dtype == "int16":
        whole = tmp_path / "whole.zarr"
        prepare_raw(people, whole, dtype=dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zarr_io, "_CHUNK_BYTES", 4096)
        prepare_raw(people, tmp_path / "cut.zarr", dtype=dtype)
    array = zarr_io.open_array(tmp_path / "cut.zarr", "frames/keypoint")
    starts = aclnet.open_store(whole).column("start")
    rows = aclnet.open_store(whole).column("n_frames")
    assert (starts // array.chunks[0] < (starts + rows - 1) // array.chunks[0]).any()
    expected, found = aclnet.open_store(whole), aclnet.open_store(tmp_path / "cut.zarr")
    for row in range(len(expected)):
        np.testing.assert_array_equal(found.sequence(row).keypoint, expected.sequence(row).keypoint)
    errors = [
        zarr_io.open_array(path, "frames/keypoint").attrs.get("max_error")
        for path in (whole, tmp_path / "cut.zarr")
    ]
    assert errors[0] == errors[1]
    assert list(verify(tmp_path / "cut.zarr")) == []
