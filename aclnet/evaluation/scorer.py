"""Scores of a split of a store by a trained network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aclnet.datasets.spec import AclnetError, first_of
from aclnet.models.folding import fold_batch_norms
from aclnet.retrieval.embedder import Embedder
from aclnet.retrieval.recognition import Recogniser, chance
from aclnet.runs.device import choose_device
from aclnet.runs.inference import PLAIN, Inference, Pass
from aclnet.runs.network import load_model
from aclnet.runs.scores import Scores
from aclnet.runs.splits import choose_splits, gallery_of

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

    from aclnet.datasets.store.store import Store
    from aclnet.models.blocks import Output
    from aclnet.models.classifier import Classifier
    from aclnet.retrieval.recognition import Recognition
    from aclnet.runs.config import DataConfig, RetrievalConfig
    from aclnet.runs.run import Run
    from aclnet.runs.splits import Splits


def score(
    model: Classifier,
    store: Store,
    mask: NDArray[np.bool_],
    data: DataConfig,
    device: torch.device,
    *,
    clips: int | None = None,
    how: Pass = PLAIN,
) -> Scores:
    """Mean over a sample's clips of the softmax, for every original (variant 0) of a split.

    `clips` is `data.clips` where None. `model` is left as it is, a folded copy scores. AclnetError
    that names samples whose scores are not finite.
    """
    folded = fold_batch_norms(model)
    inference = Inference(folded, _probabilities, model.fc_cls.out_features, data, device)
    rows, found = inference.mean_over_clips(store, mask, clips=clips or data.clips, how=how)
    ids, labels = store.column("id")[rows], store.column("label")[rows].astype(np.int64)
    scores = found.numpy()
    strange = ids[~np.isfinite(scores).all(axis=1)].tolist()
    if strange:
        raise AclnetError(
            f"{store.path}: the scores of {len(strange)} samples are not finite, first "
            f"{first_of(strange)}; their input is not, or the weights are not"
        )
    return Scores.sorted(ids, scores, labels)


def _probabilities(output: Output) -> Tensor:
    return output.logits.float().softmax(1)


class Scorer:
    """A run's network before a split of a store, to be scored as often as wanted.

    `split` is a `protocol/side` of the store, or `val`: what the run held out of its training;
    None: what the run is tested on. A side called `probe` is compared with the `gallery` of its
    protocol, and of a run that recognises people any other side with itself: the run need not know
    their classes. `retrieval` replaces the run's own settings of that comparison. AclnetError
    where it is given and nothing is compared, where the store has another layout, normalisation
    or, for a classifier, other classes than the run (it may have more, none of which is in the
    split), or where the split is empty.
    """

    def __init__(
        self,
        run: Run,
        store: Store,
        split: str | None = None,
        *,
        clips: int | None = None,
        retrieval: RetrievalConfig | None = None,
        accelerator: str = "auto",
    ) -> None:
        self.run, self.store = run, store
        self.clips = clips or run.config.data.clips
        self.config = run.config.model_copy(update={"retrieval": retrieval} if retrieval else {})
        self.device = choose_device(accelerator)
        self.split, self.mask, self.gallery = _split(run, store, split)
        self.model: Classifier | None = None
        self.recogniser: Recogniser | None = None
        if self.gallery is None:
            if self.config.retrieval != run.config.retrieval:
                raise AclnetError(
                    f"{self.split} tests the classifier: the embedding, its metric and mirror "
                    "images are of tests by retrieval"
                )
            self.model = load_model(run, store).to(self.device)
            self._check_classes()
        else:
            embedder = Embedder.of_run(run, store, self.config, self.device)
            self.recogniser = Recogniser(
                embedder, store, self.mask, self.gallery, self.config, clips=self.clips
            )

    def _check_classes(self) -> None:
        run, store, known = self.run, self.store, self.run.class_names
        if store.class_names[: len(known)] != known:
            raise AclnetError(
                f"{store.path} has other classes ({_classes(store.class_names)}) than run "
                f"{run.name} was trained on ({_classes(known)})"
            )
        beyond = self.mask & (store.column("label") >= len(known))
        if beyond.any():
            raise AclnetError(
                f"{store.path}: {beyond.sum()} samples of {self.split} are of classes that run "
                f"{run.name} does not know; it knows the first {len(known)}"
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
        own, used = self.run.config.retrieval, self.config.retrieval
        words = [self.store.path.stem] if other_store else []
        words += [self.split.replace("/", "-")]
        words += [f"{self.clips}clips"] if other_clips else []
        words += [used.embedding] if used.embedding != own.embedding else []
        words += [used.metric] if used.metric != own.metric else []
        words += ["flip" if used.flip else "noflip"] if used.flip != own.flip else []
        return "-".join(words)

    def score(self, how: Pass = PLAIN) -> Scores:
        """Scores of the split."""
        if self.model is None:
            return self.recognise(how).scores(len(self.store.class_names))
        return score(
            self.model,
            self.store,
            self.mask,
            self.config.data,
            self.device,
            clips=self.clips,
            how=how,
        )

    def recognise(self, how: Pass = PLAIN) -> Recognition:
        """The probes of the split and its clean gallery; ValueError without a gallery."""
        if self.recogniser is None:
            raise ValueError(f"{self.split} has no gallery")
        return self.recogniser(how)


def _classes(names: list[str]) -> str:
    return f"{len(names)}: {first_of(names, 2)}"


def _split(
    run: Run, store: Store, split: str | None
) -> tuple[str, NDArray[np.bool_], NDArray[np.bool_] | None]:
    """Name, as `xsub/test`, mask and gallery of a split; `val` is what the run held out."""
    people = run.config.task != "action"
    if split == "val":
        mask = _held_out(run, store)
        return f"{run.protocol}/val", mask, mask if people else None
    if split is None and (run.split_file or run.fold):
        splits = _run_splits(run, store)
        split, mask, gallery = run.test_split, splits.test, splits.gallery
    else:
        split = split or run.test_split
        mask, gallery = store.mask(split), gallery_of(store, split)
    if not mask.any():
        filled = [name for name, side in store.splits.items() if side.any()]
        raise AclnetError(
            f"{store.path}: {split} has no sample; --split can be {', '.join(filled)}"
        )
    return split, mask, mask if people and gallery is None else gallery


def _run_splits(run: Run, store: Store) -> Splits:
    """The samples a run trains, selects and is tested on, found again in a store.

    AclnetError where a fold would be of other subjects there.
    """
    splits = choose_splits(store, run.config, run.split_file, run.fold)
    if run.fold and splits.identity != run.record.split:
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
    if not run.split_file and not run.is_of(store):
        raise AclnetError(f"{run.path} held out samples of its own store, not of {store.path}")
    return val
