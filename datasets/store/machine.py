"""Memory and cores that this process may use, and its place among others."""

from __future__ import annotations

import os
from pathlib import Path

_MEMINFO, _GROUPS, _GROUP = (
    Path("/proc/meminfo"),
    Path("/sys/fs/cgroup"),
    Path("/proc/self/cgroup"),
)
_RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
"""Variables with the number of a process among several; the first process has 0 in all of them."""
_UNKNOWN = 4 << 30
"""Assumed bytes of memory if the system does not report them, as on Windows."""


def available_memory() -> int:
    """Bytes that can be used now, within the limits of a container or a job of Slurm."""
    return min([_free(), *_limits()])


def cores() -> int:
    """Number of processor cores that this process may use, at least one."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def is_first_process() -> bool:
    """Returns whether this process is the only one, or the first of torchrun, srun or Fabric."""
    return all(os.environ.get(name, "0") == "0" for name in _RANKS)


def _free() -> int:
    """Bytes that all processes of the machine together can still use."""
    try:
        lines = _MEMINFO.read_text().splitlines()
        told = next(line for line in lines if line.startswith("MemAvailable:"))
        return int(told.split()[1]) << 10
    except (OSError, ValueError, IndexError, StopIteration):
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return _UNKNOWN


def _limits() -> list[int]:
    """Remaining bytes of each limit of the control groups of this process."""
    found = []
    for line in _read(_GROUP).splitlines():
        kinds, _, group = line.partition(":")[2].partition(":")
        if kinds == "memory":  # version 1
            files, root = ("memory.limit_in_bytes", "memory.usage_in_bytes"), _GROUPS / "memory"
        elif not kinds:
            files, root = ("memory.max", "memory.current"), _GROUPS
        else:
            continue
        # The limits of the groups above also apply. A container sees its own group at the root.
        inner = root / group.lstrip("/")
        for folder in (inner, *inner.parents):
            limit, used = (_read(folder / name).strip() for name in files)
            if limit.isdecimal() and used.isdecimal():
                found.append(max(0, int(limit) - int(used)))
            if folder == root:
                break
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
