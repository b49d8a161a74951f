"""Recognition by the nearest exemplar: of classes, or people, that a classifier need not know.

NTU RGB+D 120's one-shot recognition (Liu et al., TPAMI 2019) gives samples of new classes the class
of the exemplar whose feature is nearest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from aclnet.datasets.store import Store

NO_EXEMPLAR = -1.0
"""Score of a class that has none: the least cosine there is."""
_AT_ONCE = 1024
"""Samples of one comparison: bounds its memory."""


class Exemplars:
    """Features of a gallery, to which those of other samples are compared.

    feature: (G, D); label: (G,) int64 class of each, below `classes`; sample: (G,) int64 number of
    each, by which it is told apart from others.
    """

    def __init__(self, feature: Tensor, label: Tensor, sample: Tensor, classes: int) -> None:
        self._feature = functional.normalize(feature.float(), dim=1)
        self._label = label
        self._sample = sample
        self._classes = classes

    def similarity(self, feature: Tensor, sample: Tensor) -> Tensor:
        """(B, classes): cosine between features (B, D) and the nearest exemplar of each class.

        A sample, by its number (B,), is no exemplar of itself.
        """
        parts = zip(torch.split(feature, _AT_ONCE), torch.split(sample, _AT_ONCE), strict=True)
        return torch.cat([self._similarity(*part) for part in parts])

    def _similarity(self, feature: Tensor, sample: Tensor) -> Tensor:
        cosine = functional.normalize(feature.float(), dim=1) @ self._feature.T
        cosine = cosine.masked_fill(sample[:, None] == self._sample, NO_EXEMPLAR)
        best = cosine.new_full((len(feature), self._classes), NO_EXEMPLAR)
        return best.scatter_reduce_(1, self._label.expand_as(cosine), cosine, "amax")


def chance(store: Store, gallery: NDArray[np.bool_]) -> float:
    """Share of samples that guessing among the gallery's classes gets right."""
    return 1 / len(np.unique(store.column("label")[gallery]))
