"""Caches of what files hold."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from aclnet.datasets.formats.caches import cached_by_file, version_of

if TYPE_CHECKING:
    from pathlib import Path


def test_a_changed_file_is_read_again_and_another_argument_too(tmp_path: Path):
    reads = []

    @cached_by_file(maxsize=4)
    def content(path: Path, prefix: str) -> str:
        """The content of the file."""
        reads.append(prefix)
        return prefix + path.read_text()

    file = tmp_path / "a"
    for text in ("one", "three", "three"):
        file.write_text(text)
        os.utime(file, ns=(0, len(text)))
        assert content(file, "") == content(file, "") == text
        assert content(file, prefix="x") == f"x{text}"
    assert reads == ["", "x", "", "x"]
    assert (content.__name__, content.__doc__) == ("content", "The content of the file.")


def test_a_file_that_is_gone_is_told_by_who_opens_it_each_time(tmp_path: Path):
    content = cached_by_file()(lambda path: path.read_text())
    assert version_of(tmp_path / "a") == (0, 0)
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            content(tmp_path / "a")
    (tmp_path / "a").write_text("here")
    assert content(tmp_path / "a") == "here"


@pytest.mark.parametrize("per_process", [False, True])
def test_a_forked_process_opens_what_must_not_be_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, per_process: bool
):
    (tmp_path / "a").write_text("here")
    make = cached_by_file(per_process=per_process)(lambda path: [path])
    first = make(tmp_path / "a")
    assert make(tmp_path / "a") is first
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert (make(tmp_path / "a") is first) is not per_process
