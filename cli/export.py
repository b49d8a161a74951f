"""`aclnet export`."""

from __future__ import annotations

from pathlib import Path

import click

from aclnet.cli.console import screen


@click.command()
@click.argument("run", type=click.Path(path_type=Path), required=False)
@click.option("--to", type=click.Choice(["official", "safetensors"]), required=True)
@click.option("--out", type=click.Path(path_type=Path), help="The file. [default: in the run]")
def command(run: Path | None, to: str, out: Path | None) -> None:
    """Write the network of RUN (the newest below this folder by default) for other software.

    official: a checkpoint that the released ACLNet loads. safetensors: the classifier's weights.
    """
    from aclnet.datasets.find import newest_run
    from aclnet.export import FORMATS, export
    from aclnet.runs import Run

    opened = Run(run or newest_run(Path()))
    ending, _ = FORMATS[to]
    file = out or opened.path / f"{opened.name}{ending}"
    export(opened, to, file)
    screen.print(f"{file}: the network of {opened.path}", markup=False)
