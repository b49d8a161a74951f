"""Scores of a split of a store by a trained network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from aclnet.inputs import MakeInputs
from aclnet.pipelines.sampling import ClipSampling
from aclnet.scores import Scores

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from aclnet.config import DataConfig
    from aclnet.datasets.store import Store
    from aclnet.model import ACLNet
    from aclnet.pipelines.occlusion import Corruption

CLIPS_AT_ONCE = 160
"""Clips of one forward pass: bounds its memory whatever the number of clips a sample has."""


@torch.inference_mode()
def score(
    model: ACLNet,
    store: Store,
    mask: NDArray[np.bool_],
    data: DataConfig,
    device: torch.device,
    *,
    clips: int | None = None,
    corruption: Corruption | None = None,
    rank: int = 0,
    world: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Scores:
    """Mean over a sample's clips of the softmax, for every original (variant 0) of a split.

    `clips` is `data.clips` where None. The network is left in evaluation mode.
    """
    clips = clips or data.clips
    make = MakeInputs(store, data.modality, data.frames, device, corruption=corruption)
    stream = store.stream(
        mask & (store.column("variant") == 0),
        batch_size=max(1, CLIPS_AT_ONCE // clips),
        sampling=ClipSampling(data.frames, clips),
        shuffle=False,
        motion=make.motion,
        rank=rank,
        world=world,
    )
    model.eval()
    rows, parts, done = [], [], 0
    for batch in stream:
        inputs = make(batch)
        logits = model(inputs.tracks, inputs.owner, clips * len(batch)).logits
        parts.append(logits.float().softmax(1).view(clips, len(batch), -1).mean(0).cpu())
        rows.append(batch.sample)
        done += len(batch)
        if progress:
            progress(done, len(stream.samples))
    chosen = np.concatenate(rows) if rows else np.empty(0, dtype=np.int64)
    found = torch.cat(parts).numpy() if parts else np.empty((0, len(store.class_names)), np.float32)
    labels = store.column("label")[chosen].astype(np.int64)
    return Scores.sorted(store.column("id")[chosen], found, labels)
