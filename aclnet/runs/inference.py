"""A trained network over the samples of a store, batch by batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from aclnet.datasets.spec import silent
from aclnet.datasets.store.plan import WHOLE, Share
from aclnet.runs.device import enough_memory
from aclnet.runs.inputs import MakeInputs, clips_to_test

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from aclnet.datasets.spec import Progress
    from aclnet.datasets.store.store import Store
    from aclnet.datasets.store.stream import Sampling
    from aclnet.models.blocks import Output
    from aclnet.models.classifier import Classifier
    from aclnet.pipelines.inputs.occlusion import Corruption
    from aclnet.runs.config import DataConfig

CLIPS_AT_ONCE = 160
"""Clips of one forward pass: bounds its memory whatever the number of clips a sample has."""


@dataclass(frozen=True, slots=True)
class Pass:
    """How samples go through a network once."""

    corruption: Corruption | None = None
    """What a robustness protocol does to the input; None: nothing."""
    share: Share = WHOLE
    """Which of the samples this process computes."""
    progress: Progress = silent
    """Is told how many of how many samples are done."""
    stage: str = "score"
    """What the progress calls it."""


PLAIN = Pass()
"""Clean, all samples, without a word."""


@dataclass(frozen=True, slots=True)
class Inference:
    """What a network says of clips.

    Args:
        model: in evaluation mode, best a folded copy (`aclnet.models.folding`).
        value: what is wanted of its output: (n, D) of n clips.
        width: D.
        flip: of each clip, the mean of `value` of it and of its mirror image.
    """

    model: Classifier
    value: Callable[[Output], Tensor]
    width: int
    data: DataConfig
    device: torch.device
    flip: bool = False

    def mean_over_clips(
        self,
        store: Store,
        mask: NDArray[np.bool_],
        *,
        clips: int,
        how: Pass = PLAIN,
    ) -> tuple[NDArray[np.int64], Tensor]:
        """Rows (N,) of the originals (variant 0) of a split, and (N, D) float32 of each."""
        rows, parts, done = [np.empty(0, dtype=np.int64)], [torch.empty(0, self.width)], 0
        wanted = mask & (store.column("variant") == 0)
        found = self.each_batch(store, wanted, clips_to_test(self.data, clips), clips, how)
        for samples, values in found:
            rows.append(samples)
            parts.append(values.mean(0).cpu())
            done += len(samples)
            how.progress(how.stage, done, int(wanted.sum()))
        return np.concatenate(rows), torch.cat(parts)

    @torch.inference_mode()
    def each_batch(
        self,
        store: Store,
        mask: NDArray[np.bool_],
        sampling: Sampling,
        clips: int,
        how: Pass = PLAIN,
    ) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        """Rows (B,) of a batch, and (clips, B, D) float32 of the clips that `sampling` chooses."""
        makers = [
            MakeInputs(store, self.data, self.device, corruption=how.corruption, flipped=flipped)
            for flipped in ((False, True) if self.flip else (False,))
        ]
        stream = store.stream(
            mask,
            batch_size=max(1, CLIPS_AT_ONCE // clips),
            sampling=sampling,
            shuffle=False,
            motion=makers[0].motion,
            score=makers[0].score,
            share=how.share,
        )
        for batch in stream:
            values = torch.zeros(clips * len(batch), self.width, device=self.device)
            for make in makers:
                inputs = make(batch)
                with enough_memory("close other programs that use it, or choose --accelerator cpu"):
                    output = self.model(inputs.tracks, inputs.owner, len(values))
                values += self.value(output).float() / len(makers)
            yield batch.sample, values.view(clips, len(batch), self.width)
