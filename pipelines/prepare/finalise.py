"""Stores, or the parts of one preparation, become a named set: `aclnet.finalise`."""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from aclnet.datasets.opening import join, open_store, write_set
from aclnet.datasets.registry import all_datasets
from aclnet.datasets.spec import UNLABELLED, AclnetError, first_of, protocols
from aclnet.datasets.spec.classes import doubtful_names, doubtful_sides
from aclnet.datasets.store import manifest
from aclnet.datasets.store.joined import JoinedStore
from aclnet.datasets.store.paths import store_path
from aclnet.pipelines.prepare.preparation import PART
from aclnet.pipelines.prepare.sides import missing_sides

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from aclnet.datasets.store.attributes import Part
    from aclnet.datasets.store.manifest import SetManifest
    from aclnet.datasets.store.paths import StorePath
    from aclnet.datasets.store.store import Store


@dataclass(frozen=True, slots=True)
class SetReport:
    """The set that `finalise` wrote."""

    path: Path
    digest: str
    existed: bool
    """True if the same set existed already."""
    parts: bool
    """True if the members are the parts of one preparation."""
    members: tuple[tuple[str, int], ...]
    """Path and number of original samples of each member."""
    samples: int
    """Number of original samples."""
    variants: int
    """Number of stored variants."""
    classes: int
    counts: tuple[protocols.SideCount, ...]
    """Recordings on the sides of the protocols, with published numbers for parts of a dataset."""
    empty: tuple[str, ...]
    """Sides without any sample, which cannot be trained or tested."""
    doubts: tuple[str, ...]
    """Differences between members, missing sides and classes that cannot be learnt."""

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values for JSON."""
        values = asdict(self)
        values.pop("path")
        members = [{"store": path, "samples": samples} for path, samples in self.members]
        return {"set": str(self.path), **values, "members": members}


def finalise(
    out: str | Path,
    *members: str | PurePath,
    prefix_ids: bool = False,
    same_people: bool = False,
    protocols: Sequence[str] | None = None,
    classes: Mapping[str, str] | str | Path | None = None,
    overwrite: bool = False,
) -> SetReport:
    """Joins stores into the set `out`, which every command opens as a store; copies nothing.

    Args:
        out: folder of the set, which gets a manifest with the paths and digests of the members.
        members: the stores by their folders or addresses, or folders of parts; none: the parts in
            the folder `out`. All parts of one preparation become what a single preparation of all
            recordings gives.
        prefix_ids: put the name of its store and `/` before each id.
        same_people: equal numbers of subjects are the same person in all members.
        protocols: protocol of each member that makes up the protocol `joined`; None: its default.
        classes: names of classes in the set by their names in the members, or a CSV file with the
            columns `class` and `name`.
        overwrite: replace a set of other members.

    Raises:
        AclnetError: a part is missing or of another preparation, the stores do not fit together,
            or `out` is something else than a set.
    """
    folder = store_path(out)
    if not isinstance(folder, Path):
        raise AclnetError(f"{folder}: a set is a folder on a disk; its members may have addresses")
    opened = [open_store(path) for path in _places(folder, members)]
    names = _read_classes(Path(classes)) if isinstance(classes, str | Path) else classes
    if any(store.attributes.part for store in opened):
        if prefix_ids or same_people or protocols or names:
            raise AclnetError("the parts of a preparation are joined as they are, without options")
        opened = _in_order(opened)
        part = opened[0].attributes.part
        assert part is not None
        record = join(opened, plan=part.plan)
    else:
        part = None
        if len(opened) < 2:
            raise AclnetError(f"{opened[0].path} alone is not a set: name the other stores too")
        record = join(
            opened,
            prefix_ids=prefix_ids,
            same_people=same_people,
            protocols=protocols,
            classes=names,
        )
    joined = JoinedStore(folder, record, opened, named=True)
    counts = _counts(joined, part)
    existed = _check_free(folder, record, overwrite=overwrite)
    try:
        write_set(folder, record)
    except OSError as error:
        raise AclnetError(f"{folder} cannot be written: {error.strerror}") from None
    return _report(folder, joined, counts, part, existed=existed)


def _report(
    out: Path,
    joined: JoinedStore,
    counts: tuple[protocols.SideCount, ...],
    part: Part | None,
    *,
    existed: bool,
) -> SetReport:
    original = joined.column("variant") == 0
    sizes = [int((member.column("variant") == 0).sum()) for member in joined.members]
    return SetReport(
        path=out,
        digest=joined.digest,
        existed=existed,
        parts=part is not None,
        members=tuple((str(m.path), n) for m, n in zip(joined.members, sizes, strict=True)),
        samples=int(original.sum()),
        variants=int((~original).sum()),
        classes=len(joined.class_names),
        counts=counts,
        empty=tuple(side for side, mask in joined.splits.items() if not mask.any()),
        doubts=tuple(_doubts(joined, part)),
    )


def _places(out: Path, members: Sequence[str | PurePath]) -> list[StorePath]:
    """Paths of the stores; those of a folder that is none are its parts."""
    found: list[StorePath] = []
    for path in map(store_path, members or (out,)):
        if not isinstance(path, Path):
            found.append(path)
            continue
        parts = sorted(file.parent for file in path.glob(f"{PART}*/{manifest.NAME}"))
        is_store = bool(members) and (path / manifest.NAME).is_file()
        found += parts if parts and not is_store else [path]
    if found == [out]:
        raise AclnetError(
            f"{out} holds no parts; `aclnet prepare --out {out} --shards 1/N` makes the first, or "
            "name the stores to join after it"
        )
    if out.resolve() in [path.resolve() for path in found]:
        raise AclnetError(f"{out} cannot be a member of itself; choose another name for the set")
    return found


def _in_order(stores: Sequence[Store]) -> list[Store]:
    """The parts by their numbers; raises AclnetError unless all of one preparation are there."""
    parts: dict[int, Store] = {}
    first = next(store for store in stores if store.attributes.part)
    wanted = first.attributes.part
    assert wanted is not None
    for store in stores:
        part = store.attributes.part
        if part is None:
            raise AclnetError(
                f"{store.path} is not a part of a preparation, but {first.path} is; join the parts "
                "into a set first, and then the set with other stores"
            )
        if (part.plan, part.of) != (wanted.plan, wanted.of):
            raise AclnetError(
                f"{first.path} (part {wanted}) and {store.path} (part {part}) are parts of "
                "different preparations: of other files or options, or of another number of parts"
            )
        other = parts.setdefault(part.number, store)
        if other is not store:
            raise AclnetError(f"{other.path} and {store.path} are both part {part}; name one")
    missing = [str(n) for n in range(1, wanted.of + 1) if n not in parts]
    if missing:
        raise AclnetError(
            f"{len(missing)} of {wanted.of} parts are not there or not finished: "
            f"{first_of(missing, 20)}; run `aclnet prepare` with --shards {missing[0]}/{wanted.of} "
            "and the options of the others"
        )
    return [parts[number] for number in sorted(parts)]


def _counts(joined: JoinedStore, part: Part | None) -> tuple[protocols.SideCount, ...]:
    """Sizes of the sides; raises AclnetError if a complete dataset has others than published."""
    original = joined.column("original")
    found = {side: len(np.unique(original[mask])) for side, mask in joined.splits.items()}
    counts = protocols.compare_counts(part.published if part else {}, found)
    wrong = [str(count) for count in counts if count.verdict == "wrong"]
    if wrong:
        raise AclnetError(
            f"{joined.path}: not the published samples of {joined.attributes.title}: "
            f"{'; '.join(wrong)}. Are there recordings of another set, or double ones?"
        )
    return counts


def _doubts(joined: JoinedStore, part: Part | None) -> Iterator[str]:
    labels, names = joined.column("label"), joined.class_names
    yield from joined.remarks
    if (labels != UNLABELLED).any():
        yield from missing_sides(joined.splits)
    if part:
        yield from doubtful_names(names)
    spec = all_datasets().get(joined.name)
    if spec is None or spec.task == "action":  # people in recognition tests need not train
        yield from doubtful_sides(joined.splits, labels, names)


def _check_free(out: Path, record: SetManifest, *, overwrite: bool) -> bool:
    """True if the same set is there; raises AclnetError if something else is in its place."""
    existing = manifest.set_at(out)
    if existing is not None:
        if existing.digest != record.digest and not overwrite:
            raise AclnetError(
                f"{out} is a set of other members, or joined with other options; choose another "
                "name, or replace it with --overwrite (its members stay)"
            )
        return existing.digest == record.digest
    if (out / manifest.NAME).exists():
        raise AclnetError(f"{out} is a store, not a set; choose another name for the set")
    if out.exists() and not (out.is_dir() and _holds_stores_only(out)):
        raise AclnetError(f"{out} exists and is not a set; choose another name for the set")
    return False


def _holds_stores_only(folder: Path) -> bool:
    """True if a folder is empty, or holds parts, finished or not, and other stores."""
    return all(
        path.name.startswith(PART) or (path / manifest.NAME).is_file() for path in folder.iterdir()
    )


def _read_classes(path: Path) -> dict[str, str]:
    """Names in the set by names in the members, from a CSV file."""
    found: dict[str, str] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            table = csv.DictReader(stream, skipinitialspace=True)
            missing = {"class", "name"} - {*(table.fieldnames or ())}
            if missing:
                raise AclnetError(f"{path}:1: no column {' and '.join(sorted(missing))}")
            for row in table:
                old, new = ((row[key] or "").strip() for key in ("class", "name"))
                if not (old and new):
                    raise AclnetError(f"{path}:{table.line_num}: class and name are both needed")
                if found.setdefault(old, new) != new:
                    raise AclnetError(
                        f"{path}:{table.line_num}: {old!r} has the name {found[old]!r} already"
                    )
    except OSError as error:
        raise AclnetError(f"{path} cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise AclnetError(f"{path} is not a CSV file in UTF-8: {error}") from None
    return found
