"""NTU RGB+D: the names of its recordings, and a folder of its `.skeleton` files."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from itertools import product
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from aclnet.datasets.formats.files import walk_files
from aclnet.datasets.readers.items import FileSource, known_numbers
from aclnet.datasets.readers.ntu_text import parse_bodies
from aclnet.datasets.spec import DamageError, Item, Rejection, SkeletonSequence

if TYPE_CHECKING:
    from collections.abc import Iterator

EXTENSION = ".skeleton"
UNUSABLE = "on NTU's list of unusable recordings"

# last setup, camera, subject, repetition and action of NTU RGB+D 120
_LAST = (32, 3, 106, 2, 120)
# numbers of setups and actions
_EXTENT = {"ntu60": (17, 60), "ntu120": (32, 120)}
_STEM = re.compile(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})", re.ASCII)


class Name(NamedTuple):
    """The numbers in the name of an NTU recording, all from 1."""

    setup: int
    camera: int
    subject: int
    replication: int
    action: int


def parse_name(stem: str) -> Name | None:
    """The numbers in `SsssCcccPpppRrrrAaaa`; None if NTU RGB+D 120 has no such recording."""
    numbers = known_numbers(_STEM, stem, _LAST)
    return None if numbers is None else Name(*numbers)


def with_columns(sequence: SkeletonSequence) -> SkeletonSequence:
    """The sequence with the numbers in its id; unchanged if the id is not a name of NTU's."""
    name = parse_name(sequence.sample_id)
    if name is None:
        return sequence
    return replace(
        sequence,
        subject=name.subject,
        camera=name.camera,
        setup=name.setup,
        replication=name.replication,
    )


@cache
def unusable(dataset: str) -> frozenset[str]:
    """Stems of the recordings that NTU's authors found unusable (`ntu60` or `ntu120`)."""
    table = files("aclnet.datasets.tables") / f"{dataset}_missing.txt"
    return frozenset(table.read_text(encoding="ascii").split())


def usable(dataset: str) -> list[str]:
    """Stems of all usable recordings of `ntu60` or `ntu120`, sorted.

    Every performer of a setup (a line per setup in `datasets/tables/ntu_performers.txt`) has
    performed each of the setup's actions twice before three cameras: 60 new actions from setup 18
    on.
    """
    table = files("aclnet.datasets.tables") / "ntu_performers.txt"
    setups = _EXTENT[dataset][0]
    stems = [
        f"S{setup:03}C{camera:03}P{int(performer):03}R{replication:03}A{action:03}"
        for setup, line in enumerate(table.read_text().splitlines()[:setups], start=1)
        for camera, performer in product((1, 2, 3), line.split())
        for replication, action in product((1, 2), range(1, 61) if setup < 18 else range(61, 121))
    ]
    return [stem for stem in stems if stem not in unusable(dataset)]


@dataclass(frozen=True, slots=True)
class NtuSource(FileSource):
    """A folder or archive of `.skeleton` files, at any depth.

    A folder of the larger set can be read as `ntu60` too.
    """

    cleaned: ClassVar[bool] = False
    max_bytes = 64 * 2**20

    def scan(self) -> tuple[list[Item], list[Rejection]]:
        found: dict[str, Item] = {}
        rejections: list[Rejection] = []
        for path, size in sorted(self._recordings()):
            item = Item(PurePosixPath(path).stem, path, size)
            refusal = self._refusal(item, found)
            if refusal:
                rejections.append(refusal)
            elif self._is_inside(item.sample_id):
                found[item.sample_id] = item
        return sorted(found.values(), key=lambda item: item.sample_id), rejections

    def outside(self) -> int:
        stems = (PurePosixPath(path).stem for path, _ in self._recordings())
        return sum(parse_name(stem) is not None and not self._is_inside(stem) for stem in stems)

    def parse(self, item: Item, data: bytes) -> SkeletonSequence:
        name = parse_name(item.sample_id)
        if name is None:
            raise DamageError("the name is not of the form SsssCcccPpppRrrrAaaa")
        bodies = parse_bodies(data)
        return SkeletonSequence(
            sample_id=item.sample_id,
            keypoint=bodies.keypoint,
            label=name.action - 1,
            present=bodies.present,
            frame_index=bodies.frame_index,
            body_ids=bodies.ids,
            subject=name.subject,
            camera=name.camera,
            setup=name.setup,
            replication=name.replication,
            source=item.path,
        )

    def _recordings(self) -> Iterator[tuple[str, int]]:
        """Files whose names show that they are, or are meant to be, recordings."""
        for path, size in walk_files(self.root):
            if path.lower().endswith(EXTENSION) or _STEM.fullmatch(PurePosixPath(path).stem):
                yield path, size

    def _refusal(self, item: Item, found: dict[str, Item]) -> Rejection | None:
        if not item.path.endswith(EXTENSION):
            reason = f"the extension is not {EXTENSION}"
            return Rejection(item.path, None, reason, "unknown name")
        if parse_name(item.sample_id) is None:
            reason = "the name does not fit NTU RGB+D (SsssCcccPpppRrrrAaaa)"
            return Rejection(item.path, None, reason, "unknown name")
        if item.sample_id in unusable(self.spec.name):
            return Rejection(item.path, None, UNUSABLE, "listed as unusable")
        if item.sample_id in found:
            reason = f"the same recording is at {found[item.sample_id].path}"
            return Rejection(item.path, None, reason, "there twice")
        return None

    def _is_inside(self, stem: str) -> bool:
        name = parse_name(stem)
        setups, actions = _EXTENT[self.spec.name]
        return name is not None and name.setup <= setups and name.action <= actions
