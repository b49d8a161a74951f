"""The contract between raw data and everything else: what a dataset is, and what reads it.

`aclnet.datasets.registry.open_raw` opens raw data as a `Source`: `scan` lists what is there by
names and sizes alone, `read` parses one item. Sources are small and picklable, so that any worker
can read any item. Readers only parse; what a dataset needs beyond that is a step of
`aclnet.pipelines.steps.clean`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, ClassVar, Literal

from aclnet.datasets.spec.errors import AclnetError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aclnet.datasets.spec import protocols
    from aclnet.datasets.spec.sequence import Rejection, SkeletonSequence

Task = Literal["action", "gait", "reid"]
Units = Literal["m", "px"]


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to read."""

    sample_id: str
    path: str
    """Relative to the source's root, or to its folder where the root is a file, with forward
    slashes; empty where that file holds the item."""
    size: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class Source(ABC):
    """Raw data opened for reading; picklable, and cheap to make and to send."""

    spec: DatasetSpec
    """What the sequences are: the dataset asked for, as this form of its data has it."""
    root: Path
    """The folder, or the one file, that is read; absolute."""

    cleaned: ClassVar[bool] = True
    """The sequences need no cleaning step: they have been through it, or there is none."""

    @abstractmethod
    def scan(self) -> tuple[list[Item], list[Rejection]]:
        """Items in the order to read them, always the same, and what cannot be an item.

        By names and sizes alone.

        Raises AclnetError where the source as a whole cannot be read.
        """

    @abstractmethod
    def read(self, item: Item) -> SkeletonSequence | Rejection:
        """The item's sequence, or why there is none; bad data never raise.

        Raises OSError where it is no fault of the item that it cannot be read: it is gone, its disk
        is, or too many files are open (`aclnet.datasets.formats.unreadable`).
        """

    def tracked(self) -> bool:
        """Is each person of a sequence the same one in all frames, not a place in frames' lists?"""
        return True

    def outside(self) -> int:
        """Number of sound recordings under the root that belong to a larger dataset, not here."""
        return 0

    def splits(self) -> dict[str, list[str]]:
        """Sample ids of the splits that the source itself defines, by name.

        Names as `train`, `xsub_train`, `xsub_val`, `still_probe`: see `parts.own_sides`.
        """
        return {}

    def with_boxes(self, box_thr: float, valid_ratio: float) -> Source:
        """The same without persons whose detection scores below `box_thr`, and without recordings
        in whose frames too few are left: less than `valid_ratio` of all.

        AclnetError where detections have no scores.
        """
        raise AclnetError(
            f"{self.root}: {self.spec.title} has no scores of boxes; leave --box-thr and "
            "--valid-ratio out"
        )

    def rates(self) -> tuple[float, ...]:
        """Frame rates of its recordings, as far as they are told."""
        return ()

    def fingerprint(self) -> str:
        """What, besides the items' names and sizes, decides the sequences, hashed; if anything."""
        return ""

    def normalisation(self) -> str | None:
        """Recipe that all sequences have been through, of a store's export; None: they are raw."""
        return None


@dataclass(frozen=True, slots=True)
class Provenance:
    """What somebody who does not have the data yet wants to know."""

    home: str
    """Where it is to be had."""
    terms: str
    """Under which licence or terms, in a few words."""
    size: str
    """Of the download, as its authors state it."""
    forms: tuple[str, ...]
    """What `--raw` may point to, the likeliest first."""
    remarks: str = ""


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """What a dataset is, and how its raw data are opened."""

    name: str
    title: str
    layout: str
    """Name of the joint layout (`aclnet.datasets.spec.layouts`); empty: raw data must tell it."""
    units: Units
    class_names: tuple[str, ...]
    """Of actions; where people are recognised, of them."""
    opener: Callable[[DatasetSpec, Path], Source]
    """Opens raw data, the path absolute. Raises AclnetError where it holds nothing of this
    dataset's kind. The source's own spec may differ in what depends on the form of the data."""
    about: Provenance
    places: tuple[str, ...]
    """Where users put the raw data, relative to their data folder, likeliest first."""
    protocols: tuple[protocols.Protocol, ...] = ()
    """The customary one first; none where the files bring the splits."""
    task: Task = "action"
    clean: str | None = None
    """Step of `aclnet.pipelines.steps.clean` for sources that are not `cleaned`."""
    raw_layout: str | None = None
    """Layout of the raw joints where it is another one, see `aclnet.pipelines.steps.convert`."""
    pattern: str = ""
    """Pattern of the paths of own recordings, see `aclnet.datasets.readers.custom_pattern`."""
    max_persons: int | None = None
    """Only the first so many persons are kept, as published; None: all."""

    @property
    def dimensions(self) -> int:
        """2 for pixels, 3 for metres."""
        return 2 if self.units == "px" else 3

    @property
    def source_layout(self) -> str:
        """Layout of the sequences that its sources read."""
        return self.raw_layout or self.layout


def read_class_names(dataset: str) -> tuple[str, ...]:
    """Lines of `datasets/tables/<dataset>_classes.txt`."""
    table = files("aclnet.datasets.tables") / f"{dataset}_classes.txt"
    return tuple(table.read_text(encoding="utf-8").splitlines())
