"""Evaluation protocols as data: who trains, who is tested, how many samples that must make."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import NDArray

    Columns = Mapping[str, NDArray[Any]]
    """An (N,) array a column of the samples: `label`, `subject`, `camera`, `condition`, ..."""
    Masks = dict[str, NDArray[np.bool_]]

OWN = "own"
"""Protocol of a source whose splits have no name but train and val."""

Verdict = Literal["complete", "subset", "wrong", "not published"]


@dataclass(frozen=True, slots=True)
class Protocol:
    """How a dataset is divided into sides."""

    name: str
    divide: Callable[[Columns], Masks]
    """(N,) mask of each side (`train`, `test`; `gallery`, `probe`) from the samples' columns; a
    module's function, or a partial of one, so that it can be sent to workers."""
    published: dict[str, int] = field(default_factory=dict)
    """Samples of each side in the complete set, where they are published."""
    num_classes: int | None = None
    """Only samples of the first so many classes take part; None: all do."""


@dataclass(frozen=True, slots=True)
class SideCount:
    """How many recordings a protocol side has, against how many it must have."""

    side: str
    expected: int | None
    """None where nobody has published it."""
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
    """A protocol in which samples with some values of a column train, and all others are tested.

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
    """Compares each `protocol/side`, its recordings counted, with the published one.

    Fewer recordings than published are a subset of the dataset. Too many on a side, or as many in
    the protocol's sides together but shared out otherwise, are wrong: recordings carry wrong
    subjects, cameras or setups, or unusable ones were let in.
    """
    published = {f"{p.name}/{side}": n for p in protocols for side, n in p.published.items()}
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
