"""xarray opens the groups of a store by the names of their dimensions."""

from __future__ import annotations

import numpy as np
import pytest

from aclnet.datasets.store.store import Store

xarray = pytest.importorskip("xarray")


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_xarray_reads_what_the_store_reads(people, prepare_raw, tmp_path, dtype):
    path = tmp_path / "people.zarr"
    prepare_raw(people, path, dtype=dtype)
    store = Store(path)
    frames, samples, sides = (
        xarray.open_zarr(path, group=group) for group in ("frames", "samples", "splits/xsub")
    )
    assert frames["keypoint"].dims == ("row", "joint", "coordinate")
    assert samples.sizes["sample"] == len(store)
    for number in (0, len(store) - 1):
        one = samples.isel(sample=number)
        persons, length = int(one["n_persons"]), int(one["n_frames"])
        start = int(one["start"])
        rows = frames.isel(row=slice(start, start + persons * length))
        joints = rows["keypoint"].values * rows["keypoint"].attrs.get("scale", 1)
        expected = store.sequence(number)
        assert str(one["id"].values) == expected.sample_id
        np.testing.assert_allclose(
            joints.reshape(persons, length, *joints.shape[1:]), expected.keypoint, rtol=1e-6
        )
        np.testing.assert_array_equal(rows["present"].values, expected.present.ravel())
    for side in ("train", "test"):
        np.testing.assert_array_equal(sides[side].values, store.mask(f"xsub/{side}"))


def test_the_whole_store_is_a_tree(people_store):
    tree = xarray.open_datatree(people_store, engine="zarr")
    assert {"/frames", "/samples", "/splits/xsub"} <= {node.path for node in tree.subtree}
    assert tree.attrs["dataset"] == "ntu60"
