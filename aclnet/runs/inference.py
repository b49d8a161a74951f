"""A trained network over the samples of a store, batch by batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import torch

from aclnet.datasets.spec import silent
from aclnet.datasets.store.plan import WHOLE, Share
from aclnet.models.folding import fold_batch_norms
from aclnet.pipelines.inputs.corruptions.frames import Thinning
from aclnet.runs.device import enough_memory
from aclnet.runs.inputs import MakeInputs, clips_to_test, owner_of_clips

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from aclnet.datasets.spec import Progress
    from aclnet.datasets.store.store import Store
    from aclnet.datasets.store.stream import Batch, Sampling
    from aclnet.models.blocks import Output
    from aclnet.models.classifier import Classifier
    from aclnet.pipelines.inputs.corruptions.corruption import Corruption
    from aclnet.runs.config import DataConfig

CLIPS_AT_ONCE = 160
"""Largest number of clips in one forward pass, to limit the memory for any number of clips."""


@dataclass(frozen=True, slots=True)
class Pass:
    """Settings of one pass of samples through a network."""

    corruption: Corruption | None = None
    """Corruption of the input by a robustness protocol; None: no corruption."""
    share: Share = WHOLE
    """Share of the samples that this process computes."""
    progress: Progress = silent
    """Callback that gets the number of finished samples and of all samples."""
    stage: str = "score"
    """Name of the pass in the progress."""
    bf16: bool = False
    """Compute the network by autocast in bfloat16. It is faster on a GPU; docs/gpu.md gives the
    difference of the scores."""

    @property
    def kept(self) -> Thinning | None:
        """The frames that the corruption keeps, if it removes frames."""
        return self.corruption if isinstance(self.corruption, Thinning) else None


PLAIN = Pass()
"""All samples without corruption and without progress."""


@dataclass(frozen=True, slots=True)
class Inference:
    """Outputs of a network for clips.

    Args:
        model: in evaluation mode, preferably a folded copy (`aclnet.models.folding`).
        value: function from its output to (n, D) values of n clips. If `model` or `value` is
            missing, only `of_joints` is used.
        width: D, including the width of `of_joints`.
        flip: use the mean of the values of each clip and of its mirror image.
        of_joints: function from joints (tracks, T, V, C) of clips and (tracks, T, V) bool, their
            presence, to values (tracks, D). The values of a clip are the mean over its tracks, and
            come before those of the network.
    """

    model: Classifier | None
    value: Callable[[Output], Tensor] | None
    width: int
    data: DataConfig
    device: torch.device
    flip: bool = False
    of_joints: Callable[[Tensor, Tensor], Tensor] | None = None

    @classmethod
    def of_classes(cls, model: Classifier, data: DataConfig, device: torch.device) -> Self:
        """The softmax of a classifier; a folded copy of the classifier computes it."""
        width = model.num_classes
        return cls(fold_batch_norms(model), _probabilities, width, data, device)

    def mean_over_clips(
        self,
        store: Store,
        mask: NDArray[np.bool_],
        *,
        clips: int,
        how: Pass = PLAIN,
    ) -> tuple[NDArray[np.int64], Tensor]:
        """Rows (N,) of the originals (variant 0) of a split, and (N, D) float32 of each."""
        rows, done = [np.empty(0, dtype=np.int64)], 0
        parts = [torch.empty(0, self.width, device=self.device)]
        wanted = mask & (store.column("variant") == 0)
        found = self.each_batch(store, wanted, clips_to_test(self.data, clips), clips, how)
        for samples, values in found:
            rows.append(samples)
            parts.append(values.mean(0))  # copied once at the end: each copy waits for the device
            done += len(samples)
            how.progress(how.stage, done, int(wanted.sum()))
        return np.concatenate(rows), torch.cat(parts).cpu()

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
            lanes=how.share.world,  # so that a process reads its samples alone
            motion=makers[0].motion,
            score=makers[0].score,
            share=how.share,
            kept=how.kept,
        )
        for batch in stream:
            values = torch.zeros(clips * len(batch), self.width, device=self.device)
            for make in makers:
                values += self._values(make, batch, how, len(values)) / len(makers)
            yield batch.sample, values.view(clips, len(batch), self.width)

    def _values(self, make: MakeInputs, batch: Batch, how: Pass, clips: int) -> Tensor:
        """(clips, D) float32 of all clips of a batch."""
        joints = make.joints(batch)
        parts = []
        if self.of_joints is not None:
            owner = owner_of_clips(joints.owner, clips // len(batch), len(batch))
            parts.append(_mean_of_tracks(self.of_joints(*make.clips(joints)), owner, clips))
        if self.model is not None and self.value is not None:
            inputs = make.features(joints)
            with (
                enough_memory("close other programs that use it, or choose --accelerator cpu"),
                torch.autocast(self.device.type, torch.bfloat16, enabled=how.bf16),
            ):
                output = self.model(inputs.tracks, inputs.owner, clips)
            parts.append(self.value(output).float())
        return torch.cat(parts, 1)


def _mean_of_tracks(values: Tensor, owner: Tensor, clips: int) -> Tensor:
    """(clips, D) means of the values (tracks, D) of each clip's tracks."""
    sums = values.new_zeros(clips, values.shape[1]).index_add_(0, owner, values)
    return sums / owner.bincount(minlength=clips)[:, None]


def _probabilities(output: Output) -> Tensor:
    return output.logits.float().softmax(1)
