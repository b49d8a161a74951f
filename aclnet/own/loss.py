"""Classification losses of the user, built by the user's functions (docs/networks.md)."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from aclnet.datasets.spec import AclnetError
from aclnet.datasets.spec.user_code import told
from aclnet.losses.settings import CROSS_ENTROPY
from aclnet.models.blocks import Output
from aclnet.own.building import build, find_builder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aclnet.datasets.spec.user_code import UserFunction

GROUP = "aclnet.losses"
"""Entry points that lead to functions that build a loss."""


@dataclass(frozen=True, slots=True)
class LossDimensions:
    """Sizes that a loss is built for: the first argument of the user's function."""

    class_sizes: tuple[int, ...]
    """Training samples of each class."""
    feature_width: int
    """Width of `Output.feature`."""

    @property
    def num_classes(self) -> int:
        return len(self.class_sizes)


def find_loss(name: str) -> UserFunction:
    """The function that builds a loss; raises AclnetError if there is none of this name."""
    return find_builder(name, GROUP, "loss.name", [CROSS_ENTROPY])


class OwnLoss(nn.Module):
    """A loss of the user. Its parameters are trained, and all its state is in checkpoints.

    Raises AclnetError, with the shape, if the result is not a scalar.
    """

    def __init__(
        self, builder: UserFunction, dimensions: LossDimensions, options: Mapping[str, Any]
    ) -> None:
        super().__init__()
        self.name = builder.name
        self.loss = build(builder, dimensions, options, "loss.options")
        self._try_out(dimensions)

    def forward(self, output: Output, label: Tensor) -> Tensor:
        """Scalar loss of b samples; `label` (b,) int64."""
        loss = self.loss(output, label)
        found = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
        if found != ():
            raise AclnetError(
                f"the loss {self.name} returns {found}; a tensor of shape () is expected: the mean "
                "over the samples (docs/networks.md)"
            )
        return loss  # type: ignore[no-any-return]

    @torch.no_grad()
    def _try_out(self, dimensions: LossDimensions) -> None:
        """Computes the loss of two samples with a copy, because the call may change its state."""
        logits = torch.zeros(2, dimensions.num_classes)
        feature = torch.ones(2, dimensions.feature_width)
        label = torch.tensor([0, dimensions.num_classes - 1])
        try:
            copy.deepcopy(self)(Output(logits, feature, feature), label)
        except AclnetError:
            raise
        except Exception as error:
            raise AclnetError(f"the loss {self.name} fails: {told(error)}") from error
