"""The contract between raw data and the rest of the project: datasets and their readers.

`aclnet.datasets.registry.open_raw` opens raw data as a `Source`: `scan` lists the items by names
and sizes alone, `read` parses one item. Sources are small and picklable, so that any worker can
read any item. Readers only parse; further steps of a dataset are in `aclnet.pipelines.steps.clean`.
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
    """One recording, or part of a file, to read."""

    sample_id: str
    path: str
    """Path relative to the source's root, or to the root's folder if the root is a file, with
    forward slashes; empty if the item is in the root file."""
    size: int
    """Size in bytes."""


@dataclass(frozen=True, slots=True)
class Source(ABC):
    """Raw data opened for reading. Sources are picklable, and cheap to make and to send."""

    spec: DatasetSpec
    """Description of the sequences: the dataset asked for, adapted to this form of its data."""
    root: Path
    """Absolute path of the folder or file that is read."""

    cleaned: ClassVar[bool] = True
    """True if the sequences need no cleaning step: they are cleaned, or there is no step."""

    @abstractmethod
    def scan(self) -> tuple[list[Item], list[Rejection]]:
        """Items in the order to read them, always the same, and inputs that cannot be items.

        Only names and sizes are read.

        Raises AclnetError if the source as a whole cannot be read.
        """

    @abstractmethod
    def read(self, item: Item) -> SkeletonSequence | Rejection:
        """The item's sequence, or the reason why there is none; bad data never raise.

        Raises OSError if reading fails for a reason outside the item, for example if its disk is
        missing or too many files are open (`aclnet.datasets.formats.unreadable`).
        """

    def tracked(self) -> bool:
        """True if person m is one person in all frames, not the m-th in each frame's list."""
        return True

    def outside(self) -> int:
        """Number of sound recordings under the root that belong to a larger dataset instead."""
        return 0

    def splits(self) -> dict[str, list[str]]:
        """Sample ids of the splits that the source itself defines, by name.

        Examples of names: `train`, `xsub_train`, `xsub_val`, `still_probe`; see `parts.own_sides`.
        """
        return {}

    def with_boxes(self, box_thr: float, valid_ratio: float) -> Source:
        """The source with a limit on detection scores.

        Persons whose detection scores below `box_thr` are left out, and recordings in which less
        than the share `valid_ratio` of the frames then shows a person.

        Raises AclnetError if detections have no scores.
        """
        raise AclnetError(
            f"{self.root}: {self.spec.title} has no scores of boxes; leave out --box-thr and "
            "--valid-ratio"
        )

    def rates(self) -> tuple[float, ...]:
        """Frame rates of the recordings, as far as known."""
        return ()

    def fingerprint(self) -> str:
        """Hash of other facts than items' names and sizes that decide the sequences, if any."""
        return ""

    def normalisation(self) -> str | None:
        """Normalisation that the sequences have had, for a store's export; None: raw sequences."""
        return None


@dataclass(frozen=True, slots=True)
class Provenance:
    """Information for people who do not have the data yet."""

    home: str
    """Address of the data."""
    terms: str
    """Licence or terms, in a few words."""
    size: str
    """Size of the download, as its authors state it."""
    forms: tuple[str, ...]
    """Paths that `--raw` accepts, the likeliest first."""
    remarks: str = ""
    publication: str = ""
    """Article that describes the data, as it is cited."""


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """A dataset, and how to open its raw data."""

    name: str
    title: str
    layout: str
    """Name of the joint layout (`aclnet.datasets.spec.layouts`); empty: the raw data name it."""
    units: Units
    class_names: tuple[str, ...]
    """Names of the actions, or of the people if people are recognised."""
    opener: Callable[[DatasetSpec, Path], Source]
    """Opens raw data at an absolute path. Raises AclnetError if the path holds nothing of this
    dataset's kind. The source's own spec may differ in facts that depend on the data's form."""
    about: Provenance
    places: tuple[str, ...]
    """Places where users put the raw data, relative to their data folder, likeliest first."""
    protocols: tuple[protocols.Protocol, ...] = ()
    """Protocols, the usual one first; empty if the files define the splits."""
    task: Task = "action"
    clean: str | None = None
    """Step of `aclnet.pipelines.steps.clean` for sources that are not `cleaned`."""
    raw_layout: str | None = None
    """Layout of the raw joints if it differs, see `aclnet.pipelines.steps.convert`."""
    pattern: str = ""
    """Pattern of the paths of custom recordings, see `aclnet.datasets.readers.custom_pattern`."""
    own_units: Units | None = None
    """Units of custom recordings if nothing else gives them; None: those of the files, or
    metres."""
    max_persons: int | None = None
    """Number of persons that are kept, from the first, as published; None: all."""

    @property
    def dimensions(self) -> int:
        """2 for pixels, 3 for metres."""
        return 2 if self.units == "px" else 3

    @property
    def source_layout(self) -> str:
        """Layout of the sequences that the dataset's sources read."""
        return self.raw_layout or self.layout


def read_class_names(dataset: str) -> tuple[str, ...]:
    """Lines of `datasets/tables/<dataset>_classes.txt`."""
    table = files("aclnet.datasets.tables") / f"{dataset}_classes.txt"
    return tuple(table.read_text(encoding="utf-8").splitlines())
