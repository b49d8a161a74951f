"""A trained network with its batch normalisations folded into the convolutions before them."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from aclnet.models.aclnet import Block, StridedResidual

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aclnet.models.aclnet import ACLNet


def fold_batch_norms(model: ACLNet) -> ACLNet:
    """A copy for inference that computes the same, to rounding, with fewer passes over its data.

    In evaluation mode a batch normalisation is a fixed scale and shift, which the convolution
    before it can do. Those of the input and behind the mixing of joints have none before them and
    stay. Pooling over time gets a faster form. `model` itself is left alone; the copy cannot be
    trained.
    """
    folded = copy.deepcopy(model).eval()
    for block in cast("Iterable[Block]", folded.gcn):
        gcn, tcn = block.gcn, block.tcn
        _fold_pair(gcn.pre)
        gcn.post, gcn.bn = fuse_conv_bn_eval(gcn.post, gcn.bn), nn.Identity()  # type: ignore[assignment]
        if isinstance(gcn.down, nn.Sequential):
            _fold_pair(gcn.down)
        for branch in list(tcn.branches)[:-1]:
            layers = cast("nn.Sequential", branch)
            _fold_pair(layers)
            if isinstance(layers[-1], nn.MaxPool2d):
                layers[-1] = _MaxOverTime(tcn.stride)
        last = cast("nn.Conv2d", tcn.transform[2])
        tcn.transform[2], tcn.bn = fuse_conv_bn_eval(last, tcn.bn), nn.Identity()  # type: ignore[assignment]
        if isinstance(block.residual, StridedResidual):
            residual = block.residual
            residual.conv = fuse_conv_bn_eval(residual.conv, residual.bn)
            residual.bn = nn.Identity()  # type: ignore[assignment]
    return folded


class _MaxOverTime(nn.Module):
    """The greatest of three neighbouring frames, many times faster than `MaxPool2d`.

    That one remembers for the gradient where it was.
    """

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x[:, :, :: self.stride].clone()
        before = x[:, :, self.stride - 1 :: self.stride][:, :, : y.shape[2] - 1]
        after = x[:, :, 1 :: self.stride]
        for part, other in ((y[:, :, 1:], before), (y[:, :, : after.shape[2]], after)):
            torch.maximum(part, other, out=part)
        return y


def _fold_pair(layers: nn.Sequential) -> None:
    """Of a convolution and the normalisation right behind it, first in `layers`."""
    conv, norm = cast("nn.Conv2d", layers[0]), cast("nn.BatchNorm2d", layers[1])
    layers[0], layers[1] = fuse_conv_bn_eval(conv, norm), nn.Identity()
