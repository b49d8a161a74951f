"""From the stream's batches to what the network takes: device, augmentation, features, clips."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from aclnet.pipelines.augment import AugmentSpec, augment
from aclnet.pipelines.features import make_features, needs_following

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aclnet.datasets.store import Store
    from aclnet.datasets.stream import Batch
    from aclnet.pipelines.occlusion import Corruption


@dataclass(frozen=True, slots=True)
class Inputs:
    """One batch as the network takes it."""

    tracks: Tensor
    """(clips * P, T, V, C), the clips of all samples one after another."""
    owner: Tensor
    """(clips * P,) int64, sorted; clip c of sample b is number c * B + b."""
    label: Tensor
    """(B,) int64."""
    key: Tensor
    """(B,) int64 key of each sample, the same whenever it is drawn."""
    samples: int
    """B."""

    def __len__(self) -> int:
        return self.samples

    def parts(self, count: int) -> list[Inputs]:
        """The batch cut into `count` runs of samples (of one-clip batches)."""
        sizes = [len(part) for part in torch.arange(self.samples).tensor_split(count)]
        parts, first = [], 0
        for size in sizes:
            chosen = (self.owner >= first) & (self.owner < first + size)
            end = first + size
            parts.append(
                Inputs(
                    tracks=self.tracks[chosen],
                    owner=self.owner[chosen] - first,
                    label=self.label[first:end],
                    key=self.key[first:end],
                    samples=size,
                )
            )
            first = end
        return parts


class MakeInputs:
    """Makes the input of one modality, on a device.

    Args:
        frames: length of a clip; a batch of n * frames frames holds n clips a sample.
        spec: random changes, in training.
        corruption: what a robustness protocol does to the input.
    """

    def __init__(
        self,
        store: Store,
        modality: str,
        frames: int,
        device: torch.device,
        *,
        spec: AugmentSpec | None = None,
        corruption: Corruption | None = None,
    ) -> None:
        self.layout = store.layout
        self.modality = modality
        self.frames = frames
        self.device = device
        self.spec = spec or AugmentSpec()
        self.corruption = corruption
        self._origin = camera_origin(store) if corruption else None

    @property
    def motion(self) -> bool:
        """Must the stream yield the following frames too?"""
        return needs_following(self.modality)

    def __call__(self, batch: Batch) -> Inputs:
        owner, key = self._move(batch.owner), self._move(batch.key)
        present = self._move(batch.present)
        frame = self._move(batch.frame)
        x = self._change(batch.keypoint, batch, owner, key, frame, present)
        following = None
        if batch.following is not None:
            last = self._move(batch.n_frames - 1)[owner, None]
            after = torch.minimum(frame + 1, last)
            following = self._change(batch.following, batch, owner, key, after, None)
        features = make_features(x, following, self.layout, self.modality)
        if self.corruption:
            features = self.corruption.on_features(features)
        P, N, V, C = features.shape
        clips = N // self.frames
        offsets = torch.arange(clips, device=self.device)[:, None] * len(batch)
        return Inputs(
            tracks=features.view(P, clips, self.frames, V, C).transpose(0, 1).flatten(0, 1),
            owner=(offsets + owner).flatten(),
            label=self._move(batch.label),
            key=self._move(batch.sample),
            samples=len(batch),
        )

    def _change(
        self,
        keypoint: NDArray[np.float32],
        batch: Batch,
        owner: Tensor,
        key: Tensor,
        frame: Tensor,
        present: Tensor | None,
    ) -> Tensor:
        x = self._move(keypoint)
        x = augment(x, owner, key, self.spec, self.layout, frame=frame, present=present)
        if self.corruption and self._origin is not None:
            origin = self._move(self._origin[batch.sample[batch.owner]])
            there = (x != 0).any(dim=-1).any(dim=-1) if present is None else present
            x = self.corruption.on_joints(x, origin, there)
        return x

    def _move(self, array: NDArray[np.generic]) -> Tensor:
        tensor = torch.from_numpy(array)
        if self.device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self.device, non_blocking=True)


def camera_origin(store: Store) -> NDArray[np.float32]:
    """(N, C): where the camera's origin lies in each sample's normalised coordinates."""
    centre, rotation = store.column("centre"), store.column("rotation")
    origin: NDArray[np.float32] = np.einsum("nij,nj->ni", rotation, -centre).astype(np.float32)
    return origin
