"""The thin trainer: batches in, optimiser steps, one checkpoint that holds all state.

Nothing in a step waits for the device. Nothing is random but the initial weights: order and
augmentation are functions of (seed, epoch, sample), so a run that was killed and continued ends
with the same weights, bit for bit on a CPU.
"""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from aclnet.datasets.errors import AclnetError
from aclnet.evaluate import score
from aclnet.inputs import Inputs, MakeInputs
from aclnet.losses import AffinityContrast, default_memory_rows
from aclnet.meters import EpochMeter
from aclnet.model import ACLNet, Output
from aclnet.pipelines.sampling import UniformSampling

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lightning_fabric import Fabric
    from numpy.typing import NDArray

    from aclnet.config import Config
    from aclnet.datasets.store import Store
    from aclnet.datasets.stream import Stream
    from aclnet.runs import Run
    from aclnet.scores import Scores
    from aclnet.splits import Splits

SAVE_EVERY = 600.0
"""Seconds between checkpoints inside an epoch."""


class Progress(Protocol):
    """Told how training goes on."""

    def step(self, epoch: int, step: int, steps: int, rate: float, waiting: float) -> None:
        """After each step: samples a second, and share of the time spent waiting for data."""

    def epoch(self, row: dict[str, float]) -> None:
        """After each epoch, with its row of metrics.csv."""


class Network(nn.Module):
    """The classifier and the contrastive losses' own parameters, wrapped as one for DDP."""

    def __init__(self, model: ACLNet, contrast: AffinityContrast) -> None:
        super().__init__()
        self.model = model
        self.contrast = contrast

    def forward(self, tracks: Tensor, owner: Tensor, num_samples: int) -> Output:
        output: Output = self.model(tracks, owner, num_samples)
        return output


class Trainer:
    """Trains one run to its end; `fit` goes on from the run's last checkpoint."""

    def __init__(
        self,
        fabric: Fabric,
        config: Config,
        store: Store,
        splits: Splits,
        run: Run,
        progress: Progress,
        initial: dict[str, Tensor] | None = None,
    ) -> None:
        self.fabric, self.config, self.store, self.splits = fabric, config, store, splits
        self.run, self.progress = run, progress
        self.classes = len(store.class_names)
        torch.manual_seed(config.seed)
        network = build_network(config, store, int(splits.train.sum()))
        if initial is not None:
            load_backbone(network.model, initial)
        self.contrast = network.contrast
        optimizer = torch.optim.SGD(
            parameter_groups(network, config.optim.weight_decay),
            lr=config.optim.scaled_lr,
            momentum=config.optim.momentum,
            nesterov=config.optim.momentum > 0,
        )
        self.raw_optimizer = optimizer
        self.network, self.optimizer = fabric.setup(network, optimizer)
        self.select_on = self._selection()
        self.make = MakeInputs(
            store, config.data.modality, config.data.frames, fabric.device, spec=config.augment
        )
        self.stream = self._open_stream()
        self.class_weights = self._class_weights()
        self.meter = EpochMeter(self.classes, fabric.device)
        self.rows: list[dict[str, float]] = []
        self.best = -1.0

    def fit(self) -> None:
        """Trains until the last epoch is done. AclnetError on a loss that is not finite."""
        self._resume()
        if self.fabric.is_global_zero:
            self.run.history.create(self.config.optim.epochs, self.store.class_names)
        while self.stream.epoch < self.config.optim.epochs:
            self._epoch()

    @property
    def model(self) -> ACLNet:
        """The bare classifier."""
        return self.network.module.model  # type: ignore[no-any-return]

    def evaluate(self, mask: NDArray[np.bool_], clips: int) -> Scores:
        """Scores of a split, the same on every process."""
        own = score(
            self.model,
            self.store,
            mask,
            self.config.data,
            self.fabric.device,
            clips=clips,
            rank=self.fabric.global_rank,
            world=self.fabric.world_size,
        )
        return own.gather(self.fabric.world_size)

    def _open_stream(self) -> Stream:
        world, batch = self.fabric.world_size, self.config.optim.batch_size
        if batch % (world * self.config.optim.accumulate):
            raise AclnetError(
                f"optim.batch_size {batch} does not divide into {world} processes times "
                f"optim.accumulate {self.config.optim.accumulate}"
            )
        return self.store.stream(
            self.splits.train,
            batch_size=batch // world,
            sampling=UniformSampling(self.config.data.frames, self.config.data.interval),
            seed=self.config.seed,
            motion=self.make.motion,
            balance=self.config.data.balance,
            window=self.config.data.window,
            rank=self.fabric.global_rank,
            world=world,
        )

    def _selection(self) -> NDArray[np.bool_] | None:
        """The samples that are scored after every epoch, if any."""
        if self.config.select == "last" and self.config.loss.families.source == "train":
            return None
        mask = self.splits.test if self.config.select == "test" else self.splits.val
        if mask is None or not mask.any():
            raise AclnetError(
                "select=val and loss.families.source=val need validation samples; "
                "use --select val, or a --split file with lines that say val"
            )
        return mask

    def _class_weights(self) -> Tensor | None:
        if not self.config.optim.class_weights:
            return None
        sizes = np.bincount(self.store.column("label")[self.splits.train], minlength=self.classes)
        weights = sizes.sum() / (np.count_nonzero(sizes) * np.maximum(sizes, 1))
        return torch.tensor(weights, dtype=torch.float32, device=self.fabric.device)

    def _epoch(self) -> None:
        epoch, steps = self.stream.epoch, len(self.stream)
        self.network.train()
        self.contrast.begin_epoch(epoch + 1, self.config.optim.epochs)
        saved = time.monotonic()
        for batch in self.meter.timed(self.stream):
            self._set_rates((epoch + (self.stream.step - 1) / steps) / self.config.optim.epochs)
            self._step(self.make(batch), batch.sample)
            self.meter.check(self.store)
            step = self.stream.step
            self.progress.step(epoch, step, steps, self.meter.rate, self.meter.waiting)
            if time.monotonic() - saved > SAVE_EVERY:
                self._save("last")
                saved = time.monotonic()
        self.meter.check(self.store, now=True)
        self._finish_epoch(epoch)

    def _step(self, inputs: Inputs, samples: NDArray[np.int64]) -> None:
        """One optimiser step over the global batch, in parts where memory asks for it."""
        parts = inputs.parts(self.config.optim.accumulate)
        if len(parts) > 1:
            self._observe(self._look_ahead(parts), inputs)
        start = 0
        for number, part in enumerate(parts):
            last = number == len(parts) - 1
            with self.fabric.no_backward_sync(self.network, enabled=not last):
                output = self.network(part.tracks, part.owner, part.samples)
                if len(parts) == 1:
                    self._observe(output, inputs)
                first = self.fabric.global_rank * inputs.samples + start
                losses = self.contrast(output.feature, slice(first, first + part.samples))
                each = functional.cross_entropy(
                    output.logits,
                    part.label,
                    weight=self.class_weights,
                    label_smoothing=self.config.optim.label_smoothing,
                    reduction="none",
                )
                # contrastive losses of parts add up to the batch's; DDP takes the mean of ranks
                contrast = losses.total * self.fabric.world_size
                self.fabric.backward(each.mean() * (part.samples / inputs.samples) + contrast)
            chosen = samples[start : start + part.samples]
            world_batch = inputs.samples * self.fabric.world_size
            self.meter.add(output.logits, part.label, each.detach(), losses, chosen, world_batch)
            start += part.samples
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    @torch.no_grad()
    def _look_ahead(self, parts: list[Inputs]) -> Output:
        """What the network says of all parts: the contrastive losses of one need all others."""
        with _frozen_statistics(self.model):
            outputs = [self.network(part.tracks, part.owner, part.samples) for part in parts]
        return Output(*(torch.cat(values) for values in zip(*outputs, strict=True)))

    def _observe(self, output: Output, inputs: Inputs) -> None:
        """Advances the state of the contrastive losses by the global batch, in rank order."""
        local = (output.feature.detach(), output.logits.argmax(1), inputs.label, inputs.key)
        if self.fabric.world_size > 1:
            local = tuple(v.flatten(0, 1) for v in self.fabric.all_gather(local))
        self.contrast.observe(*local)

    def _set_rates(self, progress: float) -> None:
        """Learning rate by the share of training done: linear warm-up, then cosine to zero."""
        optim = self.config.optim
        warm = optim.warmup_epochs / optim.epochs
        if progress < warm:
            factor = progress / warm
        else:
            factor = 0.5 * (1 + math.cos(math.pi * (progress - warm) / (1 - warm)))
        decays = {"inter": self.contrast.inter_active, "intra": self.contrast.intra_active}
        for group in self.optimizer.param_groups:
            group["lr"] = optim.scaled_lr * factor
            # an unused projection would only shrink
            group["weight_decay"] = optim.weight_decay * decays.get(group["name"], True)

    def _finish_epoch(self, epoch: int) -> None:
        history = {}
        self.meter.reduce(self.fabric)
        row = {
            "epoch": epoch + 1,
            "lr": self.optimizer.param_groups[0]["lr"],
            **self.meter.figures(),
            "seconds": self.meter.seconds,
            "samples_per_second": self.meter.rate * self.fabric.world_size,
            "waiting": self.meter.waiting,
        }
        better = False
        if self.select_on is not None:
            scores = self.evaluate(self.select_on, clips=1)
            row["eval_accuracy"] = scores.top1
            better = scores.top1 > self.best
            self.best = max(self.best, scores.top1)
            history["confusion/eval"] = scores.confusion()
            if self.config.loss.families.source == "val":
                predictions, labels = map(torch.from_numpy, (scores.predictions, scores.labels))
                self.contrast.count(
                    predictions.to(self.fabric.device), labels.to(self.fabric.device)
                )
        self.contrast.end_epoch()
        families = self.contrast.families
        history |= {
            "confusion/train": self.meter.confusion.view(self.classes, -1).cpu().numpy(),
            "affinity": families.affinity.cpu().numpy(),
            "family": families.member.cpu().numpy(),
            "temperature": families.temperature.cpu().numpy(),
        }
        self.rows.append(row)
        self.meter.reset()
        if self.fabric.is_global_zero:
            self.run.history.write(epoch, history)
            self.run.write_metrics(self.rows)
            self._write_events(row)
        if better:
            self._save("best")
        self._save("last")
        self.progress.epoch(row)

    def _write_events(self, row: dict[str, float]) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        # purge_step: epochs that a killed run had written already are drawn once
        epoch = int(row["epoch"])
        with SummaryWriter(str(self.run.path / "tb"), purge_step=epoch) as writer:
            for name, value in row.items():
                writer.add_scalar(name, value, epoch)

    def _save(self, name: str) -> None:
        """All state. The best is saved before the last, which remembers how good it was."""
        if self.fabric.is_global_zero:
            self.run.save(
                name,
                {
                    "network": self.network.module.state_dict(),
                    "optimizer": self.raw_optimizer.state_dict(),
                    "precision": self.fabric.strategy.precision.state_dict(),
                    "stream": self.stream.state_dict(),
                    "meter": self.meter.state_dict(),
                    "rows": self.rows,
                    "best": self.best,
                },
            )
        self.fabric.barrier()

    def _resume(self) -> None:
        state = self.run.load("last")
        if state is None:
            return
        self.network.module.load_state_dict(state["network"])
        self.raw_optimizer.load_state_dict(state["optimizer"])
        self.fabric.strategy.precision.load_state_dict(state["precision"])
        self.stream.load_state_dict(state["stream"])
        # the sums of all processes are in the checkpoint: one goes on with them
        if self.fabric.is_global_zero:
            self.meter.load_state_dict(state["meter"])
        self.rows, self.best = state["rows"], state["best"]


def build_network(config: Config, store: Store, train_samples: int) -> Network:
    """The classifier and its losses for a store."""
    classes = len(store.class_names)
    model = build_model(config, store.layout.num_joints, store.attributes["coordinates"], classes)
    memory = config.loss.memory_rows or default_memory_rows(
        classes, train_samples, config.optim.batch_size, store.name
    )
    return Network(model, AffinityContrast(model.feature_width, classes, memory, config.loss))


def build_model(config: Config, num_joints: int, coordinates: int, classes: int) -> ACLNet:
    """The classifier of a configuration, with initial weights."""
    return ACLNet(
        num_joints=num_joints,
        num_classes=classes,
        in_channels=coordinates,
        base_channels=config.model.base_channels,
        feature=config.model.feature,
        persons=config.model.persons,
    )


def parameter_groups(network: Network, weight_decay: float) -> list[dict[str, Any]]:
    """The projections of the two losses apart: they decay only while their term is active."""
    contrast = network.contrast
    groups = {
        "model": network.model.parameters(),
        "inter": contrast.inter_projection.parameters(),
        "intra": contrast.intra_projection.parameters(),
    }
    return [
        {"name": name, "params": list(parameters), "weight_decay": weight_decay}
        for name, parameters in groups.items()
    ]


def load_backbone(model: ACLNet, weights: dict[str, Tensor]) -> bool:
    """Copies the weights of another classifier, the head only where its classes are as many.

    Returns whether the head was copied. AclnetError where other weights do not fit.
    """
    own = model.state_dict()
    head = {name for name in own if name.startswith("fc_cls.")}
    same_head = all(own[name].shape == weights[name].shape for name in head)
    wanted = {n: w for n, w in weights.items() if same_head or n not in head}
    for name, weight in wanted.items():
        if name not in own or own[name].shape != weight.shape:
            raise AclnetError(
                f"the weights do not fit: {name} is {tuple(weight.shape)} there and "
                f"{tuple(own[name].shape) if name in own else 'absent'} here; "
                "use the same layout and model.size"
            )
    model.load_state_dict(wanted, strict=False)
    return same_head


@contextmanager
def _frozen_statistics(model: nn.Module) -> Iterator[None]:
    """Batch norms use the batch's statistics and leave the running ones as they are."""
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:
        norm.track_running_stats = False
    yield
    for norm in norms:
        norm.track_running_stats = True
