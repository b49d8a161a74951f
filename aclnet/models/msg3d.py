"""MS-G3D: graph convolutions over many hops, in single frames and in windows of frames.

Liu et al., "Disentangling and Unifying Graph Convolutions for Skeleton-Based Action Recognition"
(CVPR 2020).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from aclnet.models.blocks import Pointwise, pointwise
from aclnet.models.choices import WINDOW_SCALES
from aclnet.models.graphs import disentangled
from aclnet.models.stages import Baseline
from aclnet.models.temporal import MultiScaleTCN

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aclnet.datasets.spec.layouts import Layout
    from aclnet.models.choices import Persons, Pooling

SCALES = 13
"""Scales of a graph convolution of single frames."""
WINDOWS = (3, 5)
"""Frames of a window."""


class ScaleConv(nn.Module):
    """Graph convolution over K scales with learned residuals of their graphs (equation 5)."""

    A: Tensor

    def __init__(self, in_channels: int, out_channels: int, scales: Tensor) -> None:
        super().__init__()
        self.register_buffer("A", scales.clone())
        self.PA = nn.Parameter(torch.empty_like(scales).uniform_(-1e-6, 1e-6))
        self.mlp = nn.Sequential(
            Pointwise(len(scales) * in_channels, out_channels),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        mixed = torch.einsum("nctv,kvw->nkctw", x, self.A + self.PA).flatten(1, 2)
        y: Tensor = self.mlp(mixed)
        return y


class WholeWindow(nn.Conv3d):
    """3-D convolution that covers all frames of a window, as a product of matrices."""

    bias: Tensor

    def __init__(self, in_channels: int, out_channels: int, frames: int) -> None:
        super().__init__(in_channels, out_channels, (1, frames, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(P, C', T, V) of `x` (P, C, T, frames, V)."""
        flat = x.transpose(2, 3).flatten(1, 2)
        return pointwise(flat, self.weight.flatten(1)[:, :, None, None], self.bias)


class WindowConv(nn.Module):
    """Graph convolution over windows of frames; each window becomes one frame (section 3.3)."""

    FOLDS = (("out_conv", "out_bn"),)

    def __init__(
        self,
        in_channels: int,
        mid_channels: int,
        out_channels: int,
        scales: Tensor,
        frames: int,
        stride: int,
    ) -> None:
        super().__init__()
        self.frames, self.stride = frames, stride
        self.graph_conv = ScaleConv(in_channels, mid_channels, scales)
        self.out_conv = WholeWindow(mid_channels, out_channels, frames)
        self.out_bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.graph_conv(self._windows(x))
        y = y.view(*y.shape[:3], self.frames, -1)
        z: Tensor = self.out_bn(self.out_conv(y))
        return z

    def _windows(self, x: Tensor) -> Tensor:
        """(P, C, T', frames * V): frames around each remaining frame, zeros beyond the ends."""
        around = self.frames // 2
        padded = functional.pad(x, (0, 0, around, around))
        return padded.unfold(2, self.frames, self.stride).transpose(3, 4).flatten(3)


class Stage(nn.Module):
    """The sum of two branches, single frames and windows, then a convolution over time."""

    def __init__(
        self,
        layout: Layout,
        in_channels: int,
        hidden: int,
        out_channels: int,
        stride: int,
        mid_channels: int,
        window_scales: int,
    ) -> None:
        super().__init__()
        self.frames = nn.Sequential(
            ScaleConv(in_channels, hidden, disentangled(layout, SCALES)),
            MultiScaleTCN(hidden, out_channels, stride),
            MultiScaleTCN(out_channels, out_channels, relu=False),
        )
        self.windows = nn.ModuleList(
            WindowConv(
                in_channels,
                mid_channels,
                out_channels,
                disentangled(layout, window_scales, frames),
                frames,
                stride,
            )
            for frames in WINDOWS
        )
        self.tcn = MultiScaleTCN(out_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        both = self.frames(x) + sum(window(x) for window in self.windows)
        y: Tensor = self.tcn(both.relu_())
        return y


class MSG3D(Baseline):
    """MS-G3D. `window_scales`: scales of graph convolutions over windows."""

    def __init__(
        self,
        layout: Layout,
        *,
        num_classes: int,
        in_channels: int = 3,
        base_channels: int = 96,
        pooling: Pooling = "all",
        joint_embedding: bool = False,
        persons: Persons = "padded",
        presence: bool = False,
        recompute: bool = False,
        window_scales: int = WINDOW_SCALES,
    ) -> None:
        first = base_channels if joint_embedding else in_channels
        super().__init__(
            _stages(layout, first, base_channels, window_scales),
            layout.num_joints,
            num_classes=num_classes,
            in_channels=in_channels,
            base_channels=base_channels,
            pooling=pooling,
            joint_embedding=joint_embedding,
            persons=persons,
            presence=presence,
            recompute=recompute,
        )


def _stages(layout: Layout, in_channels: int, base: int, window_scales: int) -> Iterable[Stage]:
    yield Stage(layout, in_channels, base, base, 1, base, window_scales)
    yield Stage(layout, base, base, 2 * base, 2, base, window_scales)
    yield Stage(layout, 2 * base, 2 * base, 4 * base, 2, 2 * base, window_scales)
