"""`aclnet identify`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from aclnet.cli import completion, options
from aclnet.cli.console import progress_bars, screen
from aclnet.cli.finding import find_run
from aclnet.cli.results import Table, emit

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from aclnet.cli.results import Form
    from aclnet.datasets.store.paths import StorePath


@click.command()
@click.argument("run", type=options.PATH, shell_complete=completion.run)
@click.argument("probes", metavar="PROBE...", nargs=-1, required=True)
@click.option(
    "--gallery",
    type=options.STORE,
    required=True,
    shell_complete=completion.store,
    help="Store with the known people.",
)
@click.option("--side", help="Side of the gallery, for example gait/gallery. [default: all]")
@click.option(
    "--threshold",
    type=float,
    help="Distance threshold: matches farther than this are reported as unknown. [default: chosen "
    "by the run on people held out of its training]",
)
@click.option(
    "--top", type=click.IntRange(1), default=3, help="People to list per probe. [default: 3]"
)
@options.own_model
@options.accelerator
@options.output_form
def command(
    run: Path,
    probes: tuple[str, ...],
    gallery: StorePath,
    side: str | None,
    threshold: float | None,
    top: int,
    accelerator: str,
    output: Form,
) -> None:
    """Identify each PROBE by comparing its embedding with a gallery.

    A PROBE is a store or an id. All sequences of a store are identified. The id names a sequence of
    the gallery, which is compared with the other sequences.
    """
    from aclnet.datasets.opening import open_store
    from aclnet.retrieval.identify import identify, open_probes, threshold_of

    opened = find_run(run)
    limit = threshold_of(opened) if threshold is None else threshold
    with progress_bars() as update:
        found = identify(
            opened,
            open_store(gallery),
            open_probes(probes),
            side=side,
            threshold=limit,
            top=top,
            accelerator=accelerator,
            progress=update,
        )
    rows = [
        row | {"person": row["person"] or None, "recording": row["recording"] or None}
        for row in found.to_dict("records")
    ]
    emit(output, "identify/1", {"run": str(run), "threshold": limit, "rows": rows}, [_table(found)])
    if limit is None:
        screen.print(
            "nobody is reported as unknown, because there is no threshold: give --threshold, or "
            "train with --select val, which chooses one on people held out of training"
        )
    else:
        screen.print(f"unknown: the nearest match is farther than {limit:.3g}")


def _table(found: pd.DataFrame) -> Table:
    rows = [
        (
            probe,
            of_probe["answer"].iloc[0],
            ", ".join(
                f"{person} {distance:.3g}"
                for person, distance in zip(of_probe["person"], of_probe["distance"], strict=True)
                if person
            ),
        )
        for (_, probe), of_probe in found.groupby(["store", "probe"], sort=False)
    ]
    columns = ["probe", "answer", "nearest, with their distances"]
    return Table("Identities of the probes", columns, rows, left=3)
