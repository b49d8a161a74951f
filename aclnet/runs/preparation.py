"""Preparation of a store's sequences, so that a run can prepare new recordings equally."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aclnet.runs.record import PreparationRecord

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aclnet.datasets.store.store import Store


def preparation_of(store: Store, mask: NDArray[np.bool_]) -> PreparationRecord:
    """Record of the preparation of a store; `mask` (N,) chooses the training samples."""
    attributes, lengths = store.attributes, store.column("n_frames")[mask]
    return PreparationRecord(
        options=attributes.options,
        cleaning=attributes.cleaning,
        units=attributes.units,
        coordinates=attributes.coordinates,
        median_frames=int(np.median(lengths)) if len(lengths) else None,
        longest_frames=int(lengths.max()) if len(lengths) else None,
    )
