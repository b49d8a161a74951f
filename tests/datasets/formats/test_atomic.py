"""Atomic writing of files and folders."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from aclnet.datasets.formats.atomic import SUFFIX, delete_unfinished, remove, replacing, write_json


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.parametrize("before", [None, "old"])
def test_a_file_appears_at_the_end(tmp_path, before):
    path = tmp_path / "a.txt"
    if before:
        path.write_text(before)
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert (path.read_text() if path.exists() else None) == before
    assert path.read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


def test_a_folder_replaces_another(tmp_path):
    path = tmp_path / "a"
    path.mkdir()
    (path / "old").touch()
    with replacing(path) as temporary:
        temporary.mkdir()
        (temporary / "new").write_text("1")
    assert names(path) == ["new"]
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_an_exception_leaves_what_was_there(tmp_path, kind):
    path = tmp_path / "a"
    path.write_text("old")

    def write_half():
        with replacing(path) as temporary:
            if kind == "folder":
                temporary.mkdir()
                (temporary / "half").touch()
            else:
                temporary.write_text("half")
            raise InterruptedError

    with pytest.raises(InterruptedError):
        write_half()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a"]


def test_what_an_earlier_process_of_the_same_number_left_is_not_taken_over(tmp_path):
    with replacing(tmp_path / "a") as left:
        left.touch()
    left.mkdir()
    (left / "half").touch()
    with replacing(tmp_path / "a") as temporary:
        assert temporary == left
        assert not temporary.exists()
        temporary.write_text("new")
    assert names(tmp_path) == ["a"]


def test_what_killed_processes_of_this_machine_left_is_deleted(tmp_path):
    """Not what others write: another process, a process of another machine, another file."""
    with replacing(tmp_path / "a") as temporary:
        temporary.touch()
    host = temporary.name.removeprefix("a.").partition("-")[0]
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    (tmp_path / f"a.{host}-{child.pid}{SUFFIX}").touch()
    others = [
        f"a.{host}-{os.getppid()}{SUFFIX}",
        f"a.elsewhere-{child.pid}{SUFFIX}",
        f"b.{host}-{child.pid}{SUFFIX}",
        f"a.{host}-x{SUFFIX}",
    ]
    for name in others:
        (tmp_path / name).touch()
    with replacing(tmp_path / "a") as temporary:
        temporary.write_text("new")
    assert names(tmp_path) == sorted(["a", *others])


def test_file_and_folder_are_on_the_disk_before_and_after_the_rename(tmp_path, monkeypatch):
    """In this order: the content, the rename, the folder's list of names."""
    done = []
    sync, rename = os.fsync, os.replace

    def note_sync(descriptor):
        done.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))  # noqa: PTH115, PTH119
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", lambda *paths: (done.append("rename"), rename(*paths)))
    with replacing(tmp_path / "a") as temporary:
        temporary.write_text("new")
    assert done == [temporary.name, "rename", tmp_path.name]


def test_json_that_cannot_be_written_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"b": 1, "a": [2]})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": [2], "b": 1}
    assert path.read_text().index("a") < path.read_text().index("b")


def test_removing_goes_on_with_an_interrupted_removal(tmp_path):
    doomed = tmp_path / "run.deleting"
    doomed.mkdir()
    (doomed / "of a removal that was interrupted").touch()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "file").touch()
    remove(tmp_path / "run")
    assert names(tmp_path) == []


def test_of_a_link_to_a_folder_the_link_alone_is_removed(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").touch()
    (tmp_path / "run").symlink_to(tmp_path / "there")
    remove(tmp_path / "run")
    assert names(tmp_path) == ["there"]
    assert names(tmp_path / "there") == ["file"]


def test_unfinished_files_and_folders_are_deleted_at_any_depth(tmp_path):
    for path in ("a.tmp/b/c", "d/e.tmp", "d/f.partial", "d/tmp", "d/g.tmp.h"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    delete_unfinished(tmp_path, (SUFFIX, ".partial"))
    assert names(tmp_path) == ["d"]
    assert names(tmp_path / "d") == ["g.tmp.h", "tmp"]


def test_removing_nothing(tmp_path):
    remove(tmp_path / "run")
    assert names(tmp_path) == []
