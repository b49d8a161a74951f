"""Progress of training on the screen: a bar inside the epoch, a line after each epoch."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from aclnet.cli.console import percent, screen, visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aclnet.training.jobs import Job
    from aclnet.training.trainer import TrainingMonitor


def _bars(*, disable: bool = False) -> Progress:
    return Progress(
        TextColumn("{task.description} {task.fields[epoch]}", markup=False),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
        console=screen,
        disable=disable,
        transient=True,
    )


class _Bar:
    """The bar of one run."""

    def __init__(self, bars: Progress, title: str, epochs: int) -> None:
        self._bars = bars
        self._task = bars.add_task(visible(title), total=epochs, epoch=1, speed="")

    def step(self, epoch: int, step: int, steps: int, rate: float, waiting: float) -> None:
        # the first step of an epoch has no rate yet
        speed = f"{rate:,.0f} sequences/s, {100 * waiting:.0f} % waiting" if rate else ""
        done = epoch + step / steps
        self._bars.update(self._task, completed=done, epoch=epoch + 1, speed=speed)

    def remove(self) -> None:
        self._bars.remove_task(self._task)


class TrainingScreen(_Bar):
    """Draws the trainer's reports; nothing if `quiet` (all processes except the first)."""

    def __init__(self, epochs: int, *, quiet: bool = False) -> None:
        super().__init__(_bars(disable=quiet), "epoch", epochs)
        self._quiet = quiet
        self._epochs = epochs

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def remark(self, text: str) -> None:
        if not self._quiet:
            screen.print(text)

    def epoch(self, row: dict[str, float]) -> None:
        if not self._quiet:
            screen.print(self._line(row))

    def _line(self, row: dict[str, float]) -> str:
        """At most 80 characters for losses below 100 and up to 9,999 sequences per second."""
        names = {"eval_accuracy": "held out", "eval_mAP": "mAP"}
        held_out = [f"{names[n]} {percent(row[n])}" for n in names if n in row]
        parts = [
            f"epoch {row['epoch']:>3.0f}/{self._epochs}",
            f"loss {row['loss']:.2f}",
            f"train {percent(row['accuracy'])}",
            *held_out,
            f"{row['sequences_per_second']:,.0f}/s",
            f"wait {100 * row['waiting']:.0f} %",
        ]
        return "  ".join(parts)


class JobsScreen:
    """Draws the progress of the runs of a set in `aclnet.training.jobs.train_jobs`.

    A single run is drawn like in `TrainingScreen`; each of several parallel runs has a bar, without
    epochs.
    """

    def __init__(self, at_once: int) -> None:
        self._shared = _bars() if at_once > 1 else None

    def __enter__(self) -> Self:
        if self._shared:
            self._shared.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._shared:
            self._shared.stop()

    @contextmanager
    def __call__(self, place: str, job: Job) -> Iterator[TrainingMonitor]:
        """The progress of one run, from its start to its end."""
        screen.print(f"{place} {job.title}")
        epochs = job.config.optim.epochs
        if self._shared is None:
            with TrainingScreen(epochs) as progress:
                yield progress
            return
        bar = _JobBar(self._shared, job.title, epochs)
        try:
            yield bar
        finally:
            bar.remove()


class _JobBar(_Bar):
    """One of several parallel runs."""

    def __init__(self, bars: Progress, title: str, epochs: int) -> None:
        super().__init__(bars, f"{title}, epoch", epochs)
        self._title = title

    def remark(self, text: str) -> None:
        screen.print(f"{self._title}: {text}")

    def epoch(self, row: dict[str, float]) -> None:
        """Draws nothing, because metrics.csv has the epochs."""
