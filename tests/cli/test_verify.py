"""`aclnet verify`."""

from __future__ import annotations

import json
import shutil

import pytest


@pytest.fixture
def copy(people_store, tmp_path):
    shutil.copytree(people_store, tmp_path / "copy.zarr")
    return tmp_path / "copy.zarr"


def test_a_sound_store(aclnet, people_store):
    result = aclnet("verify", people_store)
    assert result.code == 0
    assert "every byte is correct" in result.err


def test_a_damaged_store(aclnet, copy):
    (copy / "frames/keypoint/c/3/0/0").write_bytes(b"")
    result = aclnet("verify", copy)
    assert result.code == 1
    assert result.out.startswith("shard 3 (")
    assert "has 0 bytes instead of" in result.out
    assert "prepare it again with `aclnet prepare --overwrite`" in result.err
    as_json = aclnet("verify", copy, "--json")
    assert as_json.code == 1
    assert json.loads(as_json.out)["damage"] == [result.out.strip()]


def test_no_store(aclnet, tmp_path):
    result = aclnet("verify", tmp_path / "x.zarr")
    assert result.code == 2
    assert "there is no such store" in result.err


def test_opening_a_damaged_store(aclnet, copy):
    (copy / "samples/label/c/0").unlink()
    result = aclnet("info", copy)
    assert result.code == 2
    assert "samples/label/c/0 is missing; `aclnet verify" in result.err
