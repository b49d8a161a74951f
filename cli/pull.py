"""`aclnet pull`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from aclnet.cli import options
from aclnet.cli.console import progress_bars
from aclnet.cli.results import Table, emit

if TYPE_CHECKING:
    from pathlib import Path

    from aclnet.cli.results import Form
    from aclnet.sharing.hub import Kind


@click.command()
@click.argument("name", metavar="OWNER/NAME")
@click.option(
    "--out",
    type=options.PATH,
    help="Folder to create. [default: NAME.zarr for a store, NAME for a run]",
)
@click.option(
    "--kind",
    type=click.Choice(["store", "run"]),
    help="Kind to download, if the name is both a store and a run.",
)
@click.option("--revision", help="Branch, tag or commit. [default: main]")
@options.output_form
def command(
    name: str, out: Path | None, kind: Kind | None, revision: str | None, output: Form
) -> None:
    """Download the store or run OWNER/NAME from the Hugging Face Hub and check it.

    Each file of a store is compared with the hash in the manifest. The settings, split file,
    selected checkpoint, history and map of body shape of a run are compared with the hashes in its
    record. Its scores have no hash, so they are only read. If the command is interrupted, run it
    again to resume. Needs `pip install 'aclnet[hub]'`.
    """
    from aclnet.sharing.hub import pull

    with progress_bars() as update:
        path = pull(name, out, kind=kind, revision=revision, progress=update)
    folder = str(path)
    emit(
        output, "pull/1", {"folder": folder}, [Table("Pulled", ["folder"], [[folder]], text=folder)]
    )
