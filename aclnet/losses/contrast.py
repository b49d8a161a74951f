"""Module of all contrastive losses: projections, prototypes, families and memory.

The inter-class and the intra-class term each have a projection of the network's feature. For
identities, whose batches hold several samples of each, a triplet loss on the embedding of the
second projection can be added. A training step uses them like this:

    contrast.observe(feature, logits, labels, keys)       # once, with the whole global batch
    losses = contrast(feature[rows], rows)                # per process and micro-batch
    (cross_entropy + losses.total).backward()

`observe` advances all state (counts, families, prototypes, memory), so that every micro-batch sees
the same state. `forward` then gives the part of the loss that belongs to the rows given. The values
and the gradients of all parts of a global batch add up to those of the undivided batch.
(Data-parallel wrappers average gradients over W processes; multiply the loss by W for them.)
"""

from __future__ import annotations

import math
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aclnet.losses.families import ConfusionCounter, Families
from aclnet.losses.inter_class import inter_class_loss, move_prototypes
from aclnet.losses.intra_class import intra_class_loss
from aclnet.losses.memory import oldest_slots, positives
from aclnet.losses.settings import ContrastSettings
from aclnet.losses.triplet import triplet_loss

WIDTH = 256
"""D, the width of both projections."""


class ContrastLosses(NamedTuple):
    """Scalars of the rows given; a term that is not active yet is 0."""

    total: Tensor
    """Sum of all terms with their weights, which is added to the cross-entropy."""
    inter: Tensor
    intra: Tensor
    triplet: Tensor
    share_with_family: Tensor
    """Share of the global batch's samples whose class has a family."""


class _Step(NamedTuple):
    """Values that the parts of one global batch of B rows share."""

    labels: Tensor
    keys: Tensor
    z: Tensor
    """(B, D) inter-class projection, detached."""
    to_prototype: Tensor
    """(B, C) weight of each row in the new prototypes."""
    slots: Tensor
    """(B,) int64 positions of the rows in the memory."""


class AffinityContrast(nn.Module):
    """Projections, prototypes, families and memory of the contrastive losses.

    `feature_width`: width of the network's contrastive feature. All state is in `state_dict`.
    Everything is computed in the parameters' type, under autocast too, and nothing waits for
    the device. The clock is the caller's: `begin_epoch` and `end_epoch`, epochs counted from 1.
    """

    prototypes: Tensor
    """(C, D) prototypes of the classes."""
    memory: Tensor
    """(rows, D) unit vectors."""
    memory_labels: Tensor
    memory_keys: Tensor

    def __init__(
        self,
        feature_width: int,
        num_classes: int,
        memory_rows: int,
        settings: ContrastSettings | None = None,
    ) -> None:
        super().__init__()
        self.settings = settings = settings or ContrastSettings()
        self.inter_projection = nn.Linear(feature_width, WIDTH)
        self.intra_projection = nn.Linear(feature_width, WIDTH)
        self.counter = ConfusionCounter(num_classes, settings.families)
        self.families = Families(num_classes, settings.families)
        self.register_buffer("prototypes", torch.randn(num_classes, WIDTH))
        self.register_buffer("memory", torch.zeros(memory_rows, WIDTH))
        self.register_buffer("memory_labels", torch.full((memory_rows,), -1))
        self.register_buffer("memory_keys", torch.zeros(memory_rows, dtype=torch.int64))
        # on the host, where reading them does not wait for the device
        self._epoch = 0
        self._start_epoch = 1
        self._families_since = 0
        self._rows_seen = 0
        self._labels: Tensor | None = None
        self._step: _Step | None = None

    @property
    def needs_whole_batch(self) -> bool:
        """True if losses or counts of confusions depend on all samples of a global batch.

        Otherwise each part of a batch may be observed alone.
        """
        return self._compares or self.settings.families.mode == "official"

    @property
    def inter_active(self) -> bool:
        """True if the inter-class term has families to work with."""
        return self.settings.lambda_inter > 0 and self._families_since > 0

    @property
    def intra_active(self) -> bool:
        """True if the memory is full, so that the intra-class term is active."""
        return self.settings.lambda_intra > 0 and self._rows_seen >= len(self.memory)

    @property
    def projects_intra(self) -> bool:
        """True if a term works on the intra-class projection."""
        return self.intra_active or self.settings.triplet > 0

    def begin_epoch(self, epoch: int, epochs: int) -> None:
        """Starts epoch `epoch` of `epochs`. Calling it again for the same epoch has no effect."""
        if epoch == self._epoch:
            return
        self._epoch = epoch
        self._start_epoch = self.settings.families.start_epoch(epochs)
        if self._counting:
            self.counter.decay()

    def end_epoch(self) -> None:
        """Rebuilds the families for the next epoch, after validation if that is counted."""
        if self._counting and self.settings.families.mode == "default":
            self._rebuild()

    def count(self, logits: Tensor, labels: Tensor) -> None:
        """Counts the confusions of a pass, if the settings need them.

        `logits` (B, C) float, or logarithms of probabilities; `labels` (B,) int64.
        """
        if self._counting:
            self.counter.add(logits, labels)

    @torch.no_grad()
    def observe(self, feature: Tensor, logits: Tensor, labels: Tensor, keys: Tensor) -> None:
        """Advances all state by one global batch, the same on every process.

        If no term compares features, the prototypes and the memory stay as they are.
        `feature` (B, feature_width) and `logits` (B, C) float; `labels` (B,) int64 classes; `keys`
        (B,) int64, the same for the same sequence. Rows are in the order of the processes. Raises
        AclnetError if the batch does not fit the memory.
        """
        if self.settings.families.source == "train":
            self.count(logits, labels)
        if self.settings.families.mode == "official":
            self._rebuild_in_first_step()
        self._labels = labels
        if not self._compares:
            return
        predicted = logits.argmax(1)
        with torch.autocast(feature.device.type, enabled=False):
            feature = self._as_parameters(feature)
            z = self.inter_projection(feature)
            momentum = self.settings.momentum
            to_prototype = move_prototypes(self.prototypes, z, predicted, labels, momentum)
            slots = self._remember(self._embed(feature), labels, keys)
        self._step = _Step(labels, keys, z, to_prototype, slots)

    def forward(self, feature: Tensor, rows: slice | None = None) -> ContrastLosses:
        """Losses of some rows of the last observed batch; None: all rows.

        `feature` (b, feature_width): these rows with their gradient. It flows through the rows as
        anchors, as true positives in the prototypes, and as entries of the memory, also for the
        anchors of other parts.
        """
        if self._labels is None:
            raise RuntimeError("call observe() with the global batch first")
        start, stop, _ = (rows or slice(None)).indices(len(self._labels))
        step = cast("_Step", self._step)  # None only if no term is ever active
        with torch.autocast(feature.device.type, enabled=False):
            feature = self._as_parameters(feature)
            has_family = self.families.member[self._labels].any(1).to(feature)
            inter, intra = _unused(self.inter_projection), _unused(self.intra_projection)
            triplet = intra
            if self.inter_active:
                per_anchor = self._inter(self.inter_projection(feature), start, stop, step)
                official = self.settings.families.mode == "official"
                over = len(has_family) if official else has_family.sum().clamp(min=1)
                inter = _part(per_anchor, start, stop) / over
            if self.projects_intra:
                u = self._embed(feature)
            if self.intra_active:
                per_anchor = self._intra(u, start, stop, step)
                intra = _part(per_anchor, start, stop) / len(per_anchor)
            if self.settings.triplet > 0:
                per_anchor, counted = self._triplet(u, start, stop, step)
                triplet = _part(per_anchor, start, stop) / counted.sum().clamp(min=1)
        total = self.settings.lambda_inter * inter + self.settings.lambda_intra * intra
        total = total + self.settings.triplet * triplet
        return ContrastLosses(total, inter, intra, triplet, has_family.mean())

    def get_extra_state(self) -> dict[str, int]:
        return {
            "epoch": self._epoch,
            "start_epoch": self._start_epoch,
            "families_since": self._families_since,
            "rows_seen": self._rows_seen,
        }

    def set_extra_state(self, state: dict[str, int]) -> None:
        self._epoch = state["epoch"]
        self._start_epoch = state["start_epoch"]
        self._families_since = state["families_since"]
        self._rows_seen = state["rows_seen"]

    @property
    def _compares(self) -> bool:
        """True if some term compares features."""
        weights = (self.settings.lambda_inter, self.settings.lambda_intra, self.settings.triplet)
        return max(weights) > 0

    @property
    def _counting(self) -> bool:
        return self._epoch >= self._start_epoch

    def _rebuild(self) -> None:
        self.families.rebuild(self.counter)
        self._families_since = self._epoch

    def _rebuild_in_first_step(self) -> None:
        if self._epoch > self._start_epoch and self._families_since < self._epoch:
            self._rebuild()

    def _as_parameters(self, feature: Tensor) -> Tensor:
        return feature.to(self.inter_projection.weight.dtype)

    def _embed(self, feature: Tensor) -> Tensor:
        return F.normalize(self.intra_projection(feature), dim=1)

    def _remember(self, u: Tensor, labels: Tensor, keys: Tensor) -> Tensor:
        """Writes a batch over the oldest rows of the memory; returns their positions."""
        slots = oldest_slots(len(labels), len(self.memory), self._rows_seen, u.device)
        self.memory[slots] = u
        self.memory_labels[slots] = labels
        self.memory_keys[slots] = keys
        self._rows_seen += len(labels)
        return slots

    def _inter(self, z: Tensor, start: int, stop: int, step: _Step) -> Tensor:
        """(B,) inter-class loss of every anchor; 0 if its class has no family.

        Every part computes the loss of the whole batch, because a row moves prototypes that the
        anchors of other parts use.
        """
        # adds only the gradient: the stored prototypes include these rows already
        moved = step.to_prototype[start:stop].T @ (z - z.detach())
        anchors = torch.cat([step.z[:start], z, step.z[stop:]])
        return inter_class_loss(
            anchors,
            self.prototypes + moved,
            self.families.temperature,
            step.labels,
            self._weight(step.labels),
        )

    def _weight(self, labels: Tensor) -> Tensor:
        """(B, C) weight of every class in the denominator of each sample."""
        weight = self.families.member[labels].to(self.prototypes)
        if self.settings.families.weight_by_affinity:
            # Families are mutual, affinities need not be: use the greater of both directions.
            affinity = self.families.affinity
            weight = weight * torch.maximum(affinity[labels], affinity.T[labels])
        return weight

    def _intra(self, u: Tensor, start: int, stop: int, step: _Step) -> Tensor:
        """(B,) intra-class loss of every anchor."""
        batch = self._global(u, start, stop, step)
        # entries of this batch carry gradient, older ones do not
        cosine = (batch @ self.memory.T).index_copy(1, step.slots, batch @ batch.T)
        same_class = step.labels[:, None] == self.memory_labels
        unit = 1.0 if self.settings.margin_unit == "logit" else self.settings.temperature
        omega = math.exp(-self.settings.margin / unit)
        positive = self._positives(same_class, step)
        return intra_class_loss(cosine, same_class, positive, self.settings.temperature, omega)

    def _triplet(self, u: Tensor, start: int, stop: int, step: _Step) -> tuple[Tensor, Tensor]:
        """(B,) triplet loss of every anchor, and whether it has a positive and a negative."""
        same_class = step.labels[:, None] == self.memory_labels
        return triplet_loss(
            self._global(u, start, stop, step),
            self._positives(same_class, step)[:, step.slots],
            ~same_class[:, step.slots],
            self.settings.triplet_margin,
        )

    def _global(self, u: Tensor, start: int, stop: int, step: _Step) -> Tensor:
        """(B, D) embeddings of the global batch; those of `u` carry gradient."""
        stored = self.memory[step.slots]
        return torch.cat([stored[:start], u, stored[stop:]])

    def _positives(self, same_class: Tensor, step: _Step) -> Tensor:
        return positives(
            same_class, step.slots, step.keys, self.memory_keys, self.settings.same_sequence
        )


def _part(per_anchor: Tensor, start: int, stop: int) -> Tensor:
    """Sum over the anchors from start to stop, with the gradient of the sum over all."""
    total = per_anchor.sum()
    return total - (total - per_anchor[start:stop].sum()).detach()


def _unused(projection: nn.Linear) -> Tensor:
    """0 that depends on the projection: data-parallel training needs all parameters in use."""
    return 0 * (projection.weight.sum() + projection.bias.sum())
