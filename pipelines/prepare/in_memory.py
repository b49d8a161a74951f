"""Samples as a store in memory, for predictions of recordings that have no store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aclnet.datasets.store import manifest
from aclnet.datasets.store.attributes import StoreAttributes
from aclnet.datasets.store.memory import MemoryStore
from aclnet.pipelines.prepare.fragments import frame_rows
from aclnet.pipelines.prepare.samples import to_arrays, to_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aclnet.datasets.spec import Units
    from aclnet.datasets.spec.layouts import Layout
    from aclnet.pipelines.prepare.samples import Sample


def hold(
    samples: Sequence[Sample], layout: Layout, *, units: Units, normalisation: str
) -> MemoryStore:
    """A store of the samples, one at least, in their order.

    All have joints of `layout` and the same number of coordinates. Either all have scores, or none.
    `normalisation` is their recipe.
    """
    frames = {f"frames/{name}": rows for name, rows in frame_rows(samples).items()}
    columns = to_arrays(to_columns([*samples]))
    sizes = columns["n_persons"] * columns["n_frames"]
    columns["start"] = np.cumsum(sizes) - sizes
    attributes = StoreAttributes(
        schema=manifest.SCHEMA,
        dataset="memory",
        title="Sequences in memory",
        layout=layout,
        conversion={},
        coordinates=samples[0].sequence.keypoint.shape[-1],
        units=units,
        class_names=[],
        cleaning="",
        normalisation=normalisation,
        options={},
        protocols={},
        protocol_classes={},
        rejected={},
        plan="",
        software={},
        shard_rows=int(sizes.sum()),
    )
    return MemoryStore(samples[0].sequence.source or "memory", attributes, columns, frames)
