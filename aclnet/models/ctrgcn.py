"""CTR-GCN: a learned graph for each channel, refined by differences between joints.

Chen et al., "Channel-wise Topology Refinement Graph Convolution for Skeleton-Based Action
Recognition" (ICCV 2021). As in PYSKL a joint sums over the first axis of its graph, and the
convolution over time ends with a ReLU; the authors' code does neither.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aclnet.models.blocks import Pointwise, make_down
from aclnet.models.graphs import spatial
from aclnet.models.stages import TenStages, fan_out
from aclnet.models.temporal import MultiScaleTCN

_ALMOST_ZERO = 1e-6
"""Initial scale: at first, a new graph convolution passes only its residual."""


class Refinement(nn.Module):
    """Refinement of one graph for each sample, and the activations that the graph mixes."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        narrow = 8 if in_channels <= 16 else in_channels // 8
        self.conv1 = Pointwise(in_channels, narrow)
        self.conv2 = Pointwise(in_channels, narrow)
        self.conv3 = Pointwise(in_channels, out_channels)
        self.conv4 = Pointwise(narrow, out_channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(P, C', T, V) activations and (P, C', V, V) relations of joints (equations 2 to 4)."""
        source, target = self.conv1(x).mean(2), self.conv2(x).mean(2)
        difference = torch.tanh(source.unsqueeze(-1) - target.unsqueeze(-2))
        return self.conv3(x), self.conv4(difference)


class GraphConv(nn.Module):
    """Sum of convolutions over K learned graphs, each refined for each channel, and a residual."""

    def __init__(self, in_channels: int, out_channels: int, graph: Tensor) -> None:
        super().__init__()
        self.A = nn.Parameter(graph.clone())
        self.alpha = nn.Parameter(torch.zeros(1))
        self.convs = nn.ModuleList(Refinement(in_channels, out_channels) for _ in graph)
        self.bn = nn.BatchNorm2d(out_channels)
        self.down = make_down(in_channels, out_channels)
        fan_out(self)
        nn.init.constant_(self.bn.weight, _ALMOST_ZERO)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.bn(sum(self._mixed(x, k) for k in range(len(self.A))))
        return y.add_(self.down(x)).relu_()

    def _mixed(self, x: Tensor, k: int) -> Tensor:
        """Contribution of graph k (equations 1 and 5)."""
        z, relation = self.convs[k](x)
        y: Tensor = z @ torch.addcmul(self.A[k], self.alpha, relation)
        return y


def _temporal(channels: int, stride: int) -> nn.Module:
    return fan_out(
        MultiScaleTCN(channels, channels, stride, dilations=(1, 2), kernel=5, residual=False)
    )


class CTRGCN(TenStages):
    """CTR-GCN."""

    graph = staticmethod(spatial)
    spatial = GraphConv
    temporal = staticmethod(_temporal)
