"""Epochs of a set larger than the cache, read by several processes as a training's processes do.

`python benchmarks/lanes.py` prints the table of docs/performance.md, section "Several processes".
The processes only read and gather; they train no network. The caches of all processes together hold
a quarter of the training side. The second epoch is measured.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scale import make_store, write_parts

import aclnet

_BATCH = 64
_SPLIT = "xsub/train"
_WINDOW = 8
"""Shards that are shuffled together: the default window has eight shards of full size."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sequences", type=int, default=40_000)
    parser.add_argument("--shard-rows", type=int, default=16_384, help="Frames in a shard.")
    parser.add_argument("--lanes", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--store", type=Path, help="Read this store instead of a synthetic one.")
    parser.add_argument("--reader", type=int, nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.reader:
        print(json.dumps(_read(options.store, *options.reader)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        store = options.store or _synthetic(Path(temporary), options.sequences, options.shard_rows)
        _table(store, options.processes, options.lanes)


def _synthetic(folder: Path, sequences: int, shard_rows: int) -> Path:
    write_parts(folder, sequences)
    return make_store(folder, shard_rows)


def _table(store: Path, worlds: list[int], lanes: list[int]) -> None:
    print(
        "| processes | lanes | decoded by a process, MB | by all, MB | CPU of a process, s | "
        "CPU of all, s | sequences/s of all |\n|---|---|---|---|---|---|---|"
    )
    for world in worlds:
        for count in lanes:
            found = _together(store, world, count)
            decoded, busy = ([part[name] for part in found] for name in ("mb", "cpu"))
            rate = sum(part["sequences"] for part in found) / max(part["s"] for part in found)
            row = f"{max(decoded):,.0f} | {sum(decoded):,.0f} | {max(busy):.2f} | {sum(busy):.2f}"
            print(f"| {world} | {count} | {row} | {rate:,.0f} |", flush=True)


def _together(store: Path, world: int, lanes: int) -> list[dict[str, float]]:
    """Measurements of each of `world` processes that read at the same time."""
    call = [sys.executable, __file__, "--store", str(store), "--reader"]
    readers = [
        subprocess.Popen(
            [*call, str(rank), str(world), str(lanes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]
    for reader in readers:
        assert reader.stdout is not None
        reader.stdout.readline()  # the first epoch is over
    for reader in readers:
        assert reader.stdin is not None
        reader.stdin.write("go\n")
        reader.stdin.flush()
    return [json.loads(reader.communicate()[0]) for reader in readers]


def _read(path: Path, rank: int, world: int, lanes: int) -> dict[str, float]:
    """The second epoch of a process, after a line on stdin."""
    store = aclnet.open_store(path)
    shards = len(np.unique(store.shard_of[store.mask(_SPLIT)]))
    each = store.shard_rows * store.layout.num_joints * store.coordinates * 4
    stream = store.stream(
        _SPLIT,
        batch_size=_BATCH // world,
        sampling=aclnet.UniformSampling(64),
        window=_WINDOW,
        lanes=lanes,
        cache=shards * each // 4 // world,
        share=aclnet.Share(rank, world),
    )
    sum(len(batch) for batch in stream)
    decoded = [0]
    read = store.read_shard

    def counted(shard: int, *, score: bool = False) -> tuple[np.ndarray, np.ndarray]:
        block = read(shard, score=score)
        decoded[0] += block[0].nbytes
        return block

    store.read_shard = counted  # type: ignore[method-assign]
    print("ready", flush=True)
    sys.stdin.readline()
    begun, busy = time.perf_counter(), time.process_time()
    sequences = sum(len(batch) for batch in stream)
    return {
        "sequences": sequences,
        "s": time.perf_counter() - begun,
        "cpu": time.process_time() - busy,
        "mb": decoded[0] / 1e6,
    }


if __name__ == "__main__":
    main()
