"""Made-up batches of tracks for the tests of augmentation, and parts of the body to hide."""

from __future__ import annotations

import numpy as np
import torch

from aclnet.datasets.spec.layouts import get_layout
from aclnet.datasets.store.keyed_random import fold
from aclnet.pipelines.inputs.augment import augment

NTU = get_layout("nturgb+d")
LIMBS = ("left_arm", "left_leg", "right_arm", "right_leg")
PARTS = ("legs", "head", "left_hand+WristRight")


class Tracks:
    """A made-up batch: persons, frame numbers and keys of a few samples."""

    def __init__(self, persons=(1, 2, 1, 3), frames=6, coordinates=3, layout=NTU, seed=0):
        rng = np.random.default_rng(seed)
        self.layout = layout
        self.owner = torch.from_numpy(np.repeat(np.arange(len(persons)), persons))
        self.keys = torch.from_numpy(fold(np.arange(len(persons)), seed))
        shape = (len(self.owner), frames, layout.num_joints, coordinates)
        x = rng.normal(size=shape).astype(np.float32)
        x[rng.random(shape[:3]) < 0.1] = 0
        self.present = torch.from_numpy(rng.random(shape[:2]) < 0.8)
        self.x = torch.from_numpy(x) * self.present[..., None, None]
        self.frame = torch.from_numpy(rng.integers(0, 300, shape[:2]))

    def augmented(self, spec, rows=slice(None), owner=None, keys=None, **options):
        return augment(
            self.x[rows],
            self.owner if owner is None else owner,
            self.keys if keys is None else keys,
            spec,
            self.layout,
            frame=self.frame[rows],
            present=self.present[rows],
            **options,
        )


def many(count, value=1.0):
    """One person, one frame and all joints at (value, value, value) in each of many samples."""
    tracks = Tracks(persons=(1,) * count, frames=1)
    tracks.x = torch.full_like(tracks.x, value)
    tracks.present = torch.ones_like(tracks.present)
    return tracks
