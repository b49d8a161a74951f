"""The baselines written plainly from their specification, for comparison of cost.

The same weights and, to rounding, the same numbers as the networks of `aclnet.models`: every branch
over time has its own first convolution, graphs are applied by `einsum`, and every sample has two
persons.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from aclnet.models import aagcn, ctrgcn, msg3d
from aclnet.models.blocks import Pointwise
from aclnet.models.temporal import MultiBranchTCN, MultiScaleTCN

if TYPE_CHECKING:
    from aclnet.models.stages import Baseline


def _side_by_side(branches: nn.ModuleList, x: Tensor, stride: int) -> Tensor:
    *others, last = branches
    return torch.cat([*(branch(x) for branch in others), last(x[:, :, ::stride])], 1)


class _MultiBranchTCN(MultiBranchTCN):
    def _branches(self, x: Tensor) -> Tensor:
        return _side_by_side(self.branches, x, self.stride)


class _MultiScaleTCN(MultiScaleTCN):
    def forward(self, x: Tensor) -> Tensor:
        y = _side_by_side(self.branches, x, self.stride)
        if self.residual is not None:
            y = y + self.residual(x)
        return y.relu() if self.relu else y


class _AdaptiveConv(aagcn.GraphConv):
    def _mixed(self, x: Tensor, k: int) -> Tensor:
        a, b = self.conv_a[k](x), self.conv_b[k](x)
        similarity = torch.einsum("nctv,nctw->nvw", a, b) / (a.shape[1] * a.shape[2])
        graph = self.A[k] + self.alpha * torch.tanh(similarity)
        return cast("Tensor", self.conv_d[k](torch.einsum("nctv,nvw->nctw", x, graph)))


class _AttentiveConv(aagcn.AttentiveGraphConv, _AdaptiveConv):
    pass


class _RefinedConv(ctrgcn.GraphConv):
    def _mixed(self, x: Tensor, k: int) -> Tensor:
        conv = self.convs[k]
        source, target = conv.conv1(x).mean(2), conv.conv2(x).mean(2)
        relation = conv.conv4(torch.tanh(source.unsqueeze(-1) - target.unsqueeze(-2)))
        return torch.einsum("ncuv,nctu->nctv", self.A[k] + self.alpha * relation, conv.conv3(x))


class _WholeWindow(msg3d.WholeWindow):
    def forward(self, x: Tensor) -> Tensor:
        return nn.Conv3d.forward(self, x).squeeze(3)


_PLAIN: dict[type, type] = {
    Pointwise: nn.Conv2d,
    MultiBranchTCN: _MultiBranchTCN,
    MultiScaleTCN: _MultiScaleTCN,
    aagcn.GraphConv: _AdaptiveConv,
    aagcn.AttentiveGraphConv: _AttentiveConv,
    ctrgcn.GraphConv: _RefinedConv,
    msg3d.WholeWindow: _WholeWindow,
}


def as_plain(model: Baseline) -> Baseline:
    """Makes a network compute as its specification reads; its weights stay."""
    for module in model.modules():
        module.__class__ = _PLAIN.get(type(module), type(module))
    return model
