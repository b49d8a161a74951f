"""Recordings and splits of a store, and their descriptions, for all exports."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from aclnet.datasets.spec import SkeletonSequence
    from aclnet.datasets.store.store import Store


_FACTS = (
    "subject", "camera", "setup", "replication", "condition", "width", "height", "source"
)  # fmt: skip


def splits_of(store: Store) -> dict[str, NDArray[np.bool_]]:
    """Masks by `protocol/side`, the store's first protocol first."""
    sides = store.attributes.protocols.items()
    names = [f"{protocol}/{side}" for protocol, sizes in sides for side in sizes]
    return {name: store.mask(name) for name in names}


def recordings(store: Store, mask: NDArray[np.bool_]) -> Iterator[tuple[int, SkeletonSequence]]:
    """Rows in `samples` and sequences of a mask's originals; cut recordings are joined again."""
    ids, originals = store.column("id"), store.column("original")
    chosen = np.flatnonzero(mask & (store.column("variant") == 0))
    pieces: dict[str, list[int]] = {}
    for row in chosen[ids[chosen] != originals[chosen]].tolist():
        pieces.setdefault(str(originals[row]), []).append(row)
    for row, sequence in zip(chosen.tolist(), store.sequences(chosen), strict=True):
        rows = pieces.get(str(originals[row]))
        if rows is None:
            yield row, sequence
        elif row == rows[0]:
            in_order = sorted(rows, key=lambda n: int(str(ids[n]).rpartition("#")[2]))
            yield row, _joined([store.sequence(n) for n in in_order], str(originals[row]))


def _joined(pieces: list[SkeletonSequence], sample_id: str) -> SkeletonSequence:
    first, scores = pieces[0], [piece.score for piece in pieces if piece.score is not None]
    return replace(
        first,
        sample_id=sample_id,
        keypoint=np.concatenate([piece.keypoint for piece in pieces], axis=1),
        present=np.concatenate([piece.present for piece in pieces], axis=1),
        frame_index=np.concatenate([piece.frame_index for piece in pieces]),
        score=np.concatenate(scores, axis=1) if scores else None,
    )


def with_facts(sequence: SkeletonSequence, facts: Mapping[str, Any]) -> SkeletonSequence:
    """The sequence with the facts that every form keeps."""
    return replace(sequence, **{name: facts[name] for name in _FACTS})


def left_out_variants(store: Store) -> list[str]:
    """A remark that augmented copies are left out, if the store has any."""
    count = int((store.column("variant") != 0).sum())
    return [f"{count} stored variants were left out"] if count else []
