"""`aclnet train`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from aclnet.cli import options
from aclnet.cli.console import percent, print_json, screen, table
from aclnet.cli.finding import choose_recipe, find_store, with_protocol
from aclnet.cli.tables import show_accuracy, show_recognition, which_weights

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from aclnet.datasets.store.store import Store
    from aclnet.runs.config import Config
    from aclnet.runs.run import Run
    from aclnet.training.jobs import Job


@click.command()
@options.store_argument
@options.recipe
@options.protocol
@click.option(
    "--modality",
    "modalities",
    type=options.CommaList(options.MODALITY),
    default=[],
    metavar="M,...",
    help="Of j, b, k, jm, bm, km; several: a run each. [default: the recipe's]",
)
@click.option(
    "--model", type=options.MODEL, help="Network, as --set model.name. [default: the recipe's]"
)
@click.option("--seed", type=click.IntRange(0), help="Of weights, order and augmentation.")
@options.select
@options.split_file
@click.option("--fold", help="As 2/4: test on a fold of the training subjects, train on the rest.")
@click.option("--init-from", type=options.PATH, help="Start from a run's weights.")
@options.settings
@click.option(
    "--out",
    type=options.PATH,
    help="The run; of several, the folder they are put in by name. [default: beside the store]",
)
@click.option("--fresh", is_flag=True, help="Train again what was trained before.")
@click.option(
    "--jobs", type=click.IntRange(1), default=1, help="Modalities at once, a device each."
)
@options.accelerator
@click.option("--devices", default="auto", help="How many, for one modality.")
@options.as_json
def command(
    store: Path | None,
    recipe: str | None,
    protocol: str | None,
    modalities: list[str],
    model: str | None,
    seed: int | None,
    select: str | None,
    split_file: Path | None,
    fold: str | None,
    init_from: Path | None,
    settings: tuple[str, ...],
    out: Path | None,
    fresh: bool,
    jobs: int,
    accelerator: str,
    devices: str,
    as_json: bool,
) -> None:
    """Train on STORE (the newest below this folder by default) and score the test split.

    Stopped anywhere, the same command goes on and ends with the same weights.
    """
    from aclnet.cli.monitors import TrainingScreen
    from aclnet.runs.config import build_config
    from aclnet.runs.splits import Fold
    from aclnet.training.jobs import plan_job
    from aclnet.training.launch import TrainingRequest, make_fabric, train

    if split_file and (protocol or fold):
        raise click.UsageError("--split says who trains, as --protocol and --fold do: give one")
    if len(modalities) > 1 and devices not in ("auto", "1"):
        raise click.UsageError("several modalities train on a device each: --jobs, not --devices")
    if jobs > 1 and len(modalities) < 2:
        raise click.UsageError("--jobs is for several modalities")
    opened = find_store(store)
    recipe = choose_recipe(recipe, opened, "" if split_file else protocol)
    chosen = with_protocol(settings, protocol)
    chosen = [*chosen, f"model.name={model}"] if model else chosen
    streams = [[f"data.modality={modality}"] for modality in modalities] or [[]]
    tested = Fold.parse(fold) if fold else None
    requests = [
        TrainingRequest(
            build_config(recipe, [*chosen, *stream], seed=seed, select=select),
            split_file,
            tested,
            init_from,
            fresh,
        )
        for stream in streams
    ]
    if len(requests) > 1:
        planned = [plan_job(r.config.data.modality, opened, r, out) for r in requests]
        _train_streams(planned, jobs, accelerator, as_json=as_json)
        return
    (request,) = requests
    config = request.config
    fabric = make_fabric(config, accelerator, devices)
    fabric.launch()
    with TrainingScreen(config.optim.epochs, quiet=not fabric.is_global_zero) as progress:
        progress.remark(_chosen(config, opened, f"{fabric.world_size} x {fabric.device.type}"))
        run = train(fabric, opened, request, progress, out)
    if fabric.is_global_zero:
        _show(run, as_json=as_json)


def _train_streams(jobs: Sequence[Job], at_once: int, accelerator: str, *, as_json: bool) -> None:
    """Several modalities: trains what is missing and shows all that are there."""
    from aclnet.cli.monitors import JobsScreen
    from aclnet.runs.run import Run, is_finished
    from aclnet.training.jobs import failed, train_jobs

    config = jobs[0].config
    screen.print(
        f"{jobs[0].store}, recipe {config.recipe}, seed {config.seed}, {len(jobs)} modalities in "
        f"{jobs[0].path.parent}"
    )
    with JobsScreen(at_once) as watch:
        failures = train_jobs(jobs, watch, at_once=at_once, accelerator=accelerator)
    runs = [Run(job.path) for job in jobs if is_finished(job.path)]
    if as_json:
        print_json([{"run": str(run.path), **run.result} for run in runs])
    elif runs:
        _show_streams(runs)
    if failures:
        raise failed(failures, len(jobs))


def _show_streams(runs: Sequence[Run]) -> None:
    results = [run.result for run in runs]
    if "top1" not in results[0]:
        screen.print("no sample says test: nothing was scored")
        return
    first = runs[0]
    tested = first.test_split.replace("/", " ")
    measures = {"top-1": "top1", "top-5": "top5", "mean class": "mean_class"}
    if first.config.task != "action":
        measures = {"rank-1": "rank1", "rank-5": "rank5", "mAP": "mAP"}
    table(
        f"{tested}, {results[0]['samples']} samples, {results[0]['clips']} clips, "
        f"weights: {which_weights(first.config.select)}",
        ["modality", *measures, "run"],
        [
            [
                run.config.data.modality,
                *(percent(result[name]) for name in measures.values()),
                run.name,
            ]
            for run, result in zip(runs, results, strict=True)
        ],
    )
    screen.print(f"together: aclnet ensemble {' '.join(str(run.path) for run in runs)}")


def _network(config: Config) -> str:
    size, name = config.model.size, config.model.name
    return f"{size} network" if name == "aclnet" else f"{size} network {name}"


def _chosen(config: Config, store: Store, devices: str) -> str:
    optim = config.optim
    return (
        f"{store.path}, recipe {config.recipe}, {_network(config)}, seed {config.seed}, "
        f"{optim.epochs} epochs on {devices}\n"
        f"learning rate {optim.scaled_lr:g} = {optim.lr:g} x batch {optim.batch_size} / "
        f"{optim.base_batch}"
    )


def _show(run: Run, *, as_json: bool) -> None:
    result = run.result
    if as_json:
        print_json({"run": str(run.path), **result})
        return
    screen.print(f"run {run.path}")
    if "top1" not in result:
        screen.print("no sample says test: nothing was scored")
        return
    if run.config.task != "action":
        tables = run.load_tables(run.test_scores)
        show_recognition(run.test_split.replace("/", " "), result, tables, run.config)
        return
    show_accuracy(run.test_split.replace("/", " "), result, result["clips"], run.config.select)
