"""`aclnet identify`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from aclnet.cli import options
from aclnet.cli.console import print_json, progress_bars, screen, table

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@click.argument("run", type=options.PATH)
@click.argument("probes", metavar="PROBE...", nargs=-1, required=True)
@click.option(
    "--gallery", type=options.PATH, required=True, help="The store with those who are known."
)
@click.option("--side", help="Of the gallery, as gait/gallery. [default: all of it]")
@click.option(
    "--threshold",
    type=float,
    help="Who is further is unknown. [default: chosen by the run on people it held out]",
)
@click.option("--top", type=click.IntRange(1), default=3, help="People a probe. [default: 3]")
@options.accelerator
@options.as_json
def command(
    run: Path,
    probes: tuple[str, ...],
    gallery: Path,
    side: str | None,
    threshold: float | None,
    top: int,
    accelerator: str,
    as_json: bool,
) -> None:
    """Say who of a gallery each PROBE shows, by the embedding of RUN.

    A PROBE is a store, of which every sequence is looked for, or the id of a sequence of the
    gallery, which is looked for among the others.
    """
    from aclnet.datasets.store.store import Store
    from aclnet.retrieval.identify import identify, open_probes, threshold_of
    from aclnet.runs.run import Run

    opened = Run(run)
    limit = threshold_of(opened) if threshold is None else threshold
    with progress_bars() as update:
        found = identify(
            opened,
            Store(gallery),
            open_probes(probes),
            side=side,
            threshold=limit,
            top=top,
            accelerator=accelerator,
            progress=update,
        )
    if as_json:
        print_json({"run": str(run), "threshold": limit, "rows": found.to_dict("records")})
        return
    table(
        "Who is it?",
        ["probe", "answer", "nearest, with their distances"],
        [
            (
                probe,
                rows["answer"].iloc[0],
                ", ".join(
                    f"{person} {distance:.3g}"
                    for person, distance in zip(rows["person"], rows["distance"], strict=True)
                    if person
                ),
            )
            for (_, probe), rows in found.groupby(["store", "probe"], sort=False)
        ],
        left=3,
    )
    if limit is None:
        screen.print(
            "nobody is called unknown: the run chose no threshold, for it held nobody out "
            "(train --select val), and none was given (--threshold)"
        )
    else:
        screen.print(f"unknown: whose nearest is further than {limit:.3g}")
