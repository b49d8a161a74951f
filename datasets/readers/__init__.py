"""Readers of raw formats, one file each, and the datasets that they make up.

A dataset opens its raw data as a `Source`: `scan` lists what is there by names and sizes alone,
`read` parses one item. Sources are small and picklable, so that any worker can read any item.
Readers only parse; what a dataset needs beyond that is a named step of `aclnet.pipelines.clean`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING, Protocol

from aclnet.datasets.errors import AclnetError
from aclnet.datasets.layouts import get_layout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from aclnet.datasets.sequence import Rejection, Sequence


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to read."""

    sample_id: str
    path: str
    """Relative to the source's root, or to its folder where the root is a file, with forward
    slashes; empty where that file holds the item."""
    size: int
    """Bytes."""


class Source(Protocol):
    """Raw data opened for reading; picklable, and cheap to make and to send."""

    @property
    def root(self) -> Path:
        """The folder, or the one file, that is read."""
        ...

    @property
    def cleaned(self) -> bool:
        """The sequences need no cleaning step: they have been through it, or there is none."""
        ...

    def scan(self) -> tuple[list[Item], list[Rejection]]:
        """Items in the order to read them, always the same, and what cannot be an item.

        By names and sizes alone.

        Raises AclnetError where the source as a whole cannot be read.
        """
        ...

    def outside(self) -> int:
        """Number of sound recordings under the root that belong to a larger dataset, not here."""
        ...

    def splits(self) -> dict[str, list[str]]:
        """Sample ids of the splits that the source itself defines, by name."""
        ...

    def read(self, item: Item) -> Sequence | Rejection:
        """The item's sequence, or why there is none; bad data never raise."""
        ...


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """What a dataset is, and how its raw data are opened."""

    name: str
    title: str
    layout: str
    """Name of the joint layout, see `aclnet.datasets.layouts`."""
    units: str
    class_names: tuple[str, ...]
    open: Callable[[Path], Source]
    """Raises AclnetError where the path holds nothing of this dataset's kind."""
    places: tuple[str, ...]
    """Where users put the raw data, relative to their data folder, likeliest first."""
    clean: str | None = None
    """Step of `aclnet.pipelines.clean` for sources that are not `cleaned`."""
    raw_layout: str | None = None
    """Layout of the raw joints where it is another one, see `aclnet.pipelines.convert`."""
    max_persons: int | None = None
    """Only the first so many persons are kept, as published; None: all."""

    @property
    def dimensions(self) -> int:
        """2 for pixels, 3 for metres."""
        return 2 if self.units == "px" else 3


def get_dataset(name: str) -> DatasetSpec:
    """The dataset of that name; AclnetError that lists the known ones where there is none."""
    try:
        return DATASETS[name]
    except KeyError:
        known = ", ".join(sorted(DATASETS))
        raise AclnetError(f"unknown dataset {name!r}; known: {known}") from None


def walk_files(root: Path) -> Iterator[tuple[str, int]]:
    """Path relative to `root` and size in bytes of every file at any depth, in no fixed order.

    Folders that are links are not followed. Raises AclnetError where a folder cannot be listed.
    """
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(root / folder) as entries:
                for entry in entries:
                    path = f"{folder}{entry.name}"
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(f"{path}/")
                    elif entry.is_file():
                        yield path, entry.stat().st_size
        except OSError as error:
            raise AclnetError(
                f"{error.filename or root / folder} cannot be listed: {error.strerror}; "
                "check the path and its permissions"
            ) from None


def _open_ntu(raw: Path, name: str) -> Source:
    if raw.is_dir():
        from aclnet.datasets.readers.ntu import NtuSource

        return NtuSource(raw, name)
    return _open_pickle(raw, name, f"a folder of .skeleton files or PYSKL's {name}_3danno.pkl")


def _open_pickle(raw: Path, name: str, file: str) -> Source:
    if (raw / file).is_file():
        raw = raw / file
    if not raw.is_file():
        problem = "is a folder" if raw.is_dir() else "is not there"
        raise AclnetError(f"{raw} {problem}; give {file}")
    from aclnet.datasets.readers.pyskl import PysklSource

    spec = get_dataset(name)
    layout = get_layout(spec.raw_layout or spec.layout)
    return PysklSource(raw, len(spec.class_names), layout.num_joints, spec.dimensions)


def _open_utd_mhad(raw: Path) -> Source:
    if not raw.is_dir():
        raise AclnetError(f"{raw} is not a folder; give the one that holds aA_sS_tT_skeleton.mat")
    from aclnet.datasets.readers.utd_mhad import UtdMhadSource

    return UtdMhadSource(raw)


def _classes(dataset: str) -> tuple[str, ...]:
    table = files("aclnet.datasets.tables") / f"{dataset}_classes.txt"
    return tuple(table.read_text(encoding="utf-8").splitlines())


DATASETS: dict[str, DatasetSpec] = {
    spec.name: spec
    for spec in (
        DatasetSpec(
            name="ntu60",
            title="NTU RGB+D 60",
            layout="nturgb+d",
            units="m",
            class_names=_classes("ntu120")[:60],
            open=partial(_open_ntu, name="ntu60"),
            clean="ntu",
            places=("ntu60", "nturgb+d_skeletons", "ntu60_3danno.pkl"),
        ),
        DatasetSpec(
            name="ntu120",
            title="NTU RGB+D 120",
            layout="nturgb+d",
            units="m",
            class_names=_classes("ntu120"),
            open=partial(_open_ntu, name="ntu120"),
            clean="ntu",
            places=("ntu120", "nturgb+d", "ntu120_3danno.pkl"),
        ),
        DatasetSpec(
            name="pkummd",
            title="PKU-MMD",
            layout="nturgb+d",
            units="m",
            class_names=_classes("pkummd"),
            open=partial(_open_pickle, name="pkummd", file="pku_mmd.pkl"),
            places=("pku_mmd.pkl",),
        ),
        DatasetSpec(
            name="kinetics",
            title="Kinetics-Skeleton 400",
            layout="coco_new",
            raw_layout="coco",
            units="px",
            class_names=_classes("kinetics"),
            open=partial(_open_pickle, name="kinetics", file="k400_hrnet.pkl"),
            places=("k400_hrnet.pkl",),
            max_persons=2,
        ),
        DatasetSpec(
            name="finegym",
            title="FineGYM-99",
            layout="coco_new",
            raw_layout="coco",
            units="px",
            class_names=_classes("finegym"),
            open=partial(_open_pickle, name="finegym", file="gym_hrnet.pkl"),
            places=("gym_hrnet.pkl",),
            max_persons=2,
        ),
        DatasetSpec(
            name="utd-mhad",
            title="UTD-MHAD",
            layout="utd_mhad",
            units="m",
            class_names=_classes("utd-mhad"),
            open=_open_utd_mhad,
            places=("utd-mhad", "utd_mhad", "UTD-MHAD"),
        ),
    )
}
