"""Shared functions of the benchmarks: alternating rounds, medians, rows of the table."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Row:
    """One line of docs/performance.md."""

    what: str
    peer: str
    """The usual way, measured in the same run; empty if there is none to compare with."""
    ours: str
    ratio: float | None
    reach: str
    """Target of the measurement."""


def alternate(functions: list[Callable[[], object]], rounds: int) -> list[float]:
    """Median seconds of each function, called in turn, after one call that does not count."""
    times: list[list[float]] = [[] for _ in functions]
    for number in range(rounds + 1):
        for function, found in zip(functions, times, strict=True):
            start = time.perf_counter()
            function()
            if number:
                found.append(time.perf_counter() - start)
    return [median(found) for found in times]


@dataclass(frozen=True, slots=True)
class Finished:
    """A command that ended."""

    seconds: float
    peak_mb: float
    """Largest resident set of the command and of its children together, by sampling."""
    output: str


def command(*arguments: str, cwd: Path, every: float = 0.05) -> Finished:
    """Runs `aclnet` with these arguments; raises RuntimeError if it fails."""
    call = [str(Path(sys.executable).with_name("aclnet")), *arguments]
    start = time.perf_counter()
    with subprocess.Popen(
        call, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, _resident_mb(process.pid))
            time.sleep(every)
        output = process.stdout.read() if process.stdout else ""
    if process.returncode:
        raise RuntimeError(f"{' '.join(arguments)} failed:\n{output}")
    return Finished(time.perf_counter() - start, peak, output)


def _resident_mb(pid: int) -> float:
    """Memory of a process and all below it; shared pages count once (proportional set)."""
    total = 0.0
    for one in _family(pid):
        try:
            for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) / 1024
        except OSError:
            continue  # the process has ended
    return total


def _family(pid: int) -> list[int]:
    """The process and all below it, started by any of its threads."""
    found = [pid]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found += map(int, children.read_text().split())
            except OSError:
                continue
    return found


def machine() -> str:
    """Processor, cores, versions and commit, in one line."""
    import numpy
    import torch

    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = [x for x in cpuinfo.read_text().splitlines() if x.startswith("model name")]
        name = lines[0].partition(":")[2].strip() if lines else name
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    return (
        f"{name}, {os.cpu_count()} cores, Python {platform.python_version()}, numpy "
        f"{numpy.__version__}, torch {torch.__version__}, commit {commit or 'unknown'}"
    )
