"""`aclnet prepare`."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aclnet.cli import options
from aclnet.cli.console import echo, print_json, progress_bars, screen, table
from aclnet.pipelines.choices import BodySize, StoredType

if TYPE_CHECKING:
    from aclnet.datasets.spec import DatasetSpec, Source
    from aclnet.datasets.spec.protocols import SideCount
    from aclnet.pipelines.prepare.check import Checked
    from aclnet.pipelines.prepare.stages import Report

_COUNTS = ["split", "samples", "published", "remark"]
_SHOWN = 20
"""Problems of a kind that are shown; JSON has all."""


@click.command()
@click.argument("dataset")
@click.option("--raw", type=options.PATH, help="Raw recordings: a folder or a file.")
@click.option("--out", type=options.PATH, help="The store. [default: DATASET.zarr]")
@click.option(
    "--workers",
    type=click.IntRange(0),
    default=0,
    help="Local worker processes.",
    show_default=True,
)
@click.option("--max-memory", help="What --workers may take in all, as 2GB. [default: any]")
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
@click.option("--layout", default="", help="Joint layout of the store. [default: the dataset's]")
@click.option(
    "--track", is_flag=True, help="Join persons from frame to frame, where raw data do not."
)
@click.option(
    "--persons",
    type=click.IntRange(1),
    help="Number of persons to keep per recording, by confidence. [default: the dataset's]",
)
@click.option(
    "--fps",
    type=click.FloatRange(0, min_open=True),
    help="Frame rate to resample to, from the rates in the column fps. [default: as recorded]",
)
@click.option(
    "--box-thr", type=click.FloatRange(0, 1), default=0.0, help="Least score of a detected person."
)
@click.option(
    "--valid-ratio",
    type=click.FloatRange(0, 1),
    default=0.0,
    help="Least share of frames with one of those.",
)
@click.option("--align", is_flag=True, help="Turn bodies upright and to the front.")
@click.option(
    "--normalise",
    type=options.choice(BodySize),
    default="default",
    help="Take the size of bodies out, by their height or the length of each bone.",
    show_default=True,
)
@click.option("--dtype", type=options.choice(StoredType), default="float32", show_default=True)
@click.option(
    "--augment", default="", help="Stored variants, for example rotate=0.2,limb-mask=0.2."
)
@click.option("--variants", type=click.IntRange(0), default=0, help="Variants a training sequence.")
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    help="Of order and stored augmentation.",
)
@click.option(
    "--max-coordinate",
    type=click.FloatRange(0, 1e9, min_open=True),
    help="Reject recordings with a larger coordinate, in metres or pixels. "
    "[default: 100 metres; 10 image sides, or 100000 pixels]",
)
@click.option("--overwrite", is_flag=True, help="Start anew, and replace the store that is there.")
@click.option(
    "--reader", help="For `custom`: package.module:function that opens --raw, see docs/custom.md."
)
@click.option("--check", is_flag=True, help="Convert nothing; say all that is wrong with the data.")
@options.as_json
def command(
    dataset: str,
    raw: Path | None,
    out: Path | None,
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
    check: bool,
    as_json: bool,
) -> None:
    """Convert raw recordings of DATASET into a store.

    Killed anywhere, the same command goes on. Unusable files are listed in the store's
    rejected.csv with line and reason; the rest is converted. With --check the exit status is 1
    where anything is wrong.
    """
    from aclnet.datasets.discovery import find_raw
    from aclnet.datasets.registry import get_dataset
    from aclnet.datasets.spec import AclnetError
    from aclnet.pipelines.prepare.check import Checked
    from aclnet.pipelines.prepare.check import check as check_all
    from aclnet.pipelines.prepare.executor import open_executor
    from aclnet.pipelines.prepare.options import PrepareOptions
    from aclnet.pipelines.prepare.stages import prepare

    if layout.endswith(".json"):
        layout = str(Path(layout).absolute())  # workers may have another working folder
    spec = get_dataset(dataset)
    options = PrepareOptions.model_validate(
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
            "augment": _operations(augment, variants),
            "variants": variants,
            "seed": seed,
            "max_coordinate": max_coordinate,
        }
    )
    raw = raw or find_raw(spec)
    out = out or Path(f"{spec.name}.zarr")
    screen.print(f"{spec.title}: {raw}" + ("" if check else f" -> {out}"))
    try:
        source = _open(replace(spec, pattern=pattern), raw, reader, layout)
    except AclnetError as error:
        if check and as_json:  # for programs, which read an answer whatever is wrong
            print_json(Checked.impossible(error).as_dict())
        raise
    executor = open_executor(workers, scheduler, max_memory, tell=screen.print)
    with executor as execute, progress_bars() as update:
        if check:
            checked = check_all(source, options, execute, update)
        else:
            report = prepare(source, out, options, execute, update, overwrite=overwrite)
    if check:
        _tell(checked, as_json=as_json)
    elif as_json:
        print_json(report.as_dict())
    else:
        _print(report, out)


def _open(spec: DatasetSpec, raw: Path, reader: str | None, layout: str) -> Source:
    from aclnet.datasets.readers.user_function import open_with
    from aclnet.datasets.registry import open_raw
    from aclnet.datasets.spec import AclnetError

    if spec.pattern and (spec.name != "custom" or reader):
        raise AclnetError(
            "--pattern is for data of your own without --reader: "
            f"`aclnet prepare custom --raw {raw} --pattern {spec.pattern}`"
        )
    if reader is None:
        # where raw data do not tell their joints' layout, the one that is asked for is theirs
        return open_raw(spec if spec.layout else replace(spec, layout=layout), raw)
    if spec.name != "custom":
        raise AclnetError(f"--reader opens data of your own: `aclnet prepare custom --raw {raw}`")
    return open_with(reader, raw)


def _tell(checked: Checked, *, as_json: bool) -> None:
    """Prints what a check found; exit status 1 where anything is wrong."""
    if as_json:
        print_json(checked.as_dict())
    else:
        for kind, count in checked.by_kind.most_common():
            problems = [problem for problem in checked.problems if problem.kind == kind]
            echo(f"{kind} ({count}):")
            for problem in problems[:_SHOWN]:
                echo(f"  {problem}")
            if count > _SHOWN:
                echo(f"  and {count - _SHOWN} more, which --json lists")
        if checked.remarks:
            echo(f"remarks ({len(checked.remarks)}):")
        for remark in checked.remarks:
            echo(f"  {remark}")
        if checked.counts:
            table("Usable recordings", _COUNTS, _rows(checked.counts))
    used = f"{checked.usable} of {checked.recordings} recordings can be used"
    if checked.listed:
        used += f", {checked.listed} are listed as unusable by their authors"
    if checked.outside:
        used += f", {checked.outside} belong to a larger dataset"
    screen.print(f"{used}; problems: {len(checked.problems) or 'none'}")
    if checked.problems:
        sys.exit(1)


def _rows(counts: tuple[SideCount, ...]) -> list[list[object]]:
    return [[c.side, c.found, c.expected or "", c.verdict] for c in counts]


def _operations(augment: str, variants: int) -> str:
    """The stored augmentation in its one form; torch is imported only where there is one."""
    from aclnet.datasets.spec import AclnetError

    if augment:
        from aclnet.pipelines.inputs.augment import AugmentSpec

        spec = AugmentSpec.parse(augment)
        augment = "" if spec == AugmentSpec() else str(spec)
    if bool(augment) != bool(variants):
        raise AclnetError(
            "stored augmentation needs both --augment with an operation that is switched on, "
            "such as rotate=0.2, and --variants with their number"
        )
    return augment


def _print(report: Report, out: Path) -> None:
    from aclnet.datasets.spec import first_of

    if report.newer:
        screen.print(
            "warning: raw files of the same names and sizes were changed or copied later "
            f"({len(report.newer)}): {first_of(report.newer)}; if their content changed, run the "
            "same command with --overwrite"
        )
    if report.existed:
        screen.print(f"{out} was made from files of the same names and sizes: nothing to do")
        return
    if report.resumed:
        screen.print("went on where an earlier run had stopped")
    if report.cut:
        screen.print(f"{report.cut} sequences were longer than a shard and are cut into pieces")
    if report.conversion:
        approximated = ", ".join(report.conversion["approximated"]) or "none"
        screen.print(
            f"joints converted, {' -> '.join(report.conversion['layouts'])}; "
            f"approximated: {approximated}"
        )
    if report.outside:
        screen.print(f"{report.outside} recordings belong to a larger dataset and were left out")
    if report.rejections:
        table("Rejected", ["", "files"], report.rejections.most_common())
        for example in report.examples:
            screen.print(f"  {example}")
        screen.print(f"all of them, with reasons: {out}/rejected.csv")
    variants = f" and {report.variants} variants" if report.variants else ""
    table(
        f"{report.samples} samples{variants} in {out}",
        _COUNTS,
        _rows(report.counts),
    )
    if report.empty:
        screen.print(f"warning: no sample at all in {', '.join(report.empty)}")
    for doubt in report.doubts:
        screen.print(f"warning: {doubt}")
