"""Progress callbacks of long tasks."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """A callback that a long task calls whenever one of its stages advances."""

    def __call__(self, stage: str, done: int, total: int, remark: str = "") -> None:
        """Reports that `done` of `total` pieces of the stage `stage` are done."""


def silent(stage: str, done: int, total: int, remark: str = "") -> None:
    """A `Progress` that ignores every report."""
