"""TensorBoard: event files in the run's folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aclnet.tracking.contract import Outcome, TrackedRun, Tracker

if TYPE_CHECKING:
    from collections.abc import Mapping


class TensorBoard(Tracker):
    """Writes scalars, images and, for the projector, embeddings to `tb/` in the run's folder."""

    def __init__(self, run: TrackedRun) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        folder = run.folder / "tb"
        self.place = f"tensorboard --logdir {folder}"
        # purge_step hides epochs that an interrupted run has logged after its last checkpoint.
        self._events = SummaryWriter(str(folder), purge_step=run.done + 1)

    def log_epoch(self, epoch: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._events.add_scalar(name, value, epoch)
        self._events.flush()

    def log_outcome(self, outcome: Outcome) -> None:
        self.log_epoch(outcome.epoch, outcome.figures)
        for name, image in outcome.images.items():
            self._events.add_image(name, image, outcome.epoch, dataformats="HWC")
        if outcome.embeddings:
            vectors, labels = outcome.embeddings
            self._events.add_embedding(vectors, labels, global_step=outcome.epoch, tag="test")

    def close(self, *, finished: bool) -> None:
        self._events.close()
