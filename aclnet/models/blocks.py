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
    """Output of the network for B samples."""

    logits: Tensor
    """(B, num_classes) scores before the softmax."""
    feature: Tensor
    """(B, feature_width): input of the contrastive losses."""
    pooled: Tensor
    """(B, n): activations averaged over frames, joints and persons."""


class InputNorm(nn.BatchNorm1d):
    """Batch normalisation of each coordinate of each joint: (P, T, V, C) to (P, C, T, V).

    With several `slots`, each person of a sample is normalised separately, by position in the list
    of persons. Tracks then come in groups of this size.

    With `presence`, the last channel of the input is 1 if a joint is present, and 0 otherwise.
    It is not normalised, because its variance is 0 if no joint is missing in training. In the
    output, the coordinates of missing joints are 0, and the last channel is 1 for missing joints.
    """

    def __init__(
        self, num_joints: int, in_channels: int, slots: int = 1, *, presence: bool = False
    ) -> None:
        super().__init__(slots * num_joints * (in_channels - presence))
        self.slots = slots
        self.presence = presence

    def forward(self, tracks: Tensor) -> Tensor:
        if not self.presence:
            return self._normalised(tracks)
        there = tracks[..., -1:].permute(0, 3, 1, 2)
        return torch.cat([self._normalised(tracks[..., :-1]) * there, 1 - there], dim=1)

    def _normalised(self, tracks: Tensor) -> Tensor:
        P, T, V, C = tracks.shape
        x = tracks.reshape(P // self.slots, self.slots, T, V, C).transpose(1, 2)
        x = super().forward(x.reshape(-1, self.num_features)).view(x.shape)
        return x.permute(0, 2, 4, 1, 3).reshape(P, C, T, V)


class JointEmbedding(nn.Module):
    """A linear map of the coordinates, plus a learned vector of each joint: (P, C, T, V) to
    (P, C', T, V).

    The vectors tell the layers after it which joint they see, as position embeddings do in
    transformers (Vaswani et al., "Attention is all you need", NeurIPS 2017, section 3.5).
    """

    def __init__(self, num_joints: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.project = Pointwise(in_channels, out_channels)
        nn.init.normal_(self.project.weight, std=in_channels**-0.5)
        nn.init.zeros_(self.project.bias)
        self.vectors = nn.Parameter(torch.randn(out_channels, 1, num_joints))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(x)
        return y.add_(self.vectors)


class Pointwise(nn.Conv2d):
    """1x1 convolution as a product of matrices, with the parameters of a convolution."""

    bias: Tensor

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return pointwise(x, self.weight, self.bias)


def pointwise(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(P, C', T, V): `weight` (C', C, 1, 1) applied to every place of `x` (P, C, T, V)."""
    P, _, T, V = x.shape
    device = x.device.type
    if device != "meta" and torch.is_autocast_enabled(device):
        # autocast would cast the weight after its expansion, that is P copies
        weight = weight.to(torch.get_autocast_dtype(device))
    # the bias is added separately: as addend of the product, it would first be expanded to the
    # output
    y = torch.bmm(weight.flatten(1).expand(P, -1, -1), x.flatten(2)).add_(bias[:, None])
    return y.view(P, -1, T, V)


def fused(convs: Sequence[Pointwise], x: Tensor) -> tuple[Tensor, ...]:
    """Outputs of several convolutions of the same `x`, computed together; views of one array."""
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
    """`x` itself if its shape stays the same, else a `StridedResidual`."""
    if in_channels == out_channels and stride == 1:
        return nn.Identity()
    return StridedResidual(in_channels, out_channels, stride)


def make_down(in_channels: int, out_channels: int) -> nn.Module:
    """The residual inside a graph convolution: `x` itself if the width stays the same."""
    if in_channels == out_channels:
        return nn.Identity()
    return nn.Sequential(Pointwise(in_channels, out_channels), nn.BatchNorm2d(out_channels))


def recomputed(block: nn.Module, x: Tensor) -> Tensor:
    """`block(x)`; the backward pass keeps only `x` and computes the rest again.

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
    """Batch norms update copies of their running statistics, which are then discarded.

    The updates are necessary: a checkpoint expects the same number of saved tensors as the first
    time.
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
