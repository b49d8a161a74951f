"""Raw recordings to a finished store, in two stages that can be interrupted and resumed.

`NAME.zarr.wip/` holds the plan. A folder in it, named after the plan, holds the fragments of stage
one, the receipts of both stages and the unfinished store; the last step writes the manifest, and
renames the store into place or uploads it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import zlib
from collections import Counter
from dataclasses import asdict, astuple, dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from aclnet.datasets.formats import atomic, locks
from aclnet.datasets.formats.atomic import remove, write_json
from aclnet.datasets.formats.caches import version_of
from aclnet.datasets.formats.json_text import parse_json
from aclnet.datasets.opening import open_store
from aclnet.datasets.spec import UNLABELLED, AclnetError, DamageError, Item, protocols, silent
from aclnet.datasets.store import manifest
from aclnet.datasets.store.attributes import Part
from aclnet.pipelines.prepare import fragments
from aclnet.pipelines.prepare.assemble import UNFINISHED, assemble
from aclnet.pipelines.prepare.memory import give_memory_back
from aclnet.pipelines.prepare.preparation import (
    Portion,
    Preparation,
    batches,
    is_there,
    newer_files,
    plan_hash,
    scan,
)
from aclnet.pipelines.prepare.sides import (
    doubts,
    missing_sides,
    rates_differ,
    sizes_unknown,
    split_masks,
)
from aclnet.pipelines.prepare.target import target_of
from aclnet.pipelines.steps import convert
from aclnet.pipelines.steps.clean import step_of

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from aclnet.datasets.spec import Progress, Rejection, Source
    from aclnet.datasets.store.paths import StorePath
    from aclnet.pipelines.prepare.executor import Executor
    from aclnet.pipelines.prepare.options import PrepareOptions
    from aclnet.pipelines.prepare.target import Target

_EXAMPLES = 5
_PLAN = "plan.json"
_MORE_FILES = "allow the process to open more files (ulimit -n)"


@dataclass(slots=True)
class Report:
    """Results of a preparation."""

    path: StorePath
    samples: int
    """Number of original samples; pieces of long sequences are counted one by one."""
    variants: int = 0
    """Number of stored variants."""
    rejections: Counter[str] = field(default_factory=Counter)
    """Number of rejected inputs by kind."""
    examples: tuple[str, ...] = ()
    """The first rejections of each kind in full."""
    resumed: bool = False
    existed: bool = False
    newer: tuple[str, ...] = ()
    """Raw files that were changed after the store, or the resumed preparation of it, was begun."""
    counts: tuple[protocols.SideCount, ...] = ()
    """Recordings on the sides of the dataset's protocols, with the published numbers."""
    empty: tuple[str, ...] = ()
    """Sides without any sample, which cannot be trained or tested."""
    doubts: tuple[str, ...] = ()
    """Doubts about the data: missing sides, classes that cannot be learnt."""
    outside: int = 0
    """Number of sound recordings that belong to a larger dataset."""
    cut: int = 0
    """Number of sequences that were longer than a shard and are stored as linked samples."""
    part: str | None = None
    """The part of a preparation that the store is, for example 2/8."""
    conversion: dict[str, list[str]] = field(default_factory=dict)
    """Layouts that the joints went through, see `aclnet.pipelines.steps.convert.summary`."""

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values for JSON."""
        values = asdict(self)
        values.pop("path")
        rejections = [{"kind": kind, "files": n} for kind, n in self.rejections.most_common()]
        changed = {"rejections": rejections, "conversion": self.conversion or None}
        return {"store": str(self.path), **values, **changed}


def prepare(
    source: Source,
    out: StorePath,
    options: PrepareOptions,
    execute: Executor,
    progress: Progress = silent,
    *,
    overwrite: bool = False,
    portion: Portion | None = None,
    reader: str | None = None,
) -> Report:
    """Makes the store `out` from a raw source, or resumes an interrupted preparation.

    With `portion`, the store holds a portion of the recordings and remembers which; joined with the
    others it is the store of all recordings (`aclnet.pipelines.prepare.finalise`).

    `reader` is the name of the user's function that opened the source, if any.

    With `overwrite` it starts from the beginning, and replaces an existing store when the new one
    is complete. `source` must have an absolute root if `execute` works in other processes.

    Raises AclnetError if there is no usable recording; if `out` is not a store, or was made from
    another source or with other options (without `overwrite`); if it cannot be written; if another
    process prepares it; or if a complete dataset has wrong protocol counts.
    """
    _check_exported(source, options)
    source = options.choose_boxes(source)
    found, unusable = scan(source)
    items = list(found)  # a source may keep its own list and use it to read
    del found
    if not items:
        raise AclnetError(_nothing_found(source, unusable))
    if not source.spec.layout:
        raise AclnetError(_nothing_readable(source, items))
    step_of(source, track=options.track)  # raises before anything is written
    spec = convert.with_layout(source.spec, options.layout)
    plan, part = plan_hash(spec, source, items, options, reader), None
    if portion:
        published = protocols.published_sizes(spec.protocols)
        part = Part(number=portion.number, of=portion.of, plan=plan, published=published)
        items = portion.choose(source, items)
        unusable = unusable if portion.number == 1 else []  # they are listed once
        plan = hashlib.sha256(f"{plan} {portion}".encode()).hexdigest()
    target = target_of(out, plan, overwrite=overwrite)
    task = Preparation(spec, source, options, plan, target.work, execute, progress, part)
    try:
        if target.is_there() and not overwrite and not target.is_writable():
            # if no lock can be made, no store can be made either
            return _existing(target, task, items)
        with locks.held(target.lock, f"{out} is being prepared"):
            _sweep(target)
            if target.is_there() and not overwrite:
                return _existing(target, task, items)
            if overwrite:
                _check_replaceable(target)
                remove(target.work)
            return _make(task, items, unusable, target)
    except OSError as error:
        many = error.errno in (errno.EMFILE, errno.ENFILE)
        remedy = _MORE_FILES if many else "free space or choose another --out"
        raise AclnetError(
            f"{out} cannot be written: {error}; {remedy} (run the same command again to resume)"
        ) from error


def _sweep(target: Target) -> None:
    """Deletes what interrupted processes left beside the store and in its work folder."""
    target.sweep()
    atomic.finish_removal(target.work)
    atomic.delete_unfinished(target.work, UNFINISHED)


def _check_exported(source: Source, options: PrepareOptions) -> None:
    other_layout = options.layout not in ("", source.spec.layout)
    changes = options.model_dump(include={"align", "variants", "persons", "fps"})
    chosen = any(changes.values()) or options.normalise != "default"
    if source.normalisation() and (chosen or other_layout):
        raise AclnetError(
            f"{source.root} is an exported store: its sequences are not changed; use --layout, "
            "--align, --normalise, --augment, --persons and --fps when a store is prepared from "
            "raw recordings"
        )


def _make(
    task: Preparation, items: list[Item], unusable: list[Rejection], target: Target
) -> Report:
    resumed, count = _enter(task), len(items)
    newer = newer_files(task.source, items, version_of(task.work / _PLAN)[0]) if resumed else ()
    _make_fragments(task, items)
    table = fragments.load_table(task.own)
    give_memory_back()  # what the parts of the table needed
    rejections = sorted([*unusable, *table.rejections], key=lambda r: (r.path, r.line or 0))
    if not table.size:
        remove(task.work)  # the next try must read the files again
        part = f" of part {task.part}" if task.part else ""
        raise AclnetError(
            f"{task.source.root}: none of {count} recordings{part} is usable. The first: "
            f"{rejections[0]}"
        )
    _check_ids(task, table.columns)
    sides = split_masks(task.source, table.columns)
    counts = _check_counts(task, table.columns, sides)
    report = _report(target, task, table.columns, sides, rejections)
    report.counts, report.newer, report.resumed = counts, newer, resumed
    store = assemble(task, table, sides, rejections)
    _put_into_place(store, target, task)
    return report


def _report(
    target: Target,
    task: Preparation,
    columns: dict[str, NDArray[Any]],
    sides: dict[str, NDArray[np.bool_]],
    rejections: list[Rejection],
) -> Report:
    original = columns["variant"] == 0
    in_image = task.options.normalise == "default"
    whole = task.part is None  # a part lacks what other parts have
    pieces = original & (columns["id"] != columns["original"])
    return Report(
        path=target.path,
        samples=int(original.sum()),
        variants=int((~original).sum()),
        rejections=Counter(r.kind for r in rejections),
        examples=_examples(rejections),
        part=str(task.part) if task.part else None,
        empty=tuple(side for side, mask in sides.items() if whole and not mask.any()),
        doubts=(
            *(missing_sides(sides) if whole and (columns["label"] != UNLABELLED).any() else ()),
            *rates_differ(task.source, task.options.fps),
            *sizes_unknown(task.spec.units, columns["width"][original & in_image]),
            *(doubts(task.spec, sides, columns["label"]) if whole else ()),
        ),
        outside=task.source.outside(),
        cut=len(np.unique(columns["original"][pieces])),
        conversion=convert.summary(task.spec),
    )


def _examples(rejections: list[Rejection]) -> tuple[str, ...]:
    """The first rejection of each kind, then others, up to a limit; without listed ones."""
    told = [r for r in rejections if r.kind != "listed as unusable"]
    firsts = {r.kind: r for r in reversed(told)}
    others = [r for r in told if firsts[r.kind] is not r]
    return tuple(map(str, [*firsts.values(), *others][:_EXAMPLES]))


def _check_ids(task: Preparation, columns: dict[str, NDArray[Any]]) -> None:
    """Raises AclnetError if two samples have the same id."""
    order = np.argsort(columns["id"], kind="stable")
    ids = columns["id"][order]
    twice = np.flatnonzero(ids[1:] == ids[:-1])
    if len(twice):
        pair = order[twice[0] : twice[0] + 2]
        one, other = (f"{columns['original'][n]} ({columns['source'][n]})" for n in pair)
        remove(task.work)  # a preparation of renamed recordings cannot resume from it
        raise AclnetError(
            f"{task.source.root}: the recordings {one} and {other} both have a sample with the id "
            f"{ids[twice[0]]}; rename one of them (pieces of a long recording are named ID#1, "
            "ID#2, ..., stored variants ID@1, ID@2, ...)"
        )


def _check_counts(
    task: Preparation, columns: dict[str, NDArray[Any]], sides: dict[str, NDArray[np.bool_]]
) -> tuple[protocols.SideCount, ...]:
    """Protocol sides with their published sizes.

    Raises AclnetError if a complete set has other sizes.
    """
    # counts recordings, not their pieces and variants
    ids, original = columns["id"], columns["original"]
    found = {
        name: int(mask.sum()) if original is ids else len(np.unique(original[mask]))
        for name, mask in sides.items()
    }
    counts = protocols.check_counts(task.spec.protocols, found)
    wrong = [str(count) for count in counts if count.verdict == "wrong"]
    if wrong:
        raise AclnetError(
            f"{task.source.root}: not the published samples of {task.spec.title}: "
            f"{'; '.join(wrong)}. Check for recordings of another dataset and for duplicates"
        )
    return counts


def _enter(task: Preparation) -> bool:
    """Creates the work folder, or returns True if there is one with the same plan."""
    marker, own = task.work / _PLAN, _identity(task.plan)
    resumed = marker.is_file()
    if resumed:
        _check_resumable(marker, own)
    else:
        remove(task.own)  # without the plan, the origin of its content is unknown
    for name in ("fragments", "shards"):
        (task.own / name).mkdir(parents=True, exist_ok=True)
    if not resumed:
        write_json(marker, own)
    return resumed


def _check_resumable(marker: Path, own: dict[str, str]) -> None:
    """Raises AclnetError if unfinished work is damaged or has another identity."""
    found = _plan_of(marker.parent)
    if not isinstance(found, dict):
        raise AclnetError(
            f"{marker} is damaged, so the origin of the unfinished store beside it is not known; "
            "start again with --overwrite"
        )
    if found != own:
        raise AclnetError(
            f"{marker.parent} holds an unfinished store made from other files, with other options "
            "or by another version; finish it with those, or start again with --overwrite"
        )


def _identity(plan: str) -> dict[str, str]:
    """Identity of unfinished work; another version of aclnet does not resume it."""
    return {"plan": plan, "aclnet": version("aclnet")}


def _plan_of(work: Path) -> object:
    """The plan in the work folder; None if it is missing or damaged."""
    try:
        return parse_json((work / _PLAN).read_bytes())
    except (OSError, DamageError):
        return None


def _existing(target: Target, task: Preparation, items: list[Item]) -> Report:
    out = target.path
    if not target.is_store():
        raise AclnetError(f"{out} exists and is not an aclnet store; choose another --out")
    store = open_store(out)
    if store.attributes.plan != task.plan:
        other = "" if manifest.set_at(out) else ", or replace it with --overwrite"
        raise AclnetError(
            f"{out} exists and was made from other files or options; choose another --out{other}"
        )
    if _plan_of(task.work) == _identity(task.plan):  # interrupted after the last step
        remove(task.work)
    original = store.column("variant") == 0
    return Report(
        path=out,
        samples=int(original.sum()),
        variants=int((~original).sum()),
        existed=True,
        part=str(task.part) if task.part else None,
        newer=newer_files(task.source, items, target.finished_at()),
    )


def _check_replaceable(target: Target) -> None:
    """Raises AclnetError unless the target is free or a store, because --out is easily mistyped."""
    if manifest.set_at(target.path) is not None:
        raise AclnetError(
            f"{target.path} is a set and may hold its members, so --overwrite does not delete it; "
            "choose another --out, or delete it yourself"
        )
    if target.is_there() and not target.is_store():
        raise AclnetError(
            f"{target.path} is not an aclnet store, so --overwrite does not delete it; "
            "choose another --out, or delete it yourself"
        )


def _put_into_place(store: Path, target: Target, task: Preparation) -> None:
    """The final step."""
    target.put(store, task.progress)
    remove(task.work)


def _nothing_found(source: Source, unusable: list[Rejection]) -> str:
    why = f"; the first of {len(unusable)} unusable: {unusable[0]}" if unusable else ""
    return (
        f"{source.root}: there are no recordings of {source.spec.title}{why}; give their path with "
        "--raw; DATA.md lists their names"
    )


def _nothing_readable(source: Source, items: list[Item]) -> str:
    """Error message for a source whose layout is not known, because no recording can be read."""
    return (
        f"{source.root}: no recording can be used; the first: {source.read(items[0])}; --check "
        "lists the problem of each"
    )


def _make_fragments(task: Preparation, items: list[Item]) -> None:
    """Makes the missing fragments, and empties the list of items.

    Compressed, items take a thirtieth of the memory (0.5 MB instead of 15 MB for 50,000 files). The
    list is emptied before the workers start.
    """
    total = missing = len(items)
    packed = {}
    for number, batch in enumerate(batches(items)):
        if fragments.fragment_is_done(task.own, number):
            missing -= len(batch)
        else:
            packed[number] = _packed(batch)
    items.clear()
    give_memory_back()
    on_disk = is_there(task.source)
    jobs = (
        fragments.FragmentJob(
            number,
            task.own,
            task.spec,
            task.source,
            _unpacked(batch),
            task.options,
            on_disk,
        )
        for number, batch in packed.items()
    )
    done, rejected = total - missing, 0
    task.progress("read", done, total)
    for job_items, job_rejected in task.execute(fragments.make_fragment, jobs):
        done, rejected = done + job_items, rejected + job_rejected
        task.progress("read", done, total, f"{rejected} rejected" if rejected else "")


def _packed(batch: tuple[Item, ...]) -> bytes:
    return zlib.compress(json.dumps([astuple(item) for item in batch]).encode())


def _unpacked(content: bytes) -> tuple[Item, ...]:
    return tuple(Item(*fields) for fields in json.loads(zlib.decompress(content)))
