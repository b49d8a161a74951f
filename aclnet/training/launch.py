"""Training a run from its configuration to its final scores."""

from __future__ import annotations

import warnings
from contextlib import ExitStack
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from aclnet.datasets.discovery import newest_store
from aclnet.datasets.opening import open_store
from aclnet.datasets.spec import AclnetError, AclnetWarning
from aclnet.datasets.store.store import Store
from aclnet.datasets.store.stream import default_lanes
from aclnet.retrieval.body_shape import has_shape
from aclnet.retrieval.ranking import equal_error_threshold
from aclnet.retrieval.recognition import chance
from aclnet.runs.choices import uses_shape
from aclnet.runs.config import build_config
from aclnet.runs.device import default_precision, resolve_accelerator
from aclnet.runs.fabric import ending_together, open_fabric
from aclnet.runs.network import is_head, load_model, users_code
from aclnet.runs.places import check_out, is_run, run_folder, run_name
from aclnet.runs.processes import on_first, together
from aclnet.runs.recipes import follows_rule, recipe_for
from aclnet.runs.run import Run, delete_run
from aclnet.runs.small_sets import SmallSet
from aclnet.runs.splits import Fold, choose_splits, doubtful_classes
from aclnet.tracking.outcome import outcome_of
from aclnet.tracking.trackers import Trackers
from aclnet.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lightning_fabric import Fabric
    from numpy.typing import NDArray
    from torch import Tensor

    from aclnet.pipelines.choices import Modality
    from aclnet.runs.choices import Select
    from aclnet.runs.config import Config
    from aclnet.runs.record import CodeRecord
    from aclnet.runs.scores import Scores
    from aclnet.runs.splits import Splits
    from aclnet.training.trainer import TrainingMonitor

FEW_SAMPLES = 4
"""Number of samples below which batch statistics give a remark."""


def make_fabric(
    config: Config, accelerator: str = "auto", devices: str = "auto", nodes: int | None = None
) -> Fabric:
    """Place of the training: processes, devices, precision and arithmetic.

    Arguments and errors are those of `aclnet.runs.fabric.open_fabric`; also raises AclnetError if
    the device lacks the precision.
    """
    from aclnet.training.precision import precision_plugins, set_arithmetic

    accelerator = resolve_accelerator(accelerator)
    if accelerator == "cpu" and config.optim.precision == "16-mixed":
        raise AclnetError("optim.precision=16-mixed needs a GPU; on a CPU use bf16-mixed")
    set_arithmetic(config.optim, accelerator)
    return open_fabric(accelerator, devices, nodes, precision_plugins(config.optim, accelerator))


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """Settings of a training."""

    config: Config
    split_file: Path | None = None
    """A CSV file with the sides of the samples, instead of the protocol."""
    fold: Fold | None = None
    """A fold of the protocol's training side to test on; the rest trains."""
    init_from: Path | None = None
    """The run whose weights it starts from."""
    fresh: bool = False
    """Replace an existing run instead of resuming it."""
    reason: str = ""
    """Settings that follow from the store, with the reason, in a sentence; empty if there are
    none."""
    trackers: tuple[str, ...] = ()
    """Trackers by name (docs/tracking.md)."""

    @classmethod
    def of(
        cls,
        store: Store,
        *,
        recipe: str | None = None,
        protocol: str | None = None,
        modality: str | None = None,
        model: str | None = None,
        seed: int | None = None,
        select: str | None = None,
        split_file: Path | None = None,
        fold: str | None = None,
        init_from: Path | None = None,
        settings: Iterable[str] = (),
        fresh: bool = False,
        trackers: Iterable[str] = (),
        accelerator: str = "auto",
    ) -> Self:
        """Request from the arguments of `train`. Raises AclnetError if they do not fit together."""
        if split_file and (protocol or fold):
            raise AclnetError(
                "--split, --protocol and --fold all choose the training samples: give one of them"
            )
        named = recipe_for(store, recipe, "" if split_file else protocol)
        first = [f"data.protocol={protocol}"] if protocol else []
        last = {"model.name": model, "data.modality": modality}
        chosen = [*first, *settings, *(f"{key}={value}" for key, value in last.items() if value)]
        config = build_config(named, chosen, seed=seed, select=select)
        part, reason = Fold.parse(fold) if fold else None, ""
        if follows_rule(named):
            small = SmallSet.of(store, choose_splits(store, config, split_file, part))
            derived = small.settings(config.optim.batch_size, config.data.repeats)
            by_rule = [f"{key}={value}" for key, value in derived.items()]
            config = build_config(named, chosen, by_rule, seed=seed, select=select)
            used = {k: v for k, v in derived.items() if attrgetter(k)(config) == v}
            reason = small.describe(used)
        config = _with_precision(config, accelerator)
        return cls(config, split_file, part, init_from, fresh, reason, tuple(trackers))


class Plan(NamedTuple):
    """Plan of a run."""

    name: str
    splits: Splits
    origin: str | None
    """Name of the run whose weights it starts from."""
    code: tuple[CodeRecord, ...]
    """Network and loss of the user."""
    config: Config
    """The configuration that was asked for, with the number of lanes."""


def plan_run(store: Store, request: TrainingRequest) -> Plan:
    """The run that `train_run` would make, without writing it; raises the same errors."""
    splits = choose_splits(store, request.config, request.split_file, request.fold)
    embedding = request.config.retrieval.embedding
    if uses_shape(embedding) and not has_shape(store):
        raise AclnetError(
            f"retrieval.embedding={embedding} needs joints in metres, but those of {store.path} "
            "are in pixels, where lengths depend on the view; use pooled"
        )
    origin = Run(request.init_from).record.name if request.init_from else None
    config = _with_lanes(request.config, store, splits)
    code = users_code(config)
    name = run_name(config, store, splits.identity, origin, code)
    return Plan(name, splits, origin, code, config)


def _with_lanes(config: Config, store: Store, splits: Splits) -> Config:
    """The configuration with the number of lanes that its order of samples has.

    One lane is left unset, so that the names of such runs do not change.
    """
    data = config.data
    if data.lanes is not None or data.per_class is not None:
        return config
    lanes = default_lanes(store, splits.train, config.optim.batch_size, data.window)
    chosen = {"data": data.model_copy(update={"lanes": lanes})}
    return config.model_copy(update=chosen) if lanes > 1 else config


def _with_precision(config: Config, accelerator: str) -> Config:
    """The configuration with the default precision of the device, unless a setting chooses it.

    The released code computes in float32.
    """
    if "precision" in config.optim.model_fields_set or config.settings == "official":
        return config
    precision = default_precision(accelerator)
    if precision == config.optim.precision:
        return config
    optim = config.optim.model_copy(update={"precision": precision})
    return config.model_copy(update={"optim": optim})


def train(
    store: str | Path | Store | Sequence[str | Path] | None = None,
    *,
    recipe: str | None = None,
    protocol: str | None = None,
    modality: Modality | None = None,
    model: str | None = None,
    seed: int | None = None,
    select: Select | None = None,
    split_file: str | Path | None = None,
    fold: str | None = None,
    init_from: str | Path | None = None,
    settings: Iterable[str] = (),
    out: str | Path | None = None,
    fresh: bool = False,
    trackers: Iterable[str] = (),
    accelerator: str = "auto",
    devices: str = "auto",
    nodes: int | None = None,
    monitor: TrainingMonitor | None = None,
) -> Run:
    """Trains on a store and scores the test split, as `aclnet train`; an interrupted run resumes.

    Args:
        store: the store to train on; several paths are joined (docs/sets.md). None: the newest
            store below the working folder.
        recipe: name of a recipe, or a TOML file; None: that of the store's dataset.
        protocol: protocol of the store; None: its first.
        modality: input modality; None: the recipe's.
        model: network by name, or your own as `package.module:function`; None: the recipe's.
        seed: seed for the initial weights, sample order and augmentation; None: the recipe's.
        select: weights to keep: the last, or the best on validation or test samples.
        split_file: CSV file with the columns id and split, instead of a protocol.
        fold: for example 2/4: test on a fold of the training subjects, train on the rest.
        init_from: run whose weights to start from.
        settings: further settings, for example `["optim.epochs=30"]`.
        out: folder of the run; None: beside the store.
        fresh: delete an existing run and train again.
        trackers: `tensorboard`, `wandb`, `mlflow`, or your own as `package.module:function`.
        accelerator: device to compute on: `cpu`, `cuda`, ...
        devices: number of devices on each node.
        nodes: number of machines; None: as many as torchrun or srun use.
        monitor: receives the progress of the training; None: each remark is an AclnetWarning.

    Returns:
        The finished run; `run.result` has its figures.

    Raises:
        AclnetError: settings and data do not fit together, or a file cannot be read or written.
    """
    opened = store if isinstance(store, Store) else _open(store)
    request = TrainingRequest.of(
        opened,
        recipe=recipe,
        protocol=protocol,
        modality=modality,
        model=model,
        seed=seed,
        select=select,
        split_file=Path(split_file) if split_file else None,
        fold=fold,
        init_from=Path(init_from) if init_from else None,
        settings=settings,
        fresh=fresh,
        trackers=trackers,
        accelerator=accelerator,
    )
    fabric = make_fabric(request.config, accelerator, devices, nodes)
    fabric.launch()
    return train_run(fabric, opened, request, monitor or _Warnings(), Path(out) if out else None)


def _open(store: str | Path | Sequence[str | Path] | None) -> Store:
    if store is None:
        return open_store(newest_store(Path()))
    return open_store(store) if isinstance(store, str | PurePath) else open_store(*store)


class _Warnings:
    """A monitor that turns remarks into warnings and ignores other events."""

    def remark(self, text: str) -> None:
        warnings.warn(text, AclnetWarning, stacklevel=2)

    def step(self, *_: object) -> None: ...

    def epoch(self, _: dict[str, float]) -> None: ...


def train_run(
    fabric: Fabric,
    store: Store,
    request: TrainingRequest,
    monitor: TrainingMonitor,
    out: Path | None = None,
) -> Run:
    """Trains a run and scores its test split; an interrupted run resumes.

    `fabric` must be launched. A finished run is returned unchanged. Raises AclnetError if `out`
    holds something else, if another process trains the run, or if settings and data do not fit.
    Nothing is written or deleted before these checks.
    """
    trackers = Trackers(request.trackers, monitor.remark)
    with together():
        plan = plan_run(store, request)
    splits, config = plan.splits, plan.config
    _check_world(config, fabric.world_size)
    path = on_first(lambda: run_folder(store, plan.name, out))
    run = on_first(lambda: _finished(path, plan.name, request))
    if run is not None:
        monitor.remark("is finished already; --fresh trains it again")
        return run
    for doubt in (*store.remarks, *doubtful_classes(store, splits)):
        monitor.remark(doubt)
    initial = None
    if request.init_from:
        with together():
            initial = _initial(request.init_from, config, store, splits, monitor)
    trainer = Trainer(fabric, config, store, splits, monitor, initial)
    small = _samples_of_statistics(config, fabric.world_size)
    if small < FEW_SAMPLES:
        monitor.remark(
            f"batch normalisation in each process and accumulated part sees only {small} samples; "
            "a larger optim.batch_size makes its statistics steadier"
        )
    lanes, world = config.data.lanes or 1, fabric.world_size
    if lanes > 1 and lanes % world:
        monitor.remark(
            f"{lanes} lanes do not divide among {world} processes, so that some processes decode "
            f"the same shards; data.lanes={world} gives each process shards of its own"
        )
    run = on_first(lambda: _begun(path, plan, store, request))
    if config.select == "test" and config.loss.families.source == "val":
        monitor.remark(
            "the validation samples are the test set: the families come from its confusions"
        )
    with ExitStack() as held:
        with together():
            if fabric.is_global_zero:
                held.enter_context(run.claimed())
        with ending_together(fabric), trackers:
            trainer.fit(run, trackers)
            _finish(trainer, trackers)
    run.record = on_first(lambda: run.record)
    return run


def _finished(path: Path, name: str, request: TrainingRequest) -> Run | None:
    """The run at `path` if it is finished and should stay.

    Raises AclnetError if something else is at `path`.
    """
    check_out(path)
    if request.fresh or not is_run(path):
        return None
    run = _opened(path, name, request.config)
    return run if run.finished else None


def _begun(path: Path, plan: Plan, store: Store, request: TrainingRequest) -> Run:
    """The run at `path`, which is created if it does not exist."""
    config = plan.config
    if request.fresh and is_run(path):
        delete_run(path)
    Run.create(path, plan.name, config, store, plan.splits, plan.origin, plan.code)
    return _opened(path, plan.name, config)


def _opened(path: Path, name: str, config: Config) -> Run:
    """The run at `path`; raises AclnetError if it is not the requested run."""
    run = Run(path)
    run.own_model = config.model.name
    if run.record.name != name:
        raise AclnetError(
            f"{path} is run {run.record.name}, which has another configuration, split or store; "
            "choose another --out, or replace the run with --fresh"
        )
    return run


def _check_world(config: Config, world: int) -> None:
    batch, accumulate = config.optim.batch_size, config.optim.accumulate
    if batch % (world * accumulate):
        raise AclnetError(
            f"optim.batch_size={batch} cannot be divided by {world} processes times "
            f"optim.accumulate={accumulate}"
        )


def _samples_of_statistics(config: Config, world: int) -> int:
    """Samples that a batch normalisation sees at once."""
    return config.optim.batch_size // (world * config.optim.accumulate)


def _initial(
    init_from: Path, config: Config, store: Store, splits: Splits, monitor: TrainingMonitor
) -> dict[str, Tensor]:
    """Weights to start from."""
    run = Run(init_from)
    run.own_model = config.model.name
    weights = load_model(run, store).state_dict()
    if run.class_names == splits.classes:
        return weights
    monitor.remark(f"starts from {run.name} with a new head, because the classes differ")
    return {name: w for name, w in weights.items() if not is_head(name)}


def _finish(trainer: Trainer, trackers: Trackers) -> None:
    """Scores the test split with the final weights of the run, and informs the trackers."""
    run, config, history = trainer.run, trainer.config, trainer.run.history
    selected = on_first(lambda: None if run.selected == "last" else run.network_state())
    if selected is not None:
        trainer.network.module.load_state_dict(selected)
    result: dict[str, Any] = {"select": config.select}
    if trainer.splits.test.any():
        gallery = trainer.splits.gallery
        scores = (
            trainer.evaluate(trainer.splits.test, config.data.clips)
            if gallery is None
            else _recognise(trainer, gallery, result)
        )
        with together():
            if scores is not None and trainer.fabric.is_global_zero:
                result |= scores.result() | {"clips": config.data.clips}
                scores.save(run.test_scores)
                if trainer.select_on is None and gallery is None:
                    history.write(config.optim.epochs - 1, {"confusion/eval": scores.confusion()})
    if config.task != "action" and trainer.splits.val is not None:
        result["unknown"] = _threshold(trainer, trainer.splits.val)
    with together():
        if trainer.fabric.is_global_zero:
            history.write_prototypes(trainer.contrast.prototypes.cpu().numpy())
            run.finish(result)
            outcome = outcome_of(run, trainer.store, trainer.splits.test, trainer.embedder)
            trackers.log_outcome(outcome)


def _recognise(trainer: Trainer, gallery: NDArray[np.bool_], result: dict[str, Any]) -> Scores:
    """Scores of the probes; the figures of the protocol go to `result`, its tables to the run."""
    found = trainer.recogniser(trainer.splits.test, gallery, trainer.config.data.clips)()
    result["chance"] = chance(trainer.store, gallery)
    if trainer.config.task != "action":
        result |= found.result()
        with together():
            if trainer.fabric.is_global_zero:
                trainer.run.save_tables(trainer.run.test_scores, found.tables())
    return found.scores(len(trainer.store.class_names))


def _threshold(trainer: Trainer, val: NDArray[np.bool_]) -> dict[str, float] | None:
    """Distance threshold for the same person, chosen on people who were held out.

    None if none of them occurs twice.
    """
    found = trainer.recogniser(val, val, trainer.config.data.clips)()
    error = equal_error_threshold(found.sequences()[0], trainer.config.retrieval.metric)
    return None if np.isnan(error.threshold) else error._asdict()
