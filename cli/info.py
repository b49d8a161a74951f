"""`aclnet info`."""

from __future__ import annotations

from pathlib import Path

import click

from aclnet.cli.console import json_option, print_json, table


@click.command()
@click.argument("store", type=click.Path(path_type=Path), required=False)
@json_option
def command(store: Path | None, as_json: bool) -> None:
    """Show what STORE holds (the newest below this folder by default)."""
    from aclnet.datasets.discovery import newest_store
    from aclnet.datasets.store.store import Store
    from aclnet.datasets.store.summary import summarise

    opened = Store(store or newest_store(Path()))
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
