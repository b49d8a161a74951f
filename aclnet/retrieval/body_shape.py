"""The shape of a body: lengths that differ from person to person and hardly change with movement.

Lengths are the bones of the layout, and distances of joints that hardly vary during a recording.
Each length has its median over the frames of a clip. The lengths are standardised. A linear
discriminant analysis of the training people then gives the directions that distinguish people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import scipy.linalg
import torch

from aclnet.datasets.spec import AclnetError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from aclnet.datasets.store.store import Store
    from aclnet.runs.run import Run

HARDLY = 0.1
"""Relative deviation during the median recording below which the distance of two joints counts."""
_MOST_PAIRS = 400
"""Pairs of joints, besides bones: layouts of face and hands have thousands."""
_MOST_RECORDINGS = 1000
"""Number of recordings that measure the variation of distances."""
_LEAST_SPREAD = 1e-6
"""Deviation between people, in metres, of a length that is the same for all of them."""


@dataclass(frozen=True, slots=True)
class BodyShape:
    """Map from F lengths to D directions in which people differ."""

    pairs: NDArray[np.int64]
    """(F, 2) joints between which lengths are measured."""
    mean: NDArray[np.float64]
    """(F,) means, in metres or the unit of the store."""
    scale: NDArray[np.float64]
    """(F,) standard deviations."""
    directions: NDArray[np.float64]
    """(F, D) of the standardised lengths; recordings of one person have variance 1 in each."""

    @classmethod
    def fit(
        cls, pairs: NDArray[np.int64], lengths: NDArray[np.float32], people: NDArray[np.int64]
    ) -> Self:
        """The map that separates people best (linear discriminant analysis).

        `lengths` (N, F) of the pairs (F, 2), NaN where a joint was never there; `people` (N,). The
        covariance within people is shrunk as Ledoit and Wolf propose ("A well-conditioned estimator
        for large-dimensional covariance matrices", 2004). Raises ValueError for less than two
        people.
        """
        known = np.isfinite(lengths)
        count = np.maximum(known.sum(axis=0), 1)
        values = np.where(known, lengths, 0).astype(np.float64)
        mean = values.sum(axis=0) / count
        centred = np.where(known, values - mean, 0)
        scale = np.sqrt((centred**2).sum(axis=0) / count)
        scale[scale < _LEAST_SPREAD] = np.inf  # equal for all people: no information
        directions = discriminants(centred / scale, people)
        return cls(pairs, mean, scale, directions)

    @classmethod
    def of_run(cls, run: Run) -> Self:
        """The map that a run fitted; raises AclnetError if it has none."""
        arrays = run.load_shape()
        if arrays is not None:
            return cls(**arrays)
        if run.config.task == "action":
            raise AclnetError(
                f"run {run.name} recognises actions; body shape is for runs that recognise people"
            )
        raise AclnetError(
            f"run {run.name} has no body shape: its joints have two coordinates, or the run was "
            "trained by an earlier version. In the second case, train it again with --fresh; "
            "otherwise choose an embedding without shape, for example --embedding pooled"
        )

    def save(self, run: Run) -> None:
        """Writes the map into the folder of a run."""
        names = ("pairs", "mean", "scale", "directions")
        run.save_shape({name: getattr(self, name) for name in names})

    @property
    def width(self) -> int:
        """D, the number of directions."""
        return int(self.directions.shape[1])

    def embedding(self, lengths: Tensor) -> Tensor:
        """(n, D) float32 of lengths (n, F); an unknown length (NaN) counts as the mean of all."""
        mean, scale, directions = (
            torch.from_numpy(array).to(lengths.device, torch.float32)
            for array in (self.mean, self.scale, self.directions)
        )
        return ((lengths - mean) / scale).nan_to_num(0) @ directions


def discriminants(
    values: NDArray[np.float64], people: NDArray[np.int64], shrinkage: float | None = None
) -> NDArray[np.float64]:
    """(F, D) directions of a linear discriminant analysis, the best first; D < number of people.

    `values` (N, F) have mean 0; the variance within people is 1 along each direction.
    shrinkage: share of the identity in the covariance within people; None: by Ledoit and Wolf.
    Raises ValueError for less than two people.
    """
    _, person = np.unique(people, return_inverse=True)
    size = np.bincount(person)
    if len(size) < 2:
        raise ValueError("at least two people are needed to measure how people differ")
    centre = np.zeros((len(size), values.shape[1]))
    np.add.at(centre, person, values)
    centre /= size[:, None]
    within = values - centre[person]
    inside = within.T @ within / len(within)
    share = _ledoit_wolf(within, inside) if shrinkage is None else shrinkage
    average = np.trace(inside) / len(inside)
    if average == 0:  # each person has one recording: only the differences between people are known
        share, average = 1.0, 1.0
    shrunk = (1 - share) * inside + share * average * np.eye(len(inside))
    between = (centre * size[:, None]).T @ centre / len(values)
    ratio, vectors = scipy.linalg.eigh(between, shrunk)
    ratio, vectors = ratio[::-1], vectors[:, ::-1]
    found = vectors[:, : len(size) - 1][:, ratio[: len(size) - 1] > 1e-9 * max(ratio[0], 1e-12)]
    # The sign of a direction has no meaning; a rule makes it the same everywhere.
    largest = np.take_along_axis(found, np.abs(found).argmax(axis=0)[None], axis=0)
    return np.asarray(found * np.sign(largest))


def _ledoit_wolf(centred: NDArray[np.float64], covariance: NDArray[np.float64]) -> float:
    """Share of the identity that makes the covariance of rows (N, F) of mean 0 most reliable."""
    size, width = centred.shape
    average = np.trace(covariance) / width
    distance = ((covariance - average * np.eye(width)) ** 2).sum()
    fourth = ((centred**2).sum(axis=1) ** 2).sum() / size
    noise = (fourth - (covariance**2).sum()) / size
    return float(min(noise / distance, 1)) if distance > 0 else 0.0


def measure(joints: Tensor, there: Tensor, pairs: NDArray[np.int64]) -> Tensor:
    """(n, F) median over time of the lengths between pairs (F, 2) of joints.

    joints: (n, T, V, C) coordinates.
    there: (n, T, V) bool. Frames without both joints are left out; NaN if none is left.
    """
    first, second = torch.from_numpy(pairs).to(joints.device).T
    lengths = torch.linalg.vector_norm(joints[:, :, first] - joints[:, :, second], dim=-1)
    both = there[:, :, first] & there[:, :, second]
    # torch.nanmedian takes the lower of two middle values, and nanquantile refuses large tensors
    ordered = lengths.masked_fill(~both, torch.inf).sort(dim=1).values
    count = both.sum(dim=1, keepdim=True)
    low, high = (ordered.gather(1, at) for at in ((count - 1).clamp(min=0) // 2, count // 2))
    median: Tensor = ((low + high) / 2).masked_fill(count == 0, torch.nan)
    return median.squeeze(1)


def find_pairs(store: Store, train: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(F, 2) bones of a store's layout, and joints whose distance hardly varies in training."""
    first, second = np.triu_indices(store.layout.num_joints, 1)
    parents = store.layout.bone_parent
    bones = {(min(v, p), max(v, p)) for v, p in enumerate(parents) if v != p}
    is_bone = np.array([p in bones for p in zip(first.tolist(), second.tolist(), strict=True)])
    rows = np.flatnonzero(train & (store.column("variant") == 0))
    rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), _MOST_RECORDINGS)).astype(np.int64)]
    varies = np.nanmedian([_variation(store, row, first, second) for row in rows.tolist()], axis=0)
    varies = np.where(np.isfinite(varies), varies, np.inf)
    least = np.argsort(varies, kind="stable")[:_MOST_PAIRS]
    chosen = is_bone.copy()
    chosen[least] |= varies[least] < HARDLY
    return np.stack([first[chosen], second[chosen]], axis=1).astype(np.int64)


def _variation(
    store: Store, row: int, first: NDArray[np.int64], second: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(pairs,) deviation of each distance during a recording, relative to its mean."""
    joints = store.sequence(row).keypoint[0]
    there = (joints != 0).any(axis=-1)
    lengths = np.linalg.norm(joints[:, first] - joints[:, second], axis=-1)
    known = there[:, first] & there[:, second]
    count = np.where(known.any(axis=0), known.sum(axis=0), np.nan)
    mean = (lengths * known).sum(axis=0) / count
    spread = np.sqrt((((lengths - mean) * known) ** 2).sum(axis=0) / count)
    return np.asarray(spread / np.where(mean > 0, mean, np.nan), np.float64)


def has_shape(store: Store) -> bool:
    """Tells if the joints of a store are in space. Lengths in an image depend on the view."""
    return store.coordinates == 3
