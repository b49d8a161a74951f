"""`aclnet import-checkpoint`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from aclnet.cli import options
from aclnet.cli.console import print_json, screen

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@click.argument("file", type=options.PATH)
@click.option("--dataset", required=True, help="What it was trained on: ntu60, kinetics, ...")
@click.option("--modality", type=options.MODALITY, required=True)
@click.option("--protocol", help="As xview. [default: the dataset's first]")
@click.option(
    "--classes",
    type=options.PATH,
    help="Class names, a line each. [default: the dataset's first ones]",
)
@click.option("--out", type=options.PATH, help="The run. [default: below ./runs]")
@options.as_json
def command(
    file: Path,
    dataset: str,
    modality: str,
    protocol: str | None,
    classes: Path | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Make a run of FILE, a checkpoint of the released ACLNet or of a network of PYSKL's zoo.

    PYSKL's ST-GCN, ST-GCN++, AAGCN, CTR-GCN and MS-G3D for 3-D joints need a store prepared with
    --align. The run is tested as the released code tests: `aclnet evaluate RUN --store STORE`.
    """
    from aclnet.datasets.spec import AclnetError
    from aclnet.exchange.official import import_official

    names = None
    if classes:
        try:
            names = classes.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise AclnetError(f"--classes {classes} cannot be read: {error}") from None
    run = import_official(
        file,
        dataset.lower().replace("_", "-"),
        modality,
        protocol=protocol,
        classes=names,
        out=out,
    )
    if as_json:
        print_json({"run": str(run.path), **run.record.model_dump()["imported"]})
        return
    config, known = run.config, len(run.class_names)
    screen.print(
        f"{run.path}: {known} classes, {run.layout.num_joints} joints of "
        f"{run.record.channels} channels, base width {config.model.base_channels}, "
        f"network {config.model.name}, "
        f"modality {modality}, recipe {config.recipe} with official settings"
    )
    screen.print(f"next: aclnet evaluate {run.path} --store STORE")
