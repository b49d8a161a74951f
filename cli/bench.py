"""`aclnet bench`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from aclnet.cli import options
from aclnet.cli.console import print_json, progress_bars, screen, table
from aclnet.cli.finding import choose_recipe, find_store, with_protocol

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@options.store_argument
@options.recipe
@options.protocol
@options.settings
@click.option("--seconds", type=click.FloatRange(0.1), default=5.0, help="Of each part.")
@options.accelerator
@options.as_json
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
    from aclnet.runs.config import build_config
    from aclnet.training.launch import make_fabric

    opened = find_store(store)
    recipe = choose_recipe(recipe, opened, protocol)
    config = build_config(recipe, with_protocol(settings, protocol))
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
