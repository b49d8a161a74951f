"""Millions of sequences without their joints: time and memory of what grows with their number.

`python benchmarks/scale.py --sizes 100000 1000000` prints the table of docs/performance.md, section
"Millions of sequences". Each step runs in a process of its own. The table tells the processor
seconds of the step, and by how much its peak memory exceeds that of a process that has only
imported aclnet.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import aclnet
from aclnet.datasets.registry import all_datasets
from aclnet.datasets.spec import UNLABELLED
from aclnet.datasets.spec.layouts import get_layout
from aclnet.datasets.store import manifest, zarr_io
from aclnet.datasets.store.attributes import StoreAttributes
from aclnet.datasets.store.contents import AXES, INDEX, KEYPOINT, PRESENT
from aclnet.pipelines.prepare import assemble, fragments, shards

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_BATCH = 256
_FRAMES, _PEOPLE = 76, 40
_SIDES = ("xsub/train", "xsub/test", "xset/train", "xset/test")
_STEPS = {
    "prepare": "prepare: tables of the parts, packing, columns",
    "open": "open the store",
    "stream": "open it, begin to stream a training side",
    "plan": "the same, plan an epoch three times",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument(
        "--folder", type=Path, help="Folder for the files. [default: a temporary one]"
    )
    parser.add_argument("--step", choices=["idle", *_STEPS], help="Run this step alone.")
    options = parser.parse_args()
    if options.step:
        print(json.dumps(_measured(options.step, options.folder)))
        return
    print("| sequences | step | CPU s | MB |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        for size in options.sizes:
            folder = (options.folder or Path(temporary)) / str(size)
            write_parts(folder, size)
            base = _in_a_process("idle", folder)["mb"]
            for step, what in _STEPS.items():
                found = _in_a_process(step, folder)
                row = f"{size:,} | {what} | {found['s']:.1f} | {found['mb'] - base:.0f}"
                print(f"| {row} |", flush=True)


def _in_a_process(step: str, folder: Path) -> dict[str, float]:
    call = [sys.executable, __file__, "--step", step, "--folder", str(folder)]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def _measured(step: str, folder: Path) -> dict[str, float]:
    """Processor seconds of a step in this process, and the peak of its memory in MB."""
    begun = time.process_time()
    if step == "prepare":
        make_store(folder)
    elif step != "idle":
        store = aclnet.open_store(folder / "store")
        if step != "open":
            sampling = aclnet.UniformSampling(100)
            stream = store.stream("xsub/train", batch_size=64, sampling=sampling)
            for epoch in range(3 if step == "plan" else 0):
                stream.plan(epoch)
    seconds = time.process_time() - begun
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(line for line in lines if line.startswith("VmHWM:"))
    return {"s": seconds, "mb": int(peak.split()[1]) / 1024}


def write_parts(folder: Path, size: int) -> None:
    """The tables of the first stage of prepare for `size` sequences of NTU RGB+D's kind."""
    for number in range(-(-size // _BATCH)):
        place = fragments.fragment_folder(folder, number)
        place.mkdir(parents=True)
        samples = range(number * _BATCH, min(size, (number + 1) * _BATCH))
        (place / "table.json").write_text(_table(samples))


def _table(samples: range) -> str:
    count = len(samples)
    ids = [f"S{n % 97:05d}C001P{n % _PEOPLE:03d}R{n:08d}" for n in samples]
    zeros = [0] * count
    columns = {
        "label": [n % 60 for n in samples],
        "subject": [n % _PEOPLE for n in samples],
        "setup": [n % 32 for n in samples],
        **dict.fromkeys(("camera", "replication", "width", "height", "variant"), zeros),
        "id": ids,
        "original": ids,
        "condition": [""] * count,
        "source": [f"nturgb+d_skeletons/{name}.skeleton" for name in ids],
        "n_persons": [1 + (n % 4 == 0) for n in samples],
        "n_frames": [_FRAMES] * count,
        "centre": [[0.25, 0.5, 3.0]] * count,
        "rotation": [np.eye(3).tolist()] * count,
    }
    return json.dumps({"arrays": [], "columns": columns, "rejections": [], "largest": 1.0})


def make_store(folder: Path, joints_rows: int | None = None) -> Path:
    """The second stage of prepare without rows of frames; their files hold a number each.

    With `joints_rows`, there are rows of frames, the same random walk in each shard, and so many of
    them in a shard.
    """
    table = fragments.load_table(folder)
    person, setup = table.columns["subject"] % 2, table.columns["setup"] % 2
    labelled = table.columns["label"] != UNLABELLED
    masks = (person == 0, person == 1, setup == 0, setup == 1)
    sides = {name: mask & labelled for name, mask in zip(_SIDES, masks, strict=True)}
    shard_rows = joints_rows or shards.choose_shard_rows(table.rows, list(sides.values()))
    packing = shards.pack(table.rows, list(sides.values()), shard_rows, 0)
    store = shards.store_folder(folder)
    layout = get_layout("nturgb+d")
    zarr_io.create_group(store, {})
    rows = {KEYPOINT: ((25, 3), "float32"), PRESENT: ((), "bool"), INDEX: ((), "int32")}
    for name, (row, dtype) in rows.items():
        zarr_io.create_frames(
            store,
            name,
            shards=packing.shards,
            shard_rows=shard_rows,
            row_shape=row,
            dtype=dtype,
            fill=shards.FILL[name],
            axes=AXES[name],
        )
    assemble._write_columns(store, table, packing, sides)
    spec = all_datasets()["ntu60"]
    attributes = StoreAttributes(
        schema=manifest.SCHEMA,
        dataset="ntu60",
        title="Synthetic columns",
        layout=layout,
        conversion={},
        coordinates=3,
        units="m",
        class_names=list(spec.class_names),
        cleaning="none",
        normalisation="none",
        options={},
        protocols={},
        protocol_classes={},
        rejected={},
        plan="",
        software={},
        shard_rows=shard_rows,
    )
    zarr_io.set_attributes(store, "", attributes.model_dump(mode="json"))
    zarr_io.consolidate(store)
    counts = np.bincount(packing.shard)
    blocks = _joints(shard_rows) if joints_rows else dict.fromkeys(rows)
    written = [_shard(store, number, int(counts[number]), blocks) for number in range(len(counts))]
    assemble._write_manifest(store, "", written)
    return store


def _joints(rows: int) -> dict[str, NDArray[Any]]:
    """Frames of a shard, with steps of about a centimetre."""
    steps = np.random.default_rng(0).normal(scale=0.01, size=(rows, 25, 3))
    return {
        KEYPOINT: steps.cumsum(axis=0).astype(np.float32),
        PRESENT: np.ones(rows, np.bool_),
        INDEX: np.arange(rows, dtype=np.int32),
    }


def _shard(
    store: Path, number: int, samples: int, blocks: Mapping[str, NDArray[Any] | None]
) -> manifest.Shard:
    files = {}
    for name, block in blocks.items():
        file = zarr_io.shard_file(name, number, len(AXES[name]))
        (store / file).parent.mkdir(parents=True, exist_ok=True)
        if block is None:
            (store / file).write_text(str(number))
            files[file] = manifest.File(bytes=len(str(number)), sha256="")
        else:
            zarr_io.write_shard(store, name, number, block.__getitem__)
            files[file] = manifest.describe_file(store / file)
    return manifest.Shard(files=files, content="", samples=samples, rows=0)


if __name__ == "__main__":
    main()
