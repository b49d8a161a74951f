"""The stream as a torch dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info
from torch.utils.data._utils.collate import default_collate_fn_map

from aclnet.datasets.spec import AclnetError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aclnet.datasets.store.stream import Stream


class TensorBatch(dict[str, Tensor]):
    """A batch of a stream. A `DataLoader` that joins several batches raises AclnetError."""


def _refuse_to_join(*_: Any, **__: Any) -> NoReturn:  # noqa: ANN401 - torch's arguments
    raise AclnetError(
        "DataLoader(batch_size=N) would join batches, but StreamDataset already yields whole "
        "batches; use DataLoader(dataset, batch_size=None), and set the batch size with "
        "store.stream(..., batch_size=N)"
    )


# torch's documented way to extend default_collate: it looks the type of an item up here
default_collate_fn_map[TensorBatch] = _refuse_to_join


class StreamDataset(IterableDataset[TensorBatch]):
    """Batches of a stream as dictionaries of tensors; each iteration is an epoch.

    If an iteration ends in the middle of an epoch, the next one continues there.

    Keys are the fields of `aclnet.datasets.store.stream.Batch`: `keypoint` (P, N, V, C) float32,
    `owner` (P,) int64, `label` (B,) int64 and the others; `following` only if the stream yields
    it. The stream makes batches and reads ahead, so a `DataLoader` around it needs
    `batch_size=None` and no workers. Raises AclnetError if the loader has a batch size, including
    torch's default of 1, or workers.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    def __iter__(self) -> Iterator[TensorBatch]:
        if get_worker_info() is not None:
            raise AclnetError(
                "every worker process would read the whole stream, which already reads ahead in a "
                "thread; use DataLoader(num_workers=0)"
            )
        if 0 < len(self.stream) <= self.stream.step:
            # loops that count the batches stop after the last batch, before the end of the
            # iteration
            self.stream.epoch, self.stream.step = self.stream.epoch + 1, 0
        for batch in self.stream:
            yield TensorBatch(
                {
                    name: torch.from_numpy(value)
                    for name in batch.__slots__
                    if (value := getattr(batch, name)) is not None
                }
            )

    def __len__(self) -> int:
        return len(self.stream)
