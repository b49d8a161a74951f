"""The network: ten blocks of a graph convolution with a learned topology and temporal convolutions.

The backbone is DG-STGCN (Duan et al., "DG-STGCN: Dynamic Spatial-Temporal Modeling for
Skeleton-based Action Recognition", 2022) widened to 96 channels, as the released ACLNet uses it.
Modules bear the names of the released checkpoints, so that importing one only strips prefixes.

Activations are (P, C, T, V). Three measured choices make it fast: 1x1 convolutions, the bulk of
the arithmetic, are products of matrices; those that share an input are one; and a mean over time
is taken before the 1x1 convolution that it commutes with.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager

Feature = Literal["topology", "pooled"]
Persons = Literal["present", "padded"]

SUBSETS = 8
"""K: learned topologies of a graph convolution; its channels are divided among them."""
DILATIONS = (1, 2, 3, 4)
BLOCKS = 10
WIDENING = (4, 7)
"""Blocks, from 0, that double the channels and halve the frames."""
PADDED_PERSONS = 2

_ADD_COEFF_ENTRIES = 25


class Output(NamedTuple):
    """What the network says of B samples."""

    logits: Tensor
    """(B, num_classes)"""
    feature: Tensor
    """(B, feature_width): input of the contrastive losses."""
    pooled: Tensor
    """(B, 4 * base_channels): activations averaged over frames, joints and persons."""


class ACLNet(nn.Module):
    """Classifier of skeleton sequences whose last topology feeds the contrastive losses.

    `feature`: "topology" takes the sample-specific part of the last block's adjacency (V*V wide;
    exactly 0 in an untrained network), "pooled" the activations before the classifier.

    `persons`: "present" lets only persons who are there through the network. "padded" computes
    what the released code does, where every sample has two persons and an absent one is zeros: it
    counts in the batch statistics and in the mean; tracks after a sample's second are ignored.

    `recompute`: training keeps only the inputs of the blocks for the backward pass, and computes
    the rest of their activations again there (Chen et al., "Training deep nets with sublinear
    memory cost", 2016). Outputs, gradients and statistics are the same, bit for bit.

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
        persons: Persons = "present",
        recompute: bool = False,
    ) -> None:
        super().__init__()
        self.recompute = recompute
        self.feature = feature
        self.persons = persons
        self.data_bn = nn.BatchNorm1d(num_joints * in_channels)
        self.gcn = nn.ModuleList(_blocks(num_joints, in_channels, base_channels))
        self.fc_cls = nn.Linear(4 * base_channels, num_classes)
        nn.init.normal_(self.fc_cls.weight, std=0.01)
        nn.init.zeros_(self.fc_cls.bias)
        self.feature_width = num_joints**2 if feature == "topology" else 4 * base_channels

    def forward(self, tracks: Tensor, owner: Tensor, num_samples: int) -> Output:
        """Scores of B = `num_samples` samples from all their persons' tracks.

        `tracks` (P, T, V, C) float32; `owner` (P,) int64, sorted: the sample, 0 to B - 1, that
        each track belongs to. Never waits for the device.
        """
        if self.persons == "present":
            pooled, feature = self._mean_of_present(tracks, owner, num_samples)
        elif self.training:
            pooled, feature = self._mean_of_pairs(tracks, owner, num_samples)
        else:
            pooled, feature = self._mean_with_constant(tracks, owner, num_samples)
        return Output(self.fc_cls(pooled), feature, pooled)

    def _per_track(self, tracks: Tensor) -> tuple[Tensor, Tensor]:
        """(P, 4 * base_channels) pooled activations and (P, feature_width) features."""
        P, T, V, C = tracks.shape
        x = self.data_bn(tracks.reshape(P * T, V * C)).view(P, T, V, C)
        x = x.permute(0, 3, 1, 2).contiguous()
        *blocks, last = cast("Iterable[Block]", self.gcn)
        # the last block is the first to be differentiated: to compute it again saves nothing
        recompute = self.recompute and self.training and torch.is_grad_enabled()
        for block in blocks:
            x = _recomputed(block, x) if recompute else block(x)
        if self.feature == "pooled":
            pooled = last(x).mean((2, 3))
            return pooled, pooled
        topology = last.gcn.topology(x)
        pooled = last(x, topology).mean((2, 3))
        return pooled, topology.mean().flatten(1)

    def _mean_of_present(self, tracks: Tensor, owner: Tensor, B: int) -> tuple[Tensor, Tensor]:
        count = owner.new_zeros(B).index_add_(0, owner, torch.ones_like(owner)).clamp_(min=1)
        pooled, feature = self._per_track(tracks)
        count = count[:, None]
        return _sum_by(owner, pooled, B) / count, _sum_by(owner, feature, B) / count

    def _mean_of_pairs(self, tracks: Tensor, owner: Tensor, B: int) -> tuple[Tensor, Tensor]:
        """Every sample as two tracks, zeros where there is none."""
        rank = _rank_in_sample(owner)
        # tracks that are not wanted go to one extra row: a mask would have to wait for its count
        slot = torch.where(rank < PADDED_PERSONS, owner * PADDED_PERSONS + rank, B * PADDED_PERSONS)
        padded = tracks.new_zeros(B * PADDED_PERSONS + 1, *tracks.shape[1:])
        pooled, feature = self._per_track(padded.index_copy_(0, slot, tracks)[:-1])
        pairs = (B, PADDED_PERSONS, -1)
        return pooled.view(pairs).mean(1), feature.view(pairs).mean(1)

    def _mean_with_constant(self, tracks: Tensor, owner: Tensor, B: int) -> tuple[Tensor, Tensor]:
        """As `_mean_of_pairs` where tracks do not interact: one zero track serves all samples."""
        used = _rank_in_sample(owner) < PADDED_PERSONS
        present = owner.new_zeros(B).index_add_(0, owner, used.long())
        absent = (PADDED_PERSONS - present)[:, None]
        means = []
        for value in self._per_track(torch.cat([tracks, tracks.new_zeros(1, *tracks.shape[1:])])):
            total = _sum_by(owner, value[:-1] * used[:, None], B) + absent * value[-1]
            means.append(total / PADDED_PERSONS)
        return means[0], means[1]


def _blocks(num_joints: int, in_channels: int, base_channels: int) -> Iterable[Block]:
    width, out = in_channels, base_channels
    for index in range(BLOCKS):
        stride = 2 if index in WIDENING else 1
        out *= stride
        yield Block(width, out, num_joints, stride, residual=index > 0)
        width = out


def _rank_in_sample(owner: Tensor) -> Tensor:
    """(P,) int64: how many tracks of the same sample stand before each; `owner` is sorted."""
    return torch.arange(len(owner), device=owner.device) - torch.searchsorted(owner, owner)


def _sum_by(owner: Tensor, value: Tensor, B: int) -> Tensor:
    """(B, n) sums of the rows of `value` (P, n) that have the same owner."""
    return value.new_zeros(B, value.shape[1]).index_add_(0, owner, value)


class Block(nn.Module):
    """Graph convolution, temporal convolution, residual, ReLU: (P, C, T, V) to (P, C', T', V)."""

    def __init__(
        self, in_channels: int, out_channels: int, num_joints: int, stride: int, *, residual: bool
    ) -> None:
        super().__init__()
        self.gcn = GraphConv(in_channels, out_channels, num_joints)
        self.tcn = TemporalConv(out_channels, num_joints, stride)
        self.residual: nn.Module | None
        if not residual:
            self.residual = None
        elif in_channels == out_channels and stride == 1:
            self.residual = nn.Identity()
        else:
            self.residual = _StridedResidual(in_channels, out_channels, stride)

    def forward(self, x: Tensor, topology: Topology | None = None) -> Tensor:
        """`topology` may be given where the caller has already computed it from `x`."""
        topology = self.gcn.topology(x) if topology is None else topology
        y: Tensor = self.tcn(self.gcn(x, topology))
        if self.residual is not None:
            y = y.add_(self.residual(x))
        return y.relu_()


def _recomputed(block: Block, x: Tensor) -> Tensor:
    """`block(x)`, of which only `x` is kept for the backward pass."""
    y: Tensor = checkpoint(
        block,
        x,
        use_reentrant=False,
        preserve_rng_state=False,  # nothing in a block is random
        context_fn=partial(_recompute_contexts, block),
    )
    return y


def _recompute_contexts(
    block: Block,
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Contexts of the forward pass and of the recomputation of `block`."""
    return nullcontext(), _spare_statistics(block)


@contextmanager
def _spare_statistics(block: Block) -> Iterator[None]:
    """Batch norms update copies of their running statistics, which are then thrown away.

    They must be there: a checkpoint wants as many tensors saved as the first time.
    """
    norms = [m for m in block.modules() if isinstance(m, nn.BatchNorm2d)]
    kept = [dict(norm.named_buffers()) for norm in norms]
    for norm, buffers in zip(norms, kept, strict=True):
        for name, buffer in buffers.items():
            setattr(norm, name, buffer.clone())
    try:
        yield
    finally:
        for norm, buffers in zip(norms, kept, strict=True):
            for name, buffer in buffers.items():
                setattr(norm, name, buffer)


class Topology(NamedTuple):
    """Sample-specific parts of the adjacency of a graph convolution; 0 in an untrained network."""

    by_channel: Tensor
    """(P, K, C, V, V): tanh of the difference between two joints."""
    shared: Tensor
    """(P, K, V, V): softmax over the source joints of their similarity, for all channels."""
    alpha: Tensor
    beta: Tensor

    def adjacency(self, A: Tensor) -> Tensor:
        """(P, K, C, V, V): these parts on the learned topologies `A` (K, V, V)."""
        shared = torch.addcmul(A, self.beta, self.shared)
        return torch.addcmul(shared.unsqueeze(2), self.alpha, self.by_channel)

    def mean(self) -> Tensor:
        """(P, V, V): mean over subsets and channels, accumulated in float32 under autocast."""
        dtype = torch.promote_types(self.by_channel.dtype, torch.float32)
        by_channel = self.by_channel.mean((1, 2), dtype=dtype)
        return self.alpha * by_channel + self.beta * self.shared.mean(1, dtype=dtype)


class GraphConv(nn.Module):
    """Graph convolution over K learned topologies, refined for each sample and channel."""

    def __init__(self, in_channels: int, out_channels: int, num_joints: int) -> None:
        super().__init__()
        mid = SUBSETS * (out_channels // SUBSETS)
        self.A = nn.Parameter(torch.randn(SUBSETS, num_joints, num_joints) * 0.02 + 0.04)
        # released checkpoints hold K entries of which the first alone is used
        self.alpha = nn.Parameter(torch.zeros(SUBSETS))
        self.beta = nn.Parameter(torch.zeros(SUBSETS))
        self.pre = nn.Sequential(_Pointwise(in_channels, mid), nn.BatchNorm2d(mid))
        self.conv1 = _Pointwise(in_channels, mid)
        self.conv2 = _Pointwise(in_channels, mid)
        self.post = _Pointwise(mid, out_channels)
        self.bn = nn.BatchNorm2d(out_channels)
        self.down: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.down = nn.Sequential(
                _Pointwise(in_channels, out_channels), nn.BatchNorm2d(out_channels)
            )

    def topology(self, x: Tensor) -> Topology:
        """The parts of the adjacency that depend on `x` (P, C, T, V)."""
        # the mean over time commutes with the 1x1 convolutions, and costs T times less before them
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


class TemporalConv(nn.Module):
    """Six branches over time, with the mean over joints as one further joint."""

    def __init__(self, channels: int, num_joints: int, stride: int) -> None:
        super().__init__()
        self.num_joints = num_joints
        self.stride = stride
        narrow = channels // 6
        first = channels - 5 * narrow
        self.add_coeff = nn.Parameter(torch.zeros(max(_ADD_COEFF_ENTRIES, num_joints)))
        pool = nn.MaxPool2d((3, 1), stride=(stride, 1), padding=(1, 0))
        convs = [
            _branch(channels, width, _TimeConv(width, stride, dilation))
            for dilation, width in zip(DILATIONS, (first, narrow, narrow, narrow), strict=True)
        ]
        bare = _Pointwise(channels, narrow)
        self.branches = nn.ModuleList([*convs, _branch(channels, narrow, pool), bare])
        self.transform = nn.Sequential(
            nn.BatchNorm2d(channels), nn.ReLU(inplace=True), _Pointwise(channels, channels)
        )
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        V = self.num_joints
        # sum and scale, not mean: the gradient then spreads over the joints without a copy
        x = torch.cat([x, x.sum(-1, keepdim=True) / V], -1)
        y = torch.cat(self._branches(x), 1)
        joints, extra = torch.split(y.flatten(0, 2), [V, 1], -1)
        mixed = torch.addmm(joints, extra, self.add_coeff[None, :V])
        z: Tensor = self.bn(self.transform(mixed.view(*y.shape[:3], V)))
        return z

    def _branches(self, x: Tensor) -> list[Tensor]:
        """Outputs of the branches; their first convolutions, all of `x`, are done as one."""
        *branches, bare = cast("list[nn.Sequential]", list(self.branches))
        convs = cast("list[_Pointwise]", [*(branch[0] for branch in branches), bare])
        weight = torch.cat([conv.weight for conv in convs])
        bias = torch.cat([conv.bias for conv in convs])
        *parts, last = torch.split(_pointwise(x, weight, bias), [len(c.bias) for c in convs], 1)
        # batch normalisation is several times slower on what is not contiguous
        outs = [branch[1:](h.contiguous()) for branch, h in zip(branches, parts, strict=True)]
        return [*outs, last[:, :, :: self.stride]]


def _branch(channels: int, width: int, last: nn.Module) -> nn.Sequential:
    return nn.Sequential(
        _Pointwise(channels, width), nn.BatchNorm2d(width), nn.ReLU(inplace=True), last
    )


class _TimeConv(nn.Module):
    def __init__(self, channels: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, (3, 1), (stride, 1), (dilation, 0), (dilation, 1))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return y


class _StridedResidual(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = _Pointwise(in_channels, out_channels)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.bn(self.conv(x[:, :, :: self.stride]))
        return y


class _Pointwise(nn.Conv2d):
    """1x1 convolution, with the parameters of one, as a product of matrices."""

    bias: Tensor

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return _pointwise(x, self.weight, self.bias)


def _pointwise(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(P, C', T, V): `weight` (C', C, 1, 1) applied to every place of `x` (P, C, T, V)."""
    P, _, T, V = x.shape
    # the bias apart: as the product's addend it would be spread out to the whole output before
    y = torch.bmm(weight.flatten(1).expand(P, -1, -1), x.flatten(2)).add_(bias[:, None])
    return y.view(P, -1, T, V)
