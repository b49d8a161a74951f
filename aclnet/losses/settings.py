"""Settings of all terms of the loss."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from aclnet.losses.families import FamilySettings
from aclnet.losses.memory import SameSequence

_ROWS_PER_CLASS = 8
CROSS_ENTROPY = "cross-entropy"

OFFICIAL: dict[str, Any] = {
    "same_sequence": "keep",
    "families": {"mode": "official", "temperature": "steps"},
}
"""Values of `ContrastSettings` in which the released code differs from the defaults."""

NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]


class ContrastSettings(BaseModel):
    """The classification loss, both contrastive terms, and the triplet term beside them."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )

    name: str = Field(default=CROSS_ENTROPY, min_length=1, max_length=1000)
    """The classification loss that the other terms are added to: cross-entropy, or a loss of your
    own, named as in `model.name`. The group of entry points is `aclnet.losses`."""
    options: dict[str, Any] = {}
    """Arguments of the function that builds a loss of your own."""

    terms: Literal["ce", "ce+inter", "ce+intra", "acl"] = "acl"
    """Terms of the loss: cross-entropy alone, with one contrastive term, or with both (acl)."""
    weight: NonNegative = 0.1
    """Weight (lambda) of both contrastive terms."""
    inter_weight: NonNegative | None = None
    """Weight of the inter-class term if it differs from `weight`; 0 also switches the term off."""
    intra_weight: NonNegative | None = None
    """Weight of the intra-class term if it differs from `weight`; 0 also switches the term off."""
    memory_rows: Annotated[int, Field(ge=1)] | None = None
    """Number of embeddings in the memory, including those of the batch. Not set: about eight for
    each class (`default_memory_rows`)."""
    margin: NonNegative = 0.1
    """Margin of the intra-class term."""
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

    @model_validator(mode="after")
    def _has_options(self) -> Self:
        if self.options and self.name == CROSS_ENTROPY:
            raise ValueError("loss.options are for a loss of your own (loss.name)")
        return self

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
    """Default number of rows of the memory: about eight per class.

    It is at most half of the training set, so that sequences do not meet themselves, and at least
    the batch, which has to fit.
    """
    return max(min(_ROWS_PER_CLASS * num_classes, train_samples // 2), global_batch)
