"""Arrays name their dimensions; stores from before they did open as before."""

from __future__ import annotations

import json

import numpy as np
import pytest
import zarr

import aclnet
from aclnet.datasets.formats.atomic import write_json
from aclnet.datasets.store import manifest
from aclnet.datasets.store.verify import verify


def arrays(path):
    """Every array of a store by its name, as plain zarr reads it."""
    group = zarr.open_group(path, mode="r")
    return {name: array for name, array in group.members(max_depth=None) if hasattr(array, "shape")}


def test_every_dimension_has_a_name_and_a_name_has_one_length(people_store):
    lengths = {}
    for array in arrays(people_store).values():
        names = array.metadata.dimension_names
        assert len(set(names)) == array.ndim
        for name, length in zip(names, array.shape, strict=True):
            assert lengths.setdefault(name, length) == length
    store = aclnet.open_store(people_store)
    assert lengths == {
        "row": len(store.manifest.shards) * store.shard_rows,
        "joint": 25,
        "coordinate": 3,
        "raw_coordinate": 3,
        "sample": len(store),
    }


@pytest.fixture
def unnamed(copy):
    """The store as an earlier version wrote it."""

    def strip(metadata):
        metadata.pop("dimension_names", None)
        for entry in metadata.get("consolidated_metadata", {}).get("metadata", {}).values():
            entry.pop("dimension_names", None)

    entry = json.loads((copy / manifest.NAME).read_text())
    for file in copy.rglob("zarr.json"):
        metadata = json.loads(file.read_text())
        strip(metadata)
        file.write_text(json.dumps(metadata))
        name = file.relative_to(copy).as_posix()
        entry["files"][name] = manifest.describe_file(file).model_dump()
    write_json(copy / manifest.NAME, entry)
    return copy


def test_a_store_without_names_opens(unnamed, people_store):
    assert {a.metadata.dimension_names for a in arrays(unnamed).values()} == {None}
    assert list(verify(unnamed)) == []
    before, now = aclnet.open_store(unnamed), aclnet.open_store(people_store)
    assert before.attributes == now.attributes
    for name in ("id", "centre", "start"):
        np.testing.assert_array_equal(before.column(name), now.column(name))
    for shard in range(len(now.manifest.shards)):
        for a, b in zip(before.read_shard(shard), now.read_shard(shard), strict=True):
            np.testing.assert_array_equal(a, b)
