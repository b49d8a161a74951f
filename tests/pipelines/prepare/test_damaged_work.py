"""Work that was damaged or lost after prepare was stopped: it is made again, or told."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

import aclnet
from aclnet.datasets.spec import AclnetError
from aclnet.datasets.store import manifest
from aclnet.datasets.store.verify import verify
from aclnet.pipelines.prepare import assemble
from tests.pipelines.prepare.killing import MOMENTS, killed, manifest_of

if TYPE_CHECKING:
    from pathlib import Path

WORK = {
    "fragments and receipts": (
        "fragments/0000/000000/table.json",
        "fragments/0000/000001/keypoint.npy",
        "fragments/0000/000002/present.npy",
        "shards/0000/000001.json",
        "store/frames/present/c/2",
    ),
    "the whole store": ("arrays.json", "store/zarr.json"),
    "arrays": ("store/frames/zarr.json",),
    "an array": ("store/frames/keypoint/zarr.json",),
    "columns": ("store/samples/zarr.json", "store/splits/zarr.json", "store/manifest.json"),
    "a column": ("store/samples/id/zarr.json", "store/samples/start/c/0"),
}
DAMAGES = {
    "cut": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "garbage": lambda content: bytes(reversed(content)),
    "nested": lambda content: b"[" * 100_000,
}


@pytest.fixture(scope="module")
def stopped(few, tmp_path_factory) -> Path:
    """A work folder whose store was whole but for the rename."""
    folder = tmp_path_factory.mktemp("stopped")
    out = folder / "d.zarr"
    killed(MOMENTS["before the rename"], "prepare", "ntu60", "--raw", str(few), "--out", str(out))
    return manifest.work_folder(out)


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["cut", "nested", "missing"])
@pytest.mark.parametrize("place", WORK)
def test_damaged_work_is_made_again(
    damage, place, stopped, few, few_store, tmp_path, prepare_raw, small_batches
):
    out, work = tmp_path / "d.zarr", tmp_path / "d.zarr.wip"
    shutil.copytree(stopped, work)
    for name in WORK[place]:
        (file,) = work.glob(f"*/{name}")
        content = file.read_bytes()
        file.unlink()
        if damage != "missing":
            file.write_bytes(DAMAGES[damage](content))
    assert prepare_raw(few, out).resumed
    assert manifest_of(out) == manifest_of(few_store)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new"), [('"subject"', '"subjects"'), ('"id": ["', '"id": ["\\ud800')]
)
def test_fragments_whose_tables_are_none_of_samples_are_made_again(
    old, new, stopped, few, few_store, tmp_path, prepare_raw, small_batches
):
    """JSON can hold names of columns, and halves of characters, that a store cannot."""
    out = tmp_path / "d.zarr"
    shutil.copytree(stopped, tmp_path / "d.zarr.wip")
    (table,) = (tmp_path / "d.zarr.wip").glob("*/fragments/0000/000000/table.json")
    text = table.read_text()
    assert old in text
    table.write_text(text.replace(old, new, 1))
    assert prepare_raw(few, out).resumed
    assert manifest_of(out) == manifest_of(few_store)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_plan_is_told(damage, stopped, few, tmp_path, prepare_raw):
    work = tmp_path / "d.zarr.wip"
    shutil.copytree(stopped, work)
    plan = work / "plan.json"
    plan.write_bytes(DAMAGES[damage](plan.read_bytes()))
    with pytest.raises(AclnetError, match=r"plan\.json is damaged.*--overwrite"):
        prepare_raw(few, tmp_path / "d.zarr")
    assert not prepare_raw(few, tmp_path / "d.zarr", overwrite=True).resumed


@pytest.mark.slow
def test_fragments_without_a_plan_are_not_taken_over(stopped, few, tmp_path, prepare_raw):
    shutil.copytree(stopped, tmp_path / "d.zarr.wip")
    (tmp_path / "d.zarr.wip" / "plan.json").unlink()
    assert not prepare_raw(few, tmp_path / "d.zarr", dtype="int16").resumed
    assert aclnet.open_store(tmp_path / "d.zarr").attributes.options["dtype"] == "int16"
    assert list(verify(tmp_path / "d.zarr")) == []


@pytest.mark.slow
def test_shards_that_were_lost_or_cut_since_are_written_again(
    few, few_store, tmp_path, prepare_raw, small_batches
):
    out = tmp_path / "l.zarr"
    killed(MOMENTS["before the rename"], "prepare", "ntu60", "--raw", str(few), "--out", str(out))
    shards = sorted((tmp_path / "l.zarr.wip").glob("*/store/frames/keypoint/**/0/0"))
    files = [file for file in shards if file.is_file()]
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:50])
    assert prepare_raw(few, out).resumed
    assert list(verify(out)) == []
    assert manifest_of(out) == manifest_of(few_store)


@pytest.mark.slow
def test_a_shard_that_is_lost_before_the_end_makes_no_store(
    few, tmp_path, prepare_raw, monkeypatch
):
    out = tmp_path / "l.zarr"
    write = assemble._write_rejections

    def lose(file, *args):
        (file.parent / "frames" / "present" / "c" / "2").write_bytes(b"")
        write(file, *args)

    with monkeypatch.context() as patch:
        patch.setattr(assemble, "_write_rejections", lose)
        with pytest.raises(AclnetError, match=r"present/c/2 has 0 bytes .* the same command again"):
            prepare_raw(few, out)
    assert not out.exists()
    assert prepare_raw(few, out).resumed
    assert list(verify(out)) == []
