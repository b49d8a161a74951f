"""Evaluation protocols as data: the training and test sides, and their published sizes."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import NDArray

    Columns = Mapping[str, NDArray[Any]]
    """(N,) arrays by column of the samples: `label`, `subject`, `camera`, `condition`, ..."""
    Masks = dict[str, NDArray[np.bool_]]

OWN = "own"
"""Name of a protocol whose source calls its splits only train and val."""

Verdict = Literal["complete", "subset", "wrong", "not published"]


@dataclass(frozen=True, slots=True)
class Protocol:
    """Division of a dataset into sides."""

    name: str
    divide: Callable[[Columns], Masks]
    """(N,) mask of each side (`train`, `test`; `gallery`, `probe`) from the samples' columns. It is
    a module's function or a partial of one, so that it can be sent to workers."""
    published: dict[str, int] = field(default_factory=dict)
    """Number of samples of each side in the complete set, if published."""
    num_classes: int | None = None
    """Number of classes that take part, counted from the first; None: all."""


@dataclass(frozen=True, slots=True)
class SideCount:
    """Number of recordings on a protocol side, and the number expected."""

    side: str
    expected: int | None
    """Published number of samples; None if it is not published."""
    found: int
    verdict: Verdict

    def __str__(self) -> str:
        return f"{self.side}: {self.found:,} of {self.expected or 0:,} ({self.verdict})"


def by_column(
    name: str,
    column: Literal["subject", "camera", "setup"],
    train: Iterable[int],
    published: tuple[int, int] | None = None,
    num_classes: int | None = None,
) -> Protocol:
    """A protocol that trains on samples with some values of a column and tests all others.

    A sample whose column is unknown (negative) is on neither side. `published` (train, test).
    """
    counts = dict(zip(("train", "test"), published, strict=True)) if published else {}
    return Protocol(name, partial(_divide, column=column, train=tuple(train)), counts, num_classes)


def _divide(columns: Columns, column: str, train: tuple[int, ...]) -> Masks:
    values = columns[column]
    known, trains = values >= 0, np.isin(values, train)
    return {"train": known & trains, "test": known & ~trains}


def sides(protocols: Iterable[Protocol], columns: Columns) -> Masks:
    """(N,) mask of the samples on each `<protocol>/<side>`."""
    masks: Masks = {}
    for protocol in protocols:
        takes_part = columns["label"] < (protocol.num_classes or np.inf)
        for side, mask in protocol.divide(columns).items():
            masks[f"{protocol.name}/{side}"] = takes_part & mask
    return masks


def check_counts(protocols: Iterable[Protocol], found: Mapping[str, int]) -> tuple[SideCount, ...]:
    """Compares the number of recordings on each `protocol/side` with the published number.

    Fewer recordings than published are a subset of the dataset. Too many on a side are wrong, and
    so is the published total of both sides if it is divided differently: recordings then have wrong
    subjects, cameras or setups, or unusable recordings were included.
    """
    return compare_counts(published_sizes(protocols), found)


def published_sizes(protocols: Iterable[Protocol]) -> dict[str, int]:
    """Published number of samples of each `protocol/side`, where there is one."""
    return {f"{p.name}/{side}": n for p in protocols for side, n in p.published.items()}


def compare_counts(published: Mapping[str, int], found: Mapping[str, int]) -> tuple[SideCount, ...]:
    """Compares numbers of samples by `protocol/side`, see `check_counts`."""
    counts = []
    for side, count in found.items():
        siblings = [name for name in published if name.partition("/")[0] == side.partition("/")[0]]
        is_full = sum(found.get(s, 0) for s in siblings) >= sum(published[s] for s in siblings)
        expected = published.get(side)
        counts.append(SideCount(side, expected, count, _verdict(expected, count, is_full)))
    return tuple(counts)


def _verdict(expected: int | None, found: int, is_full: bool) -> Verdict:
    if expected is None:
        return "not published"
    if found == expected:
        return "complete"
    return "wrong" if is_full or found > expected else "subset"
