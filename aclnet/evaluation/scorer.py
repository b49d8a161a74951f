"""Scores of a split of a store by a trained network."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from aclnet.datasets.spec import AclnetError, first_of
from aclnet.datasets.store.plan import WHOLE
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

    from aclnet.datasets.store.plan import Share
    from aclnet.datasets.store.store import Store
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

    If `clips` is None, it is `data.clips`. A folded copy of `model` computes the scores; `model` is
    not changed. Raises AclnetError, with the ids, if scores are not finite.
    """
    return scores_of(store, *probabilities(model, store, mask, data, device, clips=clips, how=how))


def probabilities(
    model: Classifier,
    store: Store,
    mask: NDArray[np.bool_],
    data: DataConfig,
    device: torch.device,
    *,
    clips: int | None = None,
    how: Pass = PLAIN,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Rows (N,) of a split, or of a process's share of it, and their scores (N, C) as by `score`.

    Arguments and errors are those of `score`.
    """
    inference = Inference.of_classes(model, data, device)
    rows, found = inference.mean_over_clips(store, mask, clips=clips or data.clips, how=how)
    scores: NDArray[np.float32] = found.numpy()
    strange = rows[~np.isfinite(scores).all(axis=1)]
    if len(strange):
        raise AclnetError(
            f"{store.path}: the scores of {len(strange)} samples are not finite, first "
            f"{first_of(store.column('id')[strange].tolist())}; their input "
            "or the weights are not finite"
        )
    return rows, scores


def scores_of(store: Store, rows: NDArray[np.int64], scores: NDArray[np.float32]) -> Scores:
    """The scores (N, C) of rows (N,) of a store, with their ids and labels."""
    labels = store.column("label")[rows].astype(np.int64)
    return Scores.sorted(store.column("id")[rows], scores, labels)


class Scorer:
    """Scores a split of a store with the network of a run, any number of times.

    `split` is a `protocol/side` of the store, or `val` for the samples that the run held out of
    training; None: the run's test split. A side called `probe` is compared with the `gallery` of
    its protocol. A run that recognises people compares any other side with itself; the people need
    not be classes of the run. `retrieval` replaces the run's own settings of the comparison. With
    `share`, this process is one of several that each compute a share of the samples.

    Raises AclnetError if `retrieval` is given and nothing is compared, if the split is empty, or if
    the store has another layout, another normalisation or, for a classifier, other classes than the
    run. The store may have further classes if no sample of the split has them.
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
        share: Share = WHOLE,
    ) -> None:
        self.run, self.store, self.share = run, store, share
        self.clips = clips or run.config.data.clips
        self.config = run.config.model_copy(update={"retrieval": retrieval} if retrieval else {})
        self.device = choose_device(accelerator)
        self.split, self.mask, self.gallery = _split(run, store, split)
        self.model: Classifier | None = None
        self.recogniser: Recogniser | None = None
        if self.gallery is None:
            if self.config.retrieval != run.config.retrieval:
                raise AclnetError(
                    f"{self.split} tests the classifier: --embedding, --metric and --flip are for "
                    "tests by retrieval"
                )
            self.model = load_model(run, store).to(self.device)
            self._check_classes()
        else:
            embedder = Embedder.of_run(run, store, self.config, self.device)
            self.recogniser = Recogniser(
                embedder,
                store,
                self.mask,
                self.gallery,
                self.config,
                clips=self.clips,
                share=share,
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
                f"{store.path}: {beyond.sum()} samples of {self.split} have classes that run "
                f"{run.name} does not have; the run has the first {len(known)}"
            )

    @property
    def class_names(self) -> list[str]:
        """Class names of the columns of scores."""
        return self.run.class_names if self.gallery is None else self.store.class_names

    def result(self, scores: Scores) -> dict[str, float]:
        """The accuracies of scores of the split and, with a gallery, the accuracy of guessing."""
        known = {} if self.gallery is None else {"chance": chance(self.store, self.gallery)}
        return scores.result() | known

    @property
    def name(self) -> str:
        """Name for files of these scores: the split, and all choices that differ from the run's."""
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
        """Scores of the split; of a classifier, those of the samples of this process's share."""
        if self.model is None:
            return self.recognise(how).scores(len(self.store.class_names))
        return score(
            self.model,
            self.store,
            self.mask,
            self.config.data,
            self.device,
            clips=self.clips,
            how=replace(how, share=self.share),
        )

    def recognise(self, how: Pass = PLAIN) -> Recognition:
        """The probes of the split and its clean gallery; ValueError without a gallery."""
        if self.recogniser is None:
            raise ValueError(f"{self.split} has no gallery")
        return self.recogniser(how)

    def matches(
        self, ids: NDArray[np.str_], people: NDArray[np.int64], how: Pass = PLAIN
    ) -> NDArray[np.str_]:
        """`Recognition.matches` of some probes; only they and the gallery's `people` are embedded.

        AclnetError for a probe that the split does not have; ValueError without a gallery.
        """
        if self.recogniser is None or self.gallery is None:
            raise ValueError(f"{self.split} has no gallery")
        column = self.store.column
        strange = np.setdiff1d(ids, column("id")[self.mask]).tolist()
        if strange:
            raise AclnetError(f"{self.store.path}: {self.split} has no {first_of(strange)}")
        probes = self.mask & np.isin(column("id"), ids)
        gallery = self.gallery & np.isin(column("label"), people)
        return self.recogniser.of(probes, gallery)(how).matches(ids, people)


def _classes(names: list[str]) -> str:
    return f"{len(names)}: {first_of(names, 2)}"


def _split(
    run: Run, store: Store, split: str | None
) -> tuple[str, NDArray[np.bool_], NDArray[np.bool_] | None]:
    """Name such as `xsub/test`, mask and gallery of a split; `val`: the held-out samples."""
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
    """The samples of a store that a run uses for training, selection and test.

    Raises AclnetError if a fold would have other subjects in this store.
    """
    splits = choose_splits(store, run.config, run.split_file, run.fold)
    if run.fold and splits.identity != run.record.split:
        raise AclnetError(
            f"{store.path} has other subjects than the run's store, so {run.protocol} is a "
            "different fold there; choose a split with --split"
        )
    return splits


def _held_out(run: Run, store: Store) -> NDArray[np.bool_]:
    """Mask of the samples that a run held out of its training.

    Raises AclnetError if there are none, or if `store` is not the run's own: with other samples,
    other ones would have been held out.
    """
    val = _run_splits(run, store).val
    if val is None:
        raise AclnetError(
            f"{run.path} held no samples out of training: train with --select val, or with a "
            "--split file that has val rows"
        )
    if not run.split_file and not run.is_of(store):
        raise AclnetError(f"{run.path} held out samples of its own store, not of {store.path}")
    return val
