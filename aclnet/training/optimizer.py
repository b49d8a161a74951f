"""The optimizer of a training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from aclnet.runs.config import OptimConfig
    from aclnet.runs.network import Network

_SECOND_MOMENT = 0.999
"""Decay of Adam's second moment: Kingma and Ba, "Adam" (ICLR 2015), section 2."""


def make_optimizer(network: Network, optim: OptimConfig) -> torch.optim.Optimizer:
    """The optimizer that the settings name, with a kernel for each weight.

    One kernel for each weight instead of several takes a sixth of the time on a CPU. Without it,
    the scaler of float16 would also wait for the device before each step.
    """
    groups = parameter_groups(network)
    if optim.name == "adamw":
        betas = (optim.momentum, _SECOND_MOMENT)
        return torch.optim.AdamW(groups, lr=optim.scaled_lr, betas=betas, fused=True)
    return torch.optim.SGD(
        groups,
        lr=optim.scaled_lr,
        momentum=optim.momentum,
        nesterov=optim.momentum > 0,
        fused=True,
    )


def parameter_groups(network: Network) -> list[dict[str, Any]]:
    """Named groups; each projection of the losses is separate, because its decay is separate."""
    contrast = network.contrast
    groups = {
        "model": network.model,
        "inter": contrast.inter_projection,
        "intra": contrast.intra_projection,
        **({} if network.loss is None else {"loss": network.loss}),
    }
    return [{"name": name, "params": list(part.parameters())} for name, part in groups.items()]
