"""Prepare killed anywhere, and given again: always the same store."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

import aclnet
from aclnet.datasets.registry import get_dataset, open_raw
from aclnet.datasets.spec import AclnetError
from aclnet.datasets.store import manifest
from aclnet.datasets.store.verify import verify
from aclnet.pipelines.prepare import assemble, preparation
from aclnet.pipelines.prepare import stages as preparing
from aclnet.pipelines.prepare.options import PrepareOptions
from aclnet.pipelines.prepare.shards import make_shard
from aclnet.pipelines.prepare.stages import prepare

if TYPE_CHECKING:
    from pathlib import Path


def manifest_of(store: Path) -> bytes:
    return (store / manifest.NAME).read_bytes()


@pytest.fixture
def run_command(capsys):
    """Runs a command line: its exit status, and all that it printed on stderr."""
    from aclnet.cli.main import main

    def run(*arguments: str) -> SimpleNamespace:
        code = 0
        try:
            main(list(arguments))
        except SystemExit as stop:
            code = stop.code
        return SimpleNamespace(code=code, err=capsys.readouterr().err)

    return run


# Killed


@pytest.fixture(scope="module")
def few(people, tmp_path_factory) -> Path:
    """Twelve of the recordings."""
    raw = tmp_path_factory.mktemp("few") / "raw"
    raw.mkdir()
    for file in people.glob("*C001*R001*"):
        shutil.copy(file, raw)
    return raw


@pytest.fixture(scope="module")
def few_store(few, prepare_raw) -> Path:
    """The store that all killed commands must finish."""
    prepare_raw(few, few.parent / "few.zarr")
    return few.parent / "few.zarr"


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


@pytest.fixture
def small_batches(monkeypatch) -> None:
    """The killed commands work in batches of three."""
    monkeypatch.setattr(preparation, "_BATCH_ITEMS", 3)


KILLER = """
import importlib, os, signal, sys
from aclnet.cli.main import main
from aclnet.pipelines.prepare import preparation
preparation._BATCH_ITEMS = 3
place, text, count, when = sys.argv[1:5]
module, _, name = place.partition(":")
owner = importlib.import_module(module)
*path, name = name.split(".")
for step in path:
    owner = getattr(owner, step)
original, seen = getattr(owner, name), 0

def counted(*args, **kwargs):
    global seen
    hit = text in repr(args)
    seen += hit
    if hit and seen == int(count) and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = original(*args, **kwargs)
    if hit and seen == int(count):
        os.kill(os.getpid(), signal.SIGKILL)
    return result

setattr(owner, name, counted)
main(sys.argv[5:])
"""

MOMENTS = {
    "before any fragment": ("aclnet.pipelines.prepare.fragments:make_fragment", "", 1, "before"),
    "in a part": ("aclnet.pipelines.prepare.fragments:_write", "", 2, "after"),
    "after some fragments": ("aclnet.pipelines.prepare.fragments:make_fragment", "", 3, "after"),
    "between the arrays": ("aclnet.datasets.store.zarr_io:create_frames", "", 2, "before"),
    "in a shard's file": ("pathlib:Path.replace", "keypoint/c/4", 1, "before"),
    "in a receipt": ("pathlib:Path.replace", "shards/0000/000003.json", 1, "before"),
    "after some shards": ("aclnet.pipelines.prepare.shards:make_shard", "", 5, "after"),
    "in a column": ("pathlib:Path.replace", "samples/label/c", 1, "before"),
    "before the metadata are gathered": (
        "aclnet.datasets.store.zarr_io:consolidate",
        "",
        1,
        "before",
    ),
    "in the manifest": ("pathlib:Path.replace", "manifest.json", 1, "before"),
    "before the rename": ("aclnet.pipelines.prepare.stages:_put_into_place", "", 1, "before"),
    "after the rename": ("aclnet.pipelines.prepare.stages:remove", ".wip'", 1, "before"),
}


def killed(moment: tuple[str, str, int, str], *arguments: str) -> None:
    place, text, count, when = moment
    command = [sys.executable, "-c", KILLER, place, text, str(count), when, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


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


def test_late_jobs_of_another_plan_change_nothing(few, tmp_path, small_batches):
    """dask cannot stop a running job when a command is interrupted."""
    late = []

    def interrupted(function, jobs):
        jobs = list(jobs)
        late.append((function, jobs[0]))
        if function is make_shard:
            raise InterruptedError
        yield from map(function, jobs)

    def disturbed(function, jobs):
        for job in jobs:
            yield function(job)
            for old, its_job in late:
                with suppress(OSError):
                    old(its_job)

    def go(name, run, **options):
        source = open_raw(get_dataset("ntu60"), few)
        prepare(source, tmp_path / name, PrepareOptions(**options), run, overwrite=True)

    with pytest.raises(AclnetError, match="to resume"):
        go("a.zarr", interrupted)
    go("a.zarr", disturbed, align=True)
    go("b.zarr", lambda function, jobs: map(function, jobs), align=True)
    assert len(late) == 2
    assert list(verify(tmp_path / "a.zarr")) == []
    assert manifest_of(tmp_path / "a.zarr") == manifest_of(tmp_path / "b.zarr")


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


# Two at the same time

WAITING = """
import sys
from aclnet.cli.main import main
from aclnet.pipelines.prepare import stages
make = stages._make

def announce(*args):
    print("begun", flush=True)
    sys.stdin.readline()
    return make(*args)

stages._make = announce
main(sys.argv[1:])
"""


@pytest.mark.slow
@pytest.mark.parametrize("other_ends", ["first", "last"])
def test_of_two_at_the_same_time_one_is_refused(few, few_store, tmp_path, run_command, other_ends):
    out = tmp_path / "t.zarr"
    command = ["prepare", "ntu60", "--raw", str(few), "--out", str(out)]
    with subprocess.Popen(
        [sys.executable, "-c", WAITING, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout.readline() == "begun\n"
        refused = [run_command(*command), run_command(*command, "--overwrite")]
        if other_ends == "first":
            child.kill()
            child.wait()
            assert run_command(*command).code == 0
        else:
            child.communicate("go\n")
            assert child.returncode == 0
    for answer in refused:
        assert answer.code == 2
        assert f"{out} is being prepared by another process (process {child.pid}" in answer.err
        assert answer.err.count("error: ") == 1
    assert manifest_of(out) == manifest_of(few_store)
    assert list(verify(out)) == []
    assert [f.name for f in tmp_path.iterdir()] == ["t.zarr"]
    assert "nothing to do" in run_command(*command).err


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


# Leftovers


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


# Damage in the work folder

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
