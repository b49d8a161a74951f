"""A dataset by its name: its raw recordings are opened, prepared, checked or read.

`aclnet.prepare` and `aclnet.read` are the functions of these names here.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from aclnet.datasets.discovery import find_raw
from aclnet.datasets.readers.custom_pattern import EVERY
from aclnet.datasets.readers.user_function import open_with
from aclnet.datasets.registry import get_dataset, open_raw
from aclnet.datasets.spec import AclnetError, AclnetWarning, Rejection, silent
from aclnet.datasets.store import manifest
from aclnet.datasets.store.paths import store_path
from aclnet.datasets.store.places import is_store
from aclnet.pipelines.prepare.check import check as check_source
from aclnet.pipelines.prepare.executor import open_executor
from aclnet.pipelines.prepare.options import PrepareOptions
from aclnet.pipelines.prepare.preparation import Portion, reading, scan
from aclnet.pipelines.prepare.samples import clean_sequence, read_checked
from aclnet.pipelines.prepare.stages import prepare as prepare_source
from aclnet.pipelines.steps.convert import with_layout

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import PurePath

    from aclnet.datasets.spec import DatasetSpec, Item, Progress, SkeletonSequence, Source
    from aclnet.datasets.store.paths import StorePath
    from aclnet.pipelines.prepare.check import Checked
    from aclnet.pipelines.prepare.stages import Report

    Tell = Callable[[str], object]
    """Callback that gets each choice, in words."""


def _untold(_: str) -> None:
    """Ignores what it is told."""


def prepare(
    dataset: str,
    raw: str | Path | None = None,
    out: str | PurePath | None = None,
    *,
    options: PrepareOptions | None = None,
    reader: str | None = None,
    pattern: str = "",
    workers: int = 0,
    scheduler: str | None = None,
    max_memory: str | None = None,
    overwrite: bool = False,
    shards: str | None = None,
    progress: Progress = silent,
    tell: Tell = _untold,
) -> Report:
    """Converts raw recordings of a dataset into a store, as `aclnet prepare`.

    Args:
        dataset: name of the dataset, or `custom` for your own recordings.
        raw: the recordings; None: the place that `aclnet.datasets.discovery.find_raw` finds.
        out: the store, a folder or `s3://BUCKET/PATH`; None: `DATASET.zarr`.
        options: processing of the sequences; all options are recorded in the store.
        reader: for `custom`, `package.module:function` that opens `raw`.
        pattern: for `custom`, pattern of paths instead of `index.csv`.
        workers: local worker processes; 0: this process alone.
        scheduler: address of a dask scheduler.
        max_memory: memory limit of all workers, for example `2GB`.
        overwrite: start again, and replace an existing store.
        shards: for example 2/8: prepare the second of eight parts of the recordings, in the folder
            `part-2-of-8` below `out`; `aclnet.finalise` joins the parts.

    Returns:
        A report; `report.path` is the store. A store that already exists and was made from the
        same files with the same options is not changed.

    Raises:
        AclnetError: there is no usable recording, options do not fit the data, or the store cannot
            be written.
    """
    source, chosen = _opened(dataset, raw, options, reader, pattern)
    target = store_path(out or f"{get_dataset(dataset).name}.zarr")
    portion = None if shards is None else Portion.parse(shards)
    if portion:
        _check_holds_parts(target)
        target = portion.folder(target)
    tell(f"{get_dataset(dataset).title}: {source.root} -> {target}")
    with open_executor(workers, scheduler, max_memory, tell) as execute:
        return prepare_source(
            source,
            target,
            chosen,
            execute,
            progress,
            overwrite=overwrite,
            portion=portion,
            reader=reader,
        )


def _check_holds_parts(out: StorePath) -> None:
    """Raises AclnetError if a folder cannot hold the parts of a set."""
    if isinstance(out, Path) and is_store(out) and manifest.set_at(out) is None:
        raise AclnetError(
            f"{out} is a store of its own; choose another --out for the parts, or delete it"
        )


def check(
    dataset: str,
    raw: str | Path | None = None,
    *,
    options: PrepareOptions | None = None,
    reader: str | None = None,
    pattern: str = "",
    workers: int = 0,
    scheduler: str | None = None,
    max_memory: str | None = None,
    progress: Progress = silent,
    tell: Tell = _untold,
) -> Checked:
    """Reads all recordings and reports their problems; the arguments are those of `prepare`.

    Raises AclnetError if the recordings cannot be opened at all.
    """
    source, chosen = _opened(dataset, raw, options, reader, pattern)
    tell(f"{get_dataset(dataset).title}: {source.root}")
    with open_executor(workers, scheduler, max_memory, tell) as execute:
        return check_source(source, chosen, execute, progress)


def read(
    path: str | Path,
    format: str = "custom",  # noqa: A002 - the word that users look for
    *,
    options: PrepareOptions | None = None,
    reader: str | None = None,
) -> list[SkeletonSequence]:
    """The sequences of recordings, cleaned as in `prepare`, in the recordings' own space.

    Args:
        path: a file, a folder or an archive; a folder of `custom` needs no index.
        format: name of the dataset of the raw format; `custom`: any form that `prepare custom`
            reads, recognised by the files' names and content.
        options: options of `prepare`: layout, tracking, persons, frame rate.
        reader: reader of `prepare`.

    Returns:
        Sequences in the order of their ids. Each recording that cannot be used is an
        AclnetWarning.

    Raises:
        AclnetError: no recording can be used.
    """
    recordings = open_recordings(path, format, options=options, reader=reader)
    unusable = [*recordings.unusable]
    found = []
    for item in recordings.items:
        result = recordings.read(item)
        if not isinstance(result, Rejection):
            result = recordings.clean(result)
        if isinstance(result, Rejection):
            unusable.append(result)
        else:
            found.append(result)
    return usable(Path(path), found, unusable)


@dataclass(frozen=True, slots=True)
class Recordings:
    """Raw recordings that were opened for reading one by one."""

    source: Source
    """Its `spec` describes the sequences of `read`."""
    spec: DatasetSpec
    """Description of the sequences of `clean`."""
    options: PrepareOptions
    items: list[Item]
    unusable: list[Rejection]
    """Inputs that cannot be items."""

    def read(self, item: Item) -> SkeletonSequence | Rejection:
        """A recording in the form of its file, or the reason why it cannot be used.

        Raises AclnetError if reading fails for a reason outside the recording.
        """
        with reading(self.source, item):
            return read_checked(self.source, item)

    def clean(self, sequence: SkeletonSequence) -> SkeletonSequence | Rejection:
        """A sequence of `read` after cleaning, in the layout of `spec`; or its rejection."""
        return clean_sequence(sequence, self.source, self.spec, self.options)


def open_recordings(
    path: str | Path,
    format: str = "custom",  # noqa: A002 - the word that users look for
    *,
    options: PrepareOptions | None = None,
    reader: str | None = None,
) -> Recordings:
    """Opens recordings without reading them; arguments and errors as those of `read`."""
    if is_store(store_path(path)):
        raise AclnetError(f"{path} is a store: use aclnet.open_store, or `read` of a loaded run")
    pattern = "" if reader else EVERY if get_dataset(format).name == "custom" else ""
    source, chosen = _opened(format, path, options, reader, pattern)
    source = chosen.choose_boxes(source)
    items, unusable = scan(source)
    return Recordings(source, with_layout(source.spec, chosen.layout), chosen, items, unusable)


def usable(
    path: Path, found: list[SkeletonSequence], unusable: Sequence[Rejection]
) -> list[SkeletonSequence]:
    """The usable sequences. Warns of each other one; raises AclnetError if none is usable."""
    if not found:
        first = f"; the first: {unusable[0]}" if unusable else ""
        raise AclnetError(f"{path}: no recording can be used{first}")
    for rejection in unusable:
        warnings.warn(str(rejection), AclnetWarning, stacklevel=3)
    return found


def _opened(
    dataset: str,
    raw: str | Path | None,
    options: PrepareOptions | None,
    reader: str | None,
    pattern: str,
) -> tuple[Source, PrepareOptions]:
    """Raw recordings, and the options in their one form."""
    spec = get_dataset(dataset)
    chosen = (options or PrepareOptions()).resolved()
    place = Path(raw) if raw else find_raw(spec)
    source = _open(replace(spec, pattern=pattern), place, reader, chosen.layout)
    return source, chosen


def _open(spec: DatasetSpec, raw: Path, reader: str | None, layout: str) -> Source:
    if spec.pattern and (spec.name != "custom" or reader):
        raise AclnetError(
            "--pattern is for data of your own without --reader: "
            f"`aclnet prepare custom --raw {raw} --pattern {spec.pattern}`"
        )
    if reader is None:
        # if raw data does not contain its layout, it has the requested one
        return open_raw(spec if spec.layout else replace(spec, layout=layout), raw)
    if spec.name != "custom":
        raise AclnetError(f"--reader opens data of your own: `aclnet prepare custom --raw {raw}`")
    return open_with(reader, raw)
