"""`aclnet train`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from aclnet.cli import completion, options
from aclnet.cli.console import percent, screen
from aclnet.cli.finding import choose_recipe, find_store
from aclnet.cli.results import Table, emit, fail
from aclnet.cli.tables import (
    accuracy_table,
    recognition_tables,
    tell_retrieval,
    which_weights,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from aclnet.cli.results import Form
    from aclnet.datasets.store.paths import StorePath
    from aclnet.datasets.store.store import Store
    from aclnet.runs.config import Config
    from aclnet.runs.run import Run
    from aclnet.training.jobs import Job

_NOT_SCORED = "there is no test sample, so nothing was scored"


@click.command()
@options.stores_argument
@options.recipe
@options.protocol
@click.option(
    "--modality",
    "modalities",
    type=options.CommaList(options.MODALITY),
    default=[],
    metavar="M,...",
    help="Input modality: j, b, k, jm, bm or km. Several, separated by commas, train one run each. "
    "[default: the recipe's]",
)
@click.option(
    "--model",
    help="Network by name, or your own as package.module:function (docs/networks.md). "
    "[default: the recipe's]",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    help="Seed for the initial weights, sample order and augmentation.",
)
@options.select
@options.split_file
@click.option("--fold", help="Fold of the training subjects to test on, for example 2/4.")
@click.option(
    "--init-from",
    type=options.PATH,
    shell_complete=completion.run,
    help="Run whose weights to start from.",
)
@options.settings
@click.option(
    "--out",
    type=options.PATH,
    help="Folder of the run, or of several runs. [default: beside the store]",
)
@click.option("--fresh", is_flag=True, help="Delete an existing run and train again.")
@click.option(
    "--jobs", type=click.IntRange(1), default=1, help="Number of modalities to train at once."
)
@options.trackers
@options.accelerator
@click.option("--devices", default="auto", help="Number of devices on each node, for one modality.")
@click.option(
    "--nodes",
    type=click.IntRange(1),
    help="Number of machines (docs/gpu.md). [default: as torchrun or srun started]",
)
@options.output_form
def command(
    stores: tuple[StorePath, ...],
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
    trackers: tuple[str, ...],
    accelerator: str,
    devices: str,
    nodes: int | None,
    output: Form,
) -> None:
    """Train on STORE (the newest below this folder by default) and score the test split.

    Several stores are trained on as one: classes are joined by name (docs/sets.md).

    If the command is interrupted, run it again to resume: the final weights are the same.
    """
    from aclnet.cli.monitors import TrainingScreen
    from aclnet.training.jobs import plan_job
    from aclnet.training.launch import TrainingRequest, make_fabric, train_run
    from aclnet.training.precision import arithmetic

    if len(modalities) > 1 and devices not in ("auto", "1"):
        raise click.UsageError(
            "each of several modalities trains on one device: use --jobs, not --devices"
        )
    if jobs > 1 and len(modalities) < 2:
        raise click.UsageError("--jobs is for several modalities")
    opened = find_store(*stores)
    chosen = choose_recipe(recipe, opened, "" if split_file else protocol)
    streams: Sequence[str | None] = modalities or [None]
    requests = [
        TrainingRequest.of(
            opened,
            recipe=chosen,
            protocol=protocol,
            modality=modality,
            model=model,
            seed=seed,
            select=select,
            split_file=split_file,
            fold=fold,
            init_from=init_from,
            settings=settings,
            fresh=fresh,
            trackers=trackers,
            accelerator=accelerator,
        )
        for modality in streams
    ]
    if len(requests) > 1:
        planned = [plan_job(r.config.data.modality, opened, r, out) for r in requests]
        _train_streams(planned, jobs, accelerator, output)
        return
    (request,) = requests
    config = request.config
    fabric = make_fabric(config, accelerator, devices, nodes)
    fabric.launch()
    with TrainingScreen(config.optim.epochs, quiet=not fabric.is_global_zero) as progress:
        where = f"{fabric.world_size} x {fabric.device.type}"
        progress.remark(
            _chosen(config, opened, f"{where}, {arithmetic(config.optim, fabric.device.type)}")
        )
        if request.reason:
            progress.remark(request.reason)
        run = train_run(fabric, opened, request, progress, out)
    if fabric.is_global_zero:
        _show(run, output)


def _train_streams(jobs: Sequence[Job], at_once: int, accelerator: str, output: Form) -> None:
    """Several modalities: trains the missing runs and shows all results."""
    from aclnet.cli.monitors import JobsScreen
    from aclnet.runs.run import Run, is_finished
    from aclnet.training.jobs import failed, train_jobs

    config = jobs[0].config
    screen.print(
        f"{jobs[0].data}, recipe {config.recipe}, seed {config.seed}, {len(jobs)} modalities in "
        f"{jobs[0].path.parent}"
    )
    if jobs[0].request.reason:
        screen.print(jobs[0].request.reason)
    with JobsScreen(at_once) as watch:
        failures = train_jobs(jobs, watch, at_once=at_once, accelerator=accelerator)
    runs = [Run(job.path) for job in jobs if is_finished(job.path)]
    if failures and not runs:
        raise failed(failures, len(jobs))
    scored = [run for run in runs if "top1" in run.result]
    document = _document(runs) | {"failures": [failure.as_dict() for failure in failures]}
    emit(output, "train/1", document, [_streams_table(scored)] if scored else [])
    if scored:
        screen.print(f"to fuse them: aclnet ensemble {' '.join(str(run.path) for run in scored)}")
    else:
        screen.print(_NOT_SCORED)
    if failures:
        fail(failed(failures, len(jobs)))


def _document(runs: Sequence[Run]) -> dict[str, Any]:
    from aclnet.runs.scores import snake_case

    return {
        "runs": [
            {
                "run": str(run.path),
                "modality": run.config.data.modality,
                "split": run.test_split,
                **snake_case(run.result),
            }
            for run in runs
        ],
        "failures": [],
    }


def _streams_table(runs: Sequence[Run]) -> Table:
    results = [run.result for run in runs]
    first = runs[0]
    tested = first.test_split.replace("/", " ")
    measures = {"top-1": "top1", "top-5": "top5", "mean class": "mean_class"}
    if first.config.task != "action":
        measures = {"rank-1": "rank1", "rank-5": "rank5", "mAP": "mAP"}
    return Table(
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


def _network(config: Config) -> str:
    size, name = config.model.size, config.model.name
    return f"{size} network" if name == "aclnet" else f"{size} network {name}"


def _chosen(config: Config, store: Store, devices: str) -> str:
    optim = config.optim
    return (
        f"{store.path}, recipe {config.recipe}, {_network(config)}, seed {config.seed}, "
        f"{optim.epochs} epochs on {devices}\n"
        f"{optim.name}, learning rate {optim.scaled_lr:g} = {optim.lr:g} x batch "
        f"{optim.batch_size} / {optim.base_batch}"
    )


def _show(run: Run, output: Form) -> None:
    result, title = run.result, run.test_split.replace("/", " ")
    scored, people = "top1" in result, run.config.task != "action"
    tables: list[Table] = []
    if scored and people:
        tables = recognition_tables(title, run.load_tables(run.test_scores), run.config)
    elif scored:
        tables = [accuracy_table(title, result, result["clips"], run.config.select)]
    screen.print(f"run {run.path}")
    emit(output, "train/1", _document([run]), tables)
    if not scored:
        screen.print(_NOT_SCORED)
    elif people:
        tell_retrieval(result, run.config)
