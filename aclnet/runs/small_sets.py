"""Settings that the rule of small sets takes from a store (docs/small-sets.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aclnet.datasets.store.store import Store
    from aclnet.runs.splits import Splits

STEPS = 8_000
"""Number of optimiser steps of a training; doubled if bodies are rotated."""
_EPOCHS = (60, 300)
_FRAMES = (32, 64)
_STEP_OF_FRAMES = 8
_TURNED = {"augment.rotate": 1.05, "augment.scale": 0.5}
"""Augmentation if the test has other cameras: rotations up to 60 degrees, sizes from 0.5 to 1.5,
as in CTR-GCN's released code for NW-UCLA."""
_ONE_SIDED = {"augment.mirror": 0}
"""Augmentation of joints in pixels without sides: the mirror image of a hand is the other hand, and
its swipe to the right becomes one to the left."""


@dataclass(frozen=True, slots=True)
class SmallSet:
    """Facts about a store that the rule uses."""

    samples: int
    """Training samples, stored variants included."""
    classes: int
    """Classes that train."""
    median_frames: int
    """Median number of frames of the training sequences."""
    other_cameras: bool
    """True if no camera of the test recorded training samples."""
    in_space: bool
    """True if joints have three coordinates."""
    has_sides: bool
    """True if the layout names left and right joints."""

    @classmethod
    def of(cls, store: Store, splits: Splits) -> SmallSet:
        """The facts about the training side of a store."""
        train = splits.train
        return cls(
            int(train.sum()),
            len(np.unique(store.column("label")[train])),
            int(np.median(store.column("n_frames")[train])),
            _are_disjoint(*(store.column("camera")[side] for side in (train, splits.test))),
            store.coordinates == 3,
            store.layout.has_sides,
        )

    def settings(self, batch: int, repeats: int = 1) -> dict[str, float]:
        """The settings that the rule chooses, for batches of `batch` samples.

        `repeats` is the number of times that an epoch draws each sample.
        """
        turned = self.other_cameras and self.in_space
        steps = 2 * STEPS if turned else STEPS
        epochs = int(np.clip(round(steps * batch / (self.samples * repeats)), *_EPOCHS))
        frames = _STEP_OF_FRAMES * round(self.median_frames / 2 / _STEP_OF_FRAMES)
        found = {"data.frames": int(np.clip(frames, *_FRAMES)), "optim.epochs": epochs}
        one_sided = not (self.in_space or self.has_sides)
        return found | (_TURNED if turned else {}) | (_ONE_SIDED if one_sided else {})

    def describe(self, settings: dict[str, float]) -> str:
        """The facts and the settings that follow from them in a sentence."""
        cameras = ", tested on other cameras" if self.other_cameras else ""
        chosen = ", ".join(f"{key}={value:g}" for key, value in settings.items())
        return (
            f"small set of {self.samples} training samples, {self.classes} classes, median "
            f"{self.median_frames} frames{cameras}: {chosen or 'no setting follows'}"
        )


def _are_disjoint(train: NDArray[np.int64], test: NDArray[np.int64]) -> bool:
    """Returns whether two sides have no common camera; -1 means that a camera is not known."""
    known = bool(len(test)) and bool((train >= 0).all() and (test >= 0).all())
    return known and not np.intersect1d(train, test).size
