"""Tests by retrieval: the nearest entries of a gallery to each probe, and the protocol's tables."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from aclnet.datasets.store.plan import WHOLE, Share
from aclnet.retrieval.gait_protocol import evaluate_gait, parts_of_rank_one
from aclnet.retrieval.ranking import nearest_entries, nearest_of_each, rank, sequence_level
from aclnet.retrieval.reid_protocol import evaluate_reid, published
from aclnet.runs.inference import PLAIN, Pass
from aclnet.runs.processes import together
from aclnet.runs.scores import Scores

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aclnet.datasets.spec import Task
    from aclnet.datasets.store.store import Store
    from aclnet.retrieval.embedder import Embedder
    from aclnet.retrieval.gait_protocol import GaitResult
    from aclnet.retrieval.ranking import Embeddings, Ranking
    from aclnet.runs.choices import Metric
    from aclnet.runs.config import Config

FIGURES = ("rank1", "rank5", "rank10", "mAP", "mINP")
"""Metrics of retrieval, as fractions of 1."""


class Found(NamedTuple):
    """Results of Q probe sequences."""

    ids: NDArray[np.str_]
    """(Q,) ids."""
    people: NDArray[np.int64]
    """(Q,) identities."""
    share: NDArray[np.float64]
    """(Q,) 1 if found, else 0; for gait, the share of the gallery's other views with a correct
    match."""
    weight: NDArray[np.float64]
    """(Q,) weights that sum to 1; the weighted mean of `share` is the protocol's rank-1."""


@dataclass(frozen=True)
class Recognition:
    """Probes and the gallery that they are compared with.

    Rows are windows if the task is `reid`, else sequences.
    """

    task: Task
    metric: Metric
    probe: Embeddings
    gallery: Embeddings
    short: int
    """Number of sequences of both sides with fewer frames than a clip; they count like all
    others."""

    def scores(self, people: int) -> Scores:
        """Similarity of each sequence to the nearest sequence of each of `people` identities.

        The best of them is right if `ranking` has a match first.
        """
        probe, gallery = self.sequences()
        near = nearest_of_each(probe, gallery, self.metric, people, other_views=self.task == "gait")
        return Scores.sorted(probe.ids, near, probe.label)

    def matches(self, ids: NDArray[np.str_], people: NDArray[np.int64]) -> NDArray[np.str_]:
        """Ids of the sequences that are nearest to some of the probes.

        Args:
            ids: (Q,) ids of probes.
            people: (Q, K) identities to search for each.

        Returns:
            (Q, K) ids from the gallery, empty for an identity without entries that count.
        """
        probe, gallery = self.sequences()
        row = {id_: number for number, id_ in enumerate(probe.ids.tolist())}
        found = nearest_entries(
            probe[np.array([row[id_] for id_ in ids.tolist()], np.int64)],
            gallery, self.metric, people, other_views=self.task == "gait",
        )  # fmt: skip
        return np.where(found < 0, "", gallery.ids[found])

    def ranking(self) -> tuple[Embeddings, Ranking]:
        """Probe sequences and the ranks of their matches; for gait, only in other views."""
        probe, gallery = self.sequences()
        return probe, rank(probe, gallery, self.metric, other_views=self.task == "gait")

    def found(self) -> Found:
        """Result of each probe sequence; sequences without any match are left out."""
        probe, gallery = self.sequences()
        if self.task == "gait":
            share, weight = parts_of_rank_one(probe, gallery, self.metric)
        else:
            first = rank(probe, gallery, self.metric).first
            share = np.where(first > 0, first == 1, np.nan)
            weight = np.full(len(share), 1 / max(1, int((first > 0).sum())))
        there = ~np.isnan(share)
        return Found(probe.ids[there], probe.label[there], share[there], weight[there])

    def tables(self, *, as_published: bool = False) -> dict[str, pd.DataFrame]:
        """The protocol's tables by name, figures as fractions of 1.

        For gait: `conditions` and their `mean`, `views` of probes, and `cells` for each pair of
        views (`aclnet.retrieval.gait_protocol`). For re-identification: `levels`, windows and
        sequences, `conditions` of probes and gallery and, with `as_published`, the results of the
        `published` code (`aclnet.retrieval.reid_protocol`).
        """
        if self.task == "gait":
            result = self._gait
            mean = pd.DataFrame([result.mean], index=pd.Index(["mean"], name="condition"))
            return {
                "conditions": pd.concat([result.conditions, mean]).reset_index(),
                "views": result.by_view().T.reset_index(),
                "cells": result.cells,
            }
        tables = {
            "levels": pd.DataFrame([{"level": name} | row for name, row in self._levels.items()]),
            "conditions": self._conditions(),
        }
        if as_published:
            theirs = published(self.probe, self.gallery)
            about: dict[str, int | str] = {"probes": theirs.probes, "gallery": theirs.gallery}
            about |= {"remark": theirs.reason} if theirs.reason else {}
            tables["published"] = pd.DataFrame([theirs.measures | about])
        return tables

    def result(self) -> dict[str, float | None]:
        """The protocol's figures, for a record or JSON; for re-identification, those of sequences.

        None for figures without any probe to measure.
        """
        if self.task == "gait":
            sizes = {"probes": len(self.probe), "gallery": len(self.gallery)}
            found = self._gait.mean | sizes
        else:
            windows = {f"window_{name}": self._levels["window"][name] for name in FIGURES}
            found = self._levels["sequence"] | windows
        figures = found | {"short": self.short}
        return {name: None if np.isnan(value) else value for name, value in figures.items()}

    @cached_property
    def _gait(self) -> GaitResult:
        return evaluate_gait(self.probe, self.gallery, self.metric)

    @cached_property
    def _levels(self) -> dict[str, dict[str, float]]:
        return evaluate_reid(self.probe, self.gallery, self.metric)

    def sequences(self) -> tuple[Embeddings, Embeddings]:
        """Both sides, a row per sequence."""
        if self.task == "reid":
            return sequence_level(self.probe), sequence_level(self.gallery)
        return self.probe, self.gallery

    def _conditions(self) -> pd.DataFrame:
        """A row for each pair of a condition of probes and one of the gallery."""
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
    """Compares the probes of a split with its gallery, whose embeddings are made only once.

    For re-identification all windows are used, else `clips` of each sequence. Each process embeds
    its `share` and receives all.
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
        """The probes with the settings `how`, and the gallery, which is always clean."""
        gallery = self._known
        probe = gallery
        if how.corruption is not None or not np.array_equal(self._probe, self._gallery):
            probe = self._embed(self._probe, how)
        settings = self._config.retrieval
        return Recognition(self._config.task, settings.metric, probe, gallery, self._short())

    def of(self, probe: NDArray[np.bool_], gallery: NDArray[np.bool_]) -> Recogniser:
        """The same for other masks."""
        return Recogniser(
            self._embedder, self._store, probe, gallery, self._config,
            clips=self._clips, share=self._share,
        )  # fmt: skip

    def _short(self) -> int:
        taken = (self._probe | self._gallery) & (self._store.column("variant") == 0)
        return int((self._store.column("n_frames")[taken] < self._config.data.frames).sum())

    @cached_property
    def _known(self) -> Embeddings:
        return self._embed(self._gallery, PLAIN)

    def _embed(self, mask: NDArray[np.bool_], how: Pass) -> Embeddings:
        how = replace(how, share=self._share)
        with together():
            own = self._embedder(self._store, mask, clips=self._clips, how=how)
        return own.gather(self._share.world)


def chance(store: Store, gallery: NDArray[np.bool_]) -> float:
    """Expected share of correct answers when guessing among the gallery's classes."""
    return 1 / len(np.unique(store.column("label")[gallery]))
