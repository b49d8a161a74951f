"""Recordings that prepare leaves out, and the reports about them."""

from __future__ import annotations

import csv
import os
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest

import aclnet
from aclnet.datasets.readers.ntu import unusable
from aclnet.datasets.registry import get_dataset
from aclnet.datasets.spec import AclnetError, Rejection
from aclnet.datasets.spec.protocols import by_column
from aclnet.datasets.synth.ntu import sample_names, write_skeletons


@pytest.fixture(scope="module")
def damaged(tmp_path_factory, prepare_raw):
    """A folder with files of every kind of damage and other oddities, prepared."""
    folder = tmp_path_factory.mktemp("damaged")
    raw = folder / "raw"
    names = sample_names(actions=(1, 10), subjects=3, cameras=1, replications=1)
    damages = write_skeletons(raw, names, seed=3, damage=1.0).damaged
    names = sample_names(actions=(1,), subjects=4, cameras=2, replications=1)
    write_skeletons(folder / "sound", names, seed=3)
    sound = [name for name in names if name not in damages]
    listed = min(unusable("ntu60"))
    copies = [*sound, listed, "notes", "S018C001P001R001A001", f"copy/{sound[0]}"]
    (raw / "copy").mkdir()
    for name in copies:
        original = name if name in sound else sound[0]
        shutil.copy(folder / "sound" / f"{original}.skeleton", raw / f"{name}.skeleton")
    report = prepare_raw(raw, folder / "d.zarr")
    return SimpleNamespace(report=report, sound=sound, damages=damages, listed=listed)


def rejected(damaged: SimpleNamespace) -> dict[str, dict[str, str]]:
    with (damaged.report.path / "rejected.csv").open(newline="") as stream:
        return {row["path"]: row for row in csv.DictReader(stream)}


def test_rejections_are_counted_by_kind(damaged):
    counts = {
        "damaged": 5,
        "no person": 1,
        "listed as unusable": 1,
        "unknown name": 1,
        "there twice": 1,
    }
    assert damaged.report.rejections == counts
    assert aclnet.open_store(damaged.report.path).attributes.rejected == counts
    assert damaged.report.outside == 1


def test_rejections_are_listed_whole(damaged):
    rows = rejected(damaged)
    assert len(rows) == 9
    for name, damage in damaged.damages.items():
        row = rows[f"{name}.skeleton"]
        assert row["kind"] == ("no person" if damage == "no body" else "damaged")
        assert row["reason"]
        if damage in ("truncated", "joint count", "nan"):
            assert int(row["line"]) > 1
    assert rows[f"{damaged.listed}.skeleton"]["kind"] == "listed as unusable"
    double = damaged.sound[0]
    row = rows[f"copy/{double}.skeleton"]
    assert row["reason"] == f"the same recording is at {double}.skeleton"


def test_the_first_of_each_kind_is_shown_in_full(damaged):
    rows = rejected(damaged).values()
    kinds = {
        str(Rejection(row["path"], int(row["line"] or 0) or None, row["reason"])): row["kind"]
        for row in rows
    }
    examples = damaged.report.examples
    assert len(set(examples)) == 5
    # those on the authors' list are known
    assert {kinds[e] for e in examples} == {"damaged", "no person", "unknown name", "there twice"}


def test_sound_files_beside_damaged_ones_are_kept(damaged):
    ids = aclnet.open_store(damaged.report.path).column("id")
    assert sorted(ids) == sorted(damaged.sound)
    assert damaged.report.samples == len(damaged.sound) > 0


def test_empty_sides_are_named(people, tmp_path, prepare_raw):
    raw = tmp_path / "raw"
    raw.mkdir()
    for file in people.glob("*C001P003*"):
        shutil.copy(file, raw)
    report = prepare_raw(raw, tmp_path / "e.zarr")
    assert report.empty == ("xsub/train", "xview/train")
    assert {c.side: c.verdict for c in report.counts} == dict.fromkeys(
        ("xsub/train", "xsub/test", "xview/train", "xview/test"), "subset"
    )


@pytest.mark.slow
def test_published_counts_that_cannot_be_are_refused(people, tmp_path, prepare_raw):
    few = by_column("xsub", "subject", {3}, (18, 54))
    swapped = by_column("xsub", "subject", {1, 2, 4}, (18, 54))
    spec = replace(get_dataset("ntu60"), protocols=(few,))
    counts = prepare_raw(people, tmp_path / "p.zarr", dataset=spec).counts
    assert [c.verdict for c in counts] == ["complete", "complete"]
    other = replace(spec, protocols=(swapped,))
    with pytest.raises(AclnetError, match=r"not the published samples .*54 of 18 \(wrong"):
        prepare_raw(people, tmp_path / "q.zarr", dataset=other)


def test_file_names_that_are_no_text_do_not_stop_it(people, tmp_path, prepare_raw):
    raw = tmp_path / "raw"
    folder = raw / os.fsdecode(b"f\xfcnf")
    folder.mkdir(parents=True)
    files = sorted(people.iterdir())
    shutil.copy(files[0], folder)
    (raw / os.fsdecode(b"S001C001P001R001A001\xff.skeleton")).write_bytes(b"")
    report = prepare_raw(raw, tmp_path / "n.zarr")
    assert report.samples == 1
    assert aclnet.open_store(tmp_path / "n.zarr").column("source")[0].startswith(r"f\udcfcnf/")
    assert b"\xff.skeleton" in (tmp_path / "n.zarr" / "rejected.csv").read_bytes()
