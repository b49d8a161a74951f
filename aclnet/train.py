"""Training a run from its configuration to its final scores."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import torch

from aclnet.datasets.errors import AclnetError
from aclnet.runs import Run, run_folder, run_name
from aclnet.splits import file_splits, protocol_splits
from aclnet.trainer import Trainer, build_model

if TYPE_CHECKING:
    from pathlib import Path

    from lightning_fabric import Fabric
    from torch import Tensor

    from aclnet.config import Config
    from aclnet.datasets.store import Store
    from aclnet.model import ACLNet
    from aclnet.splits import Splits
    from aclnet.trainer import Progress


def make_fabric(config: Config, accelerator: str = "auto", devices: str = "auto") -> Fabric:
    """Where training runs: processes, devices and precision."""
    from lightning_fabric import Fabric

    count: int | str = int(devices) if devices.isdigit() else devices
    if not torch.cuda.is_available() and accelerator in ("auto", "cpu") and devices == "auto":
        count = 1
    return Fabric(accelerator=accelerator, devices=count, precision=config.optim.precision)


def choose_splits(store: Store, config: Config, split_file: Path | None) -> Splits:
    """The samples of a run; AclnetError where nothing would train or be tested."""
    if split_file:
        return file_splits(store, split_file)
    hold_out = config.select == "val" or config.loss.families.source == "val"
    return protocol_splits(store, config.data.protocol, hold_out=hold_out, seed=config.seed)


def train(
    fabric: Fabric,
    store: Store,
    config: Config,
    progress: Progress,
    *,
    out: Path | None = None,
    split_file: Path | None = None,
    init_from: Path | None = None,
    fresh: bool = False,
) -> Run:
    """Trains a run and scores its test split; a run that was stopped goes on.

    A finished run is returned as it is. AclnetError where `out` holds another run.
    """
    splits = choose_splits(store, config, split_file)
    initial, origin = _initial(init_from, store)
    name = run_name(config, store, splits.identity, origin)
    path = run_folder(store, name, out)
    if fabric.is_global_zero:
        if fresh:
            shutil.rmtree(path, ignore_errors=True)
        Run.create(path, name, config, store, splits.identity, origin)
    fabric.barrier()
    run = Run(path)
    if run.record["name"] != name:
        raise AclnetError(
            f"{path} is run {run.record['name']}, of another configuration, split or store; "
            "choose another --out, or replace it with --fresh"
        )
    if run.finished:
        return run
    trainer = Trainer(fabric, config, store, splits, run, progress, initial)
    trainer.fit()
    _finish(trainer)
    return run


def load_model(run: Run, store: Store | None = None) -> ACLNet:
    """The network that a run resulted in, on the CPU.

    AclnetError where `store` has another layout or other coordinates than it was trained on.
    """
    layout = run.layout
    if store is not None:
        theirs = (store.layout.joints, store.attributes["coordinates"])
        if theirs != (layout.joints, run.record["coordinates"]):
            raise AclnetError(
                f"run {run.name} was trained on layout {layout.name} with "
                f"{layout.num_joints} joints, and {store.path} has layout {store.layout.name} "
                f"with {store.layout.num_joints}"
            )
    model = build_model(
        run.config, layout.num_joints, run.record["coordinates"], len(run.class_names)
    )
    state = run.result_checkpoint()["network"]
    weights = {n.removeprefix("model."): w for n, w in state.items() if n.startswith("model.")}
    model.load_state_dict(weights)
    return model.eval()


def _initial(init_from: Path | None, store: Store) -> tuple[dict[str, Tensor] | None, str | None]:
    if init_from is None:
        return None, None
    run = Run(init_from)
    return load_model(run, store).state_dict(), str(run.record["name"])


def _finish(trainer: Trainer) -> None:
    """Scores the test split with the weights that are the run's result."""
    run, config = trainer.run, trainer.config
    if config.select != "last":
        trainer.model.load_state_dict(load_model(run).state_dict())
    result: dict[str, Any] = {"select": config.select}
    if trainer.splits.test.any():
        scores = trainer.evaluate(trainer.splits.test, config.data.clips)
        result |= scores.result() | {"clips": config.data.clips}
        if trainer.fabric.is_global_zero:
            scores.save(run.path / "scores" / "test.npz")
            if config.select == "last":
                run.history.write(config.optim.epochs - 1, {"confusion/eval": scores.confusion()})
    if trainer.fabric.is_global_zero:
        run.history.write_prototypes(trainer.contrast.prototypes.cpu().numpy())
        run.finish(result)
    trainer.fabric.barrier()
