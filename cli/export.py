"""`aclnet export`."""

from __future__ import annotations

from pathlib import Path

import click

from aclnet.cli.console import screen

# as `aclnet.export.FORMATS` and `aclnet.pipelines.export.FORMATS`, which take long to import
_OF_RUNS, _OF_STORES = ("official", "safetensors"), ("pyskl", "npz", "hdf5")


@click.command()
@click.argument("path", metavar="[STORE|RUN]", type=click.Path(path_type=Path), required=False)
@click.option("--to", type=click.Choice([*_OF_STORES, *_OF_RUNS]), required=True)
@click.option(
    "--out", type=click.Path(path_type=Path), help="The file. [default: beside STORE, in RUN]"
)
@click.option("--protocol", help="For npz: which one. [default: the store's first]")
def command(path: Path | None, to: str, out: Path | None, protocol: str | None) -> None:
    """Write a STORE, or the network of a RUN (the newest by default), for other software.

    Stores: pyskl is PYSKL's pickle, npz CTR-GCN's arrays of one protocol, hdf5 all of the store.
    `aclnet prepare` makes the same store of each again; of npz, that protocol's recordings. Runs:
    official is a checkpoint that the released ACLNet loads, safetensors the classifier's weights.
    """
    from aclnet.datasets.store import Store
    from aclnet.export import export, opened
    from aclnet.export import file_of as run_file
    from aclnet.pipelines.export import export_store, file_of

    source = opened(path, to, protocol)
    if isinstance(source, Store):
        file = out or file_of(source, to, protocol)
        remarks = [f"the store {source.path}", *export_store(source, to, file, protocol)]
    else:
        file = out or run_file(source, to)
        export(source, to, file)
        remarks = [f"the network of {source.path}"]
    screen.print(f"{file}: {'; '.join(remarks)}")
