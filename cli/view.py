"""`aclnet view`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from aclnet.cli import completion, options
from aclnet.cli.console import screen
from aclnet.cli.finding import find_store
from aclnet.cli.results import Table, emit
from aclnet.pipelines.choices import Missing

if TYPE_CHECKING:
    from pathlib import Path

    from aclnet.cli.results import Form
    from aclnet.datasets.store.paths import StorePath


class _Frames(click.ParamType):  # type: ignore[type-arg]  # older click has no arguments
    """Two numbers, for example `100:200`."""

    name = "FIRST:END"

    def convert(
        self,
        value: Any,  # noqa: ANN401 - text
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[int, int]:
        first, colon, end = str(value).partition(":")
        if not (colon and first.isdecimal() and end.isdecimal()):
            self.fail(f"{value!r} is not FIRST:END, for example 100:200", param, ctx)
        return int(first), int(end)


@click.command()
@click.argument("store", type=options.STORE, required=False, shell_complete=completion.store)
@click.argument("sample", metavar="[ID]", required=False, shell_complete=completion.sample)
@click.option("--raw", type=options.PATH, help="Raw recordings to read instead of a store.")
@click.option(
    "--dataset",
    default="custom",
    show_default=True,
    shell_complete=completion.dataset,
    help="Dataset that gives the raw format of --raw.",
)
@click.option(
    "--layout",
    default="",
    shell_complete=completion.layout,
    help="Joint layout of --raw, if the files do not contain it.",
)
@click.option("--reader", help="Function that opens --raw, as package.module:function.")
@click.option(
    "--drop",
    multiple=True,
    metavar="PROTOCOL",
    help="Add a form with a protocol of the occlusion bench, for example hands or "
    "frames-v1/block-0.3. May be repeated.",
)
@click.option(
    "--missing",
    type=options.choice(Missing),
    default="centre",
    show_default=True,
    help="Meaning of a missing joint.",
)
@click.option("--augment", is_flag=True, help="Add a form with the augmentation of a recipe.")
@options.recipe
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Seed for --drop and --augment.",
)
@click.option(
    "--frames",
    type=_Frames(),
    help="Frames to show, for example 100:200. [default: the first 2000]",
)
@click.option(
    "--fps",
    type=options.FiniteRange(0, min_open=True),
    help="Frames per second of playing. [default: the recording's, or 30]",
)
@click.option(
    "--up",
    type=click.Choice(["x", "y", "z", "-x", "-y", "-z"]),
    help="Axis that points upwards. [default: from the legs to the head]",
)
@click.option(
    "--out",
    type=options.PATH,
    help="File to write: .html, .png, .gif or .mp4. [default: ID.html in this folder]",
)
@options.output_form
def command(
    store: StorePath | None,
    sample: str | None,
    raw: Path | None,
    dataset: str,
    layout: str,
    reader: str | None,
    drop: tuple[str, ...],
    augment: bool,
    out: Path | None,
    output: Form,
    **shown: Any,  # noqa: ANN401 - values of the settings of those names
) -> None:
    """Draw the skeletons of a recording: sample ID of STORE, or --raw recordings.

    Without STORE, the newest store below this folder is read. Without ID, the first sample is
    drawn. With --raw, give only the ID: `aclnet view --raw FILE [ID]`.

    The page (.html) plays, turns and zooms the recording beside the form that a network sees. The
    page needs no other file. A .png is a strip of frames; .gif and .mp4 are animations.
    """
    from aclnet.viewing.forms import ViewSettings, view_file, view_sample
    from aclnet.viewing.writing import check_ending, default_file, write_view

    if out:
        check_ending(out)
    settings = ViewSettings(drop=drop, augment=augment, **shown)
    if raw:
        if sample:
            raise click.UsageError("--raw replaces STORE: give only the ID")
        name = str(store) if store else None
        view = view_file(raw, name, settings, dataset=dataset, layout=layout, reader=reader)
    else:
        if dataset != "custom" or layout or reader:
            raise click.UsageError("--dataset, --layout and --reader are for --raw")
        view = view_sample(find_store(store), sample, settings)
    file = out or default_file(view)
    write_view(view, file)
    for remark in view.remarks:
        screen.print(remark)
    document = {"file": str(file), "title": view.title, "frames": len(view.frames)}
    said = f"{file}: {view.title}, {len(view.frames)} frames"
    cells = [[str(file), view.title, len(view.frames)]]
    emit(output, "view/1", document, [Table("View", ["file", "title", "frames"], cells, text=said)])
