"""Rates of streaming a store from an object store on loopback, and from the same folder.

`python benchmarks/object_storage.py` prints the table of docs/performance.md, section "Object
storage". A server of the tests answers in a process of its own, at once and after `--latency`
milliseconds, as one that is far away. Memory keeps no decoded shards, so that each epoch reads all
of them. A rate is the median of `--rounds` epochs.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import aclnet
from aclnet.datasets.synth.ntu import sample_names, write_skeletons

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.object_server import Fault, ObjectServer

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

_KEY = "bench.zarr"
_ACTIONS = (1, 3, 10, 11, 12, 24, 26, 27, 28, 34)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--subjects", type=int, default=10, help="60 sequences for each")
    arguments.add_argument("--latency", type=float, nargs="*", default=[0, 30])
    arguments.add_argument("--rounds", type=int, default=3)
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        os.environ["ACLNET_CACHE"] = str(work / "cache")
        store = _make_store(work, chosen.subjects)
        sizes = [file.bytes for file in aclnet.open_store(store).manifest.all_files.values()]
        print(
            f"{len(aclnet.open_store(store))} sequences, {len(sizes)} files, {sum(sizes):,} bytes"
        )
        _rate(store)  # imports and the page cache
        print(f"folder: {_median(store, chosen.rounds):,.0f} sequences/s")
        for milliseconds in chosen.latency:
            _measure(store, work, milliseconds, chosen.rounds)


def _make_store(work: Path, subjects: int) -> Path:
    names = sample_names(actions=_ACTIONS, subjects=subjects, cameras=3, replications=2)
    write_skeletons(work / "raw", names, 0)
    return Path(aclnet.prepare("ntu60", work / "raw", work / "local.zarr").path)


def _measure(store: Path, work: Path, milliseconds: float, rounds: int) -> None:
    mine, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(
        target=_serve, args=(store, milliseconds / 1000, theirs), daemon=True
    )
    server.start()
    address, environment = mine.recv()
    os.environ |= environment
    cold = []
    for _ in range(rounds):
        shutil.rmtree(work / "cache", ignore_errors=True)
        cold.append(_rate(address))
    print(
        f"object store, answers after {milliseconds:g} ms: "
        f"{statistics.median(cold):,.0f} sequences/s with an empty cache on disk, "
        f"{_median(address, rounds):,.0f} with a full one"
    )
    server.terminate()


def _serve(store: Path, seconds: float, ready: Connection) -> None:
    server = ObjectServer()
    address = server.put_folder(store, _KEY)
    if seconds:
        server.faults.append(Fault("slow", times=sys.maxsize, seconds=seconds))
    server.start()
    ready.send((address, server.environment()))
    time.sleep(86_400)


def _median(place: Path | str, rounds: int) -> float:
    return statistics.median(_rate(place) for _ in range(rounds))


def _rate(place: Path | str) -> float:
    """Sequences a second of one epoch, with the time for opening the store."""
    begun = time.perf_counter()
    stream = aclnet.open_store(place).stream(
        "xsub/train", batch_size=64, sampling=aclnet.UniformSampling(100), cache=0, window=16
    )
    return sum(len(batch) for batch in stream) / (time.perf_counter() - begun)


if __name__ == "__main__":
    main()
