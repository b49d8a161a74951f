"""`aclnet verify`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from aclnet.cli.console import json_option, print_json, screen


@click.command()
@click.argument("store", type=click.Path(path_type=Path), required=False)
@json_option
def command(store: Path | None, as_json: bool) -> None:
    """Read and decode all of STORE against its manifest; exit status 1 where it is damaged."""
    from aclnet.datasets.find import newest_store
    from aclnet.datasets.verify import verify

    path = store or newest_store(Path())
    damage = list(verify(path))
    if as_json:
        print_json({"store": str(path), "damage": damage})
    for problem in damage:
        screen.print(problem, markup=False)
    if damage:
        sys.exit(1)
    screen.print(f"{path}: every byte is as it was written")
