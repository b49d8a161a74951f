"""The released code's way of computing the network, for comparison of cost.

It uses the same weights and gives, except for rounding, the same numbers as
`aclnet.models.aclnet.ACLNet`. Every sample is padded to two persons. Both projections of the graph
convolution process all frames before their mean is taken. Every branch of the temporal convolution
has its own first convolution.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from aclnet.models.aclnet import SUBSETS, ACLNet, GraphConv, TemporalConv, Topology
from aclnet.models.blocks import Pointwise


class _GraphConv(GraphConv):
    def topology(self, x: Tensor) -> Topology:
        x1 = self.conv1(x).mean(2).unflatten(1, (SUBSETS, -1))
        x2 = self.conv2(x).mean(2).unflatten(1, (SUBSETS, -1))
        by_channel = torch.tanh(x1.unsqueeze(-1) - x2.unsqueeze(-2))
        shared = torch.einsum("nkcv,nkcw->nkvw", x1, x2).softmax(-2)
        return Topology(by_channel, shared, self.alpha[0], self.beta[0])

    def forward(self, x: Tensor, topology: Topology) -> Tensor:
        h = self.pre(x).relu().unflatten(1, (SUBSETS, -1))
        mixed = torch.einsum("nkctv,nkcvw->nkctw", h, topology.adjacency(self.A)).flatten(1, 2)
        return cast("Tensor", (self.bn(self.post(mixed)) + self.down(x)).relu())


class _TemporalConv(TemporalConv):
    def _branches(self, x: Tensor) -> Tensor:
        *branches, bare = self.branches
        return torch.cat([*(branch(x) for branch in branches), bare(x)[:, :, :: self.stride]], 1)


_PLAIN = {GraphConv: _GraphConv, TemporalConv: _TemporalConv, Pointwise: nn.Conv2d}


def as_released(model: ACLNet) -> ACLNet:
    """Makes a network compute as the released code does, with the same weights."""
    model.persons = "padded"
    for module in model.modules():
        module.__class__ = _PLAIN.get(type(module), type(module))
    return model
