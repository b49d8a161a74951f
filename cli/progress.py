"""How training shows its progress: a bar inside the epoch, a line after each."""

from __future__ import annotations

from typing import Self

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from aclnet.cli.console import percent, screen


class TrainingProgress:
    """Draws what the trainer tells it; nothing where `quiet` (all but the first process)."""

    def __init__(self, epochs: int, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._epochs = epochs
        self._bars = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
            console=screen,
            disable=quiet,
            transient=True,
        )
        self._task = self._bars.add_task("train", total=self._epochs, epoch=1, speed="")

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def remark(self, text: str) -> None:
        if not self._quiet:
            screen.print(text, markup=False)

    def step(self, epoch: int, step: int, steps: int, rate: float, waiting: float) -> None:
        # the first step of an epoch has no rate yet
        speed = f"{rate:,.0f} sequences/s, {100 * waiting:.0f} % waiting" if rate else ""
        done = epoch + step / steps
        self._bars.update(self._task, completed=done, epoch=epoch + 1, speed=speed)

    def epoch(self, row: dict[str, float]) -> None:
        if not self._quiet:
            screen.print(self._line(row), markup=False)

    def _line(self, row: dict[str, float]) -> str:
        """At most 80 characters for losses below 100 and up to 9,999 sequences a second."""
        held_out = [f"held out {percent(row['eval_accuracy'])}"] if "eval_accuracy" in row else []
        parts = [
            f"epoch {row['epoch']:>3.0f}/{self._epochs}",
            f"loss {row['loss']:.2f}",
            f"train {percent(row['accuracy'])}",
            *held_out,
            f"{row['sequences_per_second']:,.0f}/s",
            f"wait {100 * row['waiting']:.0f} %",
        ]
        return "  ".join(parts)
