"""The cache of distant files on the disk of this machine."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st

from aclnet.datasets.spec import AclnetError, AclnetWarning
from aclnet.datasets.store.disk_cache import DiskCache, default_disk_cache
from aclnet.datasets.store.manifest import File


def described(content: bytes) -> File:
    return File(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def content_of(number: int, size: int = 1000) -> bytes:
    return np.random.default_rng(number).bytes(size)


class Source:
    """Contents that count how often they are fetched."""

    def __init__(self) -> None:
        self.fetched: list[bytes] = []

    def read(self, cache: DiskCache, content: bytes, **how: bool) -> None:
        """Reads a content through a cache, which must return it."""

        def fetch() -> bytes:
            self.fetched.append(content)
            return content

        assert cache.read(described(content), fetch, **how) == content


def entries(folder: Path) -> list[Path]:
    return [f for f in folder.rglob("*") if f.is_file() and len(f.name) >= 64]


def make_old(folder: Path, seconds: float) -> None:
    for file in entries(folder):
        os.utime(file, (file.stat().st_mtime - seconds,) * 2)


def test_a_second_reading_fetches_nothing(tmp_path):
    source = Source()
    for cache in (DiskCache(tmp_path, 10_000), DiskCache(tmp_path, 10_000)):
        for number in (1, 2, 1):
            source.read(cache, content_of(number))
    assert source.fetched == [content_of(1), content_of(2)]


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 900)), min_size=1, max_size=30))
def test_the_entries_never_exceed_the_limit(tmp_path_factory, reads):
    folder, source = tmp_path_factory.mktemp("cache"), Source()
    for number, size in reads:
        cache = DiskCache(folder, 1000)  # as a new process, so that all entries may be replaced
        source.read(cache, content_of(number, size))
        assert sum(f.stat().st_size for f in entries(folder)) <= 1000
        make_old(folder, 10)


def test_the_entries_that_were_used_least_recently_are_replaced(tmp_path):
    source, cache = Source(), DiskCache(tmp_path, 3500)
    for number in range(3):
        source.read(cache, content_of(number))
        make_old(tmp_path, 100)
    source.read(cache, content_of(0))
    make_old(tmp_path, 100)
    source.fetched.clear()
    later = DiskCache(tmp_path, 3500)
    source.read(later, content_of(3))
    make_old(tmp_path, 10)  # before a third process begins
    last = DiskCache(tmp_path, 3500)
    source.read(last, content_of(0))
    source.read(last, content_of(3))
    assert source.fetched == [content_of(3)]
    assert len(entries(tmp_path)) <= 3


def test_what_this_process_has_used_is_not_replaced(tmp_path):
    """An epoch that is larger than the cache hits as often as the cache is large."""
    source, cache = Source(), DiskCache(tmp_path, 5500)
    rng = np.random.default_rng(0)
    for number in range(10):
        source.read(cache, content_of(number))
    for _ in range(3):
        source.fetched.clear()
        for number in rng.permutation(10):
            source.read(cache, content_of(int(number)))
        assert len(source.fetched) == 5


def test_a_damaged_entry_is_fetched_again(tmp_path):
    source, cache = Source(), DiskCache(tmp_path, 10_000)
    source.read(cache, content_of(1))
    (entry,) = entries(tmp_path)
    for damaged in (entry.read_bytes()[:-1], b"x" + entry.read_bytes()[1:]):
        entry.write_bytes(damaged)
        source.read(cache, content_of(1))
    assert len(source.fetched) == 3
    source.read(cache, content_of(1))
    assert len(source.fetched) == 3


def test_without_comparison_only_the_size_is_looked_at(tmp_path):
    cache, content = DiskCache(tmp_path, 10_000), content_of(1)
    cache.read(described(content), lambda: content)
    (entry,) = entries(tmp_path)
    entry.write_bytes(b"x" + content[1:])
    assert cache.read(described(content), lambda: content, compare=False)[:1] == b"x"


def test_many_threads_fetch_each_file_once_and_keep_the_limit(tmp_path):
    source, cache = Source(), DiskCache(tmp_path, 12_500)
    barrier, failures = threading.Barrier(8), []

    def work() -> None:
        barrier.wait()
        try:
            for number in range(10):
                source.read(cache, content_of(number))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert sorted(source.fetched) == sorted(content_of(n) for n in range(10))


PROCESS = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.datasets.store.test_disk_cache import Source, content_of
from aclnet.datasets.store.disk_cache import DiskCache
source, cache = Source(), DiskCache(Path(sys.argv[1]), 8_500)
for number in range(int(sys.argv[3]), int(sys.argv[3]) + 30):
    source.read(cache, content_of(number % 20))
"""


@pytest.mark.slow
def test_processes_keep_the_limit_together(tmp_path):
    root = Path(__file__).parents[3]
    running = [
        subprocess.Popen([sys.executable, "-c", PROCESS, tmp_path, root, str(first)])
        for first in (0, 7, 13)
    ]
    try:
        while any(process.poll() is None for process in running):
            # without the lock of those who write, a listing may hold an old entry and its successor
            with FileLock(tmp_path / "lock"):
                assert len(entries(tmp_path)) <= 8
        assert [process.returncode for process in running] == [0, 0, 0]
    finally:
        for process in running:
            process.kill()
            process.wait()


def test_a_file_larger_than_the_cache_passes_it_by(tmp_path):
    source, cache = Source(), DiskCache(tmp_path, 999)
    for _ in range(2):
        source.read(cache, content_of(1))
    assert len(source.fetched) == 2
    assert not entries(tmp_path)


def test_a_count_that_is_lost_or_too_high_is_made_again(tmp_path):
    source, cache = Source(), DiskCache(tmp_path, 2_500)
    source.read(cache, content_of(1))
    for wrong in ("", "2400"):
        (tmp_path / "total").write_text(wrong)
        source.read(DiskCache(tmp_path, 2_500), content_of(2))
        assert len(entries(tmp_path)) == 2
        entry = tmp_path / described(content_of(2)).sha256[:2] / described(content_of(2)).sha256
        entry.unlink()


def test_a_folder_that_cannot_be_written_is_told_once(tmp_path):
    (tmp_path / "file").touch()
    source, cache = Source(), DiskCache(tmp_path / "file", 10_000)
    with pytest.warns(AclnetWarning, match=r"file cannot be written .*set ACLNET_CACHE"):
        source.read(cache, content_of(1))
    source.read(cache, content_of(1))
    assert len(source.fetched) == 2


def test_a_full_disk_leaves_what_is_kept(tmp_path, monkeypatch):
    source, cache = Source(), DiskCache(tmp_path, 10_000)
    source.read(cache, content_of(1))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.warns(AclnetWarning, match="No space left on device.*make room"):
            source.read(cache, content_of(2))
    for number in (1, 2):
        source.read(cache, content_of(number))
    assert source.fetched == [content_of(1), content_of(2), content_of(2)]


def test_place_and_size_come_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("ACLNET_CACHE", str(tmp_path))
    monkeypatch.setenv("ACLNET_CACHE_MB", "3")
    cache = default_disk_cache()
    assert (cache.folder, cache.limit) == (tmp_path, 3_000_000)
    monkeypatch.delenv("ACLNET_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert default_disk_cache().folder == tmp_path / "caches" / "aclnet"
    monkeypatch.setenv("ACLNET_CACHE_MB", "lots")
    with pytest.raises(AclnetError, match="ACLNET_CACHE_MB=lots: a number of megabytes"):
        default_disk_cache()
