"""Prepare where something exists already: it is found, refused or replaced, and never lost."""

from __future__ import annotations

import shutil

import pytest

import aclnet
from aclnet.datasets.spec import AclnetError
from aclnet.pipelines.prepare import stages as preparing
from tests.pipelines.prepare.killing import MOMENTS, killed, manifest_of


@pytest.mark.parametrize("change", ["name", "size"])
def test_other_files_are_another_store(few, few_store, prepare_raw, tmp_path, change):
    raw, out = tmp_path / "raw", tmp_path / "few.zarr"
    shutil.copytree(few, raw)
    shutil.copytree(few_store, out)
    assert prepare_raw(raw, out).existed
    file = sorted(raw.iterdir())[0]
    if change == "name":
        file.rename(raw / file.name.replace("R001", "R002"))
    else:
        file.write_text(file.read_text() + "\n")
    with pytest.raises(AclnetError, match="made from other files or options"):
        prepare_raw(raw, out)


@pytest.mark.slow
def test_unfinished_work_of_other_options_files_or_versions_is_left_alone(
    few, tmp_path, prepare_raw, monkeypatch
):
    out = tmp_path / "o.zarr"
    command = ["prepare", "ntu60", "--raw", str(few), "--out", str(out)]
    killed(MOMENTS["after some fragments"], *command)
    with pytest.raises(AclnetError, match=r"o\.zarr\.wip holds an unfinished store .*--overwrite"):
        prepare_raw(few, out, seed=1)
    fewer = tmp_path / "fewer"
    shutil.copytree(few, fewer)
    next(fewer.iterdir()).unlink()
    with pytest.raises(AclnetError, match="other files"):
        prepare_raw(fewer, out)
    with monkeypatch.context() as patch:
        patch.setattr(preparing, "version", lambda _: "0.0.0")
        with pytest.raises(AclnetError, match="another version"):
            prepare_raw(few, out)
    assert not prepare_raw(few, out, seed=1, overwrite=True).resumed


@pytest.mark.slow
def test_a_finished_store_is_found_refused_or_replaced(people, tmp_path, prepare_raw):
    out = tmp_path / "f.zarr"
    prepare_raw(people, out)
    before = manifest_of(out)
    again = prepare_raw(people, out)
    assert again.existed
    assert again.samples == 72
    with pytest.raises(AclnetError, match=r"f\.zarr exists and was made from other .*--overwrite"):
        prepare_raw(people, out, seed=1)
    assert manifest_of(out) == before
    prepare_raw(people, out, seed=1, overwrite=True)
    assert manifest_of(out) != before
    assert [f.name for f in tmp_path.iterdir()] == ["f.zarr"]


@pytest.mark.slow
def test_overwrite_keeps_the_old_store_until_the_new_one_is_whole(people, tmp_path, prepare_raw):
    out, bad = tmp_path / "f.zarr", tmp_path / "bad"
    prepare_raw(people, out)
    bad.mkdir()
    (bad / "S001C001P001R001A001.skeleton").write_bytes(b"1\n1\n")
    with pytest.raises(AclnetError, match="none of 1 recordings is usable"):
        prepare_raw(bad, out, overwrite=True)
    assert len(aclnet.open_store(out)) == 72
    command = ["prepare", "ntu60", "--raw", str(people), "--out", str(out), "--overwrite"]
    killed(MOMENTS["after some shards"], *command, "--seed", "5")
    assert len(aclnet.open_store(out)) == 72


def test_what_is_no_store_is_never_deleted(people, tmp_path, prepare_raw):
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "chapter1.tex").write_text("Introduction")
    for overwrite in (False, True):
        with pytest.raises(AclnetError, match=r"thesis (exists and )?is not an aclnet store"):
            prepare_raw(people, thesis, overwrite=overwrite)
        with pytest.raises(AclnetError, match="is not an aclnet store"):
            prepare_raw(people, thesis / "chapter1.tex", overwrite=overwrite)
    assert (thesis / "chapter1.tex").read_text() == "Introduction"


@pytest.mark.slow
def test_an_empty_folder_may_become_the_store(people, people_store, tmp_path, prepare_raw):
    (tmp_path / "e.zarr").mkdir()
    prepare_raw(people, tmp_path / "e.zarr")
    assert manifest_of(tmp_path / "e.zarr") == manifest_of(people_store)
