"""How training shows its progress: a bar inside the epoch, a line after each."""

from __future__ import annotations

from typing import Self

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from aclnet.cli.console import percent, screen


class TrainingProgress:
    """Draws what the trainer tells it; nothing where `quiet` (all but the first process)."""

    def __init__(self, epochs: int, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._bars = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            TextColumn("{task.fields[rate]:,.0f} samples/s, {task.fields[wait]} waiting for data"),
            TimeRemainingColumn(),
            console=screen,
            disable=quiet,
        )
        self._epochs = epochs
        self._task = self._bars.add_task("train", total=epochs, epoch=1, rate=0.0, wait="0.0 %")

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def step(self, epoch: int, step: int, steps: int, rate: float, waiting: float) -> None:
        self._bars.update(
            self._task,
            completed=epoch + step / steps,
            epoch=epoch + 1,
            rate=rate,
            wait=percent(waiting),
        )

    def epoch(self, row: dict[str, float]) -> None:
        if self._quiet:
            return
        held_out = f", held out {percent(row['eval_accuracy'])}" if "eval_accuracy" in row else ""
        screen.print(
            f"epoch {row['epoch']:>3.0f}/{self._epochs}  cross-entropy {row['cross_entropy']:.3f}, "
            f"inter {row['inter']:.3f}, intra {row['intra']:.3f}, "
            f"train {percent(row['accuracy'])}{held_out}, in a family {percent(row['in_family'])}; "
            f"{row['samples_per_second']:,.0f} samples/s, {percent(row['waiting'])} waiting"
        )
