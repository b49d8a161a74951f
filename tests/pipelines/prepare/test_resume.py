"""Prepare killed anywhere, and given again: always the same store."""

from __future__ import annotations

import errno
import os
import shutil

import pytest

import aclnet
from aclnet.datasets.registry import get_dataset, open_raw
from aclnet.datasets.spec import AclnetError
from aclnet.datasets.store import manifest
from aclnet.datasets.store.verify import verify
from aclnet.pipelines.prepare import preparation
from aclnet.pipelines.prepare import stages as preparing
from aclnet.pipelines.prepare.options import PrepareOptions
from aclnet.pipelines.prepare.stages import prepare
from tests.pipelines.prepare.killing import MOMENTS, killed, manifest_of


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_anywhere_the_same_command_goes_on(
    moment, few, few_store, tmp_path, small_batches, capsys
):
    from aclnet.cli.main import main

    out = tmp_path / "k.zarr"
    command = ["prepare", "ntu60", "--raw", str(few), "--out", str(out)]
    killed(MOMENTS[moment], *command)
    if moment != "after the rename":
        for folder in (out, tmp_path / "k.zarr.wip"):
            with pytest.raises(AclnetError, match=r"unfinished.*the same `aclnet prepare` command"):
                aclnet.open_store(folder)
    main(command)
    assert manifest_of(out) == manifest_of(few_store)
    assert list(verify(out)) == []
    assert [f.name for f in tmp_path.iterdir()] == ["k.zarr"]
    assert sorted(f.relative_to(out) for f in out.rglob("*")) == sorted(
        f.relative_to(few_store) for f in few_store.rglob("*")
    )
    said = capsys.readouterr().err
    assert "resumed" in said or (moment == "after the rename" and "nothing to do" in said)


@pytest.mark.slow
def test_killed_with_all_options_on_it_ends_the_same_too(few, tmp_path, prepare_raw, monkeypatch):
    options = {"dtype": "int16", "augment": "rotate=0.2", "variants": 1}
    prepare_raw(few, tmp_path / "a.zarr", **options)
    command = ["prepare", "ntu60", "--raw", str(few), "--out", str(tmp_path / "b.zarr")]
    command += ["--dtype", "int16", "--augment", "rotate=0.2", "--variants", "1"]
    killed(MOMENTS["before the rename"], *command)
    monkeypatch.setattr(preparation, "_BATCH_ITEMS", 3)  # which must not matter to the result
    assert prepare_raw(few, tmp_path / "b.zarr", **options).resumed
    assert manifest_of(tmp_path / "a.zarr") == manifest_of(tmp_path / "b.zarr")


@pytest.mark.parametrize(
    ("number", "remedy"), [(errno.EMFILE, "ulimit -n"), (errno.ENOSPC, "free space or choose")]
)
def test_the_remedy_fits_the_fault(few, tmp_path, prepare_raw, monkeypatch, number, remedy):
    def failing(*_):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as broken:
        broken.setattr(preparing, "assemble", failing)
        with pytest.raises(AclnetError, match=f"n.zarr cannot be written: .*{remedy}.*to resume"):
            prepare_raw(few, tmp_path / "n.zarr")
    assert prepare_raw(few, tmp_path / "n.zarr").resumed


def test_done_fragments_and_shards_are_not_made_again(few, tmp_path, small_batches):
    done: list[str] = []

    def run_some(limit):
        def run(function, jobs):
            jobs = list(jobs)
            for job in jobs[:limit]:
                done.append(f"{function.__name__} {job.number}")
                yield function(job)
            if limit < len(jobs):
                raise InterruptedError

        return run

    def go(run):
        source = open_raw(get_dataset("ntu60"), few)
        out = tmp_path / "d.zarr"
        return prepare(source, out, PrepareOptions(), run, lambda *_: None)

    with pytest.raises(AclnetError):
        go(run_some(3))
    with pytest.raises(AclnetError):
        go(run_some(5))
    report = go(run_some(1000))
    assert report.resumed
    assert len(done) == len(set(done))
    assert sum(name.startswith("make_fragment") for name in done) == 4


@pytest.mark.slow
def test_rejections_survive_a_resume(few, tmp_path, prepare_raw, small_batches):
    raw = tmp_path / "raw"
    shutil.copytree(few, raw)
    first, *_, last = sorted(raw.iterdir())
    first.write_bytes(b"")
    last.write_bytes(b"nonsense\n")
    command = ["prepare", "ntu60", "--raw", str(raw), "--out", str(tmp_path / "r.zarr")]
    killed(MOMENTS["after some shards"], *command)
    report = prepare_raw(raw, tmp_path / "r.zarr")
    assert report.resumed
    assert report.rejections == {"damaged": 2}


@pytest.mark.slow
def test_what_killed_processes_left_is_removed(few, few_store, tmp_path, prepare_raw, monkeypatch):
    out = tmp_path / "d.zarr"
    for path in ("d.zarr.deleting/x", "d.zarr.wip.deleting/y", "d.zarr.lock", "e.zarr.deleting/z"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    shutil.copytree(few_store, out)
    assert prepare_raw(few, out).existed
    assert sorted(f.name for f in tmp_path.iterdir()) == ["d.zarr", "e.zarr.deleting"]

    work = manifest.work_folder(tmp_path / "k.zarr")
    killed(
        MOMENTS["in a part"],
        "prepare",
        "ntu60",
        "--raw",
        str(few),
        "--out",
        str(tmp_path / "k.zarr"),
    )
    left = [work / "0/fragments/0000/000000.elsewhere-1.tmp", work / "0/store/a.1.partial"]
    for folder in left:
        folder.mkdir(parents=True)
    seen = []
    monkeypatch.setattr(preparing, "_enter", lambda task: seen.extend(work.rglob("*.tmp")) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        prepare_raw(few, tmp_path / "k.zarr")
    assert seen == []
    assert not any(folder.exists() for folder in left)
