"""Verify finds every damage and says where it is."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import aclnet
from aclnet.datasets.formats.atomic import write_json
from aclnet.datasets.spec import AclnetError
from aclnet.datasets.store import manifest, zarr_io
from aclnet.datasets.store.verify import verify


def test_a_sound_store_has_no_damage_and_all_shards_are_read(people_store):
    seen = []
    assert list(verify(people_store, lambda stage, *counts: seen.append(counts))) == []
    count = len(aclnet.open_store(people_store).manifest.shards)
    assert seen == [(n + 1, count) for n in range(count)]


def test_an_unfinished_store_is_refused(tmp_path):
    with pytest.raises(AclnetError, match="there is no such store"):
        list(verify(tmp_path / "x.zarr"))


def test_a_damaged_shard_is_named_with_its_samples(people_store, copy):
    store = aclnet.open_store(people_store)
    ids = store.column("id")[store.shard_of == 3]
    file = copy / "frames/keypoint/c/3/0/0"
    data = bytearray(file.read_bytes())
    data[100] ^= 4
    file.write_bytes(data)
    (problem,) = verify(copy)
    assert problem == (
        f"shard 3 ({len(ids)} samples: {', '.join(ids)}): {file} differs from what was written"
    )


def test_missing_truncated_and_swapped_shards(copy):
    (copy / "frames/keypoint/c/0/0/0").unlink()
    short = copy / "frames/index/c/2"
    short.write_bytes(short.read_bytes()[:-3])
    one, two = (copy / f"frames/present/c/{n}" for n in (5, 6))
    contents = one.read_bytes(), two.read_bytes()
    two.write_bytes(contents[0])
    one.write_bytes(contents[1])
    problems = {p.split()[1]: p for p in verify(copy)}
    assert sorted(problems) == ["0", "2", "5", "6"]
    assert "keypoint/c/0/0/0 is missing" in problems["0"]
    assert "bytes instead of" in problems["2"]
    assert all("samples: S0" in p for p in problems.values())


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_flipped_bit_is_found(flippable, data):
    files = sorted(f for f in flippable.rglob("*") if f.is_file() and f.name != manifest.NAME)
    file = data.draw(st.sampled_from(files))
    content = file.read_bytes()
    assume(content)
    byte = data.draw(st.integers(0, len(content) - 1))
    damaged = bytearray(content)
    damaged[byte] ^= 1 << data.draw(st.integers(0, 7))
    file.write_bytes(damaged)
    try:
        problems = list(verify(flippable))
    finally:
        file.write_bytes(content)
    assert any(str(file) in problem for problem in problems)


def test_damage_elsewhere_does_not_hide_the_samples_of_a_shard(copy):
    (copy / "rejected.csv").write_text("")
    (copy / "frames/keypoint/c/1/0/0").unlink()
    other, shard = verify(copy)
    assert "rejected.csv" in other
    assert shard.startswith("shard 1 (")


def test_without_a_sound_table_shards_are_named_alone(copy):
    (copy / "samples/id/c/0").unlink()
    (copy / "frames/keypoint/c/1/0/0").unlink()
    other, shard = verify(copy)
    assert "samples/id/c/0 is missing" in other
    assert shard.startswith("shard 1: ")


def test_rows_that_differ_under_right_bytes_are_found(copy):
    """As if another version of the codec decoded the same bytes to other numbers."""
    entry = json.loads((copy / manifest.NAME).read_text())
    entry["shards"][2]["content"] = "0" * 64
    write_json(copy / manifest.NAME, entry)
    (problem,) = verify(copy)
    assert problem.startswith("shard 2 (")
    assert "decoded rows differ" in problem


def test_a_shard_rewritten_with_its_own_checksums_is_found(copy):
    array = zarr_io.open_array(copy, "frames/keypoint", "r+")
    rows = slice(0, array.shards[0])
    block = np.asarray(array[rows])
    block[0, 0, 0] += 0.5
    array[rows] = block
    problems = list(verify(copy))
    assert len(problems) == 1
    assert problems[0].startswith("shard 0 (")


@pytest.mark.parametrize("lost", ["samples/id", "samples/start", "samples", "frames/keypoint"])
def test_arrays_that_the_manifest_lacks_are_damage(copy, lost):
    """As if two processes had prepared one store at the same time."""
    entry = json.loads((copy / manifest.NAME).read_text())
    entry["files"] = {n: f for n, f in entry["files"].items() if not n.startswith(lost)}
    write_json(copy / manifest.NAME, entry)
    shutil.rmtree(copy / lost)
    problems = list(verify(copy))
    shards = len(entry["shards"])
    assert len(problems) == (shards if lost.startswith("frames") else 1)
    assert all("manifest.json lacks samples/" in p or " is missing" in p for p in problems)
    with pytest.raises(AclnetError, match=r"(manifest\.json lacks |is missing).*--overwrite"):
        aclnet.open_store(copy).sequence("S001C001P001R001A001")


def test_columns_of_other_samples_are_damage(copy):
    entry = json.loads((copy / manifest.NAME).read_text())
    entry["shards"][1]["samples"] += 1
    write_json(copy / manifest.NAME, entry)
    (problem,) = verify(copy)
    assert "the columns describe 72 samples and the manifest 73" in problem


def test_shards_without_files_are_damage(copy):
    entry = json.loads((copy / manifest.NAME).read_text())
    entry["shards"][1]["files"] = {}
    write_json(copy / manifest.NAME, entry)
    (problem,) = verify(copy)
    assert problem.startswith("shard 1 (")
