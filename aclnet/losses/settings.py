"""Settings of the contrastive losses, and of the triplet term beside them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from aclnet.losses.families import FamilySettings
from aclnet.losses.memory import SameSequence

_ROWS_PER_CLASS = 8

OFFICIAL: dict[str, Any] = {
    "same_sequence": "keep",
    "families": {"mode": "official", "temperature": "steps"},
}
"""Values of `ContrastSettings` in which the released code differs from the defaults."""

NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]


class ContrastSettings(BaseModel):
    """Both contrastive terms, and the triplet term beside them."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    terms: Literal["ce", "ce+inter", "ce+intra", "acl"] = "acl"
    """Terms of the loss: cross-entropy alone, with one contrastive term, or with both."""
    weight: NonNegative = 0.1
    """lambda of both terms."""
    inter_weight: NonNegative | None = None
    """lambda of the inter-class term where it is another; 0 switches the term off as well."""
    intra_weight: NonNegative | None = None
    memory_rows: Annotated[int, Field(ge=1)] | None = None
    """Embeddings remembered, this batch's included; None: `default_memory_rows`."""
    margin: NonNegative = 0.1
    margin_unit: Literal["logit", "cosine"] = "logit"
    """Unit of the margin: 0.1 of a logit is 0.01 of cosine at temperature 0.1."""
    temperature: Positive = 0.1
    """Temperature of the intra-class term."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Momentum of the prototypes."""
    same_sequence: SameSequence = "exclude"
    """Use of earlier embeddings of an anchor's own sequence as its positives."""
    triplet: NonNegative = 0.0
    """Weight of the batch-hard triplet term, whatever `terms` says; 0 switches it off."""
    triplet_margin: Positive = 0.2
    """Margin as a Euclidean distance of unit vectors; the largest distance is 2."""
    families: FamilySettings = FamilySettings()

    @property
    def lambda_inter(self) -> float:
        """Weight of the inter-class term in the loss."""
        return self._lambda("ce+inter", self.inter_weight)

    @property
    def lambda_intra(self) -> float:
        """Weight of the intra-class term in the loss."""
        return self._lambda("ce+intra", self.intra_weight)

    def _lambda(self, alone: str, weight: float | None) -> float:
        if self.terms not in ("acl", alone):
            return 0.0
        return self.weight if weight is None else weight


def default_memory_rows(num_classes: int, train_samples: int, global_batch: int) -> int:
    """Rows of the memory where no recipe says otherwise: about eight a class.

    Never more than half of the training set, whose sequences would else meet themselves, and never
    less than the batch, which has to fit.
    """
    return max(min(_ROWS_PER_CLASS * num_classes, train_samples // 2), global_batch)
