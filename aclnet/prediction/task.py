"""A prediction task: from recordings to a table; it resumes after an interruption."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from aclnet.datasets.formats import locks
from aclnet.datasets.formats.atomic import SUFFIX
from aclnet.datasets.formats.caches import version_of
from aclnet.datasets.readers.custom_index import CLASSES, FACTS, INDEXES
from aclnet.datasets.registry import get_dataset
from aclnet.datasets.spec import AclnetError, Rejection, silent
from aclnet.prediction.files import Outcome, key_of, path_of_key, predict_files
from aclnet.prediction.journal import Journal, journal_path
from aclnet.prediction.output import RowCheck, check_form, write_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from aclnet.datasets.spec import Progress
    from aclnet.prediction.files import FileSettings
    from aclnet.prediction.model import Model

POLL_SECONDS = 1.0
_NOT_WATCHED = {*INDEXES, FACTS, CLASSES}
_UNFINISHED = (SUFFIX, ".part", ".partial", ".crdownload", ".lock")
"""Suffixes of files that programs rename when they are complete."""


def predict_to(
    model: Model,
    paths: Sequence[Path],
    settings: FileSettings,
    out: Path,
    *,
    overwrite: bool = False,
    progress: Progress = silent,
) -> list[Outcome]:
    """Predicts recordings and writes the table `out`; returns the outcome of each recording.

    Predictions of an interrupted call are in `OUT.part` and are not computed again.

    Raises AclnetError if `out` already exists and `overwrite` is not set, if it cannot be written,
    if another process writes it, and like `predict_files`.
    """
    found, check = [], RowCheck(out)
    with _journal(model, settings, out, overwrite=overwrite) as journal:
        known, ours = journal.outcomes, _files_of(out)
        for outcome in predict_files(model, paths, settings, known, progress, ours):
            check(outcome)
            journal.add(outcome)
            found.append(outcome)
        write_rows(out, found, model.about())
        journal.remove()
    return found


def watch(
    model: Model,
    folder: Path,
    settings: FileSettings,
    out: Path,
    *,
    overwrite: bool = False,
    tell: Callable[[Outcome], object] = lambda _: None,
    wait: Callable[[], object] = lambda: time.sleep(POLL_SECONDS),
) -> None:
    """Predicts the files of a folder as they arrive, until it is interrupted.

    `out` is written again after each round with new files. `wait` passes the time between two
    rounds; `tell` is called with each new outcome. Raises AclnetError like `predict_to`.
    """
    if not folder.is_dir():
        raise AclnetError(
            f"{folder} is not a folder: give the folder whose files --watch should predict"
        )
    check = RowCheck(out)
    with _journal(model, settings, out, overwrite=overwrite, watched=folder) as journal:
        # outcomes by file: those of a file that was replaced give way to the new ones
        table: dict[str, list[Outcome]] = {}
        for outcome in journal.outcomes.values():
            table.setdefault(path_of_key(outcome.key), []).append(outcome)
        if table:
            write_rows(out, [*chain(*table.values())], model.about())
        for files in arriving(folder, _files_of(out), wait):
            for file in files:
                found = table[str(file.absolute())] = []
                for outcome in _predict_file(model, file, settings, journal):
                    check(outcome)
                    found.append(outcome)
                    if outcome.key not in journal.outcomes:
                        journal.add(outcome)
                        tell(outcome)
            write_rows(out, [*chain(*table.values())], model.about())


def arriving(
    folder: Path, ours: Collection[Path], wait: Callable[[], object]
) -> Iterator[list[Path]]:
    """Yields the new and complete files below a folder, for each round that has any.

    A file is complete when its size and time are the same in two rounds. Files of `ours`, hidden
    files, and files that another program has not finished are ignored.
    """
    seen: set[Path] = set()
    before: dict[Path, tuple[int, int]] = {}
    while True:
        now = {}
        for place, _, names in os.walk(folder):
            for file in (Path(place) / name for name in names):
                known = file in seen or file.absolute() in ours or file.name in _NOT_WATCHED
                if not (known or file.name.startswith(".") or file.suffix in _UNFINISHED):
                    now[file] = version_of(file)
        found = sorted(file for file, version in now.items() if before.get(file) == version)
        seen.update(found)
        if found:
            yield found
        before = now
        wait()


def _predict_file(
    model: Model, file: Path, settings: FileSettings, journal: Journal
) -> Iterator[Outcome]:
    """Results for a file. A file that cannot be opened is rejected; the others are predicted."""
    try:
        yield from predict_files(model, [file], settings, journal.outcomes)
    except AclnetError as error:
        yield Outcome(key_of(file), [], Rejection(str(file), None, str(error)))


def _lock_of(out: Path) -> Path:
    return out.with_name(f"{out.name}.lock")


def _files_of(out: Path) -> set[Path]:
    """Absolute paths of the files of a task, which may be in a folder of recordings."""
    return {path.absolute() for path in (out, journal_path(out), _lock_of(out))}


@contextmanager
def _journal(
    model: Model,
    settings: FileSettings,
    out: Path,
    *,
    overwrite: bool,
    watched: Path | None = None,
) -> Iterator[Journal]:
    """The journal of a table that no other process writes."""
    model.check_classifies()
    if settings.dataset is not None:
        get_dataset(settings.dataset)  # raises for an unknown name, which is no file's fault
    check_form(out, segments=settings.segments is not None)
    chosen = settings.segments.model_dump() if settings.segments else None
    identity = {
        "aclnet": version("aclnet"),
        **model.about(),
        # runs of one name may have different weights
        "weights_sha256": [run.weights_sha256() for run in model.runs],
        "watched": None if watched is None else str(watched.absolute()),
        **asdict(replace(settings, segments=None)),
        "segments": chosen,
    }
    with locks.held(_lock_of(out), f"{out} is being written"):
        part = journal_path(out)
        if out.exists() and not part.exists() and not overwrite:
            raise AclnetError(f"{out} already exists; choose another --out, or use --overwrite")
        yield Journal(part, identity, overwrite=overwrite)
