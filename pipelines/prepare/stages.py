"""Raw recordings to a finished store, in two stages that can be interrupted and resumed anywhere.

`NAME.zarr.wip/` holds the fragments of stage one, the receipts of both and the growing store; the
last step writes the manifest and renames the store into place.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from aclnet.datasets.formats import atomic, locks
from aclnet.datasets.formats.atomic import remove, write_json
from aclnet.datasets.formats.json_text import parse_json
from aclnet.datasets.spec import UNLABELLED, AclnetError, DamageError, protocols, silent
from aclnet.datasets.store import manifest
from aclnet.datasets.store.store import Store
from aclnet.pipelines.prepare import fragments
from aclnet.pipelines.prepare.assemble import UNFINISHED, assemble
from aclnet.pipelines.prepare.preparation import (
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
from aclnet.pipelines.steps import convert
from aclnet.pipelines.steps.clean import step_of

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from aclnet.datasets.spec import Item, Progress, Rejection, Source
    from aclnet.pipelines.prepare.executor import Executor
    from aclnet.pipelines.prepare.options import PrepareOptions

_EXAMPLES = 5
_PLAN = "plan.json"


@dataclass(slots=True)
class Report:
    """What came of a preparation."""

    path: Path
    samples: int
    """Original samples, pieces of long sequences counted one by one."""
    variants: int = 0
    """Stored variants beside them."""
    rejections: Counter[str] = field(default_factory=Counter)
    """Number of rejected inputs by kind."""
    examples: tuple[str, ...] = ()
    """The first rejections of each kind in full."""
    resumed: bool = False
    existed: bool = False
    newer: tuple[str, ...] = ()
    """Raw files that were changed after the store, or the resumed preparation of it, was begun."""
    counts: tuple[protocols.SideCount, ...] = ()
    """Recordings on the sides of the dataset's protocols, against the published numbers."""
    empty: tuple[str, ...] = ()
    """Sides without any sample: nothing can be trained or tested on them."""
    doubts: tuple[str, ...] = ()
    """Doubts about the data: missing sides, classes that cannot be learnt."""
    outside: int = 0
    """Sound recordings that belong to a larger dataset."""
    cut: int = 0
    """Sequences that were longer than a shard and lie in it as linked samples."""
    conversion: dict[str, list[str]] = field(default_factory=dict)
    """Layouts that the joints went through, see `aclnet.pipelines.steps.convert.summary`."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        values = asdict(self)
        return values | {"path": str(self.path), "rejections": dict(self.rejections)}


def prepare(
    source: Source,
    out: Path,
    options: PrepareOptions,
    execute: Executor,
    progress: Progress = silent,
    *,
    overwrite: bool = False,
) -> Report:
    """Makes the store `out` of a raw source; a killed preparation goes on where it stopped.

    With `overwrite` it starts anew, and a store that is there is replaced when the new one is
    whole. `source` must have an absolute root where `execute` works in other processes.

    Raises AclnetError where there is nothing usable, where `out` is a store made from another
    source or with other options (and `overwrite` is not set) or no store at all, where it cannot
    be written, where another process prepares it, or where a complete dataset has wrong protocol
    counts.
    """
    _check_exported(source, options)
    source = options.choose_boxes(source)
    found, unusable = scan(source)
    items = list(found)  # a source may keep its own list, and read by it
    del found
    if not items:
        raise AclnetError(_nothing_found(source, unusable))
    if not source.spec.layout:
        raise AclnetError(_nothing_readable(source, items))
    step_of(source, track=options.track)  # refused before anything is written
    spec = convert.with_layout(source.spec, options.layout)
    out = out.absolute()  # workers may have another working folder
    work = manifest.work_folder(out)
    plan = plan_hash(spec, source, items, options)
    task = Preparation(spec, source, options, plan, work, execute, progress)
    try:
        if _is_there(out) and not overwrite and not os.access(out.parent, os.W_OK):
            return _existing(out, task, items)  # where no lock can be, no store can be made either
        with locks.held(out.with_name(f"{out.name}.lock"), f"{out} is being prepared"):
            _sweep(out, work)
            if _is_there(out) and not overwrite:
                return _existing(out, task, items)
            if overwrite:
                _check_replaceable(out)
                remove(work)
            return _make(task, items, unusable, out)
    except OSError as error:
        raise AclnetError(
            f"{out} cannot be written: {error}; make room or choose another --out "
            "(the same command goes on where it stopped)"
        ) from error


def _sweep(out: Path, work: Path) -> None:
    """Deletes what killed processes left beside the store and in its work folder."""
    for folder in (out, work):
        atomic.finish_removal(folder)
    atomic.delete_unfinished(work, UNFINISHED)


def _check_exported(source: Source, options: PrepareOptions) -> None:
    other_layout = options.layout not in ("", source.spec.layout)
    changes = options.model_dump(include={"align", "variants", "persons", "fps"})
    chosen = any(changes.values()) or options.normalise != "default"
    if source.normalisation() and (chosen or other_layout):
        raise AclnetError(
            f"{source.root} is an exported store: its sequences are taken as they are; choose "
            "--layout, --align, --normalise, --augment, --persons and --fps where a store is "
            "prepared from raw recordings"
        )


def _make(task: Preparation, items: list[Item], unusable: list[Rejection], out: Path) -> Report:
    resumed, count = _enter(task), len(items)
    newer = newer_files(task.source, items, task.work / _PLAN) if resumed else ()
    _make_fragments(task, items)
    items.clear()  # the fragments have them now: memory shall not hold them twice
    table = fragments.load_table(task.work)
    rejections = sorted([*unusable, *table.rejections], key=lambda r: (r.path, r.line or 0))
    if not table.size:
        remove(task.work)  # the next try shall read the files again
        raise AclnetError(
            f"{task.source.root}: none of {count} recordings is usable. The first: {rejections[0]}"
        )
    sides = split_masks(task.source, table.columns)
    counts = _check_counts(task, table.columns, sides)
    store = assemble(task, table, sides, rejections)
    _put_into_place(store, out, task.work)
    columns, original = table.columns, table.columns["variant"] == 0
    in_image = task.options.normalise == "default"
    pieces = original & (columns["id"] != columns["original"])
    return Report(
        path=out,
        samples=int(original.sum()),
        variants=int((~original).sum()),
        rejections=Counter(r.kind for r in rejections),
        examples=_examples(rejections),
        resumed=resumed,
        newer=newer,
        counts=counts,
        empty=tuple(name for name, mask in sides.items() if not mask.any()),
        doubts=(
            *(missing_sides(sides) if (columns["label"] != UNLABELLED).any() else ()),
            *rates_differ(task.source, task.options.fps),
            *sizes_unknown(task.spec.units, columns["width"][original & in_image]),
            *doubts(task.spec, sides, columns["label"]),
        ),
        outside=task.source.outside(),
        cut=len(np.unique(columns["original"][pieces])),
        conversion=convert.summary(task.spec),
    )


def _examples(rejections: list[Rejection]) -> tuple[str, ...]:
    """The first of each kind, then others, up to a handful; not the ones known by a list."""
    told = [r for r in rejections if r.kind != "listed as unusable"]
    firsts = {r.kind: r for r in reversed(told)}
    others = [r for r in told if firsts[r.kind] is not r]
    return tuple(map(str, [*firsts.values(), *others][:_EXAMPLES]))


def _check_counts(
    task: Preparation, columns: dict[str, NDArray[Any]], sides: dict[str, NDArray[np.bool_]]
) -> tuple[protocols.SideCount, ...]:
    """Protocol sides against their published sizes; AclnetError where a whole set has others."""
    # recordings, not pieces and variants of them
    found = {name: len(np.unique(columns["original"][mask])) for name, mask in sides.items()}
    counts = protocols.check_counts(task.spec.protocols, found)
    wrong = [str(count) for count in counts if count.verdict == "wrong"]
    if wrong:
        raise AclnetError(
            f"{task.source.root}: not the published samples of {task.spec.title}: "
            f"{'; '.join(wrong)}. Are there recordings of another set, or double ones?"
        )
    return counts


def _enter(task: Preparation) -> bool:
    """Creates the work folder, or finds the one of the same plan (True)."""
    marker, own = task.work / _PLAN, _identity(task.plan)
    if not marker.is_file():
        for name in ("fragments", "shards", "store"):
            remove(task.work / name)  # nothing tells what these were made of
        for name in ("fragments", "shards"):
            (task.work / name).mkdir(parents=True)
        write_json(marker, own)
        return False
    found = _plan_of(task.work)
    if not isinstance(found, dict):
        raise AclnetError(
            f"{marker} is damaged, so nothing tells what the unfinished store beside it was made "
            "of; start anew with --overwrite"
        )
    if found != own:
        raise AclnetError(
            f"{task.work} holds an unfinished store made from other files, with other options or "
            "by another version; finish it with those, or start anew with --overwrite"
        )
    return True


def _identity(plan: str) -> dict[str, str]:
    """Of unfinished work: what one version began, another does not go on with."""
    return {"plan": plan, "aclnet": version("aclnet")}


def _plan_of(work: Path) -> object:
    """The plan in the work folder; None where it is missing or damaged."""
    try:
        return parse_json((work / _PLAN).read_bytes())
    except (OSError, DamageError):
        return None


def _existing(out: Path, task: Preparation, items: list[Item]) -> Report:
    if not (out / manifest.NAME).is_file():
        raise AclnetError(f"{out} exists and is no aclnet store; choose another --out")
    store = Store(out)
    if store.manifest.plan != task.plan:
        raise AclnetError(
            f"{out} exists and was made from other files or options; "
            "choose another --out, or replace it with --overwrite"
        )
    if _plan_of(task.work) == _identity(task.plan):  # killed after the rename
        remove(task.work)
    original = store.column("variant") == 0
    return Report(
        path=out,
        samples=int(original.sum()),
        variants=int((~original).sum()),
        existed=True,
        newer=newer_files(task.source, items, out / manifest.NAME),
    )


def _is_there(out: Path) -> bool:
    return out.exists() and not (out.is_dir() and not any(out.iterdir()))


def _check_replaceable(out: Path) -> None:
    """Only stores are deleted: --out is easily mistyped."""
    if _is_there(out) and not (out / manifest.NAME).is_file():
        raise AclnetError(
            f"{out} is no aclnet store, so --overwrite leaves it alone; "
            "choose another --out, or delete it yourself"
        )


def _put_into_place(store: Path, out: Path, work: Path) -> None:
    """The commit; what `out` was before goes only now."""
    remove(out)
    store.rename(out)
    remove(work)


def _nothing_found(source: Source, unusable: list[Rejection]) -> str:
    why = f"; the first of {len(unusable)} unusable: {unusable[0]}" if unusable else ""
    return (
        f"{source.root}: no recordings of {source.spec.title} there{why}; "
        "say where they are with --raw, DATA.md tells their names"
    )


def _nothing_readable(source: Source, items: list[Item]) -> str:
    """Error message for a source whose layout is not known, because no recording can be read."""
    return (
        f"{source.root}: no recording can be used; the first: {source.read(items[0])}; "
        "--check says what is wrong with each"
    )


def _make_fragments(task: Preparation, items: list[Item]) -> None:
    on_disk = is_there(task.source)
    jobs = [
        fragments.FragmentJob(
            number, task.work, task.spec, task.source, batch, task.options, on_disk
        )
        for number, batch in enumerate(batches(items))
    ]
    missing = [job for job in jobs if not fragments.fragment_is_done(job)]
    total, rejected = len(items), 0
    done = total - sum(len(job.items) for job in missing)
    task.progress("read", done, total)
    for job_items, job_rejected in task.execute(fragments.make_fragment, missing):
        done, rejected = done + job_items, rejected + job_rejected
        task.progress("read", done, total, f"{rejected} rejected" if rejected else "")
