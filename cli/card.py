"""`aclnet card`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from aclnet.cli import completion, options
from aclnet.cli.results import Table, emit

if TYPE_CHECKING:
    from pathlib import Path

    from aclnet.cli.results import Form
    from aclnet.datasets.store.paths import StorePath


@click.command()
@click.argument(
    "path", metavar="STORE|RUN", type=options.STORE, shell_complete=completion.store_or_run
)
@click.option("--out", type=options.PATH, help="Folder to write into. [default: STORE or RUN]")
@options.license_id
@click.option("--overwrite", is_flag=True, help="Replace an existing card.")
@options.output_form
def command(
    path: StorePath, out: Path | None, license_id: str | None, overwrite: bool, output: Form
) -> None:
    """Write the card of a STORE or a RUN, as the Hugging Face Hub shows it.

    The card of a store is README.md, croissant.json (Croissant metadata) and samples.csv (a row for
    each sequence). The card of a run is README.md. All facts come from the store or the run.
    Complete the card where it says that something is unknown.
    """
    from aclnet.sharing.cards import opened, write_card

    written = write_card(opened(path), out, license_id=license_id, overwrite=overwrite)
    files = [str(file) for file in written]
    table = Table("Card", ["file"], [[file] for file in files], text="\n".join(files))
    emit(output, "card/1", {"files": files}, [table])
