"""Running figures of an epoch, kept on the device and looked at seldom."""

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
    """What is kept of a part of a batch of b samples until its losses are looked at."""

    finite: Tensor
    """(b,) bool: is the loss finite?"""
    usable: Tensor
    """(b,) bool: is the input?"""
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
        """The batches of an epoch, timing what waits for them."""
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
        cross_entropy: Tensor,
        losses: ContrastLosses,
        samples: NDArray[np.int64],
        global_batch: int,
    ) -> None:
        """Counts a part of a global batch; never waits for the device.

        `cross_entropy` (b,) is that of each of its samples, `samples` (b,) their rows in the
        store; `losses` are its parts of the contrastive losses, which add up to the batch's.
        """
        predictions = logits.argmax(1)
        cells = inputs.label * self.classes + predictions
        self.confusion.index_add_(0, cells, torch.ones_like(cells))
        terms = (losses.total, losses.inter, losses.intra, losses.triplet)
        total, inter, intra, triplet = (term.detach() for term in terms)
        figures = (
            cross_entropy.sum() + total * global_batch,
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
        self._unchecked.append(_Seen((cross_entropy + total).isfinite(), usable, samples))

    def check(self, store: Store, fabric: Fabric) -> None:
        """AclnetError on every process where a loss since the last check was not finite on one.

        It names samples of the first such step: those whose input is not finite, else all whose
        loss is not. To be called in the same steps on all processes; waits for the device.
        """
        problem = self._problem(store)
        met = torch.tensor(float(problem is not None), device=self.sums.device)
        if float(fabric.all_reduce(met, reduce_op="sum")):  # type: ignore[arg-type]
            raise AclnetError(
                problem or "the loss is not finite on another process, which says why"
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
                "is not; leave such samples out with --split, or prepare them again. "
                "The last checkpoint is from before"
            )
        strange = store.column("id")[first.samples[~first.finite.cpu().numpy()]].tolist()
        return (
            f"the loss is not finite for {first_of(strange)}, though their input is; lower "
            "optim.lr, or set optim.precision=32-true. The last checkpoint is from before"
        )

    @property
    def rate(self) -> float:
        """Sequences a second on this process."""
        return self.seen / self.seconds if self.seconds else 0.0

    @property
    def waiting(self) -> float:
        """Share of the time that was spent waiting for data."""
        return self.waited / self.seconds if self.seconds else 0.0

    def reduce(self, fabric: Fabric) -> tuple[Tensor, Tensor]:
        """Sums and confusion of all processes, on each of them; what is kept here stays."""
        sums, confusion = (
            fabric.all_reduce(value.clone(), reduce_op="sum")
            for value in (self.sums, self.confusion)
        )
        return sums, confusion  # type: ignore[return-value]

    def reset(self) -> None:
        """Forgets everything: an epoch begins."""
        self.sums.zero_()
        self.confusion.zero_()
        self.seconds = self.waited = 0.0
        self.seen = 0
        self._unchecked = []

    def state_dict(self, fabric: Fabric) -> dict[str, Any]:
        """The sums of all processes so far, for a checkpoint; time is not remembered."""
        sums, confusion = self.reduce(fabric)
        return {"sums": sums, "confusion": confusion}

    def load_state_dict(self, state: dict[str, Any], fabric: Fabric) -> None:
        """Goes on from `state_dict`, on one process for all."""
        self.reset()
        if fabric.is_global_zero:
            self.sums.copy_(state["sums"])
            self.confusion.copy_(state["confusion"])


def figures(sums: Tensor, samples: int) -> dict[str, float]:
    """Means over an epoch's samples, by name."""
    means = (sums / max(samples, 1)).tolist()
    return dict(zip(_SUMS, means, strict=True))
