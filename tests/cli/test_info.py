"""`aclnet info` and what stands behind it."""

from __future__ import annotations

import json
import statistics
from itertools import pairwise

import numpy as np
import pytest

import aclnet as package
from aclnet.datasets.store.summary import _histogram


def test_as_json(aclnet, people_store):
    facts = json.loads(aclnet("info", people_store, "--json").out)
    assert facts["samples"] == 72
    assert facts["subjects"] == 4
    assert facts["classes"] == 60
    assert facts["layout"] == "nturgb+d"
    assert facts["joints"] == 25
    persons = package.open_store(people_store).column("n_persons").tolist()
    assert facts["persons"] == [
        {"persons": number, "sequences": persons.count(number)} for number in (1, 2)
    ]
    lengths = package.open_store(people_store).column("n_frames")
    assert facts["frames"]["median"] == statistics.median(lengths.tolist())
    assert facts["digest"] == package.open_store(people_store).digest
    assert facts["bytes"] == sum(
        f.stat().st_size
        for f in people_store.rglob("*")
        if f.is_file() and f.name != "manifest.json"
    )
    train = {"split": "xsub/train", "samples": 54, "classes": 3, "subjects": 3}
    assert train in facts["splits"]
    assert sum(row["sequences"] for row in facts["lengths"]) == 72
    assert {array["name"] for array in facts["arrays"]} == {
        "frames/keypoint",
        "frames/present",
        "frames/index",
    }


def test_as_tables(aclnet, people_store):
    result = aclnet("info", people_store)
    assert result.code == 0
    for text in ("NTU RGB+D 60", "xview/test", "frames/keypoint", "centre-first-frame/1"):
        assert text in result.out


@pytest.mark.parametrize(
    "frames", [[7], [7, 7], [1, 2, 3], [10, 50, 90], [3, 5, 8, 13, 300], list(range(40, 90, 3))]
)
def test_ranges_of_lengths_do_not_overlap_and_cover_all(frames):
    rows = _histogram(np.array(frames))
    ranges = [(row["first"], row["last"]) for row in rows]
    assert ranges[0][0] == min(frames)
    assert ranges[-1][1] == max(frames)
    assert all(low <= high for low, high in ranges)
    assert all(b[0] == a[1] + 1 for a, b in pairwise(ranges))
    for (low, high), row in zip(ranges, rows, strict=True):
        assert row["sequences"] == sum(low <= n <= high for n in frames)


def test_the_newest_store_is_taken(aclnet, people_store, monkeypatch, tmp_path):
    monkeypatch.chdir(people_store.parent)
    assert json.loads(aclnet("info", "--json").out)["samples"] == 72
    monkeypatch.chdir(tmp_path)
    nothing = aclnet("info")
    assert nothing.code == 2
    assert f"no store below {tmp_path}" in nothing.err
    assert "`aclnet prepare` makes one" in nothing.err


def test_an_unfinished_store(aclnet, tmp_path):
    (tmp_path / "x.zarr.wip").mkdir()
    result = aclnet("info", tmp_path / "x.zarr")
    assert result.code == 2
    assert "unfinished; run the same `aclnet prepare` command again" in result.err
