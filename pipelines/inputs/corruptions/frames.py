"""Frames without joints, and frames that are removed from a sequence."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from aclnet.datasets.store.keyed_random import fold, integers, uniform
from aclnet.pipelines.inputs.corruptions.corruption import CORRUPTION, Corruption

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from aclnet.pipelines.inputs.corruptions.corruption import Scene


@dataclass(frozen=True, slots=True)
class CentredFrames(Corruption):
    """All joints are missing in some frames around frame 50, for any length of the sequence.

    This is the temporal occlusion of RA-GCN (Song et al., ICIP 2019): frames from 50 - frames / 2
    to 50 + frames / 2, end excluded.
    """

    frames: int

    def hidden(self, x: Tensor, scene: Scene) -> Tensor:
        start = 50 - self.frames // 2
        return ((scene.frame >= start) & (scene.frame < start + self.frames))[..., None]


@dataclass(frozen=True, slots=True)
class FrameBlock(Corruption):
    """All joints are missing in consecutive frames: a share of the sequence, at a random place."""

    share: float

    def hidden(self, x: Tensor, scene: Scene) -> Tensor:
        length = (self.share * scene.n_frames + 0.5).long()[:, None]
        keys = self.keys(scene, by_person=False, by_frame=False)
        start = integers(keys, 0, scene.n_frames[:, None] - length + 1)
        return ((scene.frame >= start) & (scene.frame < start + length))[..., None]  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Thinning(Corruption, ABC):
    """Sequences with fewer frames: clips and motions use only the remaining frames.

    The stream takes it as `kept` (`aclnet.datasets.store.stream.Kept`).
    """

    hides: ClassVar[bool] = False

    @abstractmethod
    def count(self, n_frames: NDArray[np.int64]) -> NDArray[np.int64]:
        """(B,) number of remaining frames of sequences of `n_frames` (B,), at least 1."""

    @abstractmethod
    def __call__(self, n_frames: NDArray[np.int64], keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """(B, K) numbers of the remaining frames, ascending; `count` of each row are valid."""


@dataclass(frozen=True, slots=True)
class LowerRate(Thinning):
    """Only every n-th frame remains, from the first one on; n is `every`."""

    every: int

    def count(self, n_frames: NDArray[np.int64]) -> NDArray[np.int64]:
        return -(-n_frames // self.every)

    def __call__(self, n_frames: NDArray[np.int64], keys: NDArray[np.int64]) -> NDArray[np.int64]:
        left = self.every * np.arange(int(self.count(n_frames).max()))
        return np.tile(left, (len(n_frames), 1))


@dataclass(frozen=True, slots=True)
class DroppedFrames(Thinning):
    """A share of the frames, at random places, is removed."""

    share: float

    def count(self, n_frames: NDArray[np.int64]) -> NDArray[np.int64]:
        dropped = (self.share * n_frames + 0.5).astype(np.int64)
        return np.asarray(np.maximum(n_frames - dropped, 1))

    def __call__(self, n_frames: NDArray[np.int64], keys: NDArray[np.int64]) -> NDArray[np.int64]:
        count = self.count(n_frames)[:, None]
        frame = np.arange(int(n_frames.max()))
        draws = uniform(fold(keys, CORRUPTION, self.seed)[:, None], frame)
        draws[frame >= n_frames[:, None]] = 2
        rank = draws.argsort(axis=1, kind="stable").argsort(axis=1)
        left = np.argsort(rank >= count, axis=1, kind="stable")
        return np.asarray(left[:, : int(count.max())])
