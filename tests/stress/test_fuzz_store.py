"""Stores with damaged metadata, arrays, chunks and manifests, which are refused with a message."""

from __future__ import annotations

import json
import shutil
import struct
from typing import TYPE_CHECKING

import pytest

from aclnet.datasets.spec import AclnetError
from tests.stress.fuzz import cases, targets_stores

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def store(tmp_path, monkeypatch) -> Path:
    """A copy of a small store, in the working folder."""
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(targets_stores.store(), tmp_path / "some.zarr")


def change(store: Path, name: str, content: bytes) -> None:
    """Changes a file of a store, and the manifest to match."""
    manifest = json.loads((store / "manifest.json").read_bytes())
    targets_stores.describe(manifest, name, content)
    (store / name).write_bytes(content)
    (store / "manifest.json").write_text(json.dumps(manifest))


def assert_refused(store: Path, match: str) -> None:
    case = cases.Case([], lambda _: targets_stores.read_store(store))
    assert cases.examine(case, b"", store.parent) is None
    with pytest.raises(AclnetError, match=match):
        targets_stores.read_store(store)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xff", b"[]", b"{}", b'{"zarr_format": 3}'])
def test_metadata_of_a_store_that_are_none(store, content):
    change(store, "zarr.json", content)
    assert_refused(store, r"zarr\.json describes no store|schema: Field required")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("samples/start", "shape"), [5]),
        (("samples/start", "data_type"), "float64"),
        (("samples/label", "shape"), [7]),
        (("samples/label", "data_type"), "float32"),
        (("samples/centre", "shape"), [6]),
        (("splits/own/train", "shape"), [5]),
        (("frames/keypoint", "shape"), [10**12, 25, 3]),
        (("frames/keypoint", "data_type"), "int64"),
        (("frames/present", "shape"), [1]),
    ],
)
def test_arrays_of_a_store_that_are_others(store, place, value):
    metadata = json.loads((store / "zarr.json").read_bytes())
    array = metadata["consolidated_metadata"]["metadata"][place[0]]
    array[place[1]] = value
    change(store, "zarr.json", json.dumps(metadata).encode())
    assert_refused(store, "some.zarr")


@pytest.mark.parametrize("name", ["shard_rows", "coordinates"])
@pytest.mark.parametrize("value", [0, -1, 10**9])
def test_attributes_of_a_store_that_fit_nothing(store, name, value):
    metadata = json.loads((store / "zarr.json").read_bytes())
    metadata["attributes"][name] = value
    change(store, "zarr.json", json.dumps(metadata).encode())
    assert_refused(store, "some.zarr")


def test_a_chunk_that_announces_a_negative_size(store):
    from google_crc32c import value

    content = bytearray((store / "samples/start/c/0").read_bytes())
    content[4:8] = b"\xff" * 4
    content[-4:] = struct.pack("<I", value(bytes(content[:-4])))
    change(store, "samples/start/c/0", bytes(content))
    assert_refused(store, "does not decode")


def test_a_chunk_that_announces_more_texts_than_there_are(store):
    """Zarr would allocate room for all of them: four bytes took 13 gigabytes."""
    from google_crc32c import value
    from numcodecs import blosc

    content = (store / "samples/id/c/0").read_bytes()
    texts = b"\xff\xff\xff\x6f" + blosc.decompress(content[:-4])[4:]
    chunk = blosc.compress(texts, b"zstd", 1, 1)
    change(store, "samples/id/c/0", chunk + struct.pack("<I", value(chunk)))
    assert_refused(store, "does not have 6 texts")


def test_a_column_in_many_pieces(store):
    metadata = json.loads((store / "zarr.json").read_bytes())
    array = metadata["consolidated_metadata"]["metadata"]["samples/subject"]
    array["shape"] = [10**9]
    change(store, "zarr.json", json.dumps(metadata).encode())
    assert_refused(store, "is of shape")
    array["shape"], array["chunk_grid"]["configuration"]["chunk_shape"] = [6], [1]
    change(store, "zarr.json", json.dumps(metadata).encode())
    assert_refused(store, "is not in one piece")


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "a/../../b", "a\0b", ""])
def test_a_manifest_of_files_outside_the_store(store, name):
    manifest = json.loads((store / "manifest.json").read_bytes())
    manifest["files"][name] = {"bytes": 0, "sha256": ""}
    (store / "manifest.json").write_text(json.dumps(manifest))
    assert_refused(store, "manifest.json is damaged")
