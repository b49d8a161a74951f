"""ST-GCN: graph convolutions over three fixed partitions of each joint's neighbours.

Yan et al., "Spatial Temporal Graph Convolutional Networks for Skeleton-Based Action Recognition"
(AAAI 2018).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aclnet.models.blocks import Pointwise
from aclnet.models.graphs import stgcn_spatial
from aclnet.models.stages import TenStages
from aclnet.models.temporal import TimeConv


class GraphConv(nn.Module):
    """Graph convolution over K fixed graphs, whose links have learned weights (equation 10)."""

    A: Tensor

    def __init__(self, in_channels: int, out_channels: int, graph: Tensor) -> None:
        super().__init__()
        self.register_buffer("A", graph.clone())
        self.PA = nn.Parameter(torch.ones_like(graph))
        self.conv = Pointwise(in_channels, len(graph) * out_channels)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.bn(mix_subsets(self.conv(x), self.A * self.PA))
        return y.relu_()


def mix_subsets(x: Tensor, A: Tensor) -> Tensor:
    """(P, C, T, V): sum over K groups of channels of `x` (P, K * C, T, V), each mixed by its graph.

    `A` (K, V, V).
    """
    P, _, T, V = x.shape
    return torch.einsum("nkctv,kvw->nctw", x.view(P, len(A), -1, T, V), A)


def nine_frames(channels: int, stride: int) -> TimeConv:
    """A convolution over nine frames."""
    return TimeConv(channels, stride, kernel=9)


class STGCN(TenStages):
    """ST-GCN."""

    norm_by_person = False
    graph = staticmethod(stgcn_spatial)
    spatial = GraphConv
    temporal = staticmethod(nine_frames)
