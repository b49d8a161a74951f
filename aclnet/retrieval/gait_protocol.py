"""CASIA-B's protocol of gait recognition, for any conditions and views.

Yu, Tan and Tan (ICPR 2006), as published code counts: a probe is looked for in each view of the
gallery by itself, and the views other than its own count.
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
    """Measures as shares of 1."""

    cells: pd.DataFrame
    """A row a condition, probe view and gallery view: `condition`, `probe_view`, `gallery_view`,
    `rank1`, `rank5`, `mAP`, `mINP` of the probes that have a match in that view of the gallery,
    `probes` counts them, `without_match` the others. The measures are NaN where nobody is there."""
    conditions: pd.DataFrame
    """A row a condition, by name. `rank1`, `rank5`, `mAP`, `mINP`: mean over the probe views of the
    mean over the gallery views other than the probe's; what is NaN does not count, and where only
    identical views are there, so is the mean. `rank1_all_views`: the same with identical views.
    `rank1_theirs`: as some code prints it (GaitGraph's figure over all conditions): it puts 0 for
    identical views and divides by the number of all, so that of 11 views 10/11 is the best there
    is; probes without a match are mistakes."""
    mean: dict[str, float]
    """The same of all conditions: the mean of those that have one."""

    def by_view(self) -> pd.DataFrame:
        """rank-1: a row a condition, a column a probe view; mean over the other gallery views."""
        others = self.cells[~_identical(self.cells)]
        means = others.groupby(["condition", "probe_view"])["rank1"].mean()
        views = np.unique(self.cells["probe_view"])
        return means.unstack("probe_view").reindex(self.conditions.index, columns=views)


def evaluate_gait(probe: Embeddings, gallery: Embeddings, metric: Metric) -> GaitResult:
    """Every row of both counts as a recording (see `sequence_level`)."""
    cells = _cells(probe, gallery, metric)
    rows = {name: _condition(part) for name, part in cells.groupby("condition")}
    columns = [*_MEASURES, "rank1_all_views", "rank1_theirs"]
    conditions = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    return GaitResult(
        cells=cells,
        conditions=conditions.rename_axis("condition"),
        mean={name: float(conditions[name].mean()) for name in columns},
    )


def share_found(probe: Embeddings, gallery: Embeddings, metric: Metric) -> NDArray[np.float64]:
    """(Q,) share of gallery views, other than the probe's, in which its nearest is the same person.

    Views without a match do not count; NaN where no view does. The mean over the probes of a
    condition is its rank-1 of `evaluate_gait` where every view has equally many.
    """
    right, counted = np.zeros(len(probe)), np.zeros(len(probe))
    for view in np.unique(gallery.camera).tolist():
        first = rank(probe, gallery[gallery.camera == view], metric).first
        other = (first > 0) & ((probe.camera != view) | (probe.camera == UNKNOWN_VIEW))
        right += other & (first == 1)
        counted += other
    share = np.divide(right, counted, out=np.full(len(probe), np.nan), where=counted > 0)
    return np.asarray(share)


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
    """Mask of the cells whose both views are known, and the same."""
    known = cells["probe_view"] != UNKNOWN_VIEW
    return known & (cells["probe_view"] == cells["gallery_view"])


def _mean_over_views(cells: pd.DataFrame, values: pd.Series) -> float:
    """Mean over probe views of the mean over gallery views, of what is there."""
    return float(values.groupby(cells["probe_view"]).mean().mean())
