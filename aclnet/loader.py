"""The stream as a torch dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import IterableDataset, get_worker_info

from aclnet.datasets.spec import AclnetError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from aclnet.datasets.store.stream import Stream


class StreamDataset(IterableDataset[dict[str, Any]]):
    """Batches of a stream as dictionaries of tensors; each iteration is an epoch.

    Keys are the fields of `aclnet.datasets.store.stream.Batch`: `keypoint` (P, N, V, C) float32,
    `owner` (P,) int64, `label` (B,) int64 and the others; `following` only where the stream yields
    it. The stream batches and reads ahead by itself, so a `DataLoader` around it takes
    `batch_size=None` and no workers.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        if get_worker_info() is not None:
            raise AclnetError(
                "every worker process would read the whole stream, which reads ahead in a thread "
                "by itself; use DataLoader(num_workers=0)"
            )
        for batch in self.stream:
            yield {
                name: torch.from_numpy(value)
                for name in batch.__slots__
                if (value := getattr(batch, name)) is not None
            }

    def __len__(self) -> int:
        return len(self.stream)
