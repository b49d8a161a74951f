"""Networks that give other features to the contrastive losses, for `contrast-features.toml`.

Both compute the same scores as the network of aclnet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from aclnet.models.aclnet import ACLNet

if TYPE_CHECKING:
    from aclnet.own.network import Dimensions

_LAST_BLOCKS = (3, 6, 9)
"""Last block of each width."""


class HiddenLayer(nn.Module):
    """A hidden layer after the pooled activations: with the projection of each term, two layers."""

    def __init__(self, network: ACLNet) -> None:
        super().__init__()
        self.network = network
        width = network.pooled_width
        self.hidden = nn.Sequential(nn.Linear(width, width), nn.ReLU())

    def forward(self, tracks: Tensor, owner: Tensor, num_samples: int) -> tuple[Tensor, Tensor]:
        output = self.network(tracks, owner, num_samples)
        return output.logits, self.hidden(output.pooled)


class Levels(nn.Module):
    """The mean activations of three blocks, one of each width."""

    def __init__(self, network: ACLNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, tracks: Tensor, owner: Tensor, num_samples: int) -> tuple[Tensor, Tensor]:
        output = self.network(tracks, owner, num_samples)
        return output.logits, output.feature


class _LevelsNetwork(ACLNet):
    def _per_track(self, tracks: Tensor) -> tuple[Tensor, Tensor]:
        x, levels = self.data_bn(tracks), []
        for number, block in enumerate(self.gcn):
            x = block(x)
            if number in _LAST_BLOCKS:
                levels.append(x.mean((2, 3)))
        return levels[-1], torch.cat(levels, 1)


def hidden_layer(dimensions: Dimensions) -> HiddenLayer:
    """The network whose feature has a hidden layer."""
    return HiddenLayer(_network(ACLNet, dimensions))


def levels(dimensions: Dimensions) -> Levels:
    """The network whose feature has three levels."""
    return Levels(_network(_LevelsNetwork, dimensions))


def _network(kind: type[ACLNet], dimensions: Dimensions) -> ACLNet:
    return kind(
        num_joints=dimensions.layout.num_joints,
        num_classes=dimensions.num_classes,
        in_channels=dimensions.in_channels,
        base_channels=dimensions.width,
        feature="pooled",
    )
