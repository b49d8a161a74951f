"""From the stream's batches to what the network takes: device, augmentation, features, clips."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from aclnet.datasets.spec import AclnetError
from aclnet.datasets.store import keyed_random
from aclnet.pipelines.inputs.augment import AugmentSpec, augment
from aclnet.pipelines.inputs.features import make_features, needs_following
from aclnet.pipelines.inputs.sampling import (
    ClipSampling,
    ConsecutiveClips,
    ConsecutiveSampling,
    UniformSampling,
)
from aclnet.pipelines.steps.normalise import is_sizeless

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aclnet.datasets.store.store import Store
    from aclnet.datasets.store.stream import Batch, Sampling
    from aclnet.pipelines.inputs.occlusion import Corruption
    from aclnet.runs.config import DataConfig


def clip_to_train(data: DataConfig) -> Sampling:
    """Chooses the frames of a training clip, at random."""
    if data.sampling == "consecutive":
        return ConsecutiveSampling(data.frames)
    return UniformSampling(data.frames, data.interval)


def clips_to_test(data: DataConfig, clips: int) -> Sampling:
    """Chooses the frames of so many clips for a test, always the same."""
    if data.sampling == "consecutive":
        return ConsecutiveClips(data.frames, clips)
    return ClipSampling(data.frames, clips, data.short_clips)


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
    """(B,) int64, the same for all pieces and variants of a recording, whenever they are drawn."""
    first_track: NDArray[np.int64]
    """(B + 1,) on the host: where each sample's tracks of one clip begin, and the last ones end."""

    def __len__(self) -> int:
        return len(self.first_track) - 1

    def micro_batches(self, count: int) -> list[Inputs]:
        """A batch of one clip a sample, cut into `count` runs of samples without copying."""
        bounds = [len(self) * part // count for part in range(count + 1)]
        return [self._part(start, stop) for start, stop in pairwise(bounds)]

    def _part(self, start: int, stop: int) -> Inputs:
        first_track = self.first_track[start : stop + 1]
        tracks = slice(int(first_track[0]), int(first_track[-1]))
        return Inputs(
            tracks=self.tracks[tracks],
            owner=self.owner[tracks] - start,
            label=self.label[start:stop],
            key=self.key[start:stop],
            first_track=first_track - first_track[0],
        )


class MakeInputs:
    """Makes the input of one modality, on a device.

    Args:
        data: modality, and length T of a clip; a batch of n * T frames holds n clips a sample.
        spec: random changes, in training.
        class_of: (labels,) int64, class of each label of the store; None: the label itself.
        corruption: what a robustness protocol does to the input.
        flipped: the mirror image of each sequence, corrupted before.
    """

    def __init__(
        self,
        store: Store,
        data: DataConfig,
        device: torch.device,
        *,
        spec: AugmentSpec | None = None,
        class_of: NDArray[np.int64] | None = None,
        corruption: Corruption | None = None,
        flipped: bool = False,
    ) -> None:
        self.layout = store.layout
        self.modality = data.modality
        self.frames = data.frames
        self.device = device
        self.spec = AugmentSpec(mirror=1.0) if flipped else spec or AugmentSpec()
        self.flipped = flipped
        self.corruption = corruption
        self._class_of = class_of
        self.score = uses_score(store, data)
        self._motion = data.motion
        self._width = image_width(store)
        if flipped and store.coordinates == 2 and self._width is None:
            raise AclnetError(
                f"{store.path}: mirror images of pixels need the width of the image, and not all "
                "samples tell it; leave them out (--set retrieval.flip=false, or --no-flip of "
                "evaluate)"
            )
        self._origin = camera_origin(store) if corruption else None
        self._recording = keyed_random.sample_keys(store.column("original"))

    @property
    def motion(self) -> bool:
        """Must the stream yield the following frames too?"""
        return needs_following(self.modality) and self._motion != "sampled"

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
            if self._motion == "timed" and batch.elapsed is not None:
                share = 1 / self._move(batch.elapsed).clamp(min=1)
                following = torch.lerp(x, following, share[..., None, None].to(x.dtype))
        elif self._motion == "sampled":
            following = torch.cat([x[:, 1:], x[:, -1:]], 1)
        features = make_features(x, following, self.layout, self.modality, scored=self.score)
        if self.corruption:
            corruption = self.corruption.mirrored(self.layout) if self.flipped else self.corruption
            features = corruption.on_features(features)
        P, N, V, C = features.shape
        clips = N // self.frames
        offsets = torch.arange(clips, device=self.device)[:, None] * len(batch)
        label = batch.label if self._class_of is None else self._class_of[batch.label]
        return Inputs(
            tracks=features.view(P, clips, self.frames, V, C).transpose(0, 1).flatten(0, 1),
            owner=(offsets + owner).flatten(),
            label=self._move(label),
            key=self._move(self._recording[batch.sample]),
            first_track=np.searchsorted(batch.owner, np.arange(len(batch) + 1)),
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
        if self.corruption:
            origin = None
            if self._origin is not None:
                origin = self._move(self._origin[batch.sample[batch.owner]])
            if origin is not None and self.score:  # a joint that is missing has no confidence
                origin = functional.pad(origin, (0, 1))
            there = (x != 0).any(dim=-1).any(dim=-1) if present is None else present
            x = self.corruption.on_joints(x, origin, there)
        return augment(
            x,
            owner,
            key,
            self.spec,
            self.layout,
            frame=frame,
            present=present,
            width=None if self._width is None else self._move(self._width[batch.sample]),
            scored=self.score,
        )

    def _move(self, array: NDArray[np.generic]) -> Tensor:
        tensor = torch.from_numpy(array)
        if self.device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self.device, non_blocking=True)


def uses_score(store: Store, data: DataConfig) -> bool:
    """Is the confidence of joints a channel of the input?"""
    return data.score and store.has_score


def channels(store: Store, data: DataConfig) -> int:
    """C of the input."""
    return store.coordinates + uses_score(store, data)


def image_width(store: Store) -> NDArray[np.int64] | None:
    """(N,) pixels, for the mirror image of 2-D joints: 0 where every frame has its own origin.

    None for joints in space, and where the width of some image is unknown.
    """
    if store.coordinates != 2:
        return None
    width = store.column("width")
    known = is_sizeless(store.attributes.normalisation) or bool((width > 0).all())
    return width.astype(np.int64) if known else None


def camera_origin(store: Store) -> NDArray[np.float32] | None:
    """(N, C) metres: where the camera's origin lies in each sample's normalised coordinates.

    Normalised is rotation @ (raw - centre); the raw origin is 0. None where nothing leads back.
    """
    if is_sizeless(store.attributes.normalisation):
        return None
    centre, rotation = store.column("centre"), store.column("rotation")
    origin: NDArray[np.float32] = np.einsum("nij,nj->ni", rotation, -centre).astype(np.float32)
    return origin
