"""Resources of the data path: memory as the set grows, bytes on disk, seconds to start."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import people
from measure import Row, alternate, command

import aclnet
from aclnet.pipelines.prepare.executor import open_executor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SIZES = (1_000, 2_000, 10_000, 50_000, 100_000)
_SLOPE = (10_000, 100_000)
"""Sizes between which costs per sequence are computed."""
_TASKS = 2_000


def rows(folder: Path, rounds: int, real: Path | None) -> Iterator[Row]:
    """All rows; `real`: real recordings for the size on disk, None: left out."""
    yield from _scale(folder)
    yield from _tasks(min(rounds, 3))
    if real:
        yield from _bytes(folder, real)
    yield from _start(folder, rounds)


@dataclass(frozen=True, slots=True)
class _Cost:
    """Costs of a set of one size."""

    seconds: float
    """Seconds of the whole command `prepare`."""
    prepare_mb: float
    epoch_mb: float
    """Peak memory of a process that streams an epoch."""
    files: int
    """Number of files of the store."""
    bytes: int


def _scale(folder: Path) -> Iterator[Row]:
    """Costs that grow with the set, and their growth per sequence."""
    files = people.make(folder / "generated")
    costs = {size: _cost(files, folder / f"m{size}", size) for size in _SIZES}
    sizes = ", ".join(f"{size:,}" for size in _SIZES)

    def told(what: str, name: str, reach: str = "") -> Row:
        values = ", ".join(f"{getattr(cost, name):,.0f}" for cost in costs.values())
        return Row(f"{what}, {sizes} sequences", "", values, None, reach)

    yield told("peak memory of prepare, two workers, MB", "prepare_mb", "+10 %")
    yield told("peak memory of an epoch streamed, MB", "epoch_mb", "+10 %")
    yield told("prepare, two workers, whole command, s", "seconds")
    yield told("files of the store", "files")
    small, large = (costs[size] for size in _SLOPE)
    more = _SLOPE[1] - _SLOPE[0]
    slopes = {
        "ms": 1e3 * (large.seconds - small.seconds) / more,
        "kB of memory": 1e3 * (large.prepare_mb - small.prepare_mb) / more,
        "kB on disk": (large.bytes - small.bytes) / more / 1e3,
    }
    yield Row(
        f"prepare, each further sequence ({_SLOPE[0]:,} to {_SLOPE[1]:,})",
        "",
        ", ".join(f"{value:.2f} {unit}" for unit, value in slopes.items()),
        None,
        "",
    )


def _cost(files: list[Path], place: Path, size: int) -> _Cost:
    raw = people.link(files, place / "raw", size)
    done = command("prepare", "ntu120", "--raw", str(raw), "--workers", "2", cwd=place)
    shutil.rmtree(raw)
    store = place / "ntu120.zarr"
    found = [f for f in store.rglob("*") if f.is_file()]
    cost = _Cost(
        done.seconds,
        done.peak_mb,
        _peak_of_epoch(store),
        len(found),
        sum(f.stat().st_size for f in found),
    )
    shutil.rmtree(store)
    return cost


def _tasks(rounds: int) -> Iterator[Row]:
    """Overhead of dask for a task of prepare, measured with empty tasks."""
    with open_executor(2) as execute:

        def all_of_them() -> None:
            for _ in execute(abs, range(_TASKS)):
                pass

        (seconds,) = alternate([all_of_them], rounds)
    what = "dask, two workers, a task that does nothing (of prepare, one for 256 recordings), ms"
    yield Row(what, "", f"{1e3 * seconds / _TASKS:.1f}", None, "")


_EPOCH = """
import sys
from pathlib import Path
import aclnet
stream = aclnet.open_store(sys.argv[1]).stream(
    "xsub/train", batch_size=64, sampling=aclnet.UniformSampling(100))
for _ in stream:
    pass
# not what getrusage says, which remembers the parent from before this program was loaded
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(int(status["VmHWM"].split()[0]) / 1024)
"""


def _peak_of_epoch(store: Path) -> float:
    """Peak memory in MB of a process that only streams an epoch."""
    call = [sys.executable, "-c", _EPOCH, str(store)]
    return float(subprocess.run(call, capture_output=True, text=True, check=True).stdout)


def _bytes(folder: Path, real: Path) -> Iterator[Row]:
    """Bytes per frame and person of real recordings, compared with the usual files."""
    for title, dataset, raw in (
        ("NTU, 7 recordings", "ntu120", "ntu_raw"),
        ("UTD-MHAD", "utd-mhad", "utd_mhad"),
    ):
        sizes = {}
        for dtype in ("float32", "int16"):
            out = folder / f"{dataset}-{dtype}.zarr"
            options = ("--raw", str(real / raw), "--dtype", dtype, "--out", str(out))
            command("prepare", dataset, *options, cwd=folder)
            store = aclnet.open_store(out)
            frames = int((store.column("n_frames") * store.column("n_persons")).sum())
            stored = sum(f.stat().st_size for f in (out / "frames").rglob("*") if f.is_file())
            sizes[dtype] = stored / frames
        store = aclnet.open_store(folder / f"{dataset}-float32.zarr")
        joints = [store.sequence(row).keypoint for row in range(len(store))]
        half = len(pickle.dumps([x.astype(np.float16) for x in joints])) / frames
        packed = io.BytesIO()
        np.savez_compressed(packed, *joints)
        peer = f"{half:.0f} float16 pickle, {packed.tell() / frames:.0f} compressed npz"
        own = f"{sizes['float32']:.0f} float32, {sizes['int16']:.0f} int16"
        yield Row(f"bytes per frame, {title}", peer, own, None, "measured")


def _start(folder: Path, rounds: int) -> Iterator[Row]:
    def help_text() -> None:
        command("--help", cwd=folder, every=0.005)

    def imported() -> None:
        os.spawnl(os.P_WAIT, sys.executable, sys.executable, "-c", "import aclnet")

    def bare() -> None:
        os.spawnl(os.P_WAIT, sys.executable, sys.executable, "-c", "")

    told, whole, python = alternate([help_text, imported, bare], rounds)
    yield Row("`aclnet --help`, s", "", f"{told:.2f}", None, "0.3")
    yield Row(
        "`import aclnet`, s, without Python's own start", "", f"{whole - python:.2f}", None, "0.1"
    )


def now() -> str:
    return time.strftime("%Y-%m-%d")
