"""What the data path takes: memory as the set grows, bytes on disk, seconds to start."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import people
from measure import Row, alternate, command

import aclnet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SIZES = (2_000, 50_000, 100_000)


def rows(folder: Path, rounds: int, real: Path | None) -> Iterator[Row]:
    """All of them; `real`: real recordings for the size on disk, None: left out."""
    yield from _memory(folder)
    if real:
        yield from _bytes(folder, real)
    yield from _start(folder, rounds)


def _memory(folder: Path) -> Iterator[Row]:
    files = people.make(folder / "generated")
    prepared, streamed = [], []
    for size in _SIZES:
        place = folder / f"m{size}"
        raw = people.link(files, place / "raw", size)
        done = command("prepare", "ntu120", "--raw", str(raw), "--workers", "2", cwd=place)
        prepared.append(done.peak_mb)
        streamed.append(_peak_of_epoch(place / "ntu120.zarr"))
        shutil.rmtree(raw)
    sizes = ", ".join(f"{size:,}" for size in _SIZES)
    for what, peaks in (("prepare, two workers", prepared), ("an epoch streamed", streamed)):
        title = f"peak memory of {what}, {sizes} sequences, MB"
        yield Row(title, "", ", ".join(f"{peak:,.0f}" for peak in peaks), None, "+10 %")


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
    """MB, of a process that does nothing else."""
    call = [sys.executable, "-c", _EPOCH, str(store)]
    return float(subprocess.run(call, capture_output=True, text=True, check=True).stdout)


def _bytes(folder: Path, real: Path) -> Iterator[Row]:
    """Bytes a frame and person of real recordings, against the customary files."""
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
        yield Row(f"bytes a frame, {title}", peer, own, None, "measured")


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
