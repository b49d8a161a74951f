"""`aclnet import-checkpoint`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from aclnet.cli import completion, options
from aclnet.cli.console import screen
from aclnet.cli.results import Table, emit

if TYPE_CHECKING:
    from pathlib import Path

    from aclnet.cli.results import Form


@click.command()
@click.argument("file", type=options.PATH)
@click.option(
    "--dataset",
    required=True,
    shell_complete=completion.dataset,
    help="Dataset that the checkpoint was trained on: ntu60, kinetics, ...",
)
@click.option(
    "--modality",
    type=options.MODALITY,
    required=True,
    help="Input modality that the checkpoint was trained on.",
)
@click.option("--protocol", help="Protocol, for example xview. [default: the dataset's first]")
@click.option(
    "--classes",
    type=options.PATH,
    help="File of class names, one per line. [default: the dataset's first ones]",
)
@click.option("--out", type=options.PATH, help="Folder of the run. [default: below ./runs]")
@options.output_form
def command(
    file: Path,
    dataset: str,
    modality: str,
    protocol: str | None,
    classes: Path | None,
    out: Path | None,
    output: Form,
) -> None:
    """Make a run from FILE, a checkpoint of the released ACLNet or of PYSKL's zoo.

    PYSKL's ST-GCN, ST-GCN++, AAGCN, CTR-GCN and MS-G3D need a store prepared with --align (3-D
    joints) or --layout coco (2-D joints of HRNet). Test the run with `aclnet evaluate RUN --store
    STORE`, which computes the test like the authors' code.
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
    config = run.config
    document = {
        "run": str(run.path),
        **run.record.model_dump()["imported"],
        "classes": len(run.class_names),
        "joints": run.layout.num_joints,
        "channels": run.record.channels,
        "base_channels": config.model.base_channels,
        "network": config.model.name,
        "modality": modality,
        "recipe": config.recipe,
    }
    emit(output, "import-checkpoint/1", document, [Table.of_facts(document)])
    screen.print(
        f"{run.path}: {len(run.class_names)} classes, {run.layout.num_joints} joints of "
        f"{run.record.channels} channels, base width {config.model.base_channels}, "
        f"network {config.model.name}, "
        f"modality {modality}, recipe {config.recipe} with {config.settings} settings"
    )
    screen.print(f"test it: aclnet evaluate {run.path} --store STORE")
