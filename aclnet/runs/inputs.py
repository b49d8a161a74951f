"""From the stream's batches to the input of the network: device, augmentation, features, clips."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from aclnet.datasets.spec import AclnetError
from aclnet.pipelines.inputs.augment import AugmentSpec, augment
from aclnet.pipelines.inputs.corruptions.corruption import Scene
from aclnet.pipelines.inputs.corruptions.fill import clear, corrupt
from aclnet.pipelines.inputs.features import (
    is_there,
    joint_index,
    make_features,
    needs_following,
    presence,
)
from aclnet.pipelines.inputs.image_scale import scale_to_image
from aclnet.pipelines.inputs.sampling import (
    ClipSampling,
    ConsecutiveClips,
    ConsecutiveSampling,
    EvenClips,
    EvenSampling,
    UniformSampling,
)
from aclnet.pipelines.steps.normalise import is_sizeless

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aclnet.datasets.store.store import Store
    from aclnet.datasets.store.stream import Batch, Sampling
    from aclnet.pipelines.inputs.corruptions.corruption import Corruption
    from aclnet.runs.config import DataConfig


def clip_to_train(data: DataConfig) -> Sampling:
    """Chooses the frames of a training clip, at random."""
    if data.sampling == "consecutive":
        return ConsecutiveSampling(data.frames)
    if data.sampling == "even":
        return EvenSampling(data.frames, data.interval)
    return UniformSampling(data.frames, data.interval)


def clips_to_test(data: DataConfig, clips: int) -> Sampling:
    """Chooses the frames of this number of clips for a test, always the same."""
    if data.sampling == "consecutive":
        return ConsecutiveClips(data.frames, clips)
    if data.sampling == "even":
        return EvenClips(data.frames, clips)
    return ClipSampling(data.frames, clips, data.short_clips)


@dataclass(frozen=True, slots=True)
class Inputs:
    """One batch in the form of the network's input."""

    tracks: Tensor
    """(clips * P, T, V, C), the clips of all samples one after another."""
    owner: Tensor
    """(clips * P,) int64 owners, sorted; clip c of sample b is number c * B + b."""
    label: Tensor
    """(B,) int64 classes."""
    key: Tensor
    """(B,) int64 keys, always the same for all pieces and variants of a recording."""
    first_track: NDArray[np.int64]
    """(B + 1,) on the host: begin of the tracks of each sample in one clip, and the end of the
    last."""

    def __len__(self) -> int:
        return len(self.first_track) - 1

    def micro_batches(self, count: int) -> list[Inputs]:
        """A batch with one clip per sample, cut into `count` parts without copying."""
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


@dataclass(frozen=True, slots=True)
class Joints:
    """The joints of a batch as a camera sees them, before the computation of features."""

    x: Tensor
    """(P, N, V, C) joints; if motions need the next frames, these follow, 2 N frames in all. The
    last channel is the confidence, if it is used."""
    there: Tensor
    """(P, N or 2 N, V) bool: the joints that are not missing."""
    missing: Tensor | None
    """The same for the joints that a corruption removed; None without a corruption."""
    owner: Tensor
    """(P,) int64 position in the batch of each track's sample, sorted."""
    batch: Batch
    """The batch of the joints; a corruption may have removed tracks from it."""


class MakeInputs:
    """Makes the input of one modality, on a device.

    Args:
        data: modality, and length T of a clip; a batch of n * T frames holds n clips per sample.
        spec: random changes, in training.
        class_of: (labels,) int64, class of each label of the store; None: the label itself.
        corruption: corruption of the input by a robustness protocol.
        flipped: use the mirror image of each sequence, which is corrupted before.
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
        self._presence = data.presence
        self._root_path = data.root_path
        self._image = image_size(store) if data.image_scale and store.coordinates == 2 else None
        self._width = image_width(store)
        if flipped and store.coordinates == 2 and self._width is None:
            raise AclnetError(
                f"{store.path}: mirror images of pixels need the width of the image, but not all "
                "samples have it; switch mirror images off (--set retrieval.flip=false, or "
                "`aclnet evaluate --no-flip`)"
            )
        self._origin = camera_origin(store) if corruption else None
        self._rotation = store.column("rotation")
        self._recording = store.recording_keys

    @property
    def motion(self) -> bool:
        """True if the stream must also yield the following frames."""
        return needs_following(self.modality) and self._motion != "sampled"

    def __call__(self, batch: Batch, progress: float = 1.0) -> Inputs:
        """The input of a batch, when a share `progress` of the training is done."""
        return self.features(self.joints(batch, progress))

    def joints(self, batch: Batch, progress: float = 1.0) -> Joints:
        """The joints of a batch, corrupted and augmented."""
        if self.corruption:
            batch = self.corruption.on_batch(batch)
        owner, key = self._move(batch.owner), self._move(batch.key)
        x, frame, present = self._frames(batch, owner)
        missing = None
        if self.corruption:
            scene = self._scene(batch, owner, key, frame, present)
            x, missing = corrupt(self.corruption, x, scene)
            if self.flipped:
                missing = missing[:, :, joint_index(self.layout.mirror, self.device)]
        x = augment(
            x,
            owner,
            key,
            self.spec.at(progress),
            self.layout,
            frame=frame,
            present=present,
            width=None if self._width is None else self._move(self._width[batch.sample]),
            scored=self.score,
        )
        if self._image is not None:
            size = self._move(self._image[batch.sample[batch.owner]])
            x = scale_to_image(x, size, scored=self.score)
        there = is_there(x, scored=self.score)
        there = there if missing is None else there & ~missing
        return Joints(x, there, missing, owner, batch)

    def features(self, joints: Joints) -> Inputs:
        """The input from the joints of a batch."""
        batch, missing, owner = joints.batch, joints.missing, joints.owner
        x, following = self._ends_of_motion(joints.x, batch)
        if following is not None and batch.elapsed is not None and self._motion == "timed":
            share = 1 / self._move(batch.elapsed).clamp(min=1)
            following = torch.lerp(x, following, share[..., None, None].to(x.dtype))
        features = make_features(
            x,
            following,
            self.layout,
            self.modality,
            scored=self.score,
            root_path=self._root_path,
        )
        if self.score and following is not None:
            features[..., -1].masked_fill_(self._is_last(batch)[..., None], 0)
        if missing is not None and self.corruption and self.corruption.missing == "feature":
            gone, gone_after = self._ends_of_motion(missing, batch)
            features = clear(features, gone if gone_after is None else gone | gone_after)
        if self._presence:
            told = presence(*self._ends_of_motion(joints.there, batch), self.layout, self.modality)
            features = torch.cat([features, told[..., None].to(features.dtype)], -1)
        clips = features.shape[1] // self.frames
        label = batch.label if self._class_of is None else self._class_of[batch.label]
        return Inputs(
            tracks=self._cut(features),
            owner=owner_of_clips(owner, clips, len(batch)),
            label=self._move(label),
            key=self._move(self._recording[batch.sample]),
            first_track=np.searchsorted(batch.owner, np.arange(len(batch) + 1)),
        )

    def clips(self, joints: Joints) -> tuple[Tensor, Tensor]:
        """Coordinates (clips * P, T, V, C) of the sampled frames, and (clips * P, T, V) bool: the
        present joints. The order is that of `Inputs.tracks`."""
        coordinates = joints.x.shape[-1] - self.score
        frames = joints.x.shape[1] // (2 if self.motion else 1)
        x, there = joints.x[:, :frames, :, :coordinates], joints.there[:, :frames]
        return self._cut(x), self._cut(there)

    def _cut(self, values: Tensor) -> Tensor:
        """(clips * P, T, ...), clip after clip, from (P, clips * T, ...)."""
        P, N, *others = values.shape
        cut = values.reshape(P, N // self.frames, self.frames, *others)
        return cut.transpose(0, 1).flatten(0, 1)

    def _frames(self, batch: Batch, owner: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Joints (P, N, V, C), numbers (P, N) and presence (P, N) of the sampled frames. If the
        batch has the next frames, these follow, 2 N frames in all."""
        x, frame = self._move(batch.keypoint), self._move(batch.frame)
        present = self._move(batch.present)
        if batch.following is None:
            return x, frame, present
        following = self._move(batch.following)
        after = torch.minimum(frame + 1, self._move(batch.n_frames - 1)[owner, None])
        there = (following != 0).any(-1).any(-1)
        pairs = (x, following), (frame, after), (present, there)
        x, frame, present = (torch.cat(pair, 1) for pair in pairs)
        return x, frame, present

    def _scene(
        self, batch: Batch, owner: Tensor, key: Tensor, frame: Tensor, present: Tensor
    ) -> Scene:
        sample = batch.sample[batch.owner]
        clip = torch.arange(batch.frame.shape[1], device=self.device) // self.frames
        origin = None if self._origin is None else self._move(self._origin[sample])
        return Scene(
            layout=self.layout,
            owner=owner,
            key=key[owner],
            frame=frame,
            n_frames=self._move(batch.n_frames)[owner],
            clip=clip.repeat(frame.shape[1] // len(clip)),
            present=present,
            rotation=self._move(self._rotation[sample]),
            origin=origin,
            scored=self.score,
        )

    def _ends_of_motion(self, values: Tensor, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Values (P, N, ...) in the sampled frames, and in the end frames of their motions, from
        values in the frames of `_frames`."""
        N = batch.frame.shape[1]
        if batch.following is not None:
            return values[:, :N], values[:, N:]
        if self._motion == "sampled" and needs_following(self.modality):
            return values, torch.cat([values[:, 1:], values[:, -1:]], 1)
        return values, None

    def _is_last(self, batch: Batch) -> Tensor:
        """(P or 1, N) bool: frames at which no motion starts."""
        if batch.following is not None:
            return self._move(batch.frame == (batch.n_frames - 1)[batch.owner][:, None])
        N = batch.frame.shape[1]
        last: Tensor = torch.arange(N, device=self.device) == N - 1
        return last[None]

    def _move(self, array: NDArray[np.generic]) -> Tensor:
        tensor = torch.from_numpy(array)
        if self.device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self.device, non_blocking=True)


def owner_of_clips(owner: Tensor, clips: int, samples: int) -> Tensor:
    """(clips * P,) `Inputs.owner` for this number of clips, from the owners (P,) of one clip."""
    offsets = torch.arange(clips, device=owner.device)[:, None] * samples
    return (offsets + owner).flatten()


def uses_score(store: Store, data: DataConfig) -> bool:
    """True if the confidence of joints is a channel of the input."""
    return data.score and store.has_score


def channels(store: Store, data: DataConfig) -> int:
    """C of the input."""
    return store.coordinates + uses_score(store, data) + data.presence


def image_width(store: Store) -> NDArray[np.int64] | None:
    """(N,) widths in pixels, for mirror images of 2-D joints; 0 if frames have their own origins.

    None for joints in metres, and if the width of some image is unknown.
    """
    if store.coordinates != 2:
        return None
    width = store.column("width")
    known = is_sizeless(store.attributes.normalisation) or bool((width > 0).all())
    return width.astype(np.int64) if known else None


def image_size(store: Store) -> NDArray[np.int64]:
    """(N, 2) width and height of the images in pixels; raises AclnetError if they are unknown."""
    size = np.stack([store.column("width"), store.column("height")], 1).astype(np.int64)
    if is_sizeless(store.attributes.normalisation) or not (size > 0).all():
        raise AclnetError(
            f"{store.path}: data.image_scale needs joints in pixels, and the width and height of "
            "the image of each sample, which this store does not have; set data.image_scale=false"
        )
    return size


def camera_origin(store: Store) -> NDArray[np.float32] | None:
    """(N, C) metres: the camera's origin in each sample's normalised coordinates.

    The normalised coordinates are rotation @ (raw - centre); the raw origin is 0. None if the
    normalisation cannot be inverted.
    """
    if is_sizeless(store.attributes.normalisation):
        return None
    centre, rotation = store.column("centre"), store.column("rotation")
    origin: NDArray[np.float32] = np.einsum("nij,nj->ni", rotation, -centre).astype(np.float32)
    return origin
