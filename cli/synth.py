"""`aclnet synth`."""

from __future__ import annotations

from pathlib import Path

import click

from aclnet.cli.console import json_option, print_json, progress, screen


@click.command()
@click.argument("dataset", type=click.Choice(["ntu60"]))
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--actions", help="Numbers as 1,23,50. [default: all that there are]")
@click.option("--subjects", type=int, default=10, show_default=True, help="Different people.")
@click.option("--setups", type=int, default=1, show_default=True)
@click.option("--replications", type=int, default=2, show_default=True, help="Of each movement.")
@click.option("--cameras", type=int, default=3, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--damage", type=float, default=0.0, help="Share of files that are damaged.")
@json_option
def command(
    dataset: str,
    folder: Path,
    actions: str | None,
    subjects: int,
    setups: int,
    replications: int,
    cameras: int,
    seed: int,
    damage: float,
    as_json: bool,
) -> None:
    """Write recordings of made-up people into FOLDER, in DATASET's raw format."""
    from aclnet.datasets.errors import AclnetError
    from aclnet.datasets.synth.ntu import generate

    try:
        chosen = [int(number) for number in actions.split(",")] if actions else None
    except ValueError:
        raise AclnetError(f"--actions {actions}: write numbers as 1,23,50") from None
    with progress() as update:
        summary = generate(
            folder,
            actions=chosen,
            subjects=subjects,
            setups=setups,
            replications=replications,
            cameras=cameras,
            seed=seed,
            damage=damage,
            progress=lambda done, total: update("write", done, total),
        )
    if as_json:
        print_json({"files": len(summary.names), "damaged": summary.damaged})
        return
    screen.print(f"{len(summary.names)} files of {dataset} in {folder}, made up (seed {seed})")
    if summary.damaged:
        screen.print(f"{len(summary.damaged)} of them damaged on purpose")
