"""Request and answer of a generator, and the signature that all generators share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from aclnet.datasets.spec import AclnetError, silent

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from aclnet.datasets.spec import Progress

_MANY = 10**6


@dataclass(frozen=True, slots=True)
class Request:
    """The recordings to generate. Equal requests give the same bytes.

    Raises AclnetError for a value out of range.
    """

    sequences: int
    """Upper limit; a form that knows fewer recordings writes fewer."""
    subjects: int
    """Number of different people. Each form has its own limits, see `require_subjects`."""
    seed: int
    damage: float = 0.0
    """Share of the recordings to damage."""

    def __post_init__(self) -> None:
        check_range("damage", self.damage, 0, 1)
        check_range("sequences", self.sequences, 1, _MANY)

    def require_subjects(self, least: int = 1, most: int = _MANY) -> None:
        """Raises AclnetError unless the number of subjects is from `least` to `most`."""
        check_range("subjects", self.subjects, least, most)


@dataclass(frozen=True, slots=True)
class Summary:
    """Files that a generator wrote."""

    sequences: int
    damaged: Mapping[str, str]
    """Kind of damage by file, or by entry of a file."""


class Generate(Protocol):
    """Writes recordings of synthetic people in one form of one dataset."""

    def __call__(self, folder: Path, request: Request, progress: Progress = silent) -> Summary:
        """Writes into `folder`, which is created if it does not exist.

        `progress` counts the recordings of the stage `write`.

        Raises AclnetError for a value out of range and for a folder that cannot be written.
        """
        ...


def check_range(what: str, value: float, least: float, most: float) -> None:
    """Raises AclnetError unless `value` is from `least` to `most`."""
    if not least <= value <= most:
        raise AclnetError(f"{what} is {value}: give a number from {least} to {most}")
