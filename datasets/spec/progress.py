"""Progress callbacks of long tasks."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Is called as often as a stage of a task advances."""

    def __call__(self, stage: str, done: int, total: int, remark: str = "") -> None:
        """`done` of `total` pieces of the stage of that name are done."""


def silent(stage: str, done: int, total: int, remark: str = "") -> None:
    """A progress for callers that do not want to know."""
