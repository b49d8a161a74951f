"""The memory of embeddings: a ring of rows, in which a batch replaces the oldest."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from aclnet.datasets.spec import AclnetError

SameSequence = Literal["exclude", "keep"]


def oldest_slots(count: int, rows: int, seen: int, device: torch.device) -> Tensor:
    """(count,) int64 rows to which a batch is written after `seen` embeddings.

    Raises AclnetError if the batch does not fit the memory.
    """
    if count > rows:
        raise AclnetError(
            f"a global batch of {count} does not fit the contrastive memory of {rows} "
            "rows; set memory_rows to at least the batch"
        )
    slots = torch.arange(count, device=device) + seen % rows
    slots %= rows
    return slots


def positives(
    same_class: Tensor,
    slots: Tensor,
    keys: Tensor,
    memory_keys: Tensor,
    same_sequence: SameSequence,
) -> Tensor:
    """(B, rows) bool: entries of the memory that attract an anchor; never itself.

    Args:
        same_class: (B, rows) bool.
        slots: (B,) int64 positions of the anchors in the memory.
        keys: (B,) int64, the same for the same sequence.
        memory_keys: (rows,) likewise.
        same_sequence: whether earlier embeddings of the anchor's own sequence count.
    """
    if same_sequence == "exclude":
        return same_class & (keys[:, None] != memory_keys)
    return same_class.scatter(1, slots[:, None], False)
