"""Tests by retrieval: who of a gallery is nearest to each probe, and the protocol's tables."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from aclnet.datasets.store.plan import WHOLE, Share
from aclnet.retrieval.gait_protocol import evaluate_gait, share_found
from aclnet.retrieval.ranking import nearest_of_each, rank, sequence_level
from aclnet.retrieval.reid_protocol import evaluate_reid, published
from aclnet.runs.inference import PLAIN, Pass
from aclnet.runs.scores import Scores

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aclnet.datasets.spec import Task
    from aclnet.datasets.store.store import Store
    from aclnet.retrieval.embedder import Embedder
    from aclnet.retrieval.ranking import Embeddings, Ranking
    from aclnet.runs.choices import Metric
    from aclnet.runs.config import Config

FIGURES = ("rank1", "rank5", "rank10", "mAP", "mINP")
"""Metrics of retrieval, as shares of 1."""


@dataclass(frozen=True, slots=True)
class Recognition:
    """Probes and the gallery that they are compared with.

    Rows are windows where the task is `reid`, else sequences.
    """

    task: Task
    metric: Metric
    probe: Embeddings
    gallery: Embeddings
    short: int
    """Sequences of both sides with fewer frames than a clip: they count like all others."""

    def scores(self, people: int) -> Scores:
        """Similarity of each sequence to the nearest one of each identity, of `people`.

        The best of them is right where `ranking` has a match first.
        """
        probe, gallery = self.sequences()
        near = nearest_of_each(probe, gallery, self.metric, people, other_views=self.task == "gait")
        return Scores.sorted(probe.ids, near, probe.label)

    def ranking(self) -> tuple[Embeddings, Ranking]:
        """Probe sequences and how each finds its matches: in views other than its own, of gait."""
        probe, gallery = self.sequences()
        return probe, rank(probe, gallery, self.metric, other_views=self.task == "gait")

    def found(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """(Q,) identity of each probe sequence and how far it is found: 1 or 0, and of gait the
        share of the gallery's other views in which it is. Those without any match are left out.
        """
        probe, gallery = self.sequences()
        if self.task == "gait":
            share = share_found(probe, gallery, self.metric)
        else:
            first = rank(probe, gallery, self.metric).first
            share = np.where(first > 0, first == 1, np.nan)
        return probe.label[~np.isnan(share)], share[~np.isnan(share)]

    def tables(self, *, as_published: bool = False) -> dict[str, pd.DataFrame]:
        """The protocol's tables by name, figures as shares of 1.

        Of gait: `conditions` and their `mean`, `views` of probes, and `cells`, of each two views
        (`aclnet.retrieval.gait_protocol`). Of re-identification: `levels`, windows and sequences,
        `conditions` of probes and gallery and, where it is to be told `as_published`, what the
        `published` code gives (`aclnet.retrieval.reid_protocol`).
        """
        if self.task == "gait":
            result = evaluate_gait(self.probe, self.gallery, self.metric)
            mean = pd.DataFrame([result.mean], index=pd.Index(["mean"], name="condition"))
            return {
                "conditions": pd.concat([result.conditions, mean]).reset_index(),
                "views": result.by_view().T.reset_index(),
                "cells": result.cells,
            }
        levels = evaluate_reid(self.probe, self.gallery, self.metric)
        tables = {
            "levels": pd.DataFrame([{"level": name} | row for name, row in levels.items()]),
            "conditions": self._conditions(),
        }
        if as_published:
            theirs = published(self.probe, self.gallery)
            about: dict[str, int | str] = {"probes": theirs.probes, "gallery": theirs.gallery}
            about |= {"remark": theirs.reason} if theirs.reason else {}
            tables["published"] = pd.DataFrame([theirs.measures | about])
        return tables

    def result(self) -> dict[str, float | None]:
        """The protocol's figures, for a record or JSON; of re-identification, of sequences.

        None where there is nothing to measure.
        """
        if self.task == "gait":
            found = evaluate_gait(self.probe, self.gallery, self.metric).mean
            found |= {"probes": len(self.probe), "gallery": len(self.gallery)}
        else:
            levels = evaluate_reid(self.probe, self.gallery, self.metric)
            windows = {f"window_{name}": levels["window"][name] for name in FIGURES}
            found = levels["sequence"] | windows
        figures = found | {"short": self.short}
        return {name: None if np.isnan(value) else value for name, value in figures.items()}

    def sequences(self) -> tuple[Embeddings, Embeddings]:
        """Both sides, a row a sequence."""
        if self.task == "reid":
            return sequence_level(self.probe), sequence_level(self.gallery)
        return self.probe, self.gallery

    def _conditions(self) -> pd.DataFrame:
        """A row a condition of probes and one of the gallery."""
        probe, gallery = self.sequences()
        return pd.DataFrame(
            [
                {"probe_condition": of, "gallery_condition": among}
                | rank(
                    probe[probe.condition == of], gallery[gallery.condition == among], self.metric
                ).summary()
                for of in np.unique(probe.condition)
                for among in np.unique(gallery.condition)
            ]
        )


class Recogniser:
    """Compares the probes of a split with its gallery, which is made once, as often as wanted.

    Of re-identification all windows are taken, else `clips` of each sequence. Each process makes
    its `share`, and gets all.
    """

    def __init__(
        self,
        embedder: Embedder,
        store: Store,
        probe: NDArray[np.bool_],
        gallery: NDArray[np.bool_],
        config: Config,
        *,
        clips: int | None = None,
        share: Share = WHOLE,
    ) -> None:
        self._embedder, self._store, self._config = embedder, store, config
        self._probe, self._gallery = probe, gallery
        self._clips, self._share = clips, share

    def __call__(self, how: Pass = PLAIN) -> Recognition:
        """The probes as `how` says, and the gallery, which is always clean."""
        gallery = self._known
        probe = gallery
        if how.corruption is not None or not np.array_equal(self._probe, self._gallery):
            probe = self._embed(self._probe, how)
        settings = self._config.retrieval
        return Recognition(self._config.task, settings.metric, probe, gallery, self._short())

    def _short(self) -> int:
        taken = (self._probe | self._gallery) & (self._store.column("variant") == 0)
        return int((self._store.column("n_frames")[taken] < self._config.data.frames).sum())

    @cached_property
    def _known(self) -> Embeddings:
        return self._embed(self._gallery, PLAIN)

    def _embed(self, mask: NDArray[np.bool_], how: Pass) -> Embeddings:
        how = replace(how, share=self._share)
        own = self._embedder(self._store, mask, clips=self._clips, how=how)
        return own.gather(self._share.world)


def chance(store: Store, gallery: NDArray[np.bool_]) -> float:
    """Share of samples that guessing among the gallery's classes gets right."""
    return 1 / len(np.unique(store.column("label")[gallery]))
