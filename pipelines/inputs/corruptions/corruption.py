"""Base class of corruptions, and the facts about a batch that they may use."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from aclnet.datasets.store.keyed_random import fold

if TYPE_CHECKING:
    from torch import Tensor

    from aclnet.datasets.spec.layouts import Layout
    from aclnet.datasets.store.stream import Batch
    from aclnet.pipelines.choices import Missing

Need = Literal["metres", "camera", "two persons"]

CORRUPTION = 3  # folded into the keys, so that no other module draws the same numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A batch of P person-tracks and N frames; all tensors are on one device."""

    layout: Layout
    owner: Tensor
    """(P,) int64 sample of each track, ascending."""
    key: Tensor
    """(P,) int64 key of the track's sample."""
    frame: Tensor
    """(P, N) int64 number of each frame in the sequence."""
    n_frames: Tensor
    """(P,) int64 length of the whole sequence."""
    clip: Tensor
    """(N,) int64 clip that each frame belongs to."""
    present: Tensor
    """(P, N) bool: the person is present in this frame."""
    rotation: Tensor
    """(P, C, C) rotation from camera space to the coordinates of the track."""
    origin: Tensor | None
    """(P, C) camera's origin in the coordinates of the track; None if it is not known."""
    scored: bool = False
    """True if the last channel is the confidence of the joints."""

    @property
    def person(self) -> Tensor:
        """(P,) int64 number of each track in its sample, from 0."""
        number = torch.arange(len(self.owner), device=self.owner.device)
        return number - torch.searchsorted(self.owner, self.owner)

    def seen(self, x: Tensor) -> Tensor:
        """(P, N, V) bool: the present joints of `x` (P, N, V, C); missing joints are zero."""
        coordinates = x[..., :-1] if self.scored else x
        return (coordinates != 0).any(-1) & self.present[..., None]


@dataclass(frozen=True, slots=True)
class Corruption:
    """A change of sequences. Each kind overrides the one step at which it acts.

    Random kinds draw by the sample's key, the seed, the person and the frame number, so the result
    does not depend on the batch or on the clips. A higher rate corrupts everything that a lower
    rate corrupts, and more.
    """

    missing: Missing = field(default="centre", kw_only=True)
    """Meaning of a missing joint, see `aclnet.pipelines.inputs.corruptions.fill`."""
    seed: int = field(default=0, kw_only=True)

    hides: ClassVar[bool] = True
    """True if joints are missing afterwards, so that `missing` has an effect."""
    need: ClassVar[Need | None] = None
    """Facts about the sequences that the corruption needs."""

    def on_batch(self, batch: Batch) -> Batch:
        """The changed batch on the host; the argument is not changed."""
        return batch

    def on_joints(self, x: Tensor, scene: Scene) -> Tensor:
        """The changed joints (P, N, V, C); `x` is not changed."""
        return x

    def hidden(self, x: Tensor, scene: Scene) -> Tensor:
        """(P, N, V) bool, or a shape that broadcasts to it: the missing joints."""
        return torch.zeros((), dtype=torch.bool, device=x.device)

    def keys(self, scene: Scene, *, by_person: bool = True, by_frame: bool = True) -> Tensor:
        """(P, N or 1) int64 keys of draws, a new one for each sample and, if wanted, each person
        and each frame."""
        key = fold(scene.key, CORRUPTION, self.seed)
        if by_person:
            key = fold(key, scene.person)
        return fold(key[:, None], scene.frame) if by_frame else key[:, None]  # type: ignore[no-any-return]
