"""A prediction task: from recordings to a table; it resumes after an interruption."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from aclnet.datasets.formats import locks
from aclnet.datasets.formats.atomic import SUFFIX
from aclnet.datasets.formats.caches import version_of
from aclnet.datasets.readers.custom_index import CLASSES, FACTS, INDEXES
from aclnet.datasets.spec import AclnetError, Rejection, silent
from aclnet.prediction.files import Outcome, key_of, path_of_key, predict_files
from aclnet.prediction.journal import Journal, journal_path
from aclnet.prediction.output import check_form, write_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

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
    with _journal(model, settings, out, overwrite=overwrite) as journal:
        for outcome in predict_files(model, paths, settings, journal.outcomes, progress):
            journal.add(outcome)
        found = [*journal.outcomes.values()]
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
    rounds; `tell` is called with each outcome. Raises AclnetError like `predict_to`.
    """
    if not folder.is_dir():
        raise AclnetError(
            f"{folder} is not a folder: give the folder whose files --watch should predict"
        )
    with _journal(model, settings, out, overwrite=overwrite) as journal:
        seen = set(map(path_of_key, journal.outcomes))
        for files in arriving(folder, seen, {out, journal.path}, wait):
            for file in files:
                for outcome in _predict_file(model, file, settings, journal):
                    journal.add(outcome)
                    tell(outcome)
            write_rows(out, [*journal.outcomes.values()], model.about())


def arriving(
    folder: Path, seen: set[str], ours: set[Path], wait: Callable[[], object]
) -> Iterator[list[Path]]:
    """Yields the new and complete files below a folder, for each round that has any.

    A file is complete when its size and time are the same in two rounds. Files of `seen` and
    `ours`, hidden files, and files that another program has not finished are ignored.
    """
    before: dict[Path, tuple[int, int]] = {}
    while True:
        now = {}
        for place, _, names in os.walk(folder):
            for file in (Path(place) / name for name in names):
                known = str(file) in seen or file in ours or file.name in _NOT_WATCHED
                if not (known or file.name.startswith(".") or file.suffix in _UNFINISHED):
                    now[file] = version_of(file)
        found = sorted(file for file, version in now.items() if before.get(file) == version)
        seen |= {str(file) for file in found}
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


@contextmanager
def _journal(
    model: Model, settings: FileSettings, out: Path, *, overwrite: bool
) -> Iterator[Journal]:
    """The journal of a table that no other process writes."""
    model.check_classifies()
    check_form(out, segments=settings.segments is not None)
    chosen = settings.segments.model_dump() if settings.segments else None
    identity = {
        "aclnet": version("aclnet"),
        **model.about(),
        **asdict(replace(settings, segments=None)),
        "segments": chosen,
    }
    with locks.held(out.with_name(f"{out.name}.lock"), f"{out} is being written"):
        part = journal_path(out)
        if out.exists() and not part.exists() and not overwrite:
            raise AclnetError(f"{out} already exists; choose another --out, or use --overwrite")
        yield Journal(part, identity, overwrite=overwrite)
