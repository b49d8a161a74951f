"""The motion families that a run found, with the confusions behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from aclnet.datasets.errors import AclnetError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aclnet.runs import Run

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Family:
    """One class and those it is contrasted with."""

    name: str
    members: list[str]
    temperature: float
    evidence: str
    """The largest confusions with members, both ways, as `member n`."""


@dataclass(frozen=True, slots=True)
class FamilyTable:
    """Families in force after an epoch."""

    epoch: int
    families: list[Family]
    affinity: NDArray[np.float32]
    """(C, C), symmetric: the greater of both ways."""
    order: NDArray[np.int64]
    """Classes so that those of great affinity stand together."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "epoch": self.epoch,
            "families": [
                {"class": f.name, "family": f.members, "temperature": f.temperature}
                for f in self.families
            ],
        }


def family_table(run: Run, epoch: int | None = None) -> FamilyTable:
    """The families after an epoch (from 1), by default the last that was trained."""
    temperatures = run.history.read_all("temperature")
    trained = int(np.flatnonzero(~np.isnan(temperatures).all(axis=1)).max(initial=-1)) + 1
    if not trained:
        raise AclnetError(f"{run.path} has finished no epoch yet")
    if epoch is not None and epoch > trained:
        raise AclnetError(f"{run.path} has {trained} epochs, not {epoch}")
    epoch = epoch or trained
    member = run.history.read("family", epoch - 1)
    affinity = run.history.read("affinity", epoch - 1)
    affinity = np.maximum(affinity, affinity.T)
    since = max(1, epoch - _recent_epochs(run) + 1)
    confusion = run.history.read_all("confusion/train")[since - 1 : epoch].sum(axis=0)
    names = run.class_names
    return FamilyTable(
        epoch=epoch,
        families=[
            Family(
                name=name,
                members=[names[b] for b in np.flatnonzero(member[c])],
                temperature=float(temperatures[epoch - 1, c]),
                evidence=_evidence(confusion, c, member[c], names),
            )
            for c, name in enumerate(names)
        ],
        affinity=affinity,
        order=_order(affinity),
    )


def _recent_epochs(run: Run) -> int:
    """Epochs whose counts still weigh: with decay d, about 1 / (1 - d)."""
    decay = run.config.loss.families.decay
    if run.config.loss.families.mode == "official" or decay == 1:
        return run.config.optim.epochs
    return round(1 / (1 - decay))


def _evidence(
    confusion: NDArray[np.int64], c: int, member: NDArray[np.bool_], names: list[str]
) -> str:
    both = np.where(member, confusion[c] + confusion[:, c], 0)
    largest = np.argsort(-both, kind="stable")[:_SHOWN]
    return ", ".join(f"{names[b]} {both[b]}" for b in largest if both[b])


def _order(affinity: NDArray[np.float32]) -> NDArray[np.int64]:
    """Leaves of an average-linkage tree over 1 - affinity."""
    if len(affinity) < 3:
        return np.arange(len(affinity))
    distance = affinity.max(initial=1) - affinity
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(distance, checks=False), "average", optimal_ordering=True)
    return np.asarray(leaves_list(tree), dtype=np.int64)
