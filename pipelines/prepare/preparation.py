"""What a preparation makes of what: its inputs, its identity, and the batches that it reads."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aclnet.datasets.spec.layouts import get_layout
from aclnet.datasets.store import manifest
from aclnet.pipelines.prepare.sides import own_sides
from aclnet.pipelines.steps.normalise import normalisation_name

if TYPE_CHECKING:
    from pathlib import Path

    from aclnet.datasets.spec import DatasetSpec, Item, Progress, Source
    from aclnet.pipelines.prepare.executor import Executor
    from aclnet.pipelines.prepare.options import PrepareOptions

_BATCH_BYTES = 64 << 20
_BATCH_ITEMS = 256


@dataclass(frozen=True, slots=True)
class Preparation:
    """What is made of what and where, and who does the work."""

    spec: DatasetSpec
    source: Source
    options: PrepareOptions
    plan: str
    """Hash of all that decides the store's content."""
    work: Path
    """Folder of fragments, receipts and the growing store."""
    execute: Executor
    progress: Progress


def plan_hash(spec: DatasetSpec, source: Source, items: list[Item], options: PrepareOptions) -> str:
    """Identity of what is to be made: dataset, raw files by name and size, options, recipes.

    AclnetError where the sequences cannot be normalised as the options want it.
    """
    recipe = normalisation_name(
        get_layout(spec.layout),
        align=options.align,
        coordinates=spec.dimensions,
        by=options.normalise,
    )
    description = {
        "schema": manifest.SCHEMA,
        "dataset": spec.name,
        "splits": own_sides(source),
        "options": options.model_dump(),
        "recipes": [spec.clean, recipe],
    }
    if source.fingerprint():
        description["source"] = source.fingerprint()
    digest = hashlib.sha256(json.dumps(description).encode())
    for item in items:  # as one text they would be the largest thing in memory
        digest.update(json.dumps([item.sample_id, item.path, item.size]).encode())
    return digest.hexdigest()


def batches(items: list[Item]) -> list[tuple[Item, ...]]:
    """Runs of items up to a number and a size."""
    found: list[list[Item]] = [[]]
    size = 0
    for item in items:
        if found[-1] and (len(found[-1]) == _BATCH_ITEMS or size + item.size > _BATCH_BYTES):
            found.append([])
            size = 0
        found[-1].append(item)
        size += item.size
    return [tuple(batch) for batch in found]
