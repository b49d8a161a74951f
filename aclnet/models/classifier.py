"""Base classes of all networks: tracks of persons go in, an `Output` comes out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from aclnet.models.blocks import InputNorm, JointEmbedding, Output, recomputed
from aclnet.models.persons import mean_over_persons

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aclnet.models.choices import Persons, Pooling


class Classifier(nn.Module, ABC):
    """A network that classifies skeleton sequences."""

    foldable: ClassVar[bool] = True
    """True if `fold_batch_norms` applies to it."""
    num_classes: int
    """Width of `Output.logits`."""
    feature_width: int
    """Width of `Output.feature`."""
    pooled_width: int
    """Width of `Output.pooled`."""
    persons: Persons
    """Persons of a sample that enter the mean, see `mean_over_persons`."""

    @abstractmethod
    def forward(self, tracks: Tensor, owner: Tensor, num_samples: int) -> Output:
        """Scores of B = `num_samples` samples from all their persons' tracks.

        `tracks` (P, T, V, C) float32 and `owner` (P,) int64 are as in `mean_over_persons`. The call
        never waits for the device.
        """


class PersonwiseClassifier(Classifier):
    """A network that processes each person separately, and averages over the persons of a sample.

    Subclasses set the attributes below and define `_per_track`.
    """

    data_bn: InputNorm
    fc_cls: nn.Linear
    """The last layer."""
    recompute: bool
    """Training keeps only the inputs of blocks for the backward pass, see `recomputed`."""
    pooling: Pooling
    """Activations that the last layer gets, see `_pool`."""
    joints: JointEmbedding | None
    """Comes after the normalised input, if it is there."""

    @property
    def num_classes(self) -> int:  # type: ignore[override]
        return self.fc_cls.out_features

    @property
    def pooled_width(self) -> int:  # type: ignore[override]
        return self.fc_cls.in_features

    def forward(self, tracks: Tensor, owner: Tensor, num_samples: int) -> Output:
        pooled, feature = mean_over_persons(
            self._per_track,
            tracks,
            owner,
            num_samples,
            self.persons,
            interacting=self.training or self.data_bn.slots > 1,
        )
        return Output(self.fc_cls(pooled), feature, pooled)

    @abstractmethod
    def _per_track(self, tracks: Tensor) -> tuple[Tensor, Tensor]:
        """(P, n) pooled activations and (P, feature_width) features of tracks (P, T, V, C)."""

    def _normalised(self, tracks: Tensor) -> Tensor:
        """Input (P, C, T, V) of the first block."""
        x: Tensor = self.data_bn(tracks)
        return x if self.joints is None else self.joints(x)

    def _pool(self, x: Tensor) -> Tensor:
        """Means of activations (P, C, T, V): (P, C) over frames and joints, or (P, C * V) over
        frames."""
        return x.mean(2).flatten(1) if self.pooling == "joint" else x.mean((2, 3))

    def _through(self, blocks: Iterable[nn.Module], x: Tensor) -> Tensor:
        recompute = self.recompute and self.training and torch.is_grad_enabled()
        for block in blocks:
            x = recomputed(block, x) if recompute else block(x)
        return x


def make_head(channels: int, num_joints: int, pooling: Pooling, num_classes: int) -> nn.Linear:
    """A new last layer for pooled activations of this number of channels and joints."""
    head = nn.Linear(channels * num_joints if pooling == "joint" else channels, num_classes)
    nn.init.normal_(head.weight, std=0.01)
    nn.init.zeros_(head.bias)
    return head
