"""`aclnet export`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from aclnet.cli import completion, options
from aclnet.cli.console import progress_bars, screen
from aclnet.cli.finding import with_own_model
from aclnet.cli.results import Table, emit
from aclnet.datasets.exports.forms import STORE_FORMS

if TYPE_CHECKING:
    from pathlib import Path

    from aclnet.cli.results import Form
    from aclnet.datasets.store.paths import StorePath
    from aclnet.runs.run import Run

# The names of RUN_FORMS in `aclnet.exchange.export_run`, which takes long to import.
_OF_RUNS = ("official", "safetensors", "onnx", "torch-export", "csv", "embeddings")


@click.command()
@click.argument(
    "path",
    metavar="[STORE|RUN]",
    type=options.STORE,
    required=False,
    shell_complete=completion.store_or_run,
)
@click.option(
    "--to",
    type=click.Choice([*STORE_FORMS, *_OF_RUNS]),
    required=True,
    help="Form of the file.",
)
@click.option("--out", type=options.PATH, help="File to write. [default: beside STORE, or in RUN]")
@click.option("--protocol", help="Protocol to export, for npz. [default: the store's first]")
@click.option(
    "--store",
    type=options.STORE,
    shell_complete=completion.store,
    help="Store to embed, for embeddings. [default: the run's]",
)
@options.embedding
@click.option(
    "--scores",
    help="Name of a file in scores/ of the run, for csv. [default: that of the test split]",
)
@options.own_model
@click.option("--windows", is_flag=True, help="Embed each window instead of each sequence.")
@options.output_form
def command(
    path: StorePath | None,
    to: str,
    out: Path | None,
    protocol: str | None,
    store: StorePath | None,
    embedding: str | None,
    scores: str | None,
    windows: bool,
    output: Form,
) -> None:
    """Write a STORE, or the network of a RUN (the newest by default), for other software.

    Forms of a store: pyskl (PYSKL's pickle), npz (CTR-GCN's arrays of one protocol) and hdf5 (the
    whole store). `aclnet prepare` makes the same store from an export; from npz, it makes only the
    recordings of the protocol.

    Forms of a run: official (a checkpoint for the released ACLNet), safetensors (the classifier's
    weights), csv (the scores of a split: id, label, prediction and the probability of each class),
    embeddings (one vector per sequence of a store, in an .npz or .h5 file), onnx and torch-export
    (a graph that computes probabilities from joints without aclnet; see docs/predict.md, Deploy).
    """
    from aclnet.exchange.export_run import default_file as run_file
    from aclnet.exchange.export_run import export, export_scores, opened
    from aclnet.exchange.export_store import default_file, export_store
    from aclnet.runs.run import Run

    if to != "embeddings" and (store or embedding or windows):
        raise click.UsageError("--store, --embedding and --windows are for embeddings")
    if to != "csv" and scores:
        raise click.UsageError("--scores is for csv")
    source = opened(path, to, protocol)
    if not isinstance(source, Run):
        file = out or default_file(source, to, protocol)
        of, remarks = f"the store {source.path}", export_store(source, to, file, protocol)
    elif to == "embeddings":
        file = out or run_file(source, to)
        of = _embeddings(with_own_model(source), store, file, embedding, windows=windows)
        remarks = []
    elif to == "csv":
        file = out or run_file(source, to, scores)
        of, remarks = f"{export_scores(source, file, scores)} samples of {source.path}", []
    else:
        file = out or run_file(source, to)
        export(with_own_model(source), to, file)
        of, remarks = f"the network of {source.path}", []
    document = {"file": str(file), "to": to, "source": str(source.path), "remarks": remarks}
    emit(output, "export/1", document, [Table.of_facts(document)])
    screen.print(f"{file}: {'; '.join([of, *remarks])}")


def _embeddings(
    run: Run, path: StorePath | None, file: Path, embedding: str | None, *, windows: bool
) -> str:
    from aclnet.datasets.opening import open_store
    from aclnet.exchange.export_run import export_embeddings

    store = open_store(path) if path else run.open_store()
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
