"""Batches as corruptions see them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aclnet.datasets.spec.layouts import get_layout
from aclnet.datasets.store.keyed_random import sample_keys
from aclnet.pipelines.inputs.corruptions.corruption import Scene

LENGTHS, STARTS = (30, 1, 90, 7), (0, 0, 42, 3)
"""Frames of the four sequences of a batch, and the first one of each that is in it."""
PERSONS = (1, 2, 3, 2)


@pytest.fixture
def make_scene():
    """Makes joints (P, N, V, C) and the batch that they are from: `make_scene(layout, samples)`.

    Two clips of eight frames per sequence, in a loop from some start; the joints are of the frames
    of recordings that all batches share, the second person absent in every third frame. The camera
    is three metres away, and turned.
    """

    def make(layout="nturgb+d", samples=(0, 1, 2, 3), *, scored=False):
        layout = get_layout(layout)
        owner = np.repeat(np.arange(len(samples)), [PERSONS[s] for s in samples])
        person = np.concatenate([np.arange(PERSONS[s]) for s in samples])
        n_frames = np.array([LENGTHS[s] for s in samples])
        frame = np.stack([(STARTS[s] + np.arange(16)) % LENGTHS[s] for s in samples])[owner]
        x = np.zeros((len(owner), 16, layout.num_joints, 3 + scored), np.float32)
        present = np.ones((len(owner), 16), bool)
        for p, (o, who) in enumerate(zip(owner, person, strict=True)):
            recording = np.random.default_rng([samples[o], who]).normal(
                size=(LENGTHS[samples[o]], *x.shape[2:])
            )
            x[p] = recording[frame[p]]
            if who == 1:
                present[p] = frame[p] % 3 > 0
        x[~present] = 0
        rng = np.random.default_rng(9)
        rotation = np.stack([np.linalg.qr(rng.normal(size=(3, 3)))[0] for _ in LENGTHS])
        centre = rng.normal(size=(4, 3)) * 0.3 + [0, 0, 3]
        chosen = np.array(samples)[owner]
        origin = np.einsum("pij,pj->pi", rotation, -centre)[chosen]
        keys = sample_keys(map(str, samples))
        scene = Scene(
            layout=layout,
            owner=torch.from_numpy(owner),
            key=torch.from_numpy(keys[owner]),
            frame=torch.from_numpy(frame),
            n_frames=torch.from_numpy(n_frames[owner]),
            clip=torch.arange(16) // 8,
            present=torch.from_numpy(present),
            rotation=torch.from_numpy(rotation[chosen].astype(np.float32)),
            origin=torch.from_numpy(origin.astype(np.float32)),
            scored=scored,
        )
        return torch.from_numpy(x), scene

    return make
