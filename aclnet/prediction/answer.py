"""Prediction for one sequence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aclnet.datasets.spec import SkeletonSequence


@dataclass(frozen=True, slots=True)
class Prediction:
    """Prediction of a model for a sequence."""

    sequence: SkeletonSequence
    """The sequence that was predicted; its joints are not normalised."""
    classes: Sequence[str]
    probabilities: NDArray[np.float32]
    """(classes,) probabilities."""
    family: tuple[str, ...] = ()
    """Classes that the training confused with the most probable class; empty if not known."""

    @property
    def id(self) -> str:
        """Id of the recording."""
        return self.sequence.sample_id

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.classes[int(self.probabilities.argmax())]

    @property
    def probability(self) -> float:
        """Probability of the most probable class."""
        return float(self.probabilities.max())

    def top(self, count: int = 5) -> list[tuple[str, float]]:
        """The most probable classes with their probabilities, the first one first."""
        order = np.argsort(-self.probabilities, kind="stable")[:count]
        return [(self.classes[c], float(self.probabilities[c])) for c in order]
