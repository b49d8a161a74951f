"""One step of the optimizer over a global batch."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from aclnet.models.blocks import Output
from aclnet.runs.network import parameter_groups
from aclnet.training.meters import EpochMeter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lightning_fabric import Fabric
    from numpy.typing import NDArray

    from aclnet.runs.config import Config, OptimConfig
    from aclnet.runs.inputs import Inputs
    from aclnet.runs.network import Network


_SQUARES_KEPT = 0.99
"""Second decay of AdamW: the mean of squared gradients covers about the last 100 steps."""


class TrainingStep:
    """Steps of one training, with its optimizer. No operation waits for the device.

    `class_sizes` are the numbers of training samples of the classes.
    """

    meter: EpochMeter
    """Losses and accuracy of the steps since its last reset."""

    def __init__(
        self, fabric: Fabric, config: Config, network: Network, class_sizes: Sequence[int]
    ) -> None:
        self.fabric, self.optim = fabric, config.optim
        self.contrast, self.own_loss = network.contrast, network.loss
        self.raw_optimizer = _make_optimizer(self.optim, parameter_groups(network))
        self.network, self.optimizer = fabric.setup(network, self.raw_optimizer)
        self.class_weights = self._class_weights(class_sizes)
        self.meter = EpochMeter(len(class_sizes), fabric.device)

    def take(self, inputs: Inputs, samples: NDArray[np.int64]) -> None:
        """Takes one step over the global batch, in parts if `optim.accumulate` is above 1.

        `inputs` are this process's samples, `samples` (n,) int64 their rows in the store.
        """
        parts = inputs.micro_batches(self.optim.accumulate)
        ahead = len(parts) > 1 and self.contrast.needs_whole_batch
        if ahead:
            self.observe(self._look_ahead(parts), inputs)
        start = 0
        for number, part in enumerate(parts, start=1):
            with self.fabric.no_backward_sync(self.network, enabled=number < len(parts)):
                output = self.network(part.tracks, part.owner, len(part))
                if not ahead:
                    self.observe(output, part)
                self.backward(part, output, start, len(inputs), samples)
            start += len(part)
        self._set_weight_decay()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def backward(
        self, part: Inputs, output: Output, start: int, local: int, samples: NDArray[np.int64]
    ) -> None:
        """Adds the gradient of `part`, and counts it in `meter`; call `observe` first.

        `output` is the network's for `part`, which begins with sample `start` of this process's
        `local` ones; `samples` (local,) int64 are the rows of all of these in the store.
        """
        first = self.fabric.global_rank * local + start
        losses = self.contrast(output.feature, slice(first, first + len(part)))
        cross_entropy = functional.cross_entropy(
            output.logits,
            part.label,
            weight=self.class_weights,
            label_smoothing=self.optim.label_smoothing,
            reduction="none",
        )
        classification = cross_entropy
        if self.own_loss is not None:
            classification = self.own_loss(output, part.label).expand_as(cross_entropy)
        # the contrastive losses of all parts add up to the batch's; DDP takes the mean of ranks
        world = self.fabric.world_size
        self.fabric.backward(classification.sum() / local + losses.total * world)
        self.meter.add(
            part,
            output.logits,
            classification.detach(),
            cross_entropy.detach(),
            losses,
            samples[start : start + len(part)],
            local * world,
        )

    @torch.no_grad()
    def _look_ahead(self, parts: list[Inputs]) -> Output:
        """Outputs for all parts: the contrastive losses of one part need all others."""
        with _frozen_statistics(self.network.module.model):
            outputs = [self.network(part.tracks, part.owner, len(part)) for part in parts]
        return Output(*(torch.cat(values) for values in zip(*outputs, strict=True)))

    def observe(self, output: Output, inputs: Inputs) -> None:
        """Advances the state of the contrastive losses by the global batch, in rank order.

        `output` is the network's for `inputs`, the samples of this process.
        """
        local = (output.feature.detach(), output.logits.detach(), inputs.label, inputs.key)
        if self.fabric.world_size > 1:
            local = tuple(v.flatten(0, 1) for v in self.fabric.all_gather(local))
        self.contrast.observe(*local)

    @property
    def lr(self) -> float:
        """The learning rate."""
        return float(self.optimizer.param_groups[0]["lr"])

    def set_lr(self, progress: float) -> None:
        """Sets the learning rate of the schedule; `progress` goes from 0 to 1."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.optim.lr_at(progress)

    def _set_weight_decay(self) -> None:
        """Projections decay only while their term is active; otherwise they would only shrink."""
        active = {"inter": self.contrast.inter_active, "intra": self.contrast.projects_intra}
        for group in self.optimizer.param_groups:
            group["weight_decay"] = self.optim.weight_decay * active.get(group["name"], True)

    def _class_weights(self, class_sizes: Sequence[int]) -> Tensor | None:
        """(C,) float32 in inverse proportion to the class sizes; a sample's mean weight is 1."""
        if not self.optim.class_weights:
            return None
        sizes = np.array(class_sizes)
        weights = sizes.sum() / (np.count_nonzero(sizes) * np.maximum(sizes, 1))
        return torch.tensor(weights, dtype=torch.float32, device=self.fabric.device)


def _make_optimizer(optim: OptimConfig, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    # fused=True: one kernel for each weight instead of several takes a sixth of the time on a CPU.
    # Without it, the scaler of float16 would also wait for the device before each step.
    if optim.name == "adamw":
        betas = (optim.momentum, _SQUARES_KEPT)
        return torch.optim.AdamW(groups, lr=optim.scaled_lr, betas=betas, fused=True)
    return torch.optim.SGD(
        groups,
        lr=optim.scaled_lr,
        momentum=optim.momentum,
        nesterov=optim.momentum > 0,
        fused=True,
    )


@contextmanager
def _frozen_statistics(model: nn.Module) -> Iterator[None]:
    """Batch norms use the batch's statistics and do not change the running ones."""
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
