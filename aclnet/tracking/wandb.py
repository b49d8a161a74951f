"""Weights & Biases: a run of the project `aclnet`, or of $WANDB_PROJECT."""

from __future__ import annotations

import os
from secrets import token_hex
from typing import TYPE_CHECKING

from aclnet.tracking.contract import Outcome, TrackedRun, Tracker

if TYPE_CHECKING:
    from collections.abc import Mapping


class WandB(Tracker):
    """Logs scalars and images. A resumed run continues the same run of Weights & Biases."""

    def __init__(self, run: TrackedRun) -> None:
        import wandb

        identity = run.recall("wandb").get("id") or token_hex(4)
        run.remember("wandb", id=identity)
        self._wandb = wandb
        self._run = wandb.init(
            id=identity,
            resume="allow",
            name=run.name,
            project=os.environ.get("WANDB_PROJECT", "aclnet"),
            config={**run.settings, **run.facts},
            dir=os.environ.get("WANDB_DIR", run.folder),
            reinit="create_new",  # a sweep trains several runs in one process
            settings=wandb.Settings(console="off", silent=True),
        )
        self._run.define_metric("*", step_metric="epoch")
        offline = self._run.offline
        self.place = f"wandb sync {self._run.settings.sync_dir}" if offline else self._run.url

    def log_epoch(self, epoch: int, values: Mapping[str, float]) -> None:
        # Weights & Biases ignores a step that it has already, of an epoch that was trained twice.
        self._run.log({**values, "epoch": epoch}, step=epoch, commit=True)

    def log_outcome(self, outcome: Outcome) -> None:
        images = {name: self._wandb.Image(image) for name, image in outcome.images.items()}
        values = {**outcome.figures, **images, "epoch": outcome.epoch}
        self._run.log(values, step=outcome.epoch + 1, commit=True)

    def close(self, *, finished: bool) -> None:
        self._run.finish(exit_code=0 if finished else 1)
