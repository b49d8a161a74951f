"""`aclnet predict`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from aclnet.cli import completion, options
from aclnet.cli.console import percent, progress_bars, screen
from aclnet.cli.finding import with_own_model
from aclnet.cli.results import Table, emit

if TYPE_CHECKING:
    from pathlib import Path

    from aclnet.cli.results import Form
    from aclnet.prediction.files import FileSettings, Outcome, Row
    from aclnet.prediction.model import Model

_SHOWN = 20
"""Number of unusable recordings that are shown; JSON and CSV have all."""
_NEXT = 2
"""Number of classes after the first that are shown; JSON and files have `--top`."""


@click.command()
@click.argument(
    "paths",
    metavar="RUN... RECORDING...",
    nargs=-1,
    required=True,
    type=options.PATH,
    shell_complete=completion.store_or_run,
)
@click.option(
    "--dataset",
    shell_complete=completion.dataset,
    help="Dataset whose form the recordings have, or custom. [default: the run's dataset, or "
    "custom where the recordings have another form]",
)
@click.option("--weights", metavar="W,W,...", help="Weights of several RUNs. [default: equal]")
@click.option(
    "--top", type=click.IntRange(1), default=5, show_default=True, help="Number of classes to list."
)
@click.option("--per-person", is_flag=True, help="Predict each person of a recording separately.")
@click.option("--segments", is_flag=True, help="Cut long recordings into segments of one class.")
@click.option(
    "--window",
    type=click.IntRange(1),
    help="Frames of a sliding window. [default: those of the median training sequence]",
)
@click.option(
    "--stride", type=click.IntRange(1), help="Frames between windows. [default: half a window]"
)
@click.option(
    "--enter",
    type=options.FiniteRange(0, 1),
    default=0.5,
    show_default=True,
    help="Probability at which a segment begins.",
)
@click.option(
    "--leave",
    type=options.FiniteRange(0, 1),
    help="Probability below which a segment ends. [default: 0.3, or --enter if it is lower]",
)
@click.option(
    "--shortest",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Frames of the shortest segment to keep.",
)
@click.option(
    "--fps",
    type=options.FiniteRange(0, min_open=True),
    help="Frame rate of recordings whose files do not contain it.",
)
@click.option("--clips", type=click.IntRange(1), help="Clips per sequence. [default: the run's]")
@click.option(
    "--out",
    type=options.PATH,
    help="Table to write. The suffix chooses the form: .csv, .json, .jsonl, .parquet, .tsv (ELAN) "
    "or .xlsx (BORIS).",
)
@click.option("--overwrite", is_flag=True, help="Start again and replace an existing table.")
@click.option(
    "--watch", is_flag=True, help="Predict the files of one folder as they arrive. Needs --out."
)
@options.own_model
@options.accelerator
@options.output_form
def command(
    paths: tuple[Path, ...],
    dataset: str | None,
    weights: str | None,
    top: int,
    per_person: bool,
    segments: bool,
    window: int | None,
    stride: int | None,
    enter: float,
    leave: float | None,
    shortest: int,
    fps: float | None,
    clips: int | None,
    out: Path | None,
    overwrite: bool,
    watch: bool,
    accelerator: str,
    output: Form,
) -> None:
    """Predict the class of each RECORDING: files, folders, archives or stores.

    Recordings need no labels, and a folder needs no index. They are prepared in the same
    way as the store of RUN, so the scores equal those of `aclnet evaluate`. Several RUNs form an
    ensemble.

    Recordings that cannot be used are listed with the reason, and the exit status is 1. If the
    command is interrupted, run it again with the same --out to resume.
    """
    from aclnet.prediction.files import FileSettings, predict_files
    from aclnet.prediction.model import load
    from aclnet.prediction.output import SCHEMA, as_json
    from aclnet.prediction.task import predict_to
    from aclnet.prediction.task import watch as watch_folder
    from aclnet.prediction.windows import SegmentSettings
    from aclnet.runs.places import is_run
    from aclnet.runs.run import Run

    runs = [path for path in paths if is_run(path)]
    recordings = [path for path in paths if path not in runs]
    _check(runs, recordings, paths, watch=watch, out=out)
    if leave is not None and leave > enter:
        raise click.UsageError(f"--leave {leave:g} must not be above --enter {enter:g}")
    shares = _numbers(weights) if weights else None
    model = load(
        [with_own_model(Run(run)) for run in runs],
        weights=shares,
        clips=clips,
        accelerator=accelerator,
    )
    chosen = None
    if segments:
        chosen = SegmentSettings(
            window=window or model.default_window(),
            stride=stride,
            enter=enter,
            leave=min(0.3, enter) if leave is None else leave,
            shortest=shortest,
        )
    settings = FileSettings(dataset, per_person, chosen, fps or 0.0, top)
    if watch and out:
        screen.print(f"watching {recordings[0]}, writing {out}; stop with Ctrl-C")
        watch_folder(model, recordings[0], settings, out, overwrite=overwrite, tell=_tell)
        return
    with progress_bars() as update:
        if out:
            found = predict_to(
                model, recordings, settings, out, overwrite=overwrite, progress=update
            )
        else:
            found = [*predict_files(model, recordings, settings, progress=update)]
    # rows in a file are not printed too
    tables = [] if out else [_table(model, found, settings)]
    emit(output, SCHEMA, as_json(found, model.about()), tables)
    if out:
        screen.print(f"{sum(len(outcome.rows) for outcome in found)} rows in {out}")
    _tell_unusable(found)
    if any(outcome.rejection for outcome in found):
        sys.exit(1)


def _check(
    runs: list[Path],
    recordings: list[Path],
    paths: tuple[Path, ...],
    *,
    watch: bool,
    out: Path | None,
) -> None:
    from aclnet.datasets.spec import AclnetError

    if not runs:
        raise AclnetError(f"{paths[0]} is not a run of aclnet; the first argument is a run")
    if not recordings:
        raise click.UsageError("give a recording: a file, a folder or a store")
    if watch and (out is None or len(recordings) > 1):
        raise click.UsageError("--watch needs one folder, and --out for the table")


def _numbers(weights: str) -> list[float]:
    try:
        return [*map(float, weights.split(","))]
    except ValueError:
        raise click.UsageError(f"--weights {weights}: write numbers, for example 2,1") from None


def _tell(outcome: Outcome) -> None:
    for row in outcome.rows:
        screen.print(f"{row['id']}: {row['label']} ({percent(row['probability'])})")
    if outcome.rejection:
        screen.print(f"unusable: {outcome.rejection}")


def _table(model: Model, found: list[Outcome], settings: FileSettings) -> Table:
    rows = [row for outcome in found for row in outcome.rows]
    title, names = f"by {model.runs[0].name}", ["id", *(["person"] if settings.per_person else [])]
    if settings.segments:
        columns = [*names, "class", "frames", "seconds", "probability"]
        cells = [[*(row[n] for n in names), *_segment(row)] for row in rows]
        return Table(f"Segments {title}", columns, cells, left=len(names) + 1)
    columns = [*names, "class", "next", "family", "probability"]
    cells = [[*(row[n] for n in names), *_prediction(row)] for row in rows]
    return Table(f"Predictions {title}", columns, cells, left=len(columns) - 1)


def _tell_unusable(found: list[Outcome]) -> None:
    unusable = [outcome.rejection for outcome in found if outcome.rejection]
    if unusable:
        screen.print(f"{len(unusable)} recordings cannot be used:")
    for rejection in unusable[:_SHOWN]:
        screen.print(f"  {rejection}")
    if len(unusable) > _SHOWN:
        screen.print(f"  and {len(unusable) - _SHOWN} more, which --json lists")


def _segment(row: Row) -> list[str]:
    start, end = row["start_seconds"], row["end_seconds"]
    seconds = "" if start is None else f"{start:.2f} to {end:.2f}"
    frames = f"{row['start']} to {row['end']}"
    return [row["label"], frames, seconds, percent(row["probability"])]


def _prediction(row: Row) -> list[str]:
    further = [f"{one['label']} {percent(one['probability'])}" for one in row["top"][1:]]
    shown = (", ".join(further[:_NEXT]), ", ".join(row["family"]))
    return [row["label"], *shown, percent(row["probability"])]
