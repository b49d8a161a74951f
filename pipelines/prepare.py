"""Raw recordings to a finished store, in two stages that can be killed and continued anywhere.

`NAME.zarr.wip/` holds the parts of stage one, the receipts of both and the growing store; the last
step writes the manifest and renames the store into place.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from aclnet.datasets import manifest, protocols
from aclnet.datasets.errors import AclnetError
from aclnet.datasets.store import Store
from aclnet.pipelines import parts
from aclnet.pipelines.assemble import assemble
from aclnet.pipelines.normalise import NORMALISATION, NORMALISATION_ALIGNED

if TYPE_CHECKING:
    from pathlib import Path

    from aclnet.datasets.readers import DatasetSpec, Item, Source
    from aclnet.datasets.sequence import Rejection
    from aclnet.pipelines.executor import Run
    from aclnet.pipelines.options import PrepareOptions

_PART_BYTES = 64 << 20
_PART_ITEMS = 256


class Progress(Protocol):
    """Told how far a stage is."""

    def __call__(self, stage: str, done: int, total: int, rejected: int) -> None: ...


@dataclass(slots=True)
class Report:
    """What came of a preparation."""

    path: Path
    samples: int
    rejections: Counter[str] = field(default_factory=Counter)
    """Number of rejected inputs by reason."""
    resumed: bool = False
    existed: bool = False
    counts: tuple[protocols.SideCount, ...] = ()
    outside: int = 0
    """Sound recordings that belong to a larger dataset."""
    cut: int = 0
    """Sequences that were longer than a shard and lie in it as linked samples."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        values = asdict(self)
        return values | {"path": str(self.path), "rejections": dict(self.rejections)}


def prepare(
    spec: DatasetSpec,
    source: Source,
    out: Path,
    options: PrepareOptions,
    run: Run,
    progress: Progress,
    *,
    overwrite: bool = False,
) -> Report:
    """Makes the store `out` of a raw source; a killed preparation goes on where it stopped.

    Raises AclnetError where there is nothing usable, where `out` is a store made from another
    source or with other options (and `overwrite` is not set), or where a complete dataset has
    wrong protocol counts.
    """
    items, unusable = source.scan()
    if not items:
        raise AclnetError(_nothing_found(spec, source, unusable))
    plan = _plan_hash(spec, items, options)
    work = out.with_name(out.name + ".wip")
    if overwrite:
        _remove(out)
        _remove(work)
    if out.exists():
        shutil.rmtree(work, ignore_errors=True)  # killed after the rename
        return _existing(out, plan)
    resumed = _enter(work, plan)
    _make_parts(spec, source, items, work, options, run, progress)
    table = parts.load_table(work)
    rejections = [*unusable, *table.rejections]
    if not table.size:
        raise AclnetError(
            f"{source.root}: none of {len(items)} recordings is usable. The first: {rejections[0]}"
        )
    sides = parts.split_masks(spec, source, table.columns)
    counts = _check_counts(spec, source, table)
    store = assemble(spec, source, table, sides, rejections, work, plan, options, run, progress)
    store.rename(out)
    shutil.rmtree(work)
    return Report(
        path=out,
        samples=table.size,
        rejections=Counter(r.reason for r in rejections),
        resumed=resumed,
        counts=counts,
        outside=source.outside(),
        cut=sum(i.endswith("#1") for i in table.columns["id"].tolist()),
    )


def _plan_hash(spec: DatasetSpec, items: list[Item], options: PrepareOptions) -> str:
    """Identity of what is to be made: dataset, raw files by name and size, options, recipes."""
    description = {
        "schema": manifest.SCHEMA,
        "dataset": spec.name,
        "items": [[item.sample_id, item.path, item.size] for item in items],
        "options": options.model_dump(),
        "recipes": [spec.clean, NORMALISATION_ALIGNED if options.align else NORMALISATION],
    }
    return hashlib.sha256(json.dumps(description).encode()).hexdigest()


def _check_counts(
    spec: DatasetSpec, source: Source, table: parts.PartTable
) -> tuple[protocols.SideCount, ...]:
    """Protocol sides against their published sizes; AclnetError where a whole set has others."""
    recorded = table.columns["variant"] == 0
    columns = {name: values[recorded] for name, values in table.columns.items()}
    counts = protocols.check_counts(spec.name, columns)
    wrong = [str(count) for count in counts if count.verdict == "wrong"]
    if wrong:
        raise AclnetError(
            f"{source.root}: not the published samples of {spec.title}: {'; '.join(wrong)}. "
            "Are there recordings of another set, or double ones?"
        )
    return counts


def _enter(work: Path, plan: str) -> bool:
    """Creates the work folder, or finds the one of the same plan (True)."""
    marker = work / "plan.json"
    if marker.is_file():
        if json.loads(marker.read_text())["plan"] != plan:
            raise AclnetError(
                f"{work} holds an unfinished store made from other files or options; "
                "finish it with those, or start anew with --overwrite"
            )
        return True
    for folder in (work / "parts", work / "shards"):
        folder.mkdir(parents=True, exist_ok=True)
    manifest.write_json(marker, {"plan": plan})
    return False


def _existing(out: Path, plan: str) -> Report:
    store = Store(out)
    if store.manifest.plan != plan:
        raise AclnetError(
            f"{out} exists and was made from other files or options; "
            "choose another --out, or replace it with --overwrite"
        )
    return Report(path=out, samples=len(store), existed=True)


def _remove(path: Path) -> None:
    """Deletes a folder; renamed first, so that a killed deletion leaves no half store behind."""
    if path.exists():
        doomed = path.with_name(path.name + ".deleting")
        shutil.rmtree(doomed, ignore_errors=True)
        path.rename(doomed)
        shutil.rmtree(doomed)


def _nothing_found(spec: DatasetSpec, source: Source, unusable: list[Rejection]) -> str:
    why = f"; the first of {len(unusable)} unusable: {unusable[0]}" if unusable else ""
    return f"{source.root}: no recordings of {spec.title} there{why}"


def _make_parts(
    spec: DatasetSpec,
    source: Source,
    items: list[Item],
    work: Path,
    options: PrepareOptions,
    run: Run,
    progress: Progress,
) -> None:
    jobs = [
        parts.PartJob(number, work, spec.name, source, batch, options)
        for number, batch in enumerate(_batches(items))
    ]
    missing = [job for job in jobs if not parts.is_done(job)]
    total, rejected = len(items), 0
    done = total - sum(len(job.items) for job in missing)
    progress("read", done, total, rejected)
    for job_items, job_rejected in run(parts.make_part, missing):
        done, rejected = done + job_items, rejected + job_rejected
        progress("read", done, total, rejected)


def _batches(items: list[Item]) -> list[tuple[Item, ...]]:
    """Runs of items up to a number and a size."""
    batches: list[list[Item]] = [[]]
    size = 0
    for item in items:
        if batches[-1] and (len(batches[-1]) == _PART_ITEMS or size + item.size > _PART_BYTES):
            batches.append([])
            size = 0
        batches[-1].append(item)
        size += item.size
    return [tuple(batch) for batch in batches]
