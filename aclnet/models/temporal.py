"""Convolutions over time that networks share. Activations are (P, C, T, V)."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from aclnet.models.blocks import Pointwise, fused, make_residual

if TYPE_CHECKING:
    from collections.abc import Sequence

DILATIONS = (1, 2, 3, 4)


class TimeConv(nn.Module):
    """Convolution of each joint over time, with a batch normalisation unless `norm` is False."""

    FOLDS = (("conv", "bn"),)

    def __init__(
        self, channels: int, stride: int, dilation: int = 1, *, kernel: int = 3, norm: bool = True
    ) -> None:
        super().__init__()
        padding = dilation * (kernel - 1) // 2
        self.conv = nn.Conv2d(
            channels, channels, (kernel, 1), (stride, 1), (padding, 0), (dilation, 1)
        )
        self.bn = nn.BatchNorm2d(channels) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.bn(self.conv(x))
        return y


class MultiBranchTCN(nn.Module):
    """Six branches over time, whose outputs one 1x1 convolution combines (DG-STGCN, ST-GCN++)."""

    FOLDS = (("transform.2", "bn"),)

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        narrow = channels // 6
        first = channels - 5 * narrow
        convs = [
            _branch(channels, width, TimeConv(width, stride, dilation, norm=False))
            for dilation, width in zip(DILATIONS, (first, narrow, narrow, narrow), strict=True)
        ]
        # this order keeps the initial weights of each seed
        bare = Pointwise(channels, narrow)
        pool = _branch(channels, narrow, _max_over_time(stride))
        self.branches = nn.ModuleList([*convs, pool, bare])
        self.transform = nn.Sequential(
            nn.BatchNorm2d(channels), nn.ReLU(inplace=True), Pointwise(channels, channels)
        )
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.bn(self.transform(self._branches(x)))
        return y

    def _branches(self, x: Tensor) -> Tensor:
        return through_branches(list(self.branches), x, self.stride)


class MultiScaleTCN(nn.Module):
    """Branches over time, each with its own batch normalisation, and a residual.

    This is the MS-TCN of MS-G3D (Liu et al., CVPR 2020, section 4.2), which CTR-GCN uses too.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        *,
        dilations: Sequence[int] = DILATIONS,
        kernel: int = 3,
        residual: bool = True,
        relu: bool = True,
    ) -> None:
        super().__init__()
        self.stride, self.relu = stride, relu
        width = out_channels // (len(dilations) + 2)
        last = out_channels - width * (len(dilations) + 1)
        convs = [
            _branch(in_channels, width, TimeConv(width, stride, dilation, kernel=kernel))
            for dilation in dilations
        ]
        pool = _branch(in_channels, width, _max_over_time(stride), nn.BatchNorm2d(width))
        bare = nn.Sequential(Pointwise(in_channels, last), nn.BatchNorm2d(last))
        self.branches = nn.ModuleList([*convs, pool, bare])
        self.residual = make_residual(in_channels, out_channels, stride) if residual else None

    def forward(self, x: Tensor) -> Tensor:
        y = through_branches(list(self.branches), x, self.stride)
        if self.residual is not None:
            y = y + self.residual(x)
        return y.relu_() if self.relu else y


def through_branches(branches: Sequence[nn.Module], x: Tensor, stride: int) -> Tensor:
    """Concatenated outputs of branches. Each begins with a `Pointwise`; the last only drops frames.

    The first convolutions, all of `x`, are computed together; that of the last branch only for the
    frames that stay.
    """
    pairs = [_split(branch) for branch in branches]
    heads, tails = [head for head, _ in pairs], [tail for _, tail in pairs]
    if stride == 1:
        parts = fused(heads, x)
    else:
        parts = (*fused(heads[:-1], x), heads[-1](x[:, :, ::stride]))
    # batch normalisation is several times slower if the input is not contiguous
    outs = [tail(h.contiguous()) if tail else h for tail, h in zip(tails, parts, strict=True)]
    return torch.cat(outs, 1)


def _split(branch: nn.Module) -> tuple[Pointwise, nn.Sequential | None]:
    """The first convolution of a branch, and the layers after it."""
    if isinstance(branch, nn.Sequential):
        return cast("Pointwise", branch[0]), cast("nn.Sequential", branch[1:])
    return cast("Pointwise", branch), None


def _branch(channels: int, width: int, *last: nn.Module) -> nn.Sequential:
    return nn.Sequential(
        Pointwise(channels, width), nn.BatchNorm2d(width), nn.ReLU(inplace=True), *last
    )


def _max_over_time(stride: int) -> MaxOverTime:
    return MaxOverTime((3, 1), stride=(stride, 1), padding=(1, 0))


class MaxOverTime(nn.MaxPool2d):
    """The greatest of three neighbouring frames.

    CUDA sums the gradient of `MaxPool2d` in an order that differs each time. With deterministic
    algorithms of torch, another form with the same results is used.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.is_cuda and torch.are_deterministic_algorithms_enabled():
            return max_of_three(x, cast("tuple[int, int]", self.stride)[0])
        pooled: Tensor = super().forward(x)
        return pooled


def max_of_three(x: Tensor, stride: int) -> Tensor:
    """(P, C, T', V): the greatest of each frame, the one before and the one after it.

    The gradient goes to the first of equal frames, as that of `MaxPool2d` does.
    """
    kept = (x.shape[2] - 1) // stride + 1
    padded = functional.pad(x, (0, 0, 1, 1), value=-torch.inf)
    before, here, after = (padded[:, :, start::stride][:, :, :kept] for start in range(3))
    later = torch.where(here >= after, here, after)
    return torch.where((before >= here) & (before >= after), before, later)
