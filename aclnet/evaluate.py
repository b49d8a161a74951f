"""Scores of a split of a store by a trained network."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from aclnet.datasets.errors import AclnetError
from aclnet.folding import fold_batch_norms
from aclnet.inputs import MakeInputs, clips_to_test
from aclnet.network import load_model
from aclnet.one_shot import Exemplars, chance
from aclnet.scores import Scores
from aclnet.splits import choose_splits, gallery_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from aclnet.config import DataConfig
    from aclnet.datasets.store import Store
    from aclnet.model import ACLNet, Output
    from aclnet.pipelines.occlusion import Corruption
    from aclnet.runs import Run
    from aclnet.splits import Splits

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
    gallery: NDArray[np.bool_] | None = None,
    corruption: Corruption | None = None,
    rank: int = 0,
    world: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Scores:
    """Mean over a sample's clips of the softmax, for every original (variant 0) of a split.

    With `gallery`, scores are the cosines of the pooled features, mean over the clips, with the
    nearest sample of each class of that mask, see `aclnet.one_shot`; its input is never corrupted.

    `clips` is `data.clips` where None; `rank` of `world` processes scores its part. `progress` is
    told how many of how many samples are done. `model` is left as it is, a folded copy scores.
    AclnetError that names samples whose scores are not finite.
    """
    clips = clips or data.clips
    model = fold_batch_norms(model)
    value = _probabilities if gallery is None else _features
    rows, found = _mean_over_clips(
        *(model, store, mask, data, device, clips, value),
        corruption=corruption,
        rank=rank,
        world=world,
        progress=progress,
    )
    if gallery is not None:
        known, features = _mean_over_clips(model, store, gallery, data, device, clips, value)
        classes = torch.from_numpy(store.column("label")[known].astype(np.int64))
        exemplars = Exemplars(
            features, classes, torch.from_numpy(known), classes=len(store.class_names)
        )
        found = exemplars.similarity(found, torch.from_numpy(rows))
    ids, labels = store.column("id")[rows], store.column("label")[rows].astype(np.int64)
    scores = found.numpy()
    strange = ids[~np.isfinite(scores).all(axis=1)].tolist()
    if strange:
        raise AclnetError(
            f"{store.path}: the scores of {len(strange)} samples are not finite, first "
            f"{', '.join(strange[:5])}; their input is not, or the weights are not"
        )
    return Scores.sorted(ids, scores, labels)


def _probabilities(output: Output) -> Tensor:
    return output.logits.float().softmax(1)


def _features(output: Output) -> Tensor:
    return output.pooled.float()


def _mean_over_clips(
    model: ACLNet,
    store: Store,
    mask: NDArray[np.bool_],
    data: DataConfig,
    device: torch.device,
    clips: int,
    value: Callable[[Output], Tensor],
    *,
    corruption: Corruption | None = None,
    rank: int = 0,
    world: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[NDArray[np.int64], Tensor]:
    """Rows (N,) of the originals of a split, and (N, ...) what the network says of them."""
    make = MakeInputs(store, data, device, corruption=corruption)
    stream = store.stream(
        mask & (store.column("variant") == 0),
        batch_size=max(1, CLIPS_AT_ONCE // clips),
        sampling=clips_to_test(data, clips),
        shuffle=False,
        motion=make.motion,
        score=make.score,
        rank=rank,
        world=world,
    )
    rows, parts, done = [np.empty(0, dtype=np.int64)], [], 0
    for batch in stream:
        inputs = make(batch)
        output = model(inputs.tracks, inputs.owner, clips * len(batch))
        parts.append(value(output).view(clips, len(batch), -1).mean(0).cpu())
        rows.append(batch.sample)
        done += len(batch)
        if progress:
            progress(done, len(stream.samples))
    width = model.fc_cls.out_features if value is _probabilities else model.fc_cls.in_features
    return np.concatenate(rows), torch.cat(parts) if parts else torch.empty(0, width)


class Scorer:
    """A run's network before a split of a store, to be scored as often as wanted.

    `split` is a `protocol/side` of the store, or `val`: what the run held out of its training;
    None: what the run is tested on. A side called `probe` is compared with the `gallery` of its
    protocol, whose classes the run need not know. AclnetError where the store has another layout,
    normalisation or other classes than the run (it may have more, none of which is in the split),
    or the split is empty.
    """

    def __init__(
        self,
        run: Run,
        store: Store,
        split: str | None = None,
        *,
        clips: int | None = None,
        accelerator: str = "auto",
    ) -> None:
        self.run, self.store = run, store
        self.clips = clips or run.config.data.clips
        self.device = choose_device(accelerator)
        self.model = load_model(run, store).to(self.device)
        if store.class_names[: len(run.class_names)] != run.class_names:
            raise AclnetError(
                f"{store.path} has other classes ({_classes(store.class_names)}) than run "
                f"{run.name} was trained on ({_classes(run.class_names)})"
            )
        self.split, self.mask = _split(run, store, split)
        self.gallery = gallery_of(store, self.split)
        beyond = self.mask & (store.column("label") >= len(run.class_names))
        if beyond.any() and self.gallery is None:
            raise AclnetError(
                f"{store.path}: {beyond.sum()} samples of {self.split} are of classes that run "
                f"{run.name} does not know; it knows the first {len(run.class_names)}"
            )

    @property
    def class_names(self) -> list[str]:
        """Of the columns of scores."""
        return self.run.class_names if self.gallery is None else self.store.class_names

    def result(self, scores: Scores) -> dict[str, float]:
        """The accuracies of scores of the split and, with a gallery, that of guessing."""
        known = {} if self.gallery is None else {"chance": chance(self.store, self.gallery)}
        return scores.result() | known

    @property
    def name(self) -> str:
        """Of files about these scores: split, and what else than the run's own was chosen."""
        other_store = not self.run.is_of(self.store)
        other_clips = self.clips != self.run.config.data.clips
        words = [self.store.path.stem] if other_store else []
        words += [self.split.replace("/", "-")]
        words += [f"{self.clips}clips"] if other_clips else []
        return "-".join(words)

    def score(
        self,
        *,
        corruption: Corruption | None = None,
        progress: Callable[[str, int, int], None] | None = None,
        title: str = "score",
    ) -> Scores:
        """Scores of the split, its input corrupted or clean."""
        return score(
            self.model,
            self.store,
            self.mask,
            self.run.config.data,
            self.device,
            clips=self.clips,
            gallery=self.gallery,
            corruption=corruption,
            progress=partial(progress, title) if progress else None,
        )


def choose_device(accelerator: str) -> torch.device:
    """`auto` is CUDA where there is one, else the CPU. AclnetError on one that is not there."""
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(accelerator)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise AclnetError(f"--accelerator {accelerator}: {reason}") from None
    return device


def _classes(names: list[str]) -> str:
    return f"{len(names)}: {', '.join(names[:2])}, ..."


def _split(run: Run, store: Store, split: str | None) -> tuple[str, NDArray[np.bool_]]:
    """Name, as `xsub/test`, and mask of a split; `val` is what the run held out."""
    if split == "val":
        return f"{run.protocol}/val", _held_out(run, store)
    if split is None and (run.split_file or run.fold):
        split, mask = run.test_split, _run_splits(run, store).test
    else:
        split = split or run.test_split
        mask = store.mask(split)
    if not mask.any():
        filled = [name for name, side in store.splits.items() if side.any()]
        raise AclnetError(
            f"{store.path}: {split} has no sample; --split can be {', '.join(filled)}"
        )
    return split, mask


def _run_splits(run: Run, store: Store) -> Splits:
    """The samples a run trains, selects and is tested on, found again in a store.

    AclnetError where a fold would be of other subjects there.
    """
    splits = choose_splits(store, run.config, run.split_file, run.fold)
    if run.fold and splits.identity != run.record["split"]:
        raise AclnetError(
            f"{store.path} has other subjects than the run's store, so that {run.protocol} is "
            "another fold there; name a side with --split"
        )
    return splits


def _held_out(run: Run, store: Store) -> NDArray[np.bool_]:
    """Mask of the samples that a run held out of its training.

    AclnetError where there are none, or where `store` is not the run's own: with other samples in
    it, others would have been held out.
    """
    val = _run_splits(run, store).val
    if val is None:
        raise AclnetError(
            f"{run.path} held nothing out of its training: train with --select val, or let some "
            "lines of a --split file say val"
        )
    if not run.split_file and store.digest != run.record["store"]["digest"]:
        raise AclnetError(f"{run.path} held out samples of its own store, not of {store.path}")
    return val
