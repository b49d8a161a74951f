"""Recognition of people by embeddings: distances, rankings, measures, and a threshold for unknowns.

A probe is compared with a gallery; the person with the nearest embedding is the answer.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from aclnet.datasets.spec import AclnetError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from aclnet.runs.choices import Metric

UNKNOWN_VIEW = -1
"""Camera of a recording whose view is unknown."""
ABSENT: dict[Metric, float] = {"cosine": -1.0, "euclidean": 0.0}
"""Similarity to an identity without a valid entry in the gallery."""
_AT_ONCE = 1 << 22
"""Distances of one block of probes, which bounds the memory."""


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Embeddings of N recordings or windows by a network.

    Raises AclnetError that names the first that is not finite.
    """

    ids: NDArray[np.str_]
    """(N,) recordings; windows of one recording share its id."""
    vectors: NDArray[np.float32]
    """(N, D), D at least 1, finite."""
    label: NDArray[np.int64]
    """(N,) identities."""
    condition: NDArray[np.str_]
    """(N,) conditions."""
    camera: NDArray[np.int64]
    """(N,) views, -1 if not known."""
    parts: tuple[int, ...] = ()
    """Widths of the parts of a vector, if it joins unit vectors of several kinds; else empty."""

    def __post_init__(self) -> None:
        strange = self.ids[~np.isfinite(self.vectors).all(axis=1)]
        if len(strange):
            raise AclnetError(
                f"the embeddings of {len(strange)} samples are not finite, first {strange[0]}; "
                "the network has diverged; train it again with a lower optim.lr"
            )

    def __getitem__(self, rows: NDArray[np.bool_] | NDArray[np.int64] | slice) -> Embeddings:
        """Some of the embeddings, by a mask, numbers or a slice."""
        return replace(self, **{name: getattr(self, name)[rows] for name in _COLUMNS})

    def __len__(self) -> int:
        return len(self.ids)

    def gather(self, world: int) -> Embeddings:
        """The embeddings of all processes, on each of them, by id; windows keep their order.

        All windows of a recording belong to one process.
        """
        if world == 1:
            return self
        from torch import distributed

        parts: list[Embeddings] = [self] * world
        distributed.all_gather_object(parts, self)
        columns: dict[str, Any] = {
            name: np.concatenate([getattr(p, name) for p in parts]) for name in _COLUMNS
        }
        joined = replace(self, **columns)
        return joined[np.argsort(joined.ids, kind="stable")]


_COLUMNS = tuple(field.name for field in fields(Embeddings) if field.name != "parts")


def unit_parts(vectors: NDArray[np.float32], parts: tuple[int, ...]) -> NDArray[np.float32]:
    """(N, D) vectors whose parts of these widths have length 1, or 0 if they were 0.

    The mean of unit vectors is shorter than 1 if they differ. Without this, the kind of vector that
    differs less between the windows of a recording would dominate. Without parts, nothing changes.
    """
    if not parts:
        return vectors
    pieces = np.split(vectors, np.cumsum(parts)[:-1], axis=1)
    return np.concatenate([_points(p, "cosine") for p in pieces], axis=1, dtype=np.float32)


def sequence_level(embeddings: Embeddings) -> Embeddings:
    """One embedding per recording: the mean of its windows, in order of first appearance.

    Each of its `parts` then gets the length 1. Windows of a recording agree in label, condition and
    camera.
    """
    _, first, code = np.unique(embeddings.ids, return_index=True, return_inverse=True)
    sums = np.zeros((len(first), embeddings.vectors.shape[1]))
    np.add.at(sums, code, embeddings.vectors)
    means = sums / np.bincount(code, minlength=len(first))[:, None]
    order = np.argsort(first)
    vectors = unit_parts(means[order].astype(np.float32), embeddings.parts)
    return replace(embeddings[first[order]], vectors=vectors)


class _Gallery:
    """Vectors that probes are compared with.

    Every distinct vector is compared once, in a fixed order. Equal vectors are therefore at exactly
    equal distances, and the order of the gallery changes nothing; a matrix product over all vectors
    guarantees neither.
    """

    def __init__(self, vectors: NDArray[np.float32], metric: Metric) -> None:
        rows = np.ascontiguousarray(vectors + np.float32(0))  # -0 becomes 0
        as_bytes = rows.view(f"V{rows.shape[1] * rows.itemsize}").ravel()
        _, first, self._place = np.unique(as_bytes, return_index=True, return_inverse=True)
        self._metric = metric
        self._points = _points(rows[first], metric)
        self._squares = (self._points**2).sum(axis=1)

    def distances(self, probe: NDArray[np.float32]) -> NDArray[np.float64]:
        """(Q, G) distances."""
        points = _points(probe, self._metric)
        product = points @ self._points.T
        if self._metric == "cosine":
            distances = np.maximum(1 - product, 0)
        else:
            squares = (points**2).sum(axis=1)[:, None] + self._squares - 2 * product
            distances = np.sqrt(np.maximum(squares, 0))
        return distances.take(self._place, axis=1)

    def rows(self, probe: NDArray[np.float32]) -> Iterator[NDArray[np.float64]]:
        """The distances (G,) of each probe in turn."""
        size = max(1, _AT_ONCE // max(1, len(self._place)))
        for start in range(0, len(probe), size):
            yield from self.distances(probe[start : start + size])


def _points(vectors: NDArray[np.float32], metric: Metric) -> NDArray[np.float64]:
    """Points in double precision: cancellation then leaves errors of 1e-8 of a vector's length.

    For the cosine, they have length 1, or 0 if they were 0.
    """
    points = vectors.astype(np.float64)
    if metric == "euclidean":
        return points
    length = np.linalg.norm(points, axis=1, keepdims=True)
    return points / np.where(length > 0, length, 1)


def distances(
    probe: NDArray[np.float32], gallery: NDArray[np.float32], metric: Metric
) -> NDArray[np.float64]:
    """(Q, G) distances between vectors (Q, D) and (G, D), all of them at once.

    Cosine: 1 - cosine, from 0 to 2; a vector of zeros has distance 1 from everything.
    """
    return _Gallery(gallery, metric).distances(probe)


def distance_rows(
    probe: Embeddings, gallery: Embeddings, metric: Metric
) -> Iterator[NDArray[np.float64]]:
    """The distances (G,) of each probe in turn, in memory that does not grow with Q x G."""
    return _Gallery(gallery.vectors, metric).rows(probe.vectors)


def nearest_of_each(
    probe: Embeddings,
    gallery: Embeddings,
    metric: Metric,
    people: int,
    *,
    other_views: bool = False,
) -> NDArray[np.float32]:
    """(Q, people) similarity of each probe to the nearest of each identity in a gallery.

    Cosine, or 1 / (1 + distance) for the Euclidean metric; identities without entries have the
    lowest value, `ABSENT`. Ignored entries are those of `rank`.
    """
    found = np.full((len(probe), people), ABSENT[metric], np.float32)
    for row, (distance, _, wanted) in enumerate(_compare(probe, gallery, metric, other_views)):
        near = 1 - distance if metric == "cosine" else 1 / (1 + distance)
        np.maximum.at(found[row], gallery.label[wanted], near[wanted].astype(np.float32))
    return found


def nearest_entries(
    probe: Embeddings,
    gallery: Embeddings,
    metric: Metric,
    people: NDArray[np.int64],
    *,
    other_views: bool = False,
) -> NDArray[np.int64]:
    """Rows of the gallery that are nearest to each probe, of K identities for each.

    Args:
        probe: Q probes.
        gallery: entries to compare them with; ignored entries are those of `rank`.
        metric: distance between embeddings.
        people: (Q, K) identities.
        other_views: see `rank`.

    Returns:
        (Q, K) rows; -1 for identities without entries that count.
    """
    found = np.full(people.shape, -1)
    for row, (distance, _, wanted) in enumerate(_compare(probe, gallery, metric, other_views)):
        for place, person in enumerate(people[row].tolist()):
            entries = np.flatnonzero(wanted & (gallery.label == person))
            if len(entries):
                found[row, place] = entries[distance[entries].argmin()]
    return found


class _Compared(NamedTuple):
    """One probe compared with a gallery."""

    distance: NDArray[np.float64]
    """(G,) distances."""
    same: NDArray[np.bool_]
    """(G,) whether the identity is the same."""
    wanted: NDArray[np.bool_]
    """(G,) whether the entry counts."""

    @property
    def matches(self) -> NDArray[np.float64]:
        """Distances to the same identity."""
        return self.distance[self.same & self.wanted]

    @property
    def others(self) -> NDArray[np.float64]:
        return self.distance[~self.same & self.wanted]


def _compare(
    probe: Embeddings, gallery: Embeddings, metric: Metric, other_views: bool = False
) -> Iterator[_Compared]:
    """Each probe with the entries that count: none of its own recording."""
    _, codes = np.unique(np.concatenate([probe.ids, gallery.ids]), return_inverse=True)
    own, recordings = codes[: len(probe)], codes[len(probe) :]
    for row, distance in enumerate(distance_rows(probe, gallery, metric)):
        same = gallery.label == probe.label[row]
        wanted = recordings != own[row]
        view = probe.camera[row]
        if other_views and view != UNKNOWN_VIEW:
            wanted &= ~(same & (gallery.camera == view))
        yield _Compared(distance, same, wanted)


@dataclass(frozen=True, slots=True)
class Ranking:
    """Ranks of the matches of Q probes."""

    first: NDArray[np.int64]
    """(Q,) rank of the first match, from 1; 0 if the gallery has none."""
    ap: NDArray[np.float64]
    """(Q,) average precision: mean over the matches of k / (rank of the k-th); NaN without any."""
    inp: NDArray[np.float64]
    """(Q,) inverse negative penalty: matches / rank of the last; NaN without any."""

    def __getitem__(self, rows: NDArray[np.bool_]) -> Ranking:
        return Ranking(self.first[rows], self.ap[rows], self.inp[rows])

    def summary(self) -> dict[str, float]:
        """rank1, rank5, rank10, mAP and mINP, as fractions of 1, over the probes that have a match.

        `probes` is their number, `without_match` that of the others. The measures are NaN if there
        are no probes, no gallery or no common person; they are 1 if the gallery has only one
        person.
        """
        there = self.first > 0
        found = self.first[there]
        return {
            **{f"rank{k}": _mean(found <= k) for k in (1, 5, 10)},
            "mAP": _mean(self.ap[there]),
            "mINP": _mean(self.inp[there]),
            "probes": len(found),
            "without_match": len(there) - len(found),
        }


def rank(
    probe: Embeddings, gallery: Embeddings, metric: Metric, *, other_views: bool = False
) -> Ranking:
    """Ranks of the matches of every probe in a gallery.

    Gallery entries with the probe's own id are ignored. With `other_views`, entries of the same
    person in the same known view are ignored too. At equal distances, matches rank behind all
    others, in any order among themselves: the measures do not depend on this order, nor on the
    order of the gallery, and a network with equal embeddings for all sequences finds nobody.

    Inverse negative penalty: Ye et al., "Deep learning for person re-identification: a survey and
    outlook", TPAMI 44 (2022).
    """
    first = np.zeros(len(probe), np.int64)
    ap, inp = np.full(len(probe), np.nan), np.full(len(probe), np.nan)
    for row, compared in enumerate(_compare(probe, gallery, metric, other_views)):
        matches, others = np.sort(compared.matches), np.sort(compared.others)
        if len(matches):
            found = np.arange(1, len(matches) + 1)
            ranks = found + np.searchsorted(others, matches, side="right")
            first[row], ap[row], inp[row] = ranks[0], (found / ranks).mean(), found[-1] / ranks[-1]
    return Ranking(first, ap, inp)


class EqualError(NamedTuple):
    """Threshold for unknown people: a probe with a larger nearest distance is unknown."""

    threshold: float
    rejected: float
    """Share of genuine probes beyond the threshold."""
    accepted: float
    """Share of impostors within the threshold."""


def equal_error_threshold(embeddings: Embeddings, metric: Metric) -> EqualError:
    """The distance at which the shares of rejected known and accepted unknown people are equal.

    Every recording is compared with the others: its distance to the nearest of the same identity is
    genuine, to the nearest of another identity an impostor's. The rates change only at these
    distances. The threshold is the middle of the interval between successive distances where the
    rates differ least, the lower of two equal intervals (beyond the last distance, that distance).
    All values are NaN if there are no genuine or no impostor distances.
    """
    nearest = [
        (compared.matches.min(initial=np.inf), compared.others.min(initial=np.inf))
        for compared in _compare(embeddings, embeddings, metric)
    ]
    genuine, impostor = (side[np.isfinite(side)] for side in np.reshape(nearest, (-1, 2)).T)
    if not len(genuine) or not len(impostor):
        return EqualError(np.nan, np.nan, np.nan)
    steps = np.unique(np.concatenate([genuine, impostor]))
    genuine_within = np.searchsorted(np.sort(genuine), steps, side="right")
    accepted = np.searchsorted(np.sort(impostor), steps, side="right")
    # differences of shares, times both numbers: whole numbers, so that equality is exact
    gap = (len(genuine) - genuine_within) * len(impostor) - accepted * len(genuine)
    best = int(np.abs(gap).argmin())
    threshold = float(steps[best : best + 2].mean())
    return EqualError(threshold, _mean(genuine > threshold), _mean(impostor <= threshold))


def _mean(values: NDArray[np.bool_] | NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else np.nan
