"""Stores by their paths or addresses: one, a set, or several as one."""

from __future__ import annotations

import os
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import numpy as np

from aclnet.datasets.formats.atomic import write_json
from aclnet.datasets.registry import all_datasets
from aclnet.datasets.spec import AclnetError, did_you_mean, first_of
from aclnet.datasets.store import manifest
from aclnet.datasets.store.joined import JoinedStore, check_alike
from aclnet.datasets.store.manifest import Member, SetManifest
from aclnet.datasets.store.paths import store_path
from aclnet.datasets.store.places import check_member, member_path
from aclnet.datasets.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aclnet.datasets.store.paths import StorePath

_CUSTOM = "custom"
_LONGEST_NAME = 80


def open_store(*paths: str | PurePath) -> Store:
    """Opens a finished store or a set of stores for reading; several paths are opened as one.

    Args:
        paths: folders, or addresses in an object store. The samples of several follow one another
            in this order. Their classes are joined by name, and docs/sets.md tells how their
            protocols and people are.

    Raises:
        AclnetError: There is no store, or a visibly damaged one; or several do not fit together.
    """
    if len(paths) == 1:
        return _open(store_path(paths[0]))
    members = [_open(store_path(path)) for path in paths]
    if not members:
        raise AclnetError("no store was named")
    return JoinedStore(_name_of(members), join(members), members, named=False)


def join(
    members: Sequence[Store],
    *,
    prefix_ids: bool = False,
    same_people: bool = False,
    protocols: Sequence[str] | None = None,
    classes: Mapping[str, str] | None = None,
    plan: str = "",
) -> SetManifest:
    """Tells how stores become one; the paths of the members are absolute.

    Args:
        members: the stores, two at least.
        prefix_ids: put the name of its store and `/` before each id.
        same_people: equal numbers of subjects, and equal names of people, are the same person in
            all members. Otherwise they are in members of one published dataset alone.
        protocols: protocol of each member that makes up the protocol `joined`; None: its default.
        classes: names of classes in the set by their names in the members.
        plan: hash of the preparation that all members together are.

    Raises:
        AclnetError: two members have an equal id, or `protocols` or `classes` do not fit them.
    """
    check_alike(members)
    _check_protocols(members, protocols)
    _check_classes(members, classes or {})
    if prefix_ids:
        _check_stems(members)
    else:
        _check_ids(members)
    groups: dict[str, int] = {}
    several = len({_people_of(number, member) for number, member in enumerate(members)}) > 1
    joined = []
    for number, member in enumerate(members):
        people = "" if same_people else _people_of(number, member)
        apart = several and not same_people and _names_people(member)
        joined.append(
            Member(
                path=str(member.path.resolve()),
                digest=member.digest,
                ids=f"{_stem(member)}/" if prefix_ids else "",
                classes=f"{member.name}/" if apart else "",
                people=groups.setdefault(people, len(groups)),
            )
        )
    return SetManifest(
        members=joined,
        joined=list(protocols) if protocols else None,
        names=dict(classes or {}),
        plan=plan,
    )


def write_set(out: Path, record: SetManifest) -> None:
    """Writes the manifest of a set into its folder, with paths that are relative to the folder."""
    out.mkdir(parents=True, exist_ok=True)
    here = out.resolve()
    members = [m.model_copy(update={"path": _relative(m.path, here)}) for m in record.members]
    placed = record.model_copy(update={"members": members})
    write_json(out / manifest.NAME, placed.model_dump())


def _open(path: StorePath) -> Store:
    record = manifest.set_at(path)
    if record is None or not isinstance(path, Path):
        return Store(path)
    members = []
    for one in record.members:
        if problem := check_member(path, one):
            raise AclnetError(
                f"{problem}; put the store back, or join the members again by `aclnet finalise` "
                "with --overwrite"
            )
        members.append(_open(member_path(path, one)))
    return JoinedStore(path, record, members, named=True)


def _name_of(members: Sequence[Store]) -> Path:
    """Path by which a set without a folder is called, beside its first member: `A+B.zarr`."""
    name = "+".join(map(_stem, members))
    if len(name) > _LONGEST_NAME:
        name = f"{_stem(members[0])[:_LONGEST_NAME]}+{len(members) - 1}"
    first = members[0].path
    if not isinstance(first, Path):
        return Path(f"{name}.zarr")
    return (first if first.name else first.absolute()).with_name(f"{name}.zarr")


def _stem(member: Store) -> str:
    """Name of a store without its ending."""
    path = member.path
    return path.absolute().stem if isinstance(path, Path) else path.stem


def _relative(member: str, folder: Path) -> str:
    place = store_path(member)
    if not isinstance(place, Path):
        return member
    try:
        return Path(os.path.relpath(place, folder)).as_posix()
    except ValueError:  # another drive of Windows
        return place.as_posix()


def _people_of(number: int, member: Store) -> str:
    """Name of the numbering of the subjects of a member."""
    if member.attributes.part:
        return member.attributes.part.plan
    return f"{_CUSTOM} {number}" if member.name == _CUSTOM else member.name


def _names_people(member: Store) -> bool:
    """Tells if the classes of a member are people, as far as its dataset says it."""
    spec = all_datasets().get(member.name)
    return spec is not None and spec.task != "action"


def _check_ids(members: Sequence[Store]) -> None:
    """Raises AclnetError, which names an id and both members, if two members share ids."""
    keys = np.concatenate([member.sample_keys for member in members])
    owner = np.repeat(np.arange(len(members)), [len(member) for member in members])
    order = np.argsort(keys, kind="stable")
    twice = np.flatnonzero(np.diff(keys[order]) == 0)
    twice = twice[owner[order[twice]] != owner[order[twice + 1]]]
    if not len(twice):
        return
    rows, first_row = order[twice], np.searchsorted(owner, owner[order[twice]])
    owners = owner[order[[twice[0], twice[0] + 1]]]
    ids = [str(members[owner[r]].column("id")[r - f]) for r, f in zip(rows, first_row, strict=True)]
    one, other = (members[number].path for number in owners)
    raise AclnetError(
        f"{one} and {other} share {len(ids)} ids ({first_of(ids, 3)}); join each recording once, "
        "or, if these are different recordings, put the names of the stores before the ids: "
        f"`aclnet finalise SET.zarr {one} {other} --prefix-ids`"
    )


def _check_stems(members: Sequence[Store]) -> None:
    stems = [_stem(member) for member in members]
    twice = next((stem for stem in stems if stems.count(stem) > 1), None)
    if twice is not None:
        raise AclnetError(
            f"two members are called {twice}, so their names cannot tell their ids apart; "
            "rename one of them"
        )


def _check_protocols(members: Sequence[Store], protocols: Sequence[str] | None) -> None:
    if protocols is None:
        return
    if len(protocols) != len(members):
        raise AclnetError(
            f"{len(protocols)} protocols were named for {len(members)} members; name one for each, "
            "in their order"
        )
    for member, protocol in zip(members, protocols, strict=True):
        if protocol not in member.protocols:
            known = ", ".join(member.protocols) or "none"
            raise AclnetError(
                f"{member.path} has no protocol {protocol!r}"
                f"{did_you_mean(protocol, member.protocols)}; it has {known}"
            )


def _check_classes(members: Sequence[Store], classes: Mapping[str, str]) -> None:
    known = {name for member in members for name in member.class_names}
    for name in classes:
        if name not in known:
            raise AclnetError(
                f"no member has a class {name!r}{did_you_mean(name, known)}; their classes are "
                f"{first_of(sorted(known))}"
            )
