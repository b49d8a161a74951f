"""Building blocks of networks: input, output, 1x1 convolutions, residuals, recomputation."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager


class Output(NamedTuple):
    """What the network says of B samples."""

    logits: Tensor
    """(B, num_classes)"""
    feature: Tensor
    """(B, feature_width): input of the contrastive losses."""
    pooled: Tensor
    """(B, n): activations averaged over frames, joints and persons."""


class InputNorm(nn.BatchNorm1d):
    """Batch normalisation of each coordinate of each joint: (P, T, V, C) to (P, C, T, V).

    With several `slots` each person of a sample is normalised apart, by the order in which persons
    are listed. Tracks then come in groups of that many.
    """

    def __init__(self, num_joints: int, in_channels: int, slots: int = 1) -> None:
        super().__init__(slots * num_joints * in_channels)
        self.slots = slots

    def forward(self, tracks: Tensor) -> Tensor:
        P, T, V, C = tracks.shape
        x = tracks.reshape(P // self.slots, self.slots, T, V, C).transpose(1, 2)
        x = super().forward(x.reshape(-1, self.num_features)).view(x.shape)
        return x.permute(0, 2, 4, 1, 3).reshape(P, C, T, V)


class Pointwise(nn.Conv2d):
    """1x1 convolution, with the parameters of one, as a product of matrices."""

    bias: Tensor

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return pointwise(x, self.weight, self.bias)


def pointwise(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(P, C', T, V): `weight` (C', C, 1, 1) applied to every place of `x` (P, C, T, V)."""
    P, _, T, V = x.shape
    # the bias apart: as the product's addend it would be spread out to the whole output before
    y = torch.bmm(weight.flatten(1).expand(P, -1, -1), x.flatten(2)).add_(bias[:, None])
    return y.view(P, -1, T, V)


def fused(convs: Sequence[Pointwise], x: Tensor) -> tuple[Tensor, ...]:
    """Outputs of several convolutions of the same `x`, computed as one; views of one array."""
    weight = torch.cat([conv.weight for conv in convs])
    bias = torch.cat([conv.bias for conv in convs])
    return torch.split(pointwise(x, weight, bias), [len(conv.bias) for conv in convs], 1)


class StridedResidual(nn.Module):
    """A residual that changes the width and drops frames."""

    FOLDS = (("conv", "bn"),)

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = Pointwise(in_channels, out_channels)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.bn(self.conv(x[:, :, :: self.stride]))
        return y


def make_residual(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """`x` itself where its shape stays, else a `StridedResidual`."""
    if in_channels == out_channels and stride == 1:
        return nn.Identity()
    return StridedResidual(in_channels, out_channels, stride)


def make_down(in_channels: int, out_channels: int) -> nn.Module:
    """The residual inside of a graph convolution: `x` itself where the width stays."""
    if in_channels == out_channels:
        return nn.Identity()
    return nn.Sequential(Pointwise(in_channels, out_channels), nn.BatchNorm2d(out_channels))


def recomputed(block: nn.Module, x: Tensor) -> Tensor:
    """`block(x)`, of which only `x` is kept for the backward pass, which computes the rest again.

    Chen et al., "Training deep nets with sublinear memory cost" (2016). Outputs, gradients and
    statistics of batch norms are the same, bit for bit; nothing in the block may be random.
    """
    y: Tensor = checkpoint(
        block,
        x,
        use_reentrant=False,
        preserve_rng_state=False,
        context_fn=partial(_recompute_contexts, block),
    )
    return y


def _recompute_contexts(
    block: nn.Module,
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Contexts of the forward pass and of the recomputation of `block`."""
    return nullcontext(), _spare_statistics(block)


@contextmanager
def _spare_statistics(block: nn.Module) -> Iterator[None]:
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
