"""`aclnet train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from aclnet.cli.console import json_option, print_json, screen
from aclnet.cli.scoring import show_accuracy

if TYPE_CHECKING:
    from aclnet.config import Config
    from aclnet.datasets.store import Store
    from aclnet.runs import Run


@click.command()
@click.argument("store", type=click.Path(path_type=Path), required=False)
@click.option("--recipe", help="A shipped recipe or a .toml file. [default: the dataset's]")
@click.option("--protocol", help="Which split of the store. [default: its first]")
@click.option("--modality", type=click.Choice(["j", "b", "k", "jm", "bm", "km"]))
@click.option("--seed", type=click.IntRange(0), help="Of weights, order and augmentation.")
@click.option("--select", type=click.Choice(["last", "val", "test"]), help="Which weights count.")
@click.option("--split", type=click.Path(path_type=Path), help="CSV with columns id, split.")
@click.option("--init-from", type=click.Path(path_type=Path), help="Start from a run's weights.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="As optim.epochs=30.")
@click.option("--out", type=click.Path(path_type=Path), help="The run. [default: beside the store]")
@click.option("--fresh", is_flag=True, help="Train again what was trained before.")
@click.option("--accelerator", default="auto", help="cpu, cuda, ...")
@click.option("--devices", default="auto", help="How many.")
@json_option
def command(
    store: Path | None,
    recipe: str | None,
    protocol: str | None,
    modality: str | None,
    seed: int | None,
    select: str | None,
    split: Path | None,
    init_from: Path | None,
    settings: tuple[str, ...],
    out: Path | None,
    fresh: bool,
    accelerator: str,
    devices: str,
    as_json: bool,
) -> None:
    """Train on STORE (the newest below this folder by default) and score the test split.

    Stopped anywhere, the same command goes on and ends with the same weights.
    """
    from aclnet.cli.progress import TrainingProgress
    from aclnet.config import build_config, default_recipe
    from aclnet.datasets.find import newest_store
    from aclnet.datasets.store import Store
    from aclnet.train import make_fabric, train

    if protocol and split:
        raise click.UsageError("--protocol and --split both say who trains: give one")
    opened = Store(store or newest_store(Path()))
    chosen = [f"data.protocol={protocol}"] if protocol else []
    chosen += [f"data.modality={modality}"] if modality else []
    config = build_config(
        recipe or default_recipe(opened.name), [*chosen, *settings], seed=seed, select=select
    )
    fabric = make_fabric(config, accelerator, devices)
    fabric.launch()
    with TrainingProgress(config.optim.epochs, quiet=not fabric.is_global_zero) as progress:
        progress.remark(_chosen(config, opened, f"{fabric.world_size} x {fabric.device.type}"))
        run = train(
            fabric,
            opened,
            config,
            progress,
            out=out,
            split_file=split,
            init_from=init_from,
            fresh=fresh,
        )
    if fabric.is_global_zero:
        _show(run, as_json=as_json)


def _chosen(config: Config, store: Store, devices: str) -> str:
    optim = config.optim
    return (
        f"{store.path}, recipe {config.recipe}, {config.model.size} network, seed {config.seed}, "
        f"{optim.epochs} epochs on {devices}\n"
        f"learning rate {optim.scaled_lr:g} = {optim.lr:g} x batch {optim.batch_size} / "
        f"{optim.base_batch}"
    )


def _show(run: Run, *, as_json: bool) -> None:
    result = run.record["result"]
    if as_json:
        print_json({"run": str(run.path), **result})
        return
    screen.print(f"run {run.path}", markup=False)
    if "top1" not in result:
        screen.print("no sample says test: nothing was scored")
        return
    show_accuracy(f"{run.protocol} test", result, result["clips"], run.config.select)
