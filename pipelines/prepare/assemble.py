"""All of stage two: arrays, shards, columns and finally the manifest."""

from __future__ import annotations

import csv
from collections import Counter
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np

from aclnet.datasets.formats import atomic
from aclnet.datasets.formats.atomic import remove, write_json
from aclnet.datasets.spec import AclnetError
from aclnet.datasets.spec.layouts import get_layout
from aclnet.datasets.store import keyed_random, manifest, zarr_io
from aclnet.datasets.store.attributes import StoreAttributes
from aclnet.datasets.store.codec import INT16_FILL
from aclnet.datasets.store.contents import AXES, FILL, INDEX, KEYPOINT, PRESENT, SCORE
from aclnet.pipelines.prepare import shards
from aclnet.pipelines.prepare.fragments import fragment_rows
from aclnet.pipelines.prepare.memory import give_memory_back
from aclnet.pipelines.steps import convert
from aclnet.pipelines.steps.clean import step_of
from aclnet.pipelines.steps.normalise import normalisation_name

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from aclnet.datasets.spec import Rejection, Units
    from aclnet.pipelines.prepare.fragments import FragmentTable
    from aclnet.pipelines.prepare.preparation import Preparation

REJECTED = "rejected.csv"
UNFINISHED = (zarr_io.UNFINISHED, atomic.SUFFIX)
"""Suffixes of files that zarr and aclnet have not finished."""
_INT16_STEP = 0.0002
"""Metres: reaches 6.5 m; a larger scene gets a larger step."""
_INT16_ERROR: dict[Units, float] = {"m": 0.005, "px": 0.5}
"""Largest rounding error: depth sensors measure joints to a centimetre, pose estimators to a pixel.
Coordinates may reach 328 metres or 32,767 pixels."""


def assemble(
    task: Preparation,
    table: FragmentTable,
    sides: dict[str, NDArray[np.bool_]],
    rejections: list[Rejection],
) -> Path:
    """Writes the store below the work folder and returns it, ready to be renamed into place.

    Empties the columns of the table: the workers need their memory.
    """
    if task.options.dtype == "int16":
        _refuse_coarse_steps(task, table)
    masks = list(sides.values())
    shard_rows = shards.choose_shard_rows(table.rows, masks)
    packing = shards.pack(table.rows, masks, shard_rows, task.options.seed)
    jobs = _shard_jobs(task, table, packing)
    _create_arrays(jobs[0], task, table, packing)
    store = shards.store_folder(task.own)
    attributes = _attributes(task, table, sides, rejections, shard_rows)
    give_memory_back()
    _write_columns(store, table, packing, sides)
    give_memory_back()
    written = _write_shards(jobs, task)
    if jobs[0].scale is not None:
        worst = max(error for _, error in written)
        zarr_io.set_attributes(store, KEYPOINT, {"scale": jobs[0].scale, "max_error": worst})
    _write_rejections(store / REJECTED, rejections)
    zarr_io.set_attributes(store, "", attributes.model_dump(mode="json"))
    zarr_io.consolidate(store)
    _write_manifest(store, task.plan, [shard for shard, _ in written])
    return store


def int16_scale(largest: float) -> float:
    """Step of the fixed point: 0.2 mm, or more if the largest coordinate needs it."""
    return max(_INT16_STEP, largest / -(INT16_FILL + 1))


def _refuse_coarse_steps(task: Preparation, table: FragmentTable) -> None:
    """Raises AclnetError if the largest coordinate makes the rounding of others too coarse."""
    error = int16_scale(table.largest) / 2
    if error <= _INT16_ERROR[task.spec.units]:
        return
    place = _of_largest(task, table)
    remove(task.work)  # a preparation with other options cannot resume from it
    raise AclnetError(
        f"{task.source.root}: int16 would round coordinates by up to {error:.3g} "
        f"{task.spec.units}, at most {_INT16_ERROR[task.spec.units]:g} is allowed, because "
        f"{place} has a coordinate of {table.largest:.6g}; correct that file, reject it with "
        "--max-coordinate, or choose --dtype float32"
    )


def _of_largest(task: Preparation, table: FragmentTable) -> str:
    """File and id of the sample with the largest coordinate."""
    largest = [
        float(np.abs(fragment_rows(task.own, table.fragment[n], "keypoint")[a : a + r]).max())
        for n, (a, r) in enumerate(zip(table.first, table.rows, strict=True))
    ]
    sample = int(np.argmax(largest))
    return f"{table.columns['source'][sample]} ({table.columns['id'][sample]})"


def _shard_jobs(
    task: Preparation, table: FragmentTable, packing: shards.Packing
) -> list[shards.ShardJob]:
    arrays = (KEYPOINT, PRESENT, INDEX, *([SCORE] if table.scored else []))
    scale = int16_scale(table.largest) if task.options.dtype == "int16" else None
    inside = packing.start % packing.shard_rows
    pieces = np.stack([table.fragment, table.first, table.rows, inside], axis=1)
    order = np.argsort(packing.shard, kind="stable")
    ends = np.cumsum(np.bincount(packing.shard, minlength=packing.shards))[:-1]
    return [
        shards.ShardJob(number, task.own, task.plan, packing.shard_rows, chosen, arrays, scale)
        for number, chosen in enumerate(np.split(pieces[order], ends))
    ]


def _create_arrays(
    job: shards.ShardJob, task: Preparation, table: FragmentTable, packing: shards.Packing
) -> None:
    """Writes the metadata of all frame arrays, once, before any task writes."""
    store, marker = shards.store_folder(job.work), job.work / "arrays.json"
    if marker.is_file() and zarr_io.can_be_opened(store, job.arrays):
        return
    remove(store)
    zarr_io.create_group(store, {})
    joint_axis = (get_layout(task.spec.layout).num_joints,)
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
            fill=INT16_FILL if dtype == "int16" else FILL[name],
            axes=AXES[name],
        )
    write_json(marker, {"arrays": job.arrays})


def _write_shards(
    jobs: list[shards.ShardJob], task: Preparation
) -> list[tuple[manifest.Shard, float]]:
    missing = [job for job in jobs if not shards.shard_is_done(job)]
    done = len(jobs) - len(missing)
    task.progress("write", done, len(jobs))
    for _ in task.execute(shards.make_shard, missing):
        done += 1
        task.progress("write", done, len(jobs))
    receipts = [shards.read_receipt(job.work, job.number) for job in jobs]
    return [(receipt.shard, receipt.error) for receipt in receipts]


def _write_columns(
    store: Path, table: FragmentTable, packing: shards.Packing, sides: dict[str, NDArray[np.bool_]]
) -> None:
    """Writes all columns, and takes those of the table out of it."""
    for group in ("samples", "splits", "keys"):
        remove(store / group)  # remains of an earlier try, whose metadata may be damaged
    order = np.argsort(packing.start)
    for name in ("id", "original"):
        keys = keyed_random.sample_keys(table.columns[name])
        zarr_io.create_column(store, f"keys/{name}", keys, ("sample",), order)
    for name in list(table.columns):
        axes = AXES.get(f"samples/{name}", ("sample",))
        zarr_io.create_column(store, f"samples/{name}", table.columns.pop(name), axes, order)
    zarr_io.create_column(store, "samples/start", packing.start, ("sample",), order)
    for name, mask in sides.items():
        zarr_io.create_column(store, f"splits/{name}", mask, ("sample",), order)


def _write_rejections(path: Path, rejections: list[Rejection]) -> None:
    # Names whose bytes are not UTF-8 are written as those bytes.
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "line", "kind", "reason"])
        rows = sorted((r.path, r.line or 0, r.kind, r.reason) for r in rejections)
        writer.writerows((path, line or "", kind, reason) for path, line, kind, reason in rows)


def _attributes(
    task: Preparation,
    table: FragmentTable,
    sides: dict[str, NDArray[np.bool_]],
    rejections: list[Rejection],
    shard_rows: int,
) -> StoreAttributes:
    spec, options = task.spec, task.options
    layout = get_layout(spec.layout)
    coordinates = table.columns["centre"].shape[1]
    normalisation = task.source.normalisation() or normalisation_name(
        layout, align=options.align, coordinates=coordinates, by=options.normalise
    )
    sizes: dict[str, dict[str, int]] = {}
    for name, mask in sides.items():
        protocol, side = name.split("/")
        sizes.setdefault(protocol, {})[side] = int(mask.sum())
    return StoreAttributes(
        schema=manifest.SCHEMA,
        dataset=spec.name,
        title=spec.title,
        layout=layout,
        conversion=convert.summary(spec),
        coordinates=coordinates,
        units=spec.units,
        class_names=list(spec.class_names),
        cleaning=step_of(task.source, track=options.track) or "none",
        normalisation=normalisation,
        options=options.model_dump(),
        protocols=sizes,
        protocol_classes={p.name: p.num_classes for p in spec.protocols if p.num_classes},
        rejected=dict(sorted(Counter(r.kind for r in rejections).items())),
        plan=task.plan,
        software={name: version(name) for name in ("aclnet", "numpy", "zarr")},
        shard_rows=shard_rows,
        part=task.part,
    )


def _write_manifest(store: Path, plan: str, written: list[manifest.Shard]) -> None:
    in_shards = {name: file for shard in written for name, file in shard.files.items()}
    for name, expected in in_shards.items():
        if problem := manifest.check_size(store / name, expected):
            raise AclnetError(
                f"{problem}, although it was written; run the same command again to write the "
                "file again"
            )
    atomic.delete_unfinished(store, UNFINISHED)  # files of workers that crashed
    others = {}
    for file in sorted(f for f in store.rglob("*") if f.is_file()):
        name = file.relative_to(store).as_posix()
        if name not in in_shards and name != manifest.NAME:
            others[name] = manifest.describe_file(file)
    finished = manifest.Manifest(plan=plan, shards=written, files=others)
    write_json(store / manifest.NAME, finished.model_dump())
