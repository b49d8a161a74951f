"""`aclnet prepare`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from aclnet.cli import completion, options
from aclnet.cli.console import progress_bars, screen
from aclnet.cli.results import Table, emit
from aclnet.pipelines.choices import BodySize, StoredType

if TYPE_CHECKING:
    from pathlib import Path

    from aclnet.cli.results import Form
    from aclnet.datasets.spec.protocols import SideCount
    from aclnet.datasets.store.paths import StorePath
    from aclnet.pipelines.prepare.check import Checked, Problem
    from aclnet.pipelines.prepare.stages import Report

_COUNTS = ["split", "samples", "published", "remark"]
_SHOWN = 20
"""Number of problems of each kind that are shown; JSON has all."""


@click.command()
@click.argument("dataset", shell_complete=completion.dataset)
@click.option("--raw", type=options.PATH, help="Raw recordings: a folder or a file.")
@click.option(
    "--out",
    type=options.STORE,
    help="The store, a folder or s3://BUCKET/PATH. [default: DATASET.zarr]",
)
@click.option(
    "--workers",
    type=click.IntRange(0),
    default=0,
    help="Local worker processes.",
    show_default=True,
)
@click.option("--max-memory", help="Memory limit of all workers, for example 2GB. [default: none]")
@click.option(
    "--scheduler",
    help="Address of a dask scheduler, tcp://HOST:PORT, whose workers see the same files.",
)
@click.option(
    "--pattern",
    default="",
    help="Pattern of recording paths, used instead of index.csv: for example "
    "{subject}_{view}_{run}, or {split}/{label}/{id}.",
)
@click.option(
    "--layout",
    default="",
    shell_complete=completion.layout,
    help="Joint layout of the store. [default: the dataset's]",
)
@click.option(
    "--track", is_flag=True, help="Track persons from frame to frame if the raw data do not."
)
@click.option(
    "--persons",
    type=click.IntRange(1),
    help="Number of persons to keep per recording, by confidence. [default: the dataset's]",
)
@click.option(
    "--fps",
    type=options.FiniteRange(0, min_open=True),
    help="Frame rate to resample to, from the rates in the column fps. [default: as recorded]",
)
@click.option(
    "--box-thr",
    type=options.FiniteRange(0, 1),
    default=0.0,
    help="Lowest detection score of a person to keep.",
)
@click.option(
    "--valid-ratio",
    type=options.FiniteRange(0, 1),
    default=0.0,
    help="Lowest share of frames that must have such a person.",
)
@click.option("--align", is_flag=True, help="Turn bodies upright and towards the front.")
@click.option(
    "--normalise",
    type=options.choice(BodySize),
    default="default",
    help="Remove body size: divide by the height, or give all bones the same length.",
    show_default=True,
)
@click.option(
    "--dtype",
    type=options.choice(StoredType),
    default="float32",
    show_default=True,
    help="Number type of the stored coordinates.",
)
@click.option(
    "--augment", default="", help="Stored variants, for example rotate=0.2,limb-mask=0.2."
)
@click.option("--variants", type=click.IntRange(0), default=0, help="Variants per sequence.")
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    help="Seed for the sample order and the stored variants.",
)
@click.option(
    "--max-coordinate",
    type=options.FiniteRange(0, 1e9, min_open=True),
    help="Reject recordings with a larger coordinate, in metres or pixels. "
    "[default: 100 metres; 10 image sides, or 100000 pixels]",
)
@click.option("--overwrite", is_flag=True, help="Start again and replace an existing store.")
@click.option(
    "--reader", help="Function that opens --raw, as package.module:function (docs/custom.md)."
)
@click.option(
    "--shards",
    metavar="I/N",
    help="Prepare the I-th of N parts of the recordings, in a folder below --out. Parts may be "
    "prepared at the same time, on several machines; `aclnet finalise` joins them.",
)
@click.option(
    "--check", is_flag=True, help="Report all problems of the data without converting it."
)
@options.output_form
def command(
    dataset: str,
    raw: Path | None,
    out: StorePath | None,
    workers: int,
    max_memory: str | None,
    scheduler: str | None,
    pattern: str,
    layout: str,
    track: bool,
    persons: int | None,
    fps: float | None,
    box_thr: float,
    valid_ratio: float,
    align: bool,
    normalise: str,
    dtype: str,
    augment: str,
    variants: int,
    seed: int,
    max_coordinate: float | None,
    overwrite: bool,
    reader: str | None,
    shards: str | None,
    check: bool,
    output: Form,
) -> None:
    """Convert raw recordings of DATASET into a store.

    If the command is interrupted, run it again to resume. Unusable files are left out and listed in
    rejected.csv in the store, with line and reason. With --check, the exit status is 1 if there are
    problems.
    """
    from aclnet.pipelines.prepare.dataset import check as check_recordings
    from aclnet.pipelines.prepare.dataset import prepare
    from aclnet.pipelines.prepare.options import PrepareOptions

    if check and shards:
        raise click.UsageError("--check is for all recordings: leave --shards out")
    chosen = PrepareOptions.model_validate(
        {
            "layout": layout,
            "track": track,
            "persons": persons,
            "fps": fps,
            "box_thr": box_thr,
            "valid_ratio": valid_ratio,
            "align": align,
            "normalise": normalise,
            "dtype": dtype,
            "augment": augment,
            "variants": variants,
            "seed": seed,
            "max_coordinate": max_coordinate,
        }
    )
    with progress_bars() as update:
        how: dict[str, Any] = {
            "options": chosen,
            "reader": reader,
            "pattern": pattern,
            "workers": workers,
            "scheduler": scheduler,
            "max_memory": max_memory,
            "progress": update,
            "tell": screen.print,
        }
        if check:
            checked = check_recordings(dataset, raw, **how)
        else:
            report = prepare(dataset, raw, out, overwrite=overwrite, shards=shards, **how)
    if check:
        _tell(checked, output)
    else:
        _print(report, output)


def _tell(checked: Checked, output: Form) -> None:
    """Prints the problems of a check; the exit status is 1 if there are any."""
    tables = [
        Table(what, ["kind", "path", "line", "text"], _problems(found), left=4, text=text)
        for what, found, text in (
            ("Problems", checked.problems, _by_kind(checked)),
            ("Remarks", checked.remarks, _remarks(checked)),
        )
        if found
    ]
    if checked.counts:
        tables.append(Table("Usable recordings", _COUNTS, _rows(checked.counts)))
    emit(output, "check/1", checked.as_dict(), tables)
    used = f"{checked.usable} of {checked.recordings} recordings can be used"
    if checked.listed:
        used += f", {checked.listed} are listed as unusable by their authors"
    if checked.outside:
        used += f", {checked.outside} belong to a larger dataset"
    screen.print(f"{used}; problems: {len(checked.problems) or 'none'}")
    if checked.problems:
        sys.exit(1)


def _problems(problems: list[Problem]) -> list[list[object]]:
    return [[p.kind, p.path, "" if p.line is None else p.line, p.text] for p in problems]


def _by_kind(checked: Checked) -> str:
    lines = []
    for kind, count in checked.by_kind.most_common():
        problems = [problem for problem in checked.problems if problem.kind == kind]
        lines.append(f"{kind} ({count}):")
        lines += [f"  {problem}" for problem in problems[:_SHOWN]]
        if count > _SHOWN:
            lines.append(f"  and {count - _SHOWN} more, which --json lists")
    return "\n".join(lines)


def _remarks(checked: Checked) -> str:
    lines = [f"remarks ({len(checked.remarks)}):", *(f"  {remark}" for remark in checked.remarks)]
    return "\n".join(lines)


def _rows(counts: tuple[SideCount, ...]) -> list[list[object]]:
    return [[c.side, c.found, c.expected or "", c.verdict] for c in counts]


def _print(report: Report, output: Form) -> None:
    from aclnet.datasets.spec import first_of

    out = report.path
    if report.newer:
        screen.print(
            f"warning: {len(report.newer)} raw files have the same names and sizes, but newer "
            f"times: {first_of(report.newer)}; if their content changed, run the same command with "
            "--overwrite"
        )
    emit(output, "prepare/1", report.as_dict(), [] if report.existed else _tables(report))
    if report.existed:
        screen.print(
            f"{out} exists and was made from files of the same names and sizes: nothing to do"
        )
        _tell_part(report)
        return
    if report.resumed:
        screen.print("resumed an interrupted command")
    if report.cut:
        screen.print(f"{report.cut} sequences are longer than a shard and were cut into pieces")
    if report.conversion:
        approximated = ", ".join(report.conversion["approximated"]) or "none"
        screen.print(
            f"joints converted, {' -> '.join(report.conversion['layouts'])}; "
            f"approximated: {approximated}"
        )
    if report.outside:
        screen.print(f"{report.outside} recordings belong to a larger dataset and were left out")
    if report.rejections:
        for example in report.examples:
            screen.print(f"  {example}")
        screen.print(f"all of them, with reasons: {out}/rejected.csv")
    if report.empty:
        screen.print(f"warning: there is no sample in {', '.join(report.empty)}")
    for doubt in report.doubts:
        screen.print(f"warning: {doubt}")
    _tell_part(report)


def _tell_part(report: Report) -> None:
    if report.part:
        screen.print(
            f"part {report.part}: when all parts are there, "
            f"`aclnet finalise {_set_of_parts(report.path.parent, report.part)}` joins them"
        )


def _set_of_parts(out: StorePath, part: str) -> str:
    """Arguments of `finalise` for the set of all parts below `out`.

    A set is a folder; if the parts are at an address, they must be named.
    """
    from aclnet.datasets.store.paths import ObjectPath
    from aclnet.pipelines.prepare.preparation import Portion

    if not isinstance(out, ObjectPath):
        return str(out)
    of = Portion.parse(part).of
    places = (str(Portion(number, of).folder(out)) for number in range(1, of + 1))
    return " ".join([out.name, *places])


def _tables(report: Report) -> list[Table]:
    variants = f" and {report.variants} variants" if report.variants else ""
    title = f"{report.samples} samples{variants} in {report.path}"
    found = [Table(title, _COUNTS, _rows(report.counts))]
    if report.rejections:
        found.insert(0, Table("Rejected", ["", "files"], report.rejections.most_common()))
    return found
