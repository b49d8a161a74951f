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
from aclnet.retrieval.body_shape import BodyShape, find_pairs, has_shape, measure
from aclnet.retrieval.ranking import Embeddings, unit_parts
from aclnet.runs.choices import motion_of, uses_shape
from aclnet.runs.inference import PLAIN, Inference, Pass
from aclnet.runs.network import load_model, load_projection

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from aclnet.datasets.store.store import Store
    from aclnet.models.blocks import Output
    from aclnet.models.classifier import Classifier
    from aclnet.runs.choices import Motion
    from aclnet.runs.config import Config
    from aclnet.runs.run import Run

_WINDOWS_AT_ONCE = 8
"""Windows per sequence in one pass over the store; sequences with fewer are padded in the last."""


class Embedder:
    """Makes the embeddings that a configuration asks for (`config.retrieval`).

    `projection` is that of the contrastive embedding; `pooled` needs none. `shape` is for the
    embeddings with the shape of the body. The network is not changed; a folded copy works too.
    """

    @classmethod
    def of_run(cls, run: Run, store: Store, config: Config, device: torch.device) -> Self:
        """An embedder with a run's network; `config` is the run's, except perhaps `retrieval`.

        Raises AclnetError if the store's sequences differ from the run's training data, or if the
        run has not trained the embedding, or has no body shape.
        """
        model = load_model(run, store).to(device)
        projection = load_projection(run, config.retrieval)
        shape = BodyShape.of_run(run) if uses_shape(config.retrieval.embedding) else None
        return cls(model, projection and projection.to(device), config, device, shape)

    def __init__(
        self,
        model: Classifier,
        projection: nn.Linear | None,
        config: Config,
        device: torch.device,
        shape: BodyShape | None = None,
    ) -> None:
        self.frames, self.clips = config.data.frames, config.data.clips
        self._by_window = config.task == "reid"
        motion = motion_of(config.retrieval.embedding)
        value = partial(_VALUES[motion], projection) if motion else None
        parts = _widths(motion, model, projection)
        if shape:
            parts = (shape.width, sum(parts)) if motion else (shape.width,)
        self._parts = parts if len(parts) > 1 else ()
        self._inference = Inference(
            fold_batch_norms(model),
            partial(_unit, value) if value and shape else value,
            sum(parts),
            config.data,
            device,
            flip=config.retrieval.flip,
            of_joints=partial(_unit_shape, shape) if shape else None,
        )

    def __call__(
        self,
        store: Store,
        mask: NDArray[np.bool_],
        *,
        clips: int | None = None,
        how: Pass = PLAIN,
    ) -> Embeddings:
        """The embeddings that the task compares: `windows` for `reid`, else `sequences`."""
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
        """One embedding per original (variant 0) of a split, by id: the mean over its clips.

        clips: None for the configuration's number. Raises AclnetError that names an embedding that
        is not finite.
        """
        rows, vectors = self._inference.mean_over_clips(
            store, mask, clips=clips or self.clips, how=how
        )
        return _embeddings(store, rows, vectors.numpy(), self._parts)

    def windows(self, store: Store, mask: NDArray[np.bool_], *, how: Pass = PLAIN) -> Embeddings:
        """One embedding per window (`WindowSampling`) of the originals of a split.

        Sorted by id, the windows of a sequence in their order; arguments as those of `sequences`.
        """
        rows, vectors = window_values(self._inference, store, mask, how)
        return _embeddings(store, rows, vectors, self._parts)


def window_values(
    inference: Inference, store: Store, mask: NDArray[np.bool_], how: Pass = PLAIN
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Rows (W,) of the originals of a split, one for each of their windows, and (W, D) values."""
    frames = inference.data.frames
    lengths = store.column("n_frames").astype(np.int64)
    lengths = lengths if how.kept is None else how.kept.count(lengths)
    # Divide by recording: the stream would divide each pass differently.
    originals = np.flatnonzero(mask & (store.column("variant") == 0))
    own = np.zeros(len(store), np.bool_)
    own[np.array_split(originals, how.share.world)[how.share.rank]] = True
    count = np.where(own, num_windows(lengths, frames), 0)
    none = np.empty(0, np.int64)
    rows, number = [none], [none]
    vectors = [torch.empty(0, inference.width, device=inference.device)]
    all_of_it = replace(how, share=WHOLE)  # all rows of this process
    done = 0
    for first in range(0, int(count.max(initial=0)), _WINDOWS_AT_ONCE):
        at_once = min(_WINDOWS_AT_ONCE, int(count.max()) - first)
        for samples, values in inference.each_batch(
            store,
            count > first,
            WindowSampling(frames, first, at_once),
            at_once,
            all_of_it,
        ):
            window, place = np.nonzero(first + np.arange(at_once)[:, None] < count[samples])
            rows.append(samples[place])
            number.append(first + window)
            vectors.append(values[window, place])
            done += len(window)
            how.progress(how.stage, done, int(count.sum()))
    order = np.lexsort([np.concatenate(number), np.concatenate(rows)])
    found = torch.cat(vectors).cpu().numpy()
    return np.concatenate(rows)[order], found[order]


def fit_shape(
    store: Store, train: NDArray[np.bool_], config: Config, device: torch.device
) -> BodyShape | None:
    """The body shape of the training people, fitted on the windows of their recordings.

    None for joints in an image, and for fewer than two people.
    """
    train = train & (store.column("variant") == 0)
    if not has_shape(store) or len(np.unique(store.column("label")[train])) < 2:
        return None
    pairs = find_pairs(store, train)
    data = config.data.model_copy(update={"modality": "j"})  # motion needs more frames
    lengths = Inference(
        None, None, len(pairs), data, device, of_joints=partial(measure, pairs=pairs)
    )
    rows, values = window_values(lengths, store, train)
    return BodyShape.fit(pairs, values, store.column("label")[rows].astype(np.int64))


def _widths(
    motion: Motion | None, model: Classifier, projection: nn.Linear | None
) -> tuple[int, ...]:
    """Widths of the vectors that make the network's part of an embedding."""
    found = [model.pooled_width] if motion in ("pooled", "both") else []
    if motion in ("contrastive", "both") and projection is not None:
        found.append(projection.out_features)
    return tuple(found)


def _pooled(_: nn.Linear | None, output: Output) -> Tensor:
    return output.pooled


def _contrastive(projection: nn.Linear, output: Output) -> Tensor:
    return functional.normalize(projection(output.feature.float()), dim=1)


def _both(projection: nn.Linear, output: Output) -> Tensor:
    unit = functional.normalize(output.pooled.float(), dim=1)
    return torch.cat([unit, _contrastive(projection, output)], 1)


def _unit(value: Callable[[Output], Tensor], output: Output) -> Tensor:
    return functional.normalize(value(output).float(), dim=1)


def _unit_shape(shape: BodyShape, joints: Tensor, there: Tensor) -> Tensor:
    return functional.normalize(shape.embedding(measure(joints, there, shape.pairs)), dim=1)


_VALUES: dict[str, Callable[..., Tensor]] = {
    "pooled": _pooled,
    "contrastive": _contrastive,
    "both": _both,
}


def _embeddings(
    store: Store, rows: NDArray[np.int64], vectors: NDArray[np.float32], parts: tuple[int, ...]
) -> Embeddings:
    """Embeddings sorted by id; rows of one sample keep their order."""
    order = np.argsort(store.column("id")[rows], kind="stable")
    rows = rows[order]
    return Embeddings(
        ids=store.column("id")[rows],
        vectors=unit_parts(vectors[order], parts),
        label=store.column("label")[rows].astype(np.int64),
        condition=store.column("condition")[rows],
        camera=store.column("camera")[rows].astype(np.int64),
        parts=parts,
    )
