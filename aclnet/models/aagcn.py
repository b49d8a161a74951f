"""AGCN and AAGCN: learned graphs to which each sample adds the similarity of its joints.

Shi et al., "Two-Stream Adaptive Graph Convolutional Networks for Skeleton-Based Action Recognition"
(CVPR 2019) and "Skeleton-Based Action Recognition with Multi-Stream Adaptive Graph Convolutional
Networks" (IEEE TIP 2020), in the form of the second article: one learned graph, and the similarity
by tanh, weighted by a learned number.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

from aclnet.models.blocks import Pointwise, make_down
from aclnet.models.graphs import spatial
from aclnet.models.stages import TenStages, fan_out
from aclnet.models.stgcn import nine_frames

_ALMOST_ZERO = 1e-6
"""Initial scale: at first, a new graph convolution passes only its residual."""


class GraphConv(nn.Module):
    """Graph convolution over K learned graphs, each refined for each sample."""

    def __init__(self, in_channels: int, out_channels: int, graph: Tensor) -> None:
        super().__init__()
        K, narrow = len(graph), out_channels // 4
        self.A = nn.Parameter(graph.clone())
        self.alpha = nn.Parameter(torch.zeros(1))
        self.conv_a = nn.ModuleList(Pointwise(in_channels, narrow) for _ in range(K))
        self.conv_b = nn.ModuleList(Pointwise(in_channels, narrow) for _ in range(K))
        self.conv_d = nn.ModuleList(Pointwise(in_channels, out_channels) for _ in range(K))
        self.bn = nn.BatchNorm2d(out_channels)
        self.down = make_down(in_channels, out_channels)
        fan_out(self)
        for conv in self.conv_d:
            nn.init.normal_(
                cast("Tensor", conv.weight), std=math.sqrt(2 / (K * out_channels * in_channels))
            )
        nn.init.constant_(self.bn.weight, _ALMOST_ZERO)

    def forward(self, x: Tensor) -> Tensor:
        mixed = (self._mixed(x, k) for k in range(len(self.A)))
        y: Tensor = self.bn(sum(mixed))
        return y.add_(self.down(x)).relu_()

    def _mixed(self, x: Tensor, k: int) -> Tensor:
        """Contribution of graph k."""
        a, b = self.conv_a[k](x).flatten(1, 2), self.conv_b[k](x).flatten(1, 2)
        similarity = torch.tanh(a.mT @ b / a.shape[1])
        mixed = x.flatten(1, 2) @ (self.A[k] + self.alpha * similarity)
        y: Tensor = self.conv_d[k](mixed.view(x.shape))
        return y


class AttentiveGraphConv(GraphConv):
    """Attention after the convolution: joints, frames and channels (TIP 2020, section III-D)."""

    def __init__(self, in_channels: int, out_channels: int, graph: Tensor) -> None:
        super().__init__(in_channels, out_channels, graph)
        V = graph.shape[-1]
        joints = V if V % 2 else V - 1
        self.conv_sa = nn.Conv1d(out_channels, 1, joints, padding=(joints - 1) // 2)
        self.conv_ta = nn.Conv1d(out_channels, 1, 9, padding=4)
        self.fc1c = nn.Linear(out_channels, out_channels // 2)
        self.fc2c = nn.Linear(out_channels // 2, out_channels)
        nn.init.xavier_normal_(self.conv_sa.weight)
        nn.init.kaiming_normal_(self.fc1c.weight)
        for zero in (self.conv_ta.weight, self.fc2c.weight):
            nn.init.zeros_(zero)
        for layer in (self.conv_sa, self.conv_ta, self.fc1c, self.fc2c):
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = super().forward(x)
        y = y + y * self.conv_sa(y.mean(2)).sigmoid().unsqueeze(2)
        y = y + y * self.conv_ta(y.mean(3)).sigmoid().unsqueeze(3)
        gate: Tensor = self.fc2c(self.fc1c(y.mean((2, 3))).relu()).sigmoid()
        return y + y * gate[:, :, None, None]


def _temporal(channels: int, stride: int) -> nn.Module:
    return fan_out(nine_frames(channels, stride))


class AGCN(TenStages):
    """AGCN: AAGCN without attention."""

    graph = staticmethod(spatial)
    spatial = GraphConv
    temporal = staticmethod(_temporal)


class AAGCN(AGCN):
    """AAGCN."""

    spatial = AttentiveGraphConv
