"""Networks of the user, built by the user's functions (docs/networks.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from aclnet.datasets.spec import AclnetError
from aclnet.datasets.spec.user_code import told
from aclnet.models.blocks import Output
from aclnet.models.choices import PAPER_WIDTH
from aclnet.models.classifier import Classifier
from aclnet.models.persons import pairs_of
from aclnet.own.building import build, find_builder, kind_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aclnet.datasets.spec.layouts import Layout
    from aclnet.datasets.spec.user_code import UserFunction
    from aclnet.models.choices import Persons

GROUP = "aclnet.models"
"""Entry points that lead to functions that build a network."""


@dataclass(frozen=True, slots=True)
class Dimensions:
    """Sizes that a network is built for: the first argument of the user's function."""

    layout: Layout
    """Names, bones and parts of the V joints."""
    num_classes: int
    in_channels: int
    """C of the tracks."""
    frames: int
    """T of the tracks."""
    width: int
    """`model.size` as a number; the network may ignore it."""


def find_network(name: str) -> UserFunction:
    """The function that builds a network; raises AclnetError if there is none of this name."""
    return find_builder(name, GROUP, "model.name", PAPER_WIDTH)


class OwnNetwork(Classifier):
    """A network of the user, whose feature is used for the contrast and as pooled activations.

    It gets the tracks of present persons or, with `persons` "padded", always two tracks per
    sample. Raises AclnetError, with the shape, if the output has a wrong shape.
    """

    foldable = False
    """False: its modules may use the parts of a `Sequential` in another order."""

    def __init__(
        self,
        builder: UserFunction,
        dimensions: Dimensions,
        persons: Persons,
        options: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self.name, self.persons = builder.name, persons
        self.num_classes = dimensions.num_classes
        self.network = build(builder, dimensions, options, "model.options")
        self.feature_width = self.pooled_width = self._try_out(dimensions)

    def forward(self, tracks: Tensor, owner: Tensor, num_samples: int) -> Output:
        if self.persons == "padded":
            tracks, owner = pairs_of(tracks, owner, num_samples)
        found = self.network(tracks, owner, num_samples)
        pair = isinstance(found, tuple) and len(found) == 2
        if not pair or not all(isinstance(value, Tensor) for value in found):
            self._refuse(
                f"returns {kind_of(found)}; a pair of tensors (logits, feature) is expected"
            )
        logits, feature = found
        wanted = (num_samples, self.num_classes)
        if logits.shape != wanted:
            self._refuse(
                f"returns logits of shape {tuple(logits.shape)}; {wanted} is expected: "
                f"{num_samples} samples and {self.num_classes} classes"
            )
        if feature.ndim != 2 or len(feature) != num_samples:
            self._refuse(
                f"returns a feature of shape {tuple(feature.shape)}; ({num_samples}, n) is "
                f"expected: {num_samples} samples"
            )
        if self.training:
            # Terms of the loss that are not active yet leave the feature out. Its weights need a
            # gradient all the same, for the optimizer and for several processes.
            logits = logits + 0 * feature.sum()
        return Output(logits, feature, feature)

    @torch.no_grad()
    def _try_out(self, dimensions: Dimensions) -> int:
        """Width of the feature of two samples, one of them with two persons."""
        shape = (3, dimensions.frames, dimensions.layout.num_joints, dimensions.in_channels)
        self.eval()
        try:
            output = self(torch.zeros(shape), torch.tensor([0, 1, 1]), 2)
        except AclnetError:
            raise
        except Exception as error:
            raise AclnetError(
                f"the network {self.name} fails with tracks of shape {shape} for two samples: "
                f"{told(error)}"
            ) from error
        self.train()
        return int(output.feature.shape[1])

    def _refuse(self, problem: str) -> None:
        raise AclnetError(f"the network {self.name} {problem} (docs/networks.md)")
