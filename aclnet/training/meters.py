"""Running figures of an epoch, which stay on the device and are read rarely."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from aclnet.datasets.spec import AclnetError, first_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from lightning_fabric import Fabric
    from numpy.typing import NDArray

    from aclnet.datasets.store.store import Store
    from aclnet.datasets.store.stream import Batch, Stream
    from aclnet.losses.contrast import ContrastLosses
    from aclnet.runs.inputs import Inputs

_SUMS = ("loss", "cross_entropy", "inter", "intra", "triplet", "accuracy", "in_family")


class _Seen(NamedTuple):
    """Values of a part of a batch of b samples, kept until its losses are checked."""

    finite: Tensor
    """(b,) bool: the loss is finite."""
    usable: Tensor
    """(b,) bool: the input is finite."""
    samples: NDArray[np.int64]


class EpochMeter:
    """Sums of losses, hits and confusions; the time that the epoch took and waited for data."""

    def __init__(self, classes: int, device: torch.device) -> None:
        self.classes = classes
        self.sums = torch.zeros(len(_SUMS), dtype=torch.float64, device=device)
        self.confusion = torch.zeros(classes * classes, dtype=torch.int64, device=device)
        self.seconds = self.waited = 0.0
        self.seen = 0
        self._unchecked: list[_Seen] = []

    def timed(self, stream: Stream) -> Iterator[Batch]:
        """The batches of an epoch; measures the time spent waiting for them."""
        batches = iter(stream)
        while True:
            asked = time.perf_counter()
            batch = next(batches, None)
            self.waited += time.perf_counter() - asked
            if batch is None:
                self.seconds += time.perf_counter() - asked
                return
            yield batch
            self.seconds += time.perf_counter() - asked
            self.seen += len(batch)

    def add(
        self,
        inputs: Inputs,
        logits: Tensor,
        classification: Tensor,
        cross_entropy: Tensor,
        losses: ContrastLosses,
        samples: NDArray[np.int64],
        global_batch: int,
    ) -> None:
        """Counts a part of a global batch; never waits for the device.

        `classification` (b,) is the loss of each sample of the part, without `losses`, the shares
        of the part in the contrastive losses of the batch. `cross_entropy` (b,) is the same, except
        with a loss of the user. `samples` (b,) are the rows of the samples in the store.
        """
        predictions = logits.argmax(1)
        cells = inputs.label * self.classes + predictions
        self.confusion.index_add_(0, cells, torch.ones_like(cells))
        terms = (losses.total, losses.inter, losses.intra, losses.triplet)
        total, inter, intra, triplet = (term.detach() for term in terms)
        figures = (
            classification.sum() + total * global_batch,
            cross_entropy.sum(),
            inter * global_batch,
            intra * global_batch,
            triplet * global_batch,
            (predictions == inputs.label).sum(),
            losses.share_with_family * len(inputs),
        )
        self.sums += torch.stack([figure.to(self.sums) for figure in figures])
        broken = (~inputs.tracks.isfinite()).flatten(1).any(1)
        usable = torch.zeros_like(inputs.label).index_add_(0, inputs.owner, broken.long()) == 0
        self._unchecked.append(_Seen((classification + total).isfinite(), usable, samples))

    def check(self, store: Store, fabric: Fabric) -> None:
        """Raises AclnetError on every process if a loss since the last check was not finite on one.

        The message names samples of the first such step: those with an input that is not finite,
        or else all with a loss that is not finite. Call it in the same steps on all processes; it
        waits for the device.
        """
        problem = self._problem(store)
        met = torch.tensor(float(problem is not None), device=self.sums.device)
        if float(fabric.all_reduce(met, reduce_op="sum")):  # type: ignore[arg-type]
            raise AclnetError(
                problem
                or "the loss is not finite on another process; see its output for the reason"
            )

    def _problem(self, store: Store) -> str | None:
        unchecked, self._unchecked = self._unchecked, []
        if not unchecked or bool(torch.cat([seen.finite for seen in unchecked]).all()):
            return None
        first = next(seen for seen in unchecked if not seen.finite.all())
        unusable = store.column("id")[first.samples[~first.usable.cpu().numpy()]].tolist()
        if unusable:
            return (
                f"{store.path}: the loss is not finite, because the input of {first_of(unusable)} "
                "is not finite; leave such samples out with --split, or prepare them again. The "
                "last checkpoint was saved before this step"
            )
        strange = store.column("id")[first.samples[~first.finite.cpu().numpy()]].tolist()
        return (
            f"the loss is not finite for {first_of(strange)}, though their input is finite; lower "
            "optim.lr, or set optim.precision=32-true. The last checkpoint was saved before this "
            "step"
        )

    @property
    def rate(self) -> float:
        """Sequences per second on this process."""
        return self.seen / self.seconds if self.seconds else 0.0

    @property
    def waiting(self) -> float:
        """Share of the time that was spent waiting for data."""
        return self.waited / self.seconds if self.seconds else 0.0

    def reduce(self, fabric: Fabric) -> tuple[Tensor, Tensor]:
        """Sums and confusion of all processes, on each of them; the own sums do not change."""
        sums, confusion = (
            fabric.all_reduce(value.clone(), reduce_op="sum")
            for value in (self.sums, self.confusion)
        )
        return sums, confusion  # type: ignore[return-value]

    def reset(self) -> None:
        """Resets all figures at the begin of an epoch."""
        self.sums.zero_()
        self.confusion.zero_()
        self.seconds = self.waited = 0.0
        self.seen = 0
        self._unchecked = []

    def state_dict(self, fabric: Fabric) -> dict[str, Any]:
        """The sums of all processes so far, for a checkpoint, without times."""
        sums, confusion = self.reduce(fabric)
        return {"sums": sums, "confusion": confusion}

    def load_state_dict(self, state: dict[str, Any], fabric: Fabric) -> None:
        """Restores the sums of `state_dict`, on one process for all."""
        self.reset()
        if fabric.is_global_zero:
            self.sums.copy_(state["sums"])
            self.confusion.copy_(state["confusion"])


def figures(sums: Tensor, samples: int) -> dict[str, float]:
    """Means over an epoch's samples, by name."""
    means = (sums / max(samples, 1)).tolist()
    return dict(zip(_SUMS, means, strict=True))
