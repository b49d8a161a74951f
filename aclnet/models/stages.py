"""Stages of networks, and the baselines: normalised input, stages, mean over frames and joints.

Each baseline computes the same as PYSKL (commit 3f6795f); the goldens hold PYSKL's numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol, cast

from torch import Tensor, nn

from aclnet.models.blocks import InputNorm, JointEmbedding, make_residual
from aclnet.models.classifier import PersonwiseClassifier, make_head
from aclnet.models.persons import PADDED_PERSONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from aclnet.datasets.spec.layouts import Layout
    from aclnet.models.choices import Persons, Pooling

STAGES = 10
WIDENING = (4, 7)
"""Stages, from 0, that double the channels and halve the frames."""


def ten_stages(in_channels: int, base_channels: int) -> Iterator[tuple[int, int, int]]:
    """Channels in, channels out and stride over time of each of ten stages."""
    width, out = in_channels, base_channels
    for index in range(STAGES):
        stride = 2 if index in WIDENING else 1
        out *= stride
        yield width, out, stride
        width = out


class Baseline(PersonwiseClassifier):
    """A published network, whose pooled activations feed the contrastive losses.

    Args of subclasses:
        layout: joints and bones, which the graphs are derived from.
        base_channels: width of the first stage.
        persons: "padded" as published; "present" takes only present persons. Networks that
            normalise the input of each person separately can do so only with padding.
        pooling: activations that the last layer gets, "all" as published; see `Pooling`.
        joint_embedding: the input is embedded by joint, see `JointEmbedding`.
        presence: the last channel marks the present joints, see `InputNorm`.
        recompute: see `PersonwiseClassifier`.

    Initial weights come from torch's global generator.
    """

    norm_by_person: ClassVar[bool] = True
    """True if each of two persons has its own input normalisation."""

    def __init__(
        self,
        stages: Iterable[nn.Module],
        num_joints: int,
        *,
        num_classes: int,
        in_channels: int,
        base_channels: int,
        pooling: Pooling,
        joint_embedding: bool,
        persons: Persons,
        presence: bool,
        recompute: bool,
    ) -> None:
        super().__init__()
        apart = self.norm_by_person and persons == "padded"
        self.persons, self.pooling, self.recompute = persons, pooling, recompute
        slots = PADDED_PERSONS if apart else 1
        self.data_bn = InputNorm(num_joints, in_channels, slots, presence=presence)
        self.gcn = nn.ModuleList(stages)
        self.fc_cls = make_head(4 * base_channels, num_joints, pooling, num_classes)
        self.joints = (
            JointEmbedding(num_joints, in_channels, base_channels) if joint_embedding else None
        )
        self.feature_width = self.pooled_width

    def _per_track(self, tracks: Tensor) -> tuple[Tensor, Tensor]:
        *stages, last = self.gcn
        pooled = self._pool(last(self._through(stages, self._normalised(tracks))))
        return pooled, pooled


class MakeGraph(Protocol):
    """Makes the graphs (K, V, V) of a layout."""

    def __call__(self, layout: Layout) -> Tensor: ...


class MakeSpatial(Protocol):
    """Makes a graph convolution."""

    def __call__(self, in_channels: int, out_channels: int, graph: Tensor) -> nn.Module: ...


class MakeTemporal(Protocol):
    """Makes a convolution over time."""

    def __call__(self, channels: int, stride: int) -> nn.Module: ...


class TenStages(Baseline):
    """A network of ten equal stages; subclasses choose the parts of a stage."""

    graph: ClassVar[MakeGraph]
    spatial: ClassVar[MakeSpatial]
    temporal: ClassVar[MakeTemporal]

    def __init__(
        self,
        layout: Layout,
        *,
        num_classes: int,
        in_channels: int = 3,
        base_channels: int = 64,
        pooling: Pooling = "all",
        joint_embedding: bool = False,
        persons: Persons = "padded",
        presence: bool = False,
        recompute: bool = False,
    ) -> None:
        super().__init__(
            self._stages(layout, base_channels if joint_embedding else in_channels, base_channels),
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

    @classmethod
    def _stages(cls, layout: Layout, in_channels: int, base_channels: int) -> Iterable[Stage]:
        graph = cls.graph(layout)
        for index, (width, out, stride) in enumerate(ten_stages(in_channels, base_channels)):
            residual = make_residual(width, out, stride) if index else None
            yield Stage(cls.spatial(width, out, graph), cls.temporal(out, stride), residual)


class Stage(nn.Module):
    """Graph convolution, convolution over time, residual, ReLU: (P, C, T, V) to (P, C', T', V)."""

    def __init__(self, gcn: nn.Module, tcn: nn.Module, residual: nn.Module | None) -> None:
        super().__init__()
        self.gcn, self.tcn, self.residual = gcn, tcn, residual

    def forward(self, x: Tensor) -> Tensor:
        y = cast("Tensor", self.tcn(self.gcn(x)))
        # not in place: if `tcn` ends with a ReLU, the gradient needs its output
        return y.relu() if self.residual is None else (y + self.residual(x)).relu_()


def fan_out(module: nn.Module) -> nn.Module:
    """The module, with new random weights of its 2-D convolutions and biases of 0.

    He et al., "Delving deep into rectifiers" (ICCV 2015), by the number of outputs.
    """
    for conv in module.modules():
        if isinstance(conv, nn.Conv2d):
            nn.init.kaiming_normal_(conv.weight, mode="fan_out")
            nn.init.zeros_(cast("Tensor", conv.bias))
    return module
