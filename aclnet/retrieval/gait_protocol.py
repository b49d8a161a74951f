"""CASIA-B's protocol of gait recognition, for any conditions and views.

Yu, Tan and Tan (ICPR 2006), counted like published code: a probe is compared with each view of the
gallery separately, and only views other than its own count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from aclnet.retrieval.ranking import UNKNOWN_VIEW, rank

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aclnet.retrieval.ranking import Embeddings
    from aclnet.runs.choices import Metric

_MEASURES = ("rank1", "rank5", "mAP", "mINP")


@dataclass(frozen=True, slots=True)
class GaitResult:
    """Measures as fractions of 1."""

    cells: pd.DataFrame
    """A row per condition, probe view and gallery view: `condition`, `probe_view`, `gallery_view`,
    `rank1`, `rank5`, `mAP`, `mINP` of the probes that have a match in that view of the gallery,
    `probes` (their number) and `without_match` (the number of the others). The measures are NaN
    without probes."""
    conditions: pd.DataFrame
    """A row per condition, by name. `rank1`, `rank5`, `mAP`, `mINP`: mean over the probe views of
    the mean over the gallery views other than the probe's. NaN values are left out; the mean is NaN
    if there are only identical views. `rank1_all_views`: the same with identical views.
    `rank1_theirs`: the figure that some code prints (GaitGraph's over all conditions). It counts 0
    for identical views and divides by the number of all views, so that the best value for 11 views
    is 10/11; probes without a match are mistakes."""
    mean: dict[str, float]
    """Mean of each column of `conditions` over the conditions that have a value."""

    def by_view(self) -> pd.DataFrame:
        """rank-1 by condition (rows) and probe view (columns); mean over other gallery views."""
        others = self.cells[~_identical(self.cells)]
        means = others.groupby(["condition", "probe_view"])["rank1"].mean()
        views = np.unique(self.cells["probe_view"])
        return means.unstack("probe_view").reindex(self.conditions.index, columns=views)


def evaluate_gait(probe: Embeddings, gallery: Embeddings, metric: Metric) -> GaitResult:
    """The protocol's measures; every row of both sides is a recording (see `sequence_level`)."""
    cells = _cells(probe, gallery, metric)
    rows = {name: _condition(part) for name, part in cells.groupby("condition")}
    columns = [*_MEASURES, "rank1_all_views", "rank1_theirs"]
    conditions = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    return GaitResult(
        cells=cells,
        conditions=conditions.rename_axis("condition"),
        mean={name: float(conditions[name].mean()) for name in columns},
    )


def parts_of_rank_one(
    probe: Embeddings, gallery: Embeddings, metric: Metric
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Parts of the probes in the protocol's rank-1.

    Returns:
        (Q,) share of the gallery's views, other than the probe's, in which the nearest sequence is
        the same person; NaN if no view has a match.
        (Q,) weight of each probe, 0 if no view has a match. The weights sum to 1, and the
        weighted sum of the first is `rank1` in the `mean` of `evaluate_gait`.
    """
    pairs = pd.concat(
        [
            pd.DataFrame(
                {
                    "right": rank(probe, gallery[gallery.camera == view], metric).first,
                    "condition": probe.condition,
                    "probe_view": probe.camera,
                    "gallery_view": view,
                }
            )
            for view in np.unique(gallery.camera).tolist()
        ]
        or [pd.DataFrame(columns=["right", "condition", "probe_view", "gallery_view"])]
    )
    pairs = pairs[(pairs["right"] > 0) & ~_identical(pairs)]
    condition, cell = ["condition"], ["condition", "probe_view", "gallery_view"]
    weight = 1.0 / (
        pairs.groupby(cell)["right"].transform("size")
        * pairs.groupby(cell[:2])["gallery_view"].transform("nunique")
        * pairs.groupby(condition)["probe_view"].transform("nunique")
        * pairs["condition"].nunique()
    )
    weights, found = np.zeros((2, len(probe)))
    np.add.at(weights, pairs.index, weight)
    np.add.at(found, pairs.index, weight * (pairs["right"] == 1))
    share: NDArray[np.float64] = np.divide(
        found, weights, out=np.full(len(probe), np.nan), where=weights > 0
    )
    return share, weights


def _cells(probe: Embeddings, gallery: Embeddings, metric: Metric) -> pd.DataFrame:
    names = ["condition", "probe_view", "gallery_view", *_MEASURES, "probes", "without_match"]
    rows: list[dict[str, Any]] = []
    for gallery_view in np.unique(gallery.camera).tolist():
        ranking = rank(probe, gallery[gallery.camera == gallery_view], metric)
        for condition in np.unique(probe.condition).tolist():
            for probe_view in np.unique(probe.camera).tolist():
                mask = (probe.condition == condition) & (probe.camera == probe_view)
                place = (condition, probe_view, gallery_view)
                rows.append(dict(zip(names, place, strict=False)) | ranking[mask].summary())
    return pd.DataFrame(rows, columns=names).sort_values(names[:3], ignore_index=True)


def _condition(cells: pd.DataFrame) -> list[float]:
    """The means of one condition, in the order of the columns."""
    identical = _identical(cells)
    others = cells[~identical]
    all_probes = cells["probes"] + cells["without_match"]
    hits = (cells["rank1"] * cells["probes"]).fillna(0)
    zeroed = (hits / all_probes).mask(identical & (all_probes > 0), 0)
    return [
        *(_mean_over_views(others, others[measure]) for measure in _MEASURES),
        _mean_over_views(cells, cells["rank1"]),
        _mean_over_views(cells, zeroed),
    ]


def _identical(cells: pd.DataFrame) -> pd.Series:
    """Mask of the cells whose two views are known and equal."""
    known = cells["probe_view"] != UNKNOWN_VIEW
    return known & (cells["probe_view"] == cells["gallery_view"])


def _mean_over_views(cells: pd.DataFrame, values: pd.Series) -> float:
    """Mean over probe views of the mean over gallery views, without missing values."""
    return float(values.groupby(cells["probe_view"]).mean().mean())
