"""Locks between processes: one holds it, the others are told which."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from aclnet.datasets.formats import locks
from aclnet.datasets.spec import AclnetError, AclnetWarning

if TYPE_CHECKING:
    from pathlib import Path

HOLDER = """
import sys
from pathlib import Path
from aclnet.datasets.formats.locks import held
with held(Path(sys.argv[1]), "the pot is being stirred"):
    print("held", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def another_process(file: Path):
    """Holds the lock until the block ends, if it is not killed before."""
    command = [sys.executable, "-c", HOLDER, str(file)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as child:
        assert child.stdout.readline() == "held\n"
        yield child
        if child.poll() is None:
            child.communicate("end\n")


def test_another_process_is_named_and_the_lock_is_free_when_it_ends(tmp_path):
    file = tmp_path / "new" / "lock"
    with another_process(file) as child:
        wanted = rf"the pot is being stirred by another process \(process {child.pid} on .*same"
        with pytest.raises(AclnetError, match=wanted), locks.held(file, "the pot is being stirred"):
            pass
        assert file.exists()
    with locks.held(file, "it is used"):
        assert str(os.getpid()) in file.read_text()
    assert not file.exists()


def test_a_killed_process_holds_nothing(tmp_path):
    file = tmp_path / "lock"
    with another_process(file) as child:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert file.exists()
    with locks.held(file, "it is used"):
        pass
    assert not file.exists()


def test_a_process_is_refused_its_own_lock(tmp_path):
    """By other names of the same file too; POSIX locks alone would let it in, and be lost then."""
    (tmp_path / "link").symlink_to(tmp_path)
    with locks.held(tmp_path / "lock", "it is used"):
        refused = pytest.raises(AclnetError, match=f"it is used by another .*{os.getpid()}")
        with refused, locks.held(tmp_path / "link" / "lock", "it is used"):
            pass
    with locks.held(tmp_path / "lock", "it is used"):
        pass


def test_a_lock_whose_file_was_deleted_meanwhile_is_taken_anew(tmp_path, monkeypatch):
    """The last holder deletes the file between our opening it and locking it."""
    file, lockf, numbers = tmp_path / "lock", locks.fcntl.lockf, []

    def delete_first(stream, flags):
        numbers.append(os.fstat(stream.fileno()).st_ino)
        if len(numbers) == 1:
            file.rename(tmp_path / "gone")
        lockf(stream, flags)

    monkeypatch.setattr(locks.fcntl, "lockf", delete_first)
    with locks.held(file, "it is used"):
        assert file.stat().st_ino == numbers[-1] != numbers[0]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_locks_a_warning_says_so(tmp_path, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(locks.fcntl, "lockf", refuse)
    warned = pytest.warns(AclnetWarning, match=r"lock cannot be locked \(.*make sure that it is")
    with warned, locks.held(tmp_path / "lock", "it is used"):
        pass


def test_of_many_threads_one_at_a_time_gets_in(tmp_path):
    inside, most, refused = [], [], []

    def go():
        for _ in range(30):
            try:
                with locks.held(tmp_path / "lock", "it is used"):
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()
            except AclnetError:
                refused.append(1)

    threads = [threading.Thread(target=go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert len(most) + len(refused) == 120
