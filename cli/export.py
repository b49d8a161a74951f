"""`aclnet export`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from aclnet.cli import options
from aclnet.cli.console import progress_bars, screen
from aclnet.datasets.exports.forms import STORE_FORMS

if TYPE_CHECKING:
    from pathlib import Path

    from aclnet.runs.run import Run

# as RUN_FORMS in `aclnet.exchange.export_run`, which takes long to import
_OF_RUNS = ("official", "safetensors", "embeddings")


@click.command()
@click.argument("path", metavar="[STORE|RUN]", type=options.PATH, required=False)
@click.option("--to", type=click.Choice([*STORE_FORMS, *_OF_RUNS]), required=True)
@click.option("--out", type=options.PATH, help="The file. [default: beside STORE, in RUN]")
@click.option("--protocol", help="For npz: which one. [default: the store's first]")
@click.option(
    "--store", type=options.PATH, help="For embeddings: of which store. [default: the run's]"
)
@options.embedding
@click.option("--windows", is_flag=True, help="For embeddings: a row a window, not a sequence.")
def command(
    path: Path | None,
    to: str,
    out: Path | None,
    protocol: str | None,
    store: Path | None,
    embedding: str | None,
    windows: bool,
) -> None:
    """Write a STORE, or the network of a RUN (the newest by default), for other software.

    Stores: pyskl is PYSKL's pickle, npz CTR-GCN's arrays of one protocol, hdf5 all of the store.
    `aclnet prepare` makes the same store of each again; of npz, that protocol's recordings. Runs:
    official is a checkpoint that the released ACLNet loads, safetensors the classifier's weights,
    embeddings a vector a sequence of a store, in an .npz or .h5 file.
    """
    from aclnet.datasets.store.store import Store
    from aclnet.exchange.export_run import default_file as run_file
    from aclnet.exchange.export_run import export, opened
    from aclnet.exchange.export_store import default_file, export_store

    if to != "embeddings" and (store or embedding or windows):
        raise click.UsageError("--store, --embedding and --windows are for embeddings")
    source = opened(path, to, protocol)
    if isinstance(source, Store):
        file = out or default_file(source, to, protocol)
        remarks = [f"the store {source.path}", *export_store(source, to, file, protocol)]
    elif to == "embeddings":
        file = out or run_file(source, to)
        remarks = [_embeddings(source, store, file, embedding, windows=windows)]
    else:
        file = out or run_file(source, to)
        export(source, to, file)
        remarks = [f"the network of {source.path}"]
    screen.print(f"{file}: {'; '.join(remarks)}")


def _embeddings(
    run: Run, path: Path | None, file: Path, embedding: str | None, *, windows: bool
) -> str:
    from aclnet.datasets.store.store import Store
    from aclnet.exchange.export_run import export_embeddings

    store = Store(path) if path else run.open_store()
    with progress_bars() as update:
        count = export_embeddings(
            run,
            store,
            file,
            embedding=embedding,
            windows=windows,
            progress=update,
        )
    what = "windows" if windows else "sequences"
    return f"{count} {what} of {store.path}, by {run.path}"
