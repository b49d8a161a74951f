"""Running figures of an epoch, kept on the device and looked at seldom."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from aclnet.datasets.errors import AclnetError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lightning_fabric import Fabric
    from numpy.typing import NDArray

    from aclnet.datasets.store import Store
    from aclnet.datasets.stream import Batch, Stream
    from aclnet.losses import ContrastLosses

_CHECK_EVERY = 25
"""Steps between looks at the losses: each look waits for the device."""
_SUMS = ("cross_entropy", "inter", "intra", "correct", "in_family", "samples")


class EpochMeter:
    """Sums of losses, hits and confusions; the time that the epoch took and waited for data."""

    def __init__(self, classes: int, device: torch.device) -> None:
        self.sums = torch.zeros(len(_SUMS), dtype=torch.float64, device=device)
        self.confusion = torch.zeros(classes * classes, dtype=torch.int64, device=device)
        self.seconds = self.waited = 0.0
        self.seen = 0
        self._pending: list[tuple[Tensor, NDArray[np.int64]]] = []

    def timed(self, stream: Stream) -> Iterator[Batch]:
        """The batches of an epoch, timing what waits for them."""
        batches = iter(stream)
        while True:
            asked = time.perf_counter()
            batch = next(batches, None)
            got = time.perf_counter()
            self.waited += got - asked
            if batch is None:
                return
            yield batch
            self.seconds += time.perf_counter() - asked
            self.seen += len(batch)

    def add(
        self,
        logits: Tensor,
        labels: Tensor,
        each: Tensor,
        losses: ContrastLosses,
        samples: NDArray[np.int64],
        global_batch: int,
    ) -> None:
        """Counts a part of a global batch; never waits for the device.

        `each` (b,) is the cross-entropy of each of its samples; `losses` are its parts of the
        contrastive losses, which add up to the batch's.
        """
        predictions = logits.argmax(1)
        cells = labels * logits.shape[1] + predictions
        self.confusion.index_add_(0, cells, torch.ones_like(cells))
        inter, intra = losses.inter.detach(), losses.intra.detach()
        hits = (predictions == labels).sum()
        figures = (
            each.sum(),
            inter * global_batch,
            intra * global_batch,
            hits,
            losses.share_with_family * len(labels),
            torch.full_like(hits, len(labels)),
        )
        self.sums += torch.stack([f.to(self.sums) for f in figures])
        self._pending.append((each + inter + intra, samples))

    def check(self, store: Store, *, now: bool = False) -> None:
        """AclnetError that names the samples where a loss was not finite, now or every so often."""
        if not self._pending or not (now or len(self._pending) >= _CHECK_EVERY):
            return
        bad = (~torch.isfinite(torch.cat([loss for loss, _ in self._pending]))).cpu().numpy()
        samples = np.concatenate([samples for _, samples in self._pending])
        self._pending.clear()
        if bad.any():
            ids = store.column("id")[samples[bad]]
            raise AclnetError(
                f"the loss is not finite for {len(ids)} samples, first {', '.join(ids[:5])}; look "
                "at them with `aclnet info`, lower optim.lr, or use optim.precision=32-true. The "
                "last checkpoint is from before"
            )

    @property
    def rate(self) -> float:
        """Samples a second on this process."""
        return self.seen / self.seconds if self.seconds else 0.0

    @property
    def waiting(self) -> float:
        """Share of the time that was spent waiting for data."""
        return self.waited / (self.seconds + 1e-9) if self.seconds else 0.0

    def reduce(self, fabric: Fabric) -> None:
        """Adds up the processes."""
        self.sums = fabric.all_reduce(self.sums, reduce_op="sum")  # type: ignore[assignment]
        self.confusion = fabric.all_reduce(self.confusion, reduce_op="sum")  # type: ignore[assignment]

    def figures(self) -> dict[str, float]:
        """Means over the epoch's samples."""
        sums = dict(zip(_SUMS, self.sums.tolist(), strict=True))
        samples = max(sums["samples"], 1)
        return {
            "cross_entropy": sums["cross_entropy"] / samples,
            "inter": sums["inter"] / samples,
            "intra": sums["intra"] / samples,
            "accuracy": sums["correct"] / samples,
            "in_family": sums["in_family"] / samples,
        }

    def reset(self) -> None:
        """Forgets everything: an epoch begins."""
        self.sums.zero_()
        self.confusion.zero_()
        self.seconds = self.waited = 0.0
        self.seen = 0

    def state_dict(self) -> dict[str, Any]:
        """The sums so far, for a checkpoint inside an epoch; time is not remembered."""
        return {"sums": self.sums, "confusion": self.confusion}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from `state_dict`."""
        self.sums.copy_(state["sums"])
        self.confusion.copy_(state["confusion"])
