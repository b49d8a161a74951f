"""`aclnet bench`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from aclnet.cli import options
from aclnet.cli.console import progress_bars, screen
from aclnet.cli.finding import choose_recipe, find_store
from aclnet.cli.results import Table, emit

if TYPE_CHECKING:
    from aclnet.bench import Speed
    from aclnet.cli.results import Form
    from aclnet.datasets.store.paths import StorePath


@click.command()
@options.stores_argument
@options.recipe
@options.protocol
@options.settings
@click.option(
    "--seconds", type=options.FiniteRange(0.1), default=5.0, help="Seconds for each part."
)
@options.accelerator
@options.output_form
def command(
    stores: tuple[StorePath, ...],
    recipe: str | None,
    protocol: str | None,
    settings: tuple[str, ...],
    seconds: float,
    accelerator: str,
    output: Form,
) -> None:
    """Measure how fast this machine reads, feeds and trains on STORE (the newest by default).

    Also report how well an epoch is shuffled, and which settings to change.
    """
    from aclnet.bench import bench
    from aclnet.training.launch import TrainingRequest, make_fabric

    opened = find_store(*stores)
    recipe = choose_recipe(recipe, opened, protocol)
    request = TrainingRequest.of(
        opened, recipe=recipe, protocol=protocol, settings=settings, accelerator=accelerator
    )
    config = request.config
    fabric = make_fabric(config, accelerator, "1")
    with progress_bars() as update:
        found = bench(fabric, opened, config, seconds=seconds, progress=update)
    about = {
        "store": str(opened.path),
        "recipe": config.recipe,
        "device": fabric.device.type,
        "batch_size": config.optim.batch_size,
    }
    title = (
        f"{opened.path}, recipe {config.recipe}, {fabric.device.type}, batches of "
        f"{config.optim.batch_size}"
    )
    emit(output, "bench/1", about | found.as_dict(), _tables(title, found))
    screen.print(
        f"an epoch takes {found.epoch:,.0f} s; reading its data takes {100 * found.load:.2g} % of "
        "that time, in another thread"
    )
    for advice in found.advice():
        screen.print(advice)


def _tables(title: str, found: Speed) -> list[Table]:
    rates = [
        [f"whole shards decoded ({found.read_mb:,.0f} MB/s)", f"{found.read:,.0f}"],
        ["stream, decoding shards", f"{found.first:,.0f}"],
        ["stream, shards in memory", f"{found.again:,.0f}"],
        ["preparation of the network's input", f"{found.made:,.0f}"],
        ["trained", f"{found.trained:,.1f}"],
    ]
    order = [
        ["distance samples move", f"{found.distance:.2f}"],
        ["entropy of shards in a batch", f"{found.entropy:.2f}"],
    ]
    return [
        Table(title, ["", "sequences/s"], rates),
        Table("Order of an epoch", ["", "1: as drawn from the whole"], order),
    ]
