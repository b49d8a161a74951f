"""`aclnet bench`."""

from __future__ import annotations

from pathlib import Path

import click

from aclnet.cli.console import json_option, print_json, progress_bars, screen, table


@click.command()
@click.argument("store", type=click.Path(path_type=Path), required=False)
@click.option("--recipe", help="A shipped recipe or a .toml file. [default: the dataset's]")
@click.option("--protocol", help="Which split of the store. [default: its first]")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="As model.size=tiny.")
@click.option("--seconds", type=click.FloatRange(0.1), default=5.0, help="Of each part.")
@click.option("--accelerator", default="auto", help="cpu, cuda, ...")
@json_option
def command(
    store: Path | None,
    recipe: str | None,
    protocol: str | None,
    settings: tuple[str, ...],
    seconds: float,
    accelerator: str,
    as_json: bool,
) -> None:
    """Say what this machine reads, feeds and trains of STORE (the newest by default) per second,
    how well an epoch is shuffled, and what to change."""
    from aclnet.bench import bench
    from aclnet.datasets.discovery import newest_store
    from aclnet.datasets.store.store import Store
    from aclnet.runs.config import build_config
    from aclnet.runs.recipes import default_recipe
    from aclnet.training.launch import make_fabric

    opened = Store(store or newest_store(Path()))
    tested_on = protocol or opened.default_protocol
    recipe = recipe or default_recipe(opened.name, tested_on, opened.coordinates)
    chosen = [*([f"data.protocol={protocol}"] if protocol else []), *settings]
    config = build_config(recipe, chosen)
    fabric = make_fabric(config, accelerator, "1")
    with progress_bars() as update:
        found = bench(fabric, opened, config, seconds=seconds, progress=update)
    if as_json:
        print_json(found.as_dict())
        return
    table(
        f"{opened.path}, recipe {config.recipe}, {fabric.device.type}, batches of "
        f"{config.optim.batch_size}",
        ["", "sequences/s"],
        [
            [f"whole shards decoded ({found.read_mb:,.0f} MB/s)", f"{found.read:,.0f}"],
            ["stream, shards decoded on the way", f"{found.first:,.0f}"],
            ["stream, shards kept", f"{found.again:,.0f}"],
            ["made into the network's input", f"{found.made:,.0f}"],
            ["trained", f"{found.trained:,.1f}"],
        ],
    )
    table(
        "Order of an epoch",
        ["", "1: as drawn from the whole"],
        [
            ["distance that samples are moved", f"{found.distance:.2f}"],
            ["entropy of shards in a batch", f"{found.entropy:.2f}"],
        ],
    )
    screen.print(
        f"an epoch takes {found.epoch:,.0f} s; its data take {100 * found.load:.2g} % of that, in "
        "another thread"
    )
    for advice in found.advice():
        screen.print(advice)
