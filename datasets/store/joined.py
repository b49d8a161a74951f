"""Several stores as one: their samples and shards follow one another, and nothing is copied.

Classes are joined by name. Shards of members may have different numbers of rows: a shard of the set
has as many rows as the largest of them, and holds several shards of a member with smaller ones, so
that small members are shuffled as well as large ones.
"""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from aclnet.datasets.spec import UNLABELLED, AclnetError
from aclnet.datasets.spec.classes import doubtful_names
from aclnet.datasets.store import keyed_random
from aclnet.datasets.store.contents import FILL, FrameArray
from aclnet.datasets.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from aclnet.datasets.store.attributes import StoreAttributes
    from aclnet.datasets.store.manifest import SetManifest
    from aclnet.datasets.store.paths import StorePath

JOINED = "joined"
"""Name of the protocol that is made of a protocol of each member."""
_OWN_OF_MEMBERS = ("layout", "dtype", "seed", "align", "normalise")
"""Options that may differ, or that are compared by what they come to."""


class JoinedStore(Store):
    """Stores as one, see the module.

    Args:
        path: folder of the set; the name of a set without a folder.
        record: how the members are joined.
        members: the stores, in the order of the record.
        named: whether the set has a folder with its manifest.

    Raises:
        AclnetError: the members do not have the same joints, units or normalisation.
    """

    def __init__(
        self, path: Path, record: SetManifest, members: Sequence[Store], *, named: bool
    ) -> None:
        check_alike(members)
        self.path = path
        self.record = record
        self._members = tuple(members)
        self._named = named
        self._columns = {}
        self.distant = any(member.distant for member in members)
        self.layout = members[0].layout
        self.class_names, self._labels = _join_classes(record, members)
        self.shard_rows = max(member.shard_rows for member in members)
        self._inside = [self.shard_rows // member.shard_rows for member in members]
        counts = [-(-m.shards // n) for m, n in zip(members, self._inside, strict=True)]
        self._first_shard = np.concatenate([[0], np.cumsum(counts)])
        self._arrays = {
            name: None for name in FILL if all(name in m.frame_arrays() for m in members)
        }
        self.attributes = self._join_attributes()

    @property
    def digest(self) -> str:
        return self.record.digest

    @property
    def paths(self) -> tuple[StorePath, ...]:
        return (self.path,) if self._named else tuple(m.path for m in self.members)

    @property
    def members(self) -> tuple[Store, ...]:
        return self._members

    @property
    def shards(self) -> int:
        return int(self._first_shard[-1])

    @property
    def remarks(self) -> tuple[str, ...]:
        return () if self.record.plan else tuple(_differences(self))

    @property
    def column_names(self) -> list[str]:
        first, *others = (member.column_names for member in self.members)
        return [name for name in first if all(name in names for names in others)]

    def column(self, name: str) -> NDArray[Any]:
        if name not in self._columns:
            parts = [self._column_of(number, name) for number in range(len(self.members))]
            values = np.concatenate(parts)
            values.flags.writeable = False
            self._columns[name] = values
        return self._columns[name]

    def _column_of(self, number: int, name: str) -> NDArray[Any]:
        """The column of a member, in the words and numbers of the set."""
        one, values = self.record.members[number], self.members[number].column(name)
        if name == "label":
            return np.asarray(self._labels[number][values])
        if name == "subject":
            return np.where(values >= 0, values + self._first_subject[number], values)
        if name in ("id", "original") and one.ids:
            return np.char.add(one.ids, values)
        return self._starts(number) if name == "start" else values

    def _starts(self, number: int) -> NDArray[np.int64]:
        """(samples,) first rows in the set of the samples of a member."""
        member = self.members[number]
        shard, row = np.divmod(member.column("start").astype(np.int64), member.shard_rows)
        own, place = np.divmod(shard, self._inside[number])
        first = (self._first_shard[number] + own) * self.shard_rows
        return np.asarray(first + place * member.shard_rows + row)

    @cached_property
    def _first_subject(self) -> list[int]:
        """The number in the set of subject 0 of each member."""
        groups = [one.people for one in self.record.members]
        sizes: Counter[int] = Counter()
        for group, member in zip(groups, self.members, strict=True):
            sizes[group] = max(sizes[group], 1 + int(member.column("subject").max()))
        return [sum(sizes[g] for g in sorted(sizes) if g < group) for group in groups]

    @cached_property
    def splits(self) -> dict[str, NDArray[np.bool_]]:
        found = {}
        for protocol, sides in self.attributes.protocols.items():
            for side in sides:
                masks = [
                    member.splits.get(f"{of}/{side}", np.zeros(len(member), np.bool_))
                    for member, of in zip(self.members, self._sources[protocol], strict=True)
                ]
                mask = np.concatenate(masks)
                mask.flags.writeable = False
                found[f"{protocol}/{side}"] = mask
        return dict(sorted(found.items()))

    @cached_property
    def _sources(self) -> dict[str, list[str | None]]:
        """The protocol of each member, or None, that each protocol of the set is made of."""
        names = dict.fromkeys(name for member in self.members for name in member.protocols)
        same = {
            name: [name if name in member.protocols else None for member in self.members]
            for name in names
        }
        if self.record.plan:
            return same
        common = {name: of for name, of in same.items() if None not in of}
        firsts = [next(iter(member.protocols), None) for member in self.members]
        first: dict[str, list[str | None]] = {}
        if self.record.joined:
            common.pop(JOINED, None)
            first = {JOINED: [*self.record.joined]}
        elif JOINED not in common and None not in firsts:
            first = {JOINED if len({*firsts}) > 1 else str(firsts[0]): firsts}
        return first | common

    def labels_of(self, protocol: str) -> list[int]:
        sources = self._sources.get(protocol)
        if sources is None:
            return super().labels_of(protocol)
        found: set[int] = set()
        for member, of, labels in zip(self.members, sources, self._labels, strict=True):
            found.update(labels[member.labels_of(of)].tolist() if of else ())
        return sorted(found)

    @cached_property
    def sample_keys(self) -> NDArray[np.int64]:
        return self._joined_keys("id", lambda member: member.sample_keys)

    @cached_property
    def recording_keys(self) -> NDArray[np.int64]:
        return self._joined_keys("original", lambda member: member.recording_keys)

    def _joined_keys(
        self, column: str, keys: Callable[[Store], NDArray[np.int64]]
    ) -> NDArray[np.int64]:
        """Keys of the members; of other ids than theirs, if the set calls samples otherwise."""
        if any(one.ids for one in self.record.members):
            return keyed_random.sample_keys(self.column(column))
        return np.concatenate([keys(member) for member in self.members])

    def frame_arrays(self) -> dict[str, FrameArray]:
        found = {}
        for name in self._arrays:
            parts = [member.frame_arrays()[name] for member in self.members]
            rows = sum(part.shape[0] for part in parts)
            dtypes = " or ".join(dict.fromkeys(part.dtype for part in parts))
            found[name] = FrameArray(
                shape=(rows, *parts[0].shape[1:]),
                dtype=dtypes,
                bytes=sum(part.bytes for part in parts),
                stored=sum(part.stored for part in parts),
            )
        return dict(sorted(found.items()))

    def stored_bytes(self, below: str = "") -> int:
        return sum(member.stored_bytes(below) for member in self.members)

    def read_rows(self, name: str, rows: slice) -> NDArray[Any]:
        """Rows of an array, which may lie in several shards of a member."""
        shard = rows.start // self.shard_rows
        number = int(np.searchsorted(self._first_shard, shard, side="right")) - 1
        member, inside = self.members[number], self._inside[number]
        origin = shard * self.shard_rows
        first_own = (shard - int(self._first_shard[number])) * inside
        end = min(inside, member.shards - first_own)
        blocks = []
        for place in range((rows.start - origin) // member.shard_rows, end):
            begin = origin + place * member.shard_rows
            wanted = slice(max(rows.start, begin), min(rows.stop, begin + member.shard_rows))
            if wanted.start >= wanted.stop:
                break
            own = (first_own + place) * member.shard_rows - begin
            blocks.append(member.read_rows(name, slice(wanted.start + own, wanted.stop + own)))
        missing = rows.stop - rows.start - sum(map(len, blocks))
        if missing:
            row, dtype = blocks[0].shape[1:], blocks[0].dtype
            blocks.append(np.full((missing, *row), FILL[name], dtype))
        return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)

    def _join_attributes(self) -> StoreAttributes:
        """Attributes of the members where they are the same; else sums and lists of them."""
        each = [member.attributes for member in self.members]
        first = each[0]
        names = list(dict.fromkeys(one.dataset for one in each))
        protocols: dict[str, dict[str, int]] = {}
        for protocol, sources in self._sources.items():
            sizes: Counter[str] = Counter()
            for one, of in zip(each, sources, strict=True):
                sizes.update(one.protocols.get(of or "", {}))
            protocols[protocol] = dict(sizes)
        rejected: Counter[str] = Counter()
        for one in each:
            rejected.update(one.rejected)
        return first.model_copy(
            update={
                # data of several datasets are nobody's dataset: no recipe and no reader is theirs
                "dataset": names[0] if len(names) == 1 else "custom",
                "title": " + ".join(dict.fromkeys(one.title for one in each)),
                "conversion": first.conversion if _same(one.conversion for one in each) else {},
                "class_names": self.class_names,
                "cleaning": " or ".join(dict.fromkeys(one.cleaning for one in each)),
                "options": _common([one.options for one in each]),
                "protocols": protocols,
                "protocol_classes": {},
                "rejected": dict(sorted(rejected.items())),
                "plan": self.record.plan,
                "software": _common([one.software for one in each]),
                "shard_rows": self.shard_rows,
                "part": None,
            }
        )


def _join_classes(
    record: SetManifest, members: Sequence[Store]
) -> tuple[list[str], list[NDArray[np.int32]]]:
    """Names of the classes of a set, and the label in it of each label of each member.

    A table ends with that of samples without a label, which are -1. If a member has two classes
    of one name, the first class is joined with the first class of that name in others, the second
    with the second.
    """
    places: dict[tuple[str, int], int] = {}
    tables = []
    for one, member in zip(record.members, members, strict=True):
        before: Counter[str] = Counter()
        labels = []
        for name in member.class_names:
            key = one.classes + record.names.get(name, name), before[name]
            before[name] += 1
            labels.append(places.setdefault(key, len(places)))
        tables.append(np.array([*labels, UNLABELLED], np.int32))
    return [name for name, _ in places], tables


def check_alike(members: Sequence[Store]) -> None:
    """Raises AclnetError, which names both, if a member has other sequences than the first."""
    first, *others = members
    for other in others:
        joints = [m.layout.model_dump(exclude={"name"}) for m in (first, other)]
        if joints[0] != joints[1]:
            raise _unlike(first, other, "layout", [m.layout.name for m in (first, other)])
        for what in ("coordinates", "units", "normalisation"):
            found = [getattr(m.attributes, what) for m in (first, other)]
            if found[0] != found[1]:
                raise _unlike(first, other, what, found)


def _unlike(first: Store, other: Store, what: str, found: Sequence[object]) -> AclnetError:
    remedy = {"layout": "--layout", "normalisation": "--align and --normalise"}.get(what)
    how = f"; prepare one of them as the other ({remedy})" if remedy else ""
    return AclnetError(
        f"{first.path} and {other.path} cannot be joined: their {what} differ, {found[0]} and "
        f"{found[1]}{how}"
    )


def _differences(store: JoinedStore) -> list[str]:
    """Sentences about differences between members that may be mistakes."""
    members = store.members
    found = []
    scored = [member.has_score for member in members]
    if any(scored) and not all(scored):
        without = members[scored.index(False)].path
        found.append(f"confidences of joints are not used, because {without} has none")
    found += _options_that_differ(members)
    if not _same(member.attributes.conversion for member in members):
        told = (_conversion(member) for member in members)
        found.append(f"joints were converted in different ways: {', '.join(told)}")
    known = {text for member in members for text in doubtful_names(member.class_names, "")}
    remedy = "if they are the same class, give them one name with `aclnet finalise --classes`"
    texts = zip(
        doubtful_names(store.class_names, ""),
        doubtful_names(store.class_names, remedy),
        strict=True,
    )
    return [*found, *(told for text, told in texts if text not in known)]


def _options_that_differ(members: Sequence[Store]) -> list[str]:
    options = [member.attributes.options for member in members]
    names = dict.fromkeys(name for one in options for name in one if name not in _OWN_OF_MEMBERS)
    found = []
    for name in names:
        values = [one.get(name) for one in options]
        if not _same(values):
            told = (
                f"{'none' if value in (None, '') else value} ({member.path})"
                for value, member in zip(values, members, strict=True)
            )
            found.append(f"members were prepared with different {name}: {', '.join(told)}")
    return found


def _conversion(member: Store) -> str:
    layouts = member.attributes.conversion.get("layouts")
    return f"{' -> '.join(layouts) if layouts else 'as recorded'} ({member.path})"


def _same(values: Any) -> bool:  # noqa: ANN401 - values of any kind
    first, *others = values
    return all(other == first for other in others)


def _common(tables: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The entries that all tables have."""
    first, *others = tables
    absent = object()
    return {k: v for k, v in first.items() if all(o.get(k, absent) == v for o in others)}
