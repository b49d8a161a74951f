"""Building blocks that networks share: output, 1x1 convolutions, recomputation of activations."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager


class Output(NamedTuple):
    """What the network says of B samples."""

    logits: Tensor
    """(B, num_classes)"""
    feature: Tensor
    """(B, feature_width): input of the contrastive losses."""
    pooled: Tensor
    """(B, n): activations averaged over frames, joints and persons."""


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
