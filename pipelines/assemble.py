"""Stage two of prepare as a whole: arrays, shards, columns and, last of all, the manifest."""

from __future__ import annotations

import csv
from collections import Counter
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from aclnet.datasets import manifest, zarr_io
from aclnet.datasets.layouts import get_layout
from aclnet.datasets.store import INDEX, INT16_FILL, KEYPOINT, PRESENT, SCORE
from aclnet.pipelines import shards
from aclnet.pipelines.normalise import recipe_name

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from aclnet.datasets.readers import DatasetSpec, Source
    from aclnet.datasets.sequence import Rejection
    from aclnet.pipelines.executor import Run
    from aclnet.pipelines.options import PrepareOptions
    from aclnet.pipelines.parts import PartTable
    from aclnet.pipelines.prepare import Progress

REJECTED = "rejected.csv"
_INT16_STEP = 0.0002
"""Metres: reaches 6.5 m; a larger scene gets a larger step."""


def assemble(
    spec: DatasetSpec,
    source: Source,
    table: PartTable,
    sides: dict[str, NDArray[np.bool_]],
    rejections: list[Rejection],
    work: Path,
    plan: str,
    options: PrepareOptions,
    run: Run,
    progress: Progress,
) -> Path:
    """Writes the store below `work` and returns its folder, ready to be renamed into place."""
    masks = list(sides.values())
    shard_rows = shards.choose_shard_rows(table.rows, masks)
    packing = shards.pack(table.rows, masks, shard_rows, options.seed)
    scale = int16_scale(table.largest) if options.dtype == "int16" else None
    store = shards.store_folder(work)
    arrays = (KEYPOINT, PRESENT, INDEX, *([SCORE] if table.scored else []))
    jobs = _shard_jobs(table, packing, work, plan, arrays, scale)
    _create_arrays(jobs[0], spec, table, packing)
    written = _write_shards(jobs, run, progress)
    if scale is not None:
        worst = max(error for _, error in written)
        zarr_io.set_attributes(store, KEYPOINT, {"scale": scale, "max_error": worst})
    _write_columns(store, table, packing, sides)
    _write_rejections(store / REJECTED, rejections)
    attributes = _attributes(spec, source, table, sides, rejections, plan, options)
    zarr_io.set_attributes(store, "", {**attributes, "shard_rows": shard_rows})
    zarr_io.consolidate(store)
    described = [shard for shard, _ in written]
    finished = manifest.Manifest(plan=plan, shards=described, files=_other_files(store, described))
    manifest.write_json(store / manifest.NAME, finished.model_dump())
    return store


def int16_scale(largest: float) -> float:
    """Step of the fixed point: 0.2 mm, or what the largest coordinate needs."""
    return max(_INT16_STEP, largest / -(INT16_FILL + 1))


def _shard_jobs(
    table: PartTable,
    packing: shards.Packing,
    work: Path,
    plan: str,
    arrays: tuple[str, ...],
    scale: float | None,
) -> list[shards.ShardJob]:
    pieces: list[list[tuple[int, int, int, int]]] = [[] for _ in range(packing.shards)]
    inside = packing.start % packing.shard_rows
    rows = zip(
        packing.shard.tolist(),
        table.part.tolist(),
        table.first.tolist(),
        table.rows.tolist(),
        inside.tolist(),
        strict=True,
    )
    for shard, *piece in rows:
        pieces[shard].append(tuple(piece))
    return [
        shards.ShardJob(number, work, plan, packing.shard_rows, chosen, arrays, scale)
        for number, chosen in enumerate(pieces)
    ]


def _create_arrays(
    job: shards.ShardJob, spec: DatasetSpec, table: PartTable, packing: shards.Packing
) -> None:
    """Metadata of all frame arrays, once, before any task writes."""
    store, marker = shards.store_folder(job.work), job.work / "arrays.json"
    if marker.is_file():
        return
    zarr_io.create_group(store, {})
    joint_axis = (get_layout(spec.layout).num_joints,)
    shapes: dict[str, tuple[tuple[int, ...], str]] = {
        KEYPOINT: (
            (*joint_axis, table.columns["centre"].shape[1]),
            "float32" if job.scale is None else "int16",
        ),
        PRESENT: ((), "bool"),
        INDEX: ((), "int32"),
        SCORE: (joint_axis, "float32"),
    }
    for name in job.arrays:
        row_shape, dtype = shapes[name]
        zarr_io.create_frames(
            store,
            name,
            shards=packing.shards,
            shard_rows=packing.shard_rows,
            row_shape=row_shape,
            dtype=dtype,
            fill=INT16_FILL if dtype == "int16" else shards.FILL[name],
        )
    manifest.write_json(marker, {"arrays": job.arrays})


def _write_shards(
    jobs: list[shards.ShardJob], run: Run, progress: Progress
) -> list[tuple[manifest.Shard, float]]:
    missing = [job for job in jobs if not shards.is_done(job)]
    done = len(jobs) - len(missing)
    progress("write", done, len(jobs), 0)
    for _ in run(shards.write_shard, missing):
        done += 1
        progress("write", done, len(jobs), 0)
    return [shards.read_receipt(job.work, job.number) for job in jobs]


def _write_columns(
    store: Path, table: PartTable, packing: shards.Packing, sides: dict[str, NDArray[np.bool_]]
) -> None:
    order = np.argsort(packing.start)
    for name, values in {**table.columns, "start": packing.start}.items():
        narrow = values.dtype.kind == "i" and name != "start"
        column = values.astype(np.int32) if narrow else values
        zarr_io.create_column(store, f"samples/{name}", column[order])
    for name, mask in sides.items():
        zarr_io.create_column(store, f"splits/{name}", mask[order])


def _write_rejections(path: Path, rejections: list[Rejection]) -> None:
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "line", "reason"])
        writer.writerows(sorted((r.path, r.line or "", r.reason) for r in rejections))


def _attributes(
    spec: DatasetSpec,
    source: Source,
    table: PartTable,
    sides: dict[str, NDArray[np.bool_]],
    rejections: list[Rejection],
    plan: str,
    options: PrepareOptions,
) -> dict[str, Any]:
    layout = get_layout(spec.layout)
    coordinates = table.columns["centre"].shape[1]
    sizes: dict[str, dict[str, int]] = {}
    for name, mask in sides.items():
        protocol, side = name.split("/")
        sizes.setdefault(protocol, {})[side] = int(mask.sum())
    return {
        "schema": manifest.SCHEMA,
        "dataset": spec.name,
        "title": spec.title,
        "layout": layout.model_dump(mode="json"),
        "coordinates": coordinates,
        "units": spec.units,
        "class_names": list(spec.class_names),
        "cleaning": "none" if source.cleaned or not spec.clean else spec.clean,
        "normalisation": recipe_name(layout, align=options.align, coordinates=coordinates),
        "options": options.model_dump(),
        "protocols": sizes,
        "rejected": dict(sorted(Counter(r.reason for r in rejections).items())),
        "plan": plan,
        "software": {name: version(name) for name in ("aclnet", "numpy", "zarr")},
    }


def _other_files(store: Path, written: list[manifest.Shard]) -> dict[str, manifest.File]:
    """Everything in the store but the shards and the manifest."""
    in_shards = {name for shard in written for name in shard.files}
    names = (f.relative_to(store).as_posix() for f in store.rglob("*") if f.is_file())
    return {
        name: manifest.describe_file(store / name)
        for name in sorted(names)
        if name not in in_shards and name != manifest.NAME
    }
