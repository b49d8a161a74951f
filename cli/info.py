"""`aclnet info`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from aclnet.cli import options
from aclnet.cli.console import print_json, table
from aclnet.cli.finding import find_store

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@options.store_argument
@options.as_json
def command(store: Path | None, as_json: bool) -> None:
    """Show what STORE holds (the newest below this folder by default)."""
    from aclnet.datasets.store.summary import summarise

    opened = find_store(store)
    summary = summarise(opened)
    if as_json:
        print_json(summary)
        return
    table(str(opened.path), ["", "value"], summary["facts"].items())
    table("Splits", ["split", "samples", "classes", "subjects"], summary["splits"])
    table("Frames a sequence", ["frames", "sequences", ""], summary["lengths"])
    if summary["rejected"]:
        table("Rejected inputs", ["", "files"], summary["rejected"].items())
    table("Arrays", ["array", "shape", "dtype", "bytes stored", "ratio"], summary["arrays"])
