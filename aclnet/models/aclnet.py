"""The network: ten blocks of a graph convolution with a learned topology and temporal convolutions.

The backbone is DG-STGCN (Duan et al., "DG-STGCN: Dynamic Spatial-Temporal Modeling for
Skeleton-based Action Recognition", 2022) widened to 96 channels, as the released ACLNet uses it.
Modules have the names of the released checkpoints, so that an import only removes prefixes.

Activations are (P, C, T, V). Three measured choices make the network fast: 1x1 convolutions, which
take most of the time, are products of matrices; convolutions of the same input are one product; and
a mean over time comes before the 1x1 convolution that it commutes with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from torch import Tensor, nn

from aclnet.models.blocks import InputNorm, JointEmbedding, Pointwise, make_down, make_residual
from aclnet.models.classifier import PersonwiseClassifier, make_head
from aclnet.models.stages import ten_stages
from aclnet.models.temporal import MultiBranchTCN

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aclnet.models.choices import Feature, Persons, Pooling

SUBSETS = 8
"""K: learned topologies of a graph convolution; its channels are divided among them."""
_ADD_COEFF_ENTRIES = 25
_ALMOST_ZERO = 1e-6
"""Scale of CTR-GCN's new graph convolutions; at exactly 0, their weights would have no gradient."""


class ACLNet(PersonwiseClassifier):
    """Classifier of skeleton sequences whose last topology feeds the contrastive losses.

    `feature`: "topology" takes the sample-specific part of the last block's adjacency (V*V wide;
    exactly 0 in an untrained network), "pooled" the activations before the classifier.

    `pooling`: activations that the last layer gets, "all" as published; see `Pooling`.

    `joint_embedding`: the input is embedded by joint, see `JointEmbedding`.

    `zero_init`: the branches beside residuals begin at almost 0, so that a new block passes on its
    input (Goyal et al., "Accurate, large minibatch SGD", 2017, section 5.1).

    `persons`: persons of a sample that enter the mean, see `mean_over_persons`.

    `presence`: the last channel marks the present joints, see `InputNorm`.

    `recompute`: training keeps only the inputs of the blocks for the backward pass, see
    `recomputed`.

    Initial weights come from torch's global generator.
    """

    def __init__(
        self,
        *,
        num_joints: int,
        num_classes: int,
        in_channels: int = 3,
        base_channels: int = 96,
        feature: Feature = "topology",
        pooling: Pooling = "all",
        joint_embedding: bool = False,
        zero_init: bool = False,
        persons: Persons = "present",
        presence: bool = False,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        self.recompute = recompute
        self.pooling = pooling
        self.feature = feature
        self.persons = persons
        self.data_bn = InputNorm(num_joints, in_channels, presence=presence)
        first = base_channels if joint_embedding else in_channels
        self.gcn = nn.ModuleList(_blocks(num_joints, first, base_channels))
        self.fc_cls = make_head(4 * base_channels, num_joints, pooling, num_classes)
        self.joints = (
            JointEmbedding(num_joints, in_channels, base_channels) if joint_embedding else None
        )
        if zero_init:
            for block in cast("Iterable[Block]", self.gcn):
                block.begin_with_residuals()
        self.feature_width = num_joints**2 if feature == "topology" else self.pooled_width

    def _per_track(self, tracks: Tensor) -> tuple[Tensor, Tensor]:
        """(P, pooled_width) pooled activations and (P, feature_width) features."""
        *blocks, last = cast("Iterable[Block]", self.gcn)
        # backward starts with the last block, so recomputing it saves no memory
        x = self._through(blocks, self._normalised(tracks))
        if self.feature == "pooled":
            pooled = self._pool(last(x))
            return pooled, pooled
        topology = last.gcn.topology(x)
        pooled = self._pool(last(x, topology))
        return pooled, topology.mean().flatten(1)


def _blocks(num_joints: int, in_channels: int, base_channels: int) -> Iterable[Block]:
    for index, (width, out, stride) in enumerate(ten_stages(in_channels, base_channels)):
        yield Block(width, out, num_joints, stride, residual=index > 0)


class Block(nn.Module):
    """Graph convolution, temporal convolution, residual, ReLU: (P, C, T, V) to (P, C', T', V)."""

    def __init__(
        self, in_channels: int, out_channels: int, num_joints: int, stride: int, *, residual: bool
    ) -> None:
        super().__init__()
        self.gcn = GraphConv(in_channels, out_channels, num_joints)
        self.tcn = TemporalConv(out_channels, num_joints, stride)
        self.residual = make_residual(in_channels, out_channels, stride) if residual else None

    def begin_with_residuals(self) -> None:
        """Sets the initial scale of the branches that have a residual beside them."""
        nn.init.constant_(self.gcn.bn.weight, _ALMOST_ZERO)
        if self.residual is not None:
            nn.init.constant_(self.tcn.bn.weight, _ALMOST_ZERO)

    def forward(self, x: Tensor, topology: Topology | None = None) -> Tensor:
        """Pass `topology` if the caller has already computed it from `x`."""
        topology = self.gcn.topology(x) if topology is None else topology
        y: Tensor = self.tcn(self.gcn(x, topology))
        if self.residual is not None:
            y = y.add_(self.residual(x))
        return y.relu_()


class Topology(NamedTuple):
    """Sample-specific parts of the adjacency of a graph convolution; 0 in an untrained network."""

    by_channel: Tensor
    """(P, K, C, V, V): tanh of the difference between two joints."""
    shared: Tensor
    """(P, K, V, V): softmax over the source joints of their similarity, for all channels."""
    alpha: Tensor
    beta: Tensor

    def adjacency(self, A: Tensor) -> Tensor:
        """(P, K, C, V, V): these parts added to the learned topologies `A` (K, V, V)."""
        shared = torch.addcmul(A, self.beta, self.shared)
        return torch.addcmul(shared.unsqueeze(2), self.alpha, self.by_channel)

    def mean(self) -> Tensor:
        """(P, V, V): mean over subsets and channels, accumulated in float32 under autocast."""
        dtype = torch.promote_types(self.by_channel.dtype, torch.float32)
        by_channel = self.by_channel.mean((1, 2), dtype=dtype)
        return self.alpha * by_channel + self.beta * self.shared.mean(1, dtype=dtype)


class GraphConv(nn.Module):
    """Graph convolution over K learned topologies, refined for each sample and channel."""

    FOLDS = (("post", "bn"),)

    def __init__(self, in_channels: int, out_channels: int, num_joints: int) -> None:
        super().__init__()
        mid = SUBSETS * (out_channels // SUBSETS)
        self.A = nn.Parameter(torch.randn(SUBSETS, num_joints, num_joints) * 0.02 + 0.04)
        # released checkpoints hold K entries, but only the first is used
        self.alpha = nn.Parameter(torch.zeros(SUBSETS))
        self.beta = nn.Parameter(torch.zeros(SUBSETS))
        self.pre = nn.Sequential(Pointwise(in_channels, mid), nn.BatchNorm2d(mid))
        self.conv1 = Pointwise(in_channels, mid)
        self.conv2 = Pointwise(in_channels, mid)
        self.post = Pointwise(mid, out_channels)
        self.bn = nn.BatchNorm2d(out_channels)
        self.down = make_down(in_channels, out_channels)

    def topology(self, x: Tensor) -> Topology:
        """The parts of the adjacency that depend on `x` (P, C, T, V)."""
        # the mean over time commutes with the 1x1 convolutions; before them, these cost T times
        # less
        still = x.sum(2, keepdim=True) / x.shape[2]
        x1 = self.conv1(still).squeeze(2).unflatten(1, (SUBSETS, -1))
        x2 = self.conv2(still).squeeze(2).unflatten(1, (SUBSETS, -1))
        return Topology(
            (x1.unsqueeze(-1) - x2.unsqueeze(-2)).tanh_(),
            (x1.mT @ x2).softmax(-2),
            self.alpha[0],
            self.beta[0],
        )

    def forward(self, x: Tensor, topology: Topology) -> Tensor:
        h = self.pre(x).relu_()
        mixed = h @ topology.adjacency(self.A).flatten(1, 2)
        y: Tensor = self.bn(self.post(mixed))
        return y.add_(self.down(x)).relu_()


class TemporalConv(MultiBranchTCN):
    """Six branches over time, with the mean over joints as one further joint."""

    def __init__(self, channels: int, num_joints: int, stride: int) -> None:
        super().__init__(channels, stride)
        self.num_joints = num_joints
        self.add_coeff = nn.Parameter(torch.zeros(max(_ADD_COEFF_ENTRIES, num_joints)))

    def forward(self, x: Tensor) -> Tensor:
        V = self.num_joints
        # Sum and scale, not mean: the gradient then spreads over the joints without a copy. Without
        # `dtype`, CUDA's autocast would sum in float32 and make all of `x` float32.
        x = torch.cat([x, x.sum(-1, keepdim=True, dtype=x.dtype) / V], -1)
        y = self._branches(x)
        joints, extra = torch.split(y.flatten(0, 2), [V, 1], -1)
        mixed = torch.addmm(joints, extra, self.add_coeff[None, :V])
        z: Tensor = self.bn(self.transform(mixed.view(*y.shape[:3], V)))
        return z
