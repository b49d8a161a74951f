"""Persons that a tracker loses or mistakes for each other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from aclnet.datasets.store.keyed_random import integers
from aclnet.pipelines.inputs.corruptions.corruption import Corruption, Need

if TYPE_CHECKING:
    from torch import Tensor

    from aclnet.datasets.store.stream import Batch
    from aclnet.pipelines.inputs.corruptions.corruption import Scene


@dataclass(frozen=True, slots=True)
class LostPersons(Corruption):
    """Only the first person of each sequence remains."""

    hides: ClassVar[bool] = False
    need: ClassVar[Need | None] = "two persons"

    def on_batch(self, batch: Batch) -> Batch:
        first = np.searchsorted(batch.owner, np.arange(len(batch)))
        tracks = ("keypoint", "following", "elapsed", "present", "frame", "owner")
        arrays = {name: getattr(batch, name) for name in tracks}
        return replace(batch, **{n: a[first] for n, a in arrays.items() if a is not None})


@dataclass(frozen=True, slots=True)
class ExchangedPersons(Corruption):
    """From a random frame on, the first two persons of a sequence change places."""

    hides: ClassVar[bool] = False
    need: ClassVar[Need | None] = "two persons"

    def on_joints(self, x: Tensor, scene: Scene) -> Tensor:
        person = scene.person
        track = torch.arange(len(person), device=x.device)
        has_second = torch.bincount(scene.owner)[scene.owner] > 1
        other = torch.where(has_second & (person < 2), track + 1 - 2 * person, track)
        keys = self.keys(scene, by_person=False, by_frame=False)
        start = 1 + integers(keys, 0, (scene.n_frames[:, None] - 1).clamp(min=1))
        return torch.where((scene.frame >= start)[..., None, None], x[other], x)
