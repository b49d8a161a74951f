"""The memory that a process may use: of the system, and of the groups that limit it."""

from __future__ import annotations

import os
import shutil

import pytest

from aclnet.datasets.spec import AclnetError
from aclnet.datasets.store import machine
from aclnet.datasets.store.store import Store


@pytest.fixture
def system(tmp_path, monkeypatch):
    """A function that writes files of a synthetic system."""
    (tmp_path / "meminfo").write_text("MemTotal: 64 kB\nMemAvailable:  32 kB\n")
    monkeypatch.setattr(machine, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(machine, "_GROUP", tmp_path / "group")
    monkeypatch.setattr(machine, "_GROUPS", tmp_path / "groups")

    def write(**files: str) -> None:
        for name, text in files.items():
            file = tmp_path / name.replace("__", "/").replace("_dot_", ".")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    return write


def test_free_memory_is_that_of_the_system(system):
    assert machine.available_memory() == 32 << 10


def test_a_group_limits_memory_and_so_does_the_group_above(system):
    system(group="0::/job/step\n", groups__job__step__memory_dot_max="max\n")
    system(groups__job__memory_dot_max="9000\n", groups__job__memory_dot_current="1000\n")
    assert machine.available_memory() == 8000
    system(groups__memory_dot_max="5000\n", groups__memory_dot_current="6000\n")
    assert machine.available_memory() == 0


def test_groups_of_the_first_version(system):
    system(group="5:devices:/\n4:memory:/job\n0::/\n")
    system(
        groups__memory__job__memory_dot_limit_in_bytes="7000",
        groups__memory__job__memory_dot_usage_in_bytes="6000",
    )
    assert machine.available_memory() == 1000


def test_without_the_file_of_linux_all_memory_counts(system, tmp_path):
    (tmp_path / "meminfo").write_text("damaged")
    assert machine.available_memory() == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_this_machine_has_memory_and_cores():
    assert machine.available_memory() > 1 << 20
    assert 1 <= machine.cores() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("variables", "first"),
    [
        ({}, True),
        ({"RANK": "0", "LOCAL_RANK": "0"}, True),
        ({"RANK": "3"}, False),
        ({"RANK": "4", "LOCAL_RANK": "0"}, False),  # the first one of another node
        ({"LOCAL_RANK": "1"}, False),
        ({"NODE_RANK": "1"}, False),
        ({"SLURM_PROCID": "2"}, False),
    ],
)
def test_the_first_of_several_processes(variables, first, monkeypatch):
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert machine.is_first_process() is first


def test_another_process_finds_a_cut_shard_when_it_reads_it(people_store, tmp_path, monkeypatch):
    path = shutil.copytree(people_store, tmp_path / "cut.zarr")
    file = path / next(iter(Store(path).manifest.shards[0].files))
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(AclnetError, match="verify"):
        Store(path)
    monkeypatch.setenv("RANK", "1")
    opened = Store(path)
    with pytest.raises(AclnetError, match="verify"):
        opened.sequence(0)
