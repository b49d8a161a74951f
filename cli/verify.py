"""`aclnet verify`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aclnet.cli import options
from aclnet.cli.console import progress_bars, screen
from aclnet.cli.results import Form, Table, emit

if TYPE_CHECKING:
    from aclnet.datasets.store.paths import StorePath


@click.command()
@options.store_argument
@options.output_form
def command(store: StorePath | None, output: Form) -> None:
    """Check all of STORE (the newest below this folder by default) against its manifest.

    Every file is read and decoded, of a set those of all members. The exit status is 1 if the
    store is damaged.
    """
    from aclnet.datasets.discovery import newest_store
    from aclnet.datasets.store.manifest import set_at
    from aclnet.datasets.store.verify import verify

    path = store or newest_store(Path())
    with progress_bars() as update:
        damage = list(verify(path, update))
    table = Table(f"Damage of {path}", ["file"], [[d] for d in damage], text="\n".join(damage))
    emit(output, "verify/1", {"store": str(path), "damage": damage}, [table])
    if damage:
        again = f"{path} is damaged: prepare it again with `aclnet prepare --overwrite`"
        if set_at(path):
            again = (
                f"{path} is damaged: put its members back, or prepare them again, and join them "
                "with `aclnet finalise --overwrite`"
            )
        screen.print(again)
        sys.exit(1)
    screen.print(f"{path}: every byte is correct")
