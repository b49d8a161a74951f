"""`aclnet occlusion-bench`."""

from __future__ import annotations

from pathlib import Path

import click

from aclnet.cli.console import json_option, percent, print_json, progress, screen, table


@click.command()
@click.argument("run", type=click.Path(path_type=Path), required=False)
@click.option("--drop", "drops", multiple=True, required=True, help="Parts or joints, + joins.")
@click.option(
    "--missing",
    type=click.Choice(["centre", "camera", "feature"]),
    default="centre",
    help="Where missing joints are: at the body's centre, at the camera, or without features.",
)
@click.option("--store", type=click.Path(path_type=Path), help="Another store of the same layout.")
@click.option("--split", help="As xsub/test. [default: what the run tests on]")
@click.option("--clips", type=click.IntRange(1), help="Clips a sequence. [default: the run's]")
@click.option("--accelerator", default="auto", help="cpu, cuda, ...")
@json_option
def command(
    run: Path | None,
    drops: tuple[str, ...],
    missing: str,
    store: Path | None,
    split: str | None,
    clips: int | None,
    accelerator: str,
    as_json: bool,
) -> None:
    """Score RUN (the newest below this folder by default) with body parts missing.

    For example --drop hands --drop legs --drop left_arm+head. The numbers depend on what
    "missing" means and on preprocessing; compare them only with others of the same name.
    """
    from aclnet.datasets.find import newest_run
    from aclnet.datasets.store import Store
    from aclnet.figures import draw_bench
    from aclnet.occlusion_bench import occlusion_bench
    from aclnet.pipelines.occlusion import Drop
    from aclnet.runs import Run

    opened = Run(run or newest_run(Path()))
    data = Store(store) if store else opened.open_store()
    corruptions = [Drop.of(drop, data.layout, missing) for drop in drops]  # type: ignore[arg-type]
    with progress() as update:
        name, rows = occlusion_bench(
            opened, data, corruptions, split, clips=clips, accelerator=accelerator, progress=update
        )
    folder = opened.path / "occlusion"
    folder.mkdir(exist_ok=True)
    rows.to_csv(folder / f"{name}.csv", index=False)
    figure = draw_bench(rows, f"{opened.name}, {name}", folder / f"{name}.png")
    if as_json:
        print_json({"run": str(opened.path), "split": name, "rows": rows.to_dict("records")})
        return
    table(
        f"{opened.name} on {name} of {data.path}",
        ["missing", "top-1", "95 % interval", "lost against clean", "95 % interval"],
        [
            (
                row["corruption"],
                percent(row["top1"]),
                f"{percent(row['low'])} to {percent(row['high'])}",
                percent(row["lost"]),
                f"{percent(row['lost_low'])} to {percent(row['lost_high'])}",
            )
            for _, row in rows.iterrows()
        ],
    )
    screen.print(f"table and figure: {folder}/{figure.stem}.*")
