"""`aclnet push`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from aclnet.cli import completion, options
from aclnet.cli.results import Table, emit

if TYPE_CHECKING:
    from pathlib import Path

    from aclnet.cli.results import Form


@click.command()
@click.argument(
    "path", metavar="STORE|RUN", type=options.PATH, shell_complete=completion.store_or_run
)
@click.argument("name", metavar="OWNER/NAME")
@click.option(
    "--private", is_flag=True, help="Create the repository as private, if it does not exist."
)
@options.license_id
@options.output_form
def command(path: Path, name: str, private: bool, license_id: str | None, output: Form) -> None:
    """Upload a STORE or a RUN with its card to OWNER/NAME on the Hugging Face Hub.

    Everybody can read the repository unless it is private. Check that the terms of the recordings
    allow this. A store becomes a data set, and a run becomes a model. Log in with `hf auth login`
    or set HF_TOKEN. docs/sharing.md lists the files. Needs `pip install 'aclnet[hub]'`.
    """
    from aclnet.sharing.hub import push

    url = push(path, name, private=private, license_id=license_id)
    emit(output, "push/1", {"url": url}, [Table("Pushed", ["address"], [[url]], text=url)])
