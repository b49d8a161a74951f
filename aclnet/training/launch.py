"""Training a run from its configuration to its final scores."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from aclnet.datasets.spec import AclnetError
from aclnet.retrieval.ranking import equal_error_threshold
from aclnet.retrieval.recognition import chance
from aclnet.runs.device import resolve_accelerator
from aclnet.runs.network import HEAD, load_model
from aclnet.runs.run import Run, check_out, delete_run, is_run, run_folder, run_name
from aclnet.runs.splits import choose_splits, doubtful_classes
from aclnet.training.trainer import Trainer

if TYPE_CHECKING:
    from pathlib import Path

    from lightning_fabric import Fabric
    from numpy.typing import NDArray
    from torch import Tensor

    from aclnet.datasets.store.store import Store
    from aclnet.runs.config import Config
    from aclnet.runs.scores import Scores
    from aclnet.runs.splits import Fold, Splits
    from aclnet.training.trainer import TrainingMonitor


def make_fabric(config: Config, accelerator: str = "auto", devices: str = "auto") -> Fabric:
    """Where training runs: processes, devices and precision.

    `auto` is all CUDA devices where there are any, else one process on the CPU. AclnetError on
    what this machine does not have.
    """
    from lightning_fabric import Fabric

    accelerator = resolve_accelerator(accelerator)
    if accelerator == "cpu" and config.optim.precision == "16-mixed":
        raise AclnetError("optim.precision=16-mixed needs a GPU; on a CPU use bf16-mixed")
    count: int | str = int(devices) if devices.isdigit() else devices
    if accelerator == "cpu" and devices == "auto":
        count = 1
    try:
        return Fabric(accelerator=accelerator, devices=count, precision=config.optim.precision)
    except (ValueError, TypeError, RuntimeError) as error:
        raise AclnetError(f"--accelerator {accelerator} --devices {devices}: {error}") from None


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """What is asked of a training."""

    config: Config
    split_file: Path | None = None
    """A CSV file that says who trains and who is tested, instead of the protocol."""
    fold: Fold | None = None
    """A fold of the protocol's training side to test on; the rest trains."""
    init_from: Path | None = None
    """The run whose weights it starts from."""
    fresh: bool = False
    """Replace a run that is there instead of resuming it."""


class Plan(NamedTuple):
    """What a run will be."""

    name: str
    splits: Splits
    origin: str | None
    """Name of the run whose weights it starts from."""


def plan_run(store: Store, request: TrainingRequest) -> Plan:
    """What `train` makes of the same arguments, without writing anything; AclnetError as there."""
    splits = choose_splits(store, request.config, request.split_file, request.fold)
    origin = Run(request.init_from).record.name if request.init_from else None
    return Plan(run_name(request.config, store, splits.identity, origin), splits, origin)


def train(
    fabric: Fabric,
    store: Store,
    request: TrainingRequest,
    monitor: TrainingMonitor,
    out: Path | None = None,
) -> Run:
    """Trains a run and scores its test split; a run that was stopped goes on.

    `fabric` is launched. A finished run is returned as it is. AclnetError where `out` holds
    something else, where another process trains the run, and on whatever does not fit; nothing is
    written or deleted before it is known that the training can start.
    """
    config = request.config
    name, splits, origin = plan_run(store, request)
    _check_world(config, fabric.world_size)
    path = run_folder(store, name, out)
    check_out(path)
    if is_run(path) and not request.fresh:
        run = _opened(path, name)
        if run.finished:
            monitor.remark("was finished before; --fresh trains it again")
            return run
    for doubt in doubtful_classes(store, splits):
        monitor.remark(doubt)
    initial = _initial(request.init_from, store, splits, monitor) if request.init_from else None
    trainer = Trainer(fabric, config, store, splits, monitor, initial)
    fabric.barrier()  # every process has looked before the first one writes
    if fabric.is_global_zero:
        if request.fresh and is_run(path):
            delete_run(path)
        Run.create(path, name, config, store, splits, origin)
    fabric.barrier()
    run = _opened(path, name)
    if config.select == "test" and config.loss.families.source == "val":
        monitor.remark("validation is on the test set: families come from its confusions")
    with run.claimed() if fabric.is_global_zero else nullcontext():
        trainer.fit(run)
        _finish(trainer)
    return run


def _opened(path: Path, name: str) -> Run:
    """The run at `path`. AclnetError where it is not the one that was asked for."""
    run = Run(path)
    if run.record.name != name:
        raise AclnetError(
            f"{path} is run {run.record.name}, of another configuration, split or store; "
            "choose another --out, or replace it with --fresh"
        )
    return run


def _check_world(config: Config, world: int) -> None:
    batch, accumulate = config.optim.batch_size, config.optim.accumulate
    if batch % (world * accumulate):
        raise AclnetError(
            f"optim.batch_size={batch} does not divide into {world} processes times "
            f"optim.accumulate={accumulate}"
        )


def _initial(
    init_from: Path, store: Store, splits: Splits, monitor: TrainingMonitor
) -> dict[str, Tensor]:
    """Weights to start from."""
    run = Run(init_from)
    weights = load_model(run, store).state_dict()
    if run.class_names == splits.classes:
        return weights
    monitor.remark(f"starts from {run.name} with a new head: the classes are others")
    return {name: w for name, w in weights.items() if not name.startswith(HEAD)}


def _finish(trainer: Trainer) -> None:
    """Scores the test split with the weights that are the run's result."""
    run, config, history = trainer.run, trainer.config, trainer.run.history
    if run.selected != "last":
        trainer.network.module.load_state_dict(run.network_state())
    result: dict[str, Any] = {"select": config.select}
    if trainer.splits.test.any():
        gallery = trainer.splits.gallery
        scores = (
            trainer.evaluate(trainer.splits.test, config.data.clips)
            if gallery is None
            else _recognise(trainer, gallery, result)
        )
        result |= scores.result() | {"clips": config.data.clips}
        if trainer.fabric.is_global_zero:
            scores.save(run.test_scores)
            if trainer.select_on is None and gallery is None:
                history.write(config.optim.epochs - 1, {"confusion/eval": scores.confusion()})
    if config.task != "action" and trainer.splits.val is not None:
        result["unknown"] = _threshold(trainer, trainer.splits.val)
    if trainer.fabric.is_global_zero:
        history.write_prototypes(trainer.contrast.prototypes.cpu().numpy())
        run.finish(result)
    trainer.fabric.barrier()


def _recognise(trainer: Trainer, gallery: NDArray[np.bool_], result: dict[str, Any]) -> Scores:
    """Scores of the probes; the figures of the protocol go to `result`, its tables to the run."""
    found = trainer.recogniser(trainer.splits.test, gallery, trainer.config.data.clips)()
    result["chance"] = chance(trainer.store, gallery)
    if trainer.config.task != "action":
        result |= found.result()
        if trainer.fabric.is_global_zero:
            trainer.run.save_tables(trainer.run.test_scores, found.tables())
    return found.scores(len(trainer.store.class_names))


def _threshold(trainer: Trainer, val: NDArray[np.bool_]) -> dict[str, float] | None:
    """How far the nearest may be to be the same person, chosen on people who were held out.

    None where nobody of them is there twice.
    """
    found = trainer.recogniser(val, val, trainer.config.data.clips)()
    error = equal_error_threshold(found.sequences()[0], trainer.config.retrieval.metric)
    return None if np.isnan(error.threshold) else error._asdict()
