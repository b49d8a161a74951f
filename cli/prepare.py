"""`aclnet prepare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from aclnet.cli.console import json_option, print_json, progress, screen, table

if TYPE_CHECKING:
    from aclnet.pipelines.prepare import Report


@click.command()
@click.argument("dataset")
@click.option("--raw", type=click.Path(path_type=Path), help="Raw recordings: a folder or a file.")
@click.option("--out", type=click.Path(path_type=Path), help="The store. [default: DATASET.zarr]")
@click.option(
    "--workers",
    type=click.IntRange(0),
    default=0,
    help="Local worker processes.",
    show_default=True,
)
@click.option(
    "--scheduler",
    help="Address of a dask scheduler, tcp://HOST:PORT, whose workers see the same files.",
)
@click.option("--layout", default="", help="Joint layout of the store. [default: the dataset's]")
@click.option("--align", is_flag=True, help="Turn bodies upright and to the front.")
@click.option(
    "--dtype", type=click.Choice(["float32", "int16"]), default="float32", show_default=True
)
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
@click.option("--overwrite", is_flag=True, help="Start anew, and replace the store that is there.")
@json_option
def command(
    dataset: str,
    raw: Path | None,
    out: Path | None,
    workers: int,
    scheduler: str | None,
    layout: str,
    align: bool,
    dtype: str,
    augment: str,
    variants: int,
    seed: int,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Convert raw recordings of DATASET into a store.

    Killed anywhere, the same command goes on. Unusable files are listed in the store's
    rejected.csv with line and reason; the rest is converted.
    """
    from aclnet.datasets.find import find_raw
    from aclnet.datasets.registry import get_dataset
    from aclnet.pipelines.executor import executor
    from aclnet.pipelines.options import PrepareOptions
    from aclnet.pipelines.prepare import prepare

    spec = get_dataset(dataset)
    options = PrepareOptions.model_validate(
        {
            "layout": layout,
            "align": align,
            "dtype": dtype,
            "augment": _operations(augment, variants),
            "variants": variants,
            "seed": seed,
        }
    )
    raw = raw or find_raw(spec)
    out = out or Path(f"{spec.name}.zarr")
    screen.print(f"{spec.title}: {raw} -> {out}")
    source = spec.open(raw)
    with executor(workers, scheduler) as run, progress() as update:

        def show(stage: str, done: int, total: int, rejected: int) -> None:
            update(stage, done, total, f"{rejected} rejected" if rejected else "")

        report = prepare(source, out, options, run, show, overwrite=overwrite)
    if as_json:
        print_json(report.as_dict())
    else:
        _print(report, out)


def _operations(augment: str, variants: int) -> str:
    """The stored augmentation in its one form; torch is imported only where there is one."""
    from aclnet.datasets.errors import AclnetError

    if augment:
        from aclnet.pipelines.augment import AugmentSpec

        spec = AugmentSpec.parse(augment)
        augment = "" if spec == AugmentSpec() else str(spec)
    if bool(augment) != bool(variants):
        raise AclnetError(
            "stored augmentation needs both --augment with an operation that is switched on, "
            "such as rotate=0.2, and --variants with their number"
        )
    return augment


def _print(report: Report, out: Path) -> None:
    if report.existed:
        screen.print(f"{out} was made from the same files before: nothing to do")
        return
    if report.resumed:
        screen.print("went on where an earlier run had stopped")
    if report.cut:
        screen.print(f"{report.cut} sequences were longer than a shard and are cut into pieces")
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
        ["split", "samples", "published", "remark"],
        [(c.side, c.found, c.expected or "", c.verdict) for c in report.counts],
    )
    if report.empty:
        screen.print(f"warning: no sample at all in {', '.join(report.empty)}")
