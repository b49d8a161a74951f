"""`aclnet verify`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from aclnet.cli import options
from aclnet.cli.console import echo, print_json, progress_bars, screen


@click.command()
@options.store_argument
@options.as_json
def command(store: Path | None, as_json: bool) -> None:
    """Read and decode all of STORE against its manifest; exit status 1 where it is damaged.

    Without STORE, the newest below this folder.
    """
    from aclnet.datasets.discovery import newest_store
    from aclnet.datasets.store.verify import verify

    path = store or newest_store(Path())
    with progress_bars() as update:
        damage = list(verify(path, update))
    if as_json:
        print_json({"store": str(path), "damage": damage})
    else:
        for problem in damage:
            echo(problem)
    if damage:
        screen.print(f"{path} is damaged: make it again by `aclnet prepare` with --overwrite")
        sys.exit(1)
    screen.print(f"{path}: every byte is as it was written")
