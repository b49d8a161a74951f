"""`aclnet info`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from aclnet.cli import options
from aclnet.cli.console import screen
from aclnet.cli.finding import find_store
from aclnet.cli.results import Table, emit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aclnet.cli.results import Form
    from aclnet.datasets.store.paths import StorePath


@click.command()
@options.stores_argument
@options.output_form
def command(stores: tuple[StorePath, ...], output: Form) -> None:
    """Show the contents of STORE (the newest below this folder by default), or of several as one.

    Differences between the stores of a set that may be mistakes are listed.
    """
    from aclnet.datasets.store.summary import summarise

    opened = find_store(*stores)
    summary = summarise(opened)
    emit(output, "info/1", {"store": str(opened.path), **summary}, _tables(opened.path, summary))
    for remark in opened.remarks:
        screen.print(f"remark: {remark}")


def _tables(path: StorePath, summary: Mapping[str, Any]) -> list[Table]:
    splits = [list(split.values()) for split in summary["splits"]]
    arrays = [
        (
            array["name"],
            "x".join(map(str, array["shape"])),
            array["dtype"],
            array["bytes_stored"],
            f"{array['bytes'] / array['bytes_stored']:.2f}",
        )
        for array in summary["arrays"]
    ]
    from aclnet.datasets.store.summary import facts

    found = [
        Table(str(path), ["", "value"], facts(summary)),
        Table("Splits", ["split", "samples", "classes", "subjects"], splits),
        Table("Frames a sequence", ["frames", "sequences", ""], _histogram(summary["lengths"])),
        Table("Arrays", ["array", "shape", "dtype", "bytes stored", "ratio"], arrays),
    ]
    if summary["members"]:
        members = [[*member.values()] for member in summary["members"]]
        for member in members:
            member[-1] = member[-1][:16]
        columns = ["member", "dataset", "samples", "classes", "digest"]
        found.insert(1, Table("Members", columns, members))
    if summary["rejected"]:
        rejected = [list(entry.values()) for entry in summary["rejected"]]
        found.insert(-1, Table("Rejected inputs", ["", "files"], rejected))
    return found


def _histogram(lengths: Sequence[Mapping[str, int]]) -> list[tuple[str, int, str]]:
    most = max(row["sequences"] for row in lengths)
    return [
        (f"{row['first']}-{row['last']}", n, "#" * round(24 * n / most))
        for row in lengths
        for n in [row["sequences"]]
    ]
