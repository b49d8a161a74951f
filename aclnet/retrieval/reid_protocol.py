"""Protocols of person re-identification: ours, and the published one with its errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aclnet.retrieval.ranking import distance_rows, rank, sequence_level

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aclnet.retrieval.ranking import Embeddings
    from aclnet.runs.choices import Metric

_BATCH = 256
_RANKS = (1, 5, 10)


def evaluate_reid(
    probe: Embeddings, gallery: Embeddings, metric: Metric
) -> dict[str, dict[str, float]]:
    """Summaries (see `Ranking`) at level `window` and, for means of windows, at level `sequence`.

    Every row counts. If both sides are the same, a recording does not find itself: all windows with
    the probe's id are ignored. In an array in which every window has its own id, only that window
    is ignored.
    """
    by_level = {
        "window": (probe, gallery),
        "sequence": (sequence_level(probe), sequence_level(gallery)),
    }
    return {level: rank(*sides, metric).summary() for level, sides in by_level.items()}


@dataclass(frozen=True, slots=True)
class Published:
    """Results of the published evaluation, only for comparison with published figures."""

    measures: dict[str, float]
    """rank1, rank5, rank10 and mAP, as fractions of 1."""
    probes: int
    gallery: int
    """Number of remaining windows of each side."""
    reason: str = ""
    """Reason why the measures are NaN; empty if they are not."""


def published(probe: Embeddings, gallery: Embeddings) -> Published:
    """The evaluation of Rao et al.'s code (SGELA, TranSG and others), including its errors.

    Windows are compared in the given order, by Euclidean distance, in batches of 256; both sides
    lose the windows of an incomplete last batch. Probes without a match are mistakes of rank-k and
    left out of mAP. Average precision is scikit-learn's, with windows at equal distances as one
    step. If both sides are the same (equal ids in equal order), rank-k ignores the nearest window,
    whatever it is, and counts the others from 1; mAP ignores nothing, so that every window finds
    itself, and begins with the second probe. Windows at equal distances rank in the order of the
    gallery; the published sort does not define their order.

    The published code fails if a side fills no batch or if no probe has a match. The measures are
    NaN then, and `reason` gives the cause.
    """
    same_side = np.array_equal(probe.ids, gallery.ids)
    probe, gallery = _whole_batches(probe), _whole_batches(gallery)
    first, ap = _published_ranks(probe, gallery, same_side)
    ap = ap[1:] if same_side else ap
    ap = ap[~np.isnan(ap)]
    reason = ""
    if not len(probe) or not len(gallery):
        side = "gallery" if len(probe) else "probe"
        reason = f"the {side} has fewer than {_BATCH} windows, a batch of the published code"
    elif not len(ap):
        reason = "no probe has a match in the gallery"
    names = [*(f"rank{k}" for k in _RANKS), "mAP"]
    values = [np.nan] * len(names)
    if not reason:
        values = [float(((first > 0) & (first <= k)).mean()) for k in _RANKS] + [float(ap.mean())]
    return Published(dict(zip(names, values, strict=True)), len(probe), len(gallery), reason)


def _whole_batches(side: Embeddings) -> Embeddings:
    return side[: len(side) // _BATCH * _BATCH]


def _published_ranks(
    probe: Embeddings, gallery: Embeddings, same_side: bool
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(Q,) rank of the first match, 0 without one, and (Q,) average precision, NaN without one."""
    first, ap = np.zeros(len(probe), np.int64), np.full(len(probe), np.nan)
    for row, distance in enumerate(distance_rows(probe, gallery, "euclidean")):
        same = gallery.label == probe.label[row]
        ap[row] = _average_precision(distance, same)
        if same_side:
            nearest = distance.argmin()
            distance, same = np.delete(distance, nearest), np.delete(same, nearest)
        first[row] = _first_match(distance, same)
    return first, ap


def _first_match(distance: NDArray[np.float64], same: NDArray[np.bool_]) -> int:
    """Rank from 1 of the first match, equal distances in their order; 0 without one."""
    at = np.flatnonzero(same)
    if not len(at):
        return 0
    best = at[distance[at].argmin()]
    before = (distance < distance[best]).sum() + (distance[:best] == distance[best]).sum()
    return 1 + int(before)


def _average_precision(distance: NDArray[np.float64], same: NDArray[np.bool_]) -> float:
    """scikit-learn's: mean over the matches of the precision at each match's distance."""
    if not same.any():
        return np.nan
    matches = np.sort(distance[same])
    found = np.searchsorted(matches, matches, side="right")
    seen = np.searchsorted(np.sort(distance), matches, side="right")
    return float((found / seen).mean())
