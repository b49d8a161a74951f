"""Embeddings of sequences, and of windows of them, by a trained network."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from torch.nn import functional

from aclnet.datasets.store.plan import WHOLE
from aclnet.models.folding import fold_batch_norms
from aclnet.pipelines.inputs.sampling import WindowSampling, num_windows
from aclnet.retrieval.ranking import Embeddings
from aclnet.runs.inference import PLAIN, Inference, Pass
from aclnet.runs.network import load_model, load_projection

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from aclnet.datasets.store.store import Store
    from aclnet.models.blocks import Output
    from aclnet.models.classifier import Classifier
    from aclnet.runs.config import Config
    from aclnet.runs.run import Run

_WINDOWS_AT_ONCE = 8
"""Of a sequence, in one pass over the store: a sequence with fewer is filled up in the last one."""


class Embedder:
    """Makes the embeddings that a configuration asks for (`config.retrieval`).

    `projection` is that of the contrastive embedding; `pooled` needs none. The network is left as
    it is, a folded copy works.
    """

    @classmethod
    def of_run(cls, run: Run, store: Store, config: Config, device: torch.device) -> Self:
        """By the network that a run resulted in; `config` is the run's, perhaps but for
        `retrieval`. AclnetError where the store's sequences are not what it was trained on, and
        where the embedding is one that the run has not trained.
        """
        model = load_model(run, store).to(device)
        projection = load_projection(run, config.retrieval)
        return cls(model, projection and projection.to(device), config, device)

    def __init__(
        self, model: Classifier, projection: nn.Linear | None, config: Config, device: torch.device
    ) -> None:
        self.frames, self.clips = config.data.frames, config.data.clips
        self._by_window = config.task == "reid"
        wanted, pooled = config.retrieval.embedding, model.fc_cls.in_features
        contrastive = 0 if projection is None else projection.out_features
        self._inference = Inference(
            fold_batch_norms(model),
            partial(_VALUES[wanted], projection),
            {"pooled": pooled, "contrastive": contrastive, "both": pooled + contrastive}[wanted],
            config.data,
            device,
            flip=config.retrieval.flip,
        )

    def __call__(
        self,
        store: Store,
        mask: NDArray[np.bool_],
        *,
        clips: int | None = None,
        how: Pass = PLAIN,
    ) -> Embeddings:
        """What the task compares: of re-identification `windows`, else `sequences`."""
        make = self.windows if self._by_window else partial(self.sequences, clips=clips)
        return make(store, mask, how=how)

    def sequences(
        self,
        store: Store,
        mask: NDArray[np.bool_],
        *,
        clips: int | None = None,
        how: Pass = PLAIN,
    ) -> Embeddings:
        """One of each original (variant 0) of a split, by id: the mean over its clips.

        `clips` is that of the configuration where None. AclnetError that names what is not finite.
        """
        rows, vectors = self._inference.mean_over_clips(
            store, mask, clips=clips or self.clips, how=how
        )
        return _embeddings(store, rows, vectors.numpy())

    def windows(self, store: Store, mask: NDArray[np.bool_], *, how: Pass = PLAIN) -> Embeddings:
        """One of each window (`WindowSampling`) of the originals of a split.

        By id, the windows of a sequence in their order; arguments as those of `sequences`.
        """
        lengths = store.column("n_frames").astype(np.int64)
        # shared out by recording: the stream would share out each pass anew
        own = np.zeros(len(store), np.bool_)
        own[
            np.flatnonzero(mask & (store.column("variant") == 0))[how.share.rank :: how.share.world]
        ] = True
        count = np.where(own, num_windows(lengths, self.frames), 0)
        none = np.empty(0, np.int64)
        rows, number, vectors = [none], [none], [torch.empty(0, self._inference.width)]
        all_of_it = replace(how, share=WHOLE)  # of what is this process's own
        done = 0
        for first in range(0, int(count.max(initial=0)), _WINDOWS_AT_ONCE):
            at_once = min(_WINDOWS_AT_ONCE, int(count.max()) - first)
            for samples, values in self._inference.each_batch(
                store,
                count > first,
                WindowSampling(self.frames, first, at_once),
                at_once,
                all_of_it,
            ):
                window, place = np.nonzero(first + np.arange(at_once)[:, None] < count[samples])
                rows.append(samples[place])
                number.append(first + window)
                vectors.append(values[window, place].cpu())
                done += len(window)
                how.progress(how.stage, done, int(count.sum()))
        order = np.lexsort([np.concatenate(number), np.concatenate(rows)])
        return _embeddings(store, np.concatenate(rows)[order], torch.cat(vectors).numpy()[order])


def _pooled(_: nn.Linear | None, output: Output) -> Tensor:
    return output.pooled


def _contrastive(projection: nn.Linear, output: Output) -> Tensor:
    return functional.normalize(projection(output.feature.float()), dim=1)


def _both(projection: nn.Linear, output: Output) -> Tensor:
    unit = functional.normalize(output.pooled.float(), dim=1)
    return torch.cat([unit, _contrastive(projection, output)], 1)


_VALUES: dict[str, Callable[..., Tensor]] = {
    "pooled": _pooled,
    "contrastive": _contrastive,
    "both": _both,
}


def _embeddings(store: Store, rows: NDArray[np.int64], vectors: NDArray[np.float32]) -> Embeddings:
    """By id; rows of one sample keep their order."""
    order = np.argsort(store.column("id")[rows], kind="stable")
    rows = rows[order]
    return Embeddings(
        ids=store.column("id")[rows],
        vectors=vectors[order],
        label=store.column("label")[rows].astype(np.int64),
        condition=store.column("condition")[rows],
        camera=store.column("camera")[rows].astype(np.int64),
    )
