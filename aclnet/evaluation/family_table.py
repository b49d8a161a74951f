"""The motion families that a run found, with the confusions behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from aclnet.datasets.spec import AclnetError
from aclnet.losses.families import FamilySettings, Related, family_temperature, relate
from aclnet.runs.scores import Scores

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aclnet.runs.run import Run


@dataclass(frozen=True, slots=True)
class FamilyMember:
    """A member of a class's family."""

    name: str
    confusions: float
    """Number of confusions of the two classes, as counted when the families were built."""


@dataclass(frozen=True, slots=True)
class Family:
    """A class and the classes that it is contrasted with."""

    name: str
    members: list[FamilyMember]
    """Members of the family, the most often confused first."""
    temperature: float


@dataclass(frozen=True, slots=True)
class FamilyTable:
    """Families that follow from confusions."""

    origin: str
    """Source of the confusions, in words: "after epoch 12", "of scores xsub-test"."""
    epoch: int | None
    """Epoch from 1; None if the families are not those of an epoch."""
    families: list[Family]
    """Names of all C classes, in their order."""
    affinity: NDArray[np.float32]
    """(C, C) affinities, symmetric: the greater of both directions."""
    order: NDArray[np.int64]
    """Classes that occur, in an order that places classes of high affinity side by side."""

    @property
    def occurring(self) -> list[Family]:
        """Families of the classes that occur, with related classes side by side."""
        return [self.families[c] for c in self.order]

    def as_dict(self) -> dict[str, Any]:
        """The classes that occur, as plain values for JSON."""
        return {
            "origin": self.origin,
            "epoch": self.epoch,
            "families": [
                {
                    "class": family.name,
                    "temperature": family.temperature,
                    "family": [
                        {"class": m.name, "confusions": m.confusions} for m in family.members
                    ],
                }
                for family in self.occurring
            ],
        }


def family_table(run: Run, epoch: int | None = None) -> FamilyTable:
    """The families after an epoch (from 1), by default the last that was trained.

    Raises AclnetError if the run has not trained this epoch.
    """
    trained = run.history.trained
    epoch = epoch or trained
    if not 1 <= epoch <= trained:
        raise AclnetError(f"{run.path} has trained {trained} epochs; there is no epoch {epoch} yet")
    return _table(
        f"after epoch {epoch}",
        epoch,
        run.class_names,
        counted_confusions(run, epoch),
        Related(
            *(torch.from_numpy(run.history.read(n, epoch - 1)) for n in ("affinity", "family"))
        ),
        run.history.read("temperature", epoch - 1),
        np.flatnonzero(run.history.read_all("confusion/train")[:epoch].any(axis=(0, 2))),
    )


def families_of(run: Run) -> dict[str, tuple[str, ...]]:
    """Names of each class's family, the most often confused first.

    The families are those after the last epoch or, for an imported run, those of its test scores;
    empty if there are none.
    """
    if run.history.path.is_dir() and run.history.trained:
        table = family_table(run)
    elif run.test_scores.is_file():
        table = families_of_scores(run)
    else:
        return {}
    return {family.name: tuple(m.name for m in family.members) for family in table.families}


def families_of_scores(run: Run, name: str | None = None) -> FamilyTable:
    """The families that the confusions in a run's scores make, by the default rules.

    `name` is the name of a file in the run's `scores`; None: the test split's. This is for imported
    runs, and shows the confusions of a network on new data.
    """
    path = run.scores(name) if name else run.test_scores
    counts, names = Scores.load(path).confusion(), run.score_names
    if len(counts) != len(names):
        raise AclnetError(
            f"{path} has {len(counts)} classes, and the tests of the run have {len(names)}"
        )
    occurs = np.flatnonzero(counts.any(axis=0) | counts.any(axis=1))
    settings = FamilySettings()
    related = related_classes(counts, settings)
    neighbours = settings.num_neighbours(len(counts))
    temperature = family_temperature(related.member.sum(1), neighbours, settings)
    np.fill_diagonal(counts, 0)
    return _table(
        f"of scores {path.stem}",
        None,
        names,
        counts.astype(np.float64),
        related,
        temperature.numpy(),
        occurs,
    )


def _table(
    origin: str,
    epoch: int | None,
    names: list[str],
    counts: NDArray[np.float64],
    related: Related,
    temperature: NDArray[np.float32],
    occurs: NDArray[np.int64],
) -> FamilyTable:
    affinity = torch.maximum(related.affinity, related.affinity.T).numpy()
    member = related.member.numpy()
    both = counts + counts.T
    return FamilyTable(
        origin=origin,
        epoch=epoch,
        families=[
            Family(name, _members(member[c], both[c], names), float(temperature[c]))
            for c, name in enumerate(names)
        ],
        affinity=affinity,
        order=_order(affinity, occurs),
    )


def related_classes(confusion: NDArray[np.number], settings: FamilySettings) -> Related:
    """Affinity and families of a confusion matrix (C, C), whose diagonal counts right samples."""
    counts, samples = confusion.copy(), confusion.sum(axis=1)
    np.fill_diagonal(counts, 0)
    return relate(torch.from_numpy(counts), torch.from_numpy(samples), settings)


def counted_confusions(run: Run, epoch: int) -> NDArray[np.float64]:
    """(C, C) confusions that the families after `epoch` (from 1) were built from.

    In the official mode, they lack the reverse confusions of other samples, and include the whole
    last epoch, although its first step built the families.
    """
    counts = counted_predictions(run, epoch, run.config.loss.families)
    np.fill_diagonal(counts, 0)
    return counts


def counted_predictions(run: Run, epoch: int, settings: FamilySettings) -> NDArray[np.float64]:
    """(C, C) samples of each class by predicted class, as `settings` count them up to `epoch`.

    They are counted like in `aclnet.losses.families.ConfusionCounter`, with decay of older epochs.
    Raises AclnetError if the history of the run lacks an epoch.
    """
    decay = settings.decay if settings.mode == "default" else 1.0
    kind = "confusion/train" if settings.source == "train" else "confusion/eval"
    start = settings.start_epoch(run.config.optim.epochs)
    counts = np.zeros((len(run.class_names),) * 2)
    for number, counted in enumerate(run.history.read_all(kind)[start - 1 : epoch], start=start):
        if (counted < 0).any():
            raise AclnetError(
                f"{run.history.path / kind} has no confusions of epoch {number}, though it was "
                "trained: the file is damaged; train the run again with --fresh"
            )
        counts = decay * counts + counted
    return counts


def _members(
    member: NDArray[np.bool_], both: NDArray[np.float64], names: list[str]
) -> list[FamilyMember]:
    chosen = np.flatnonzero(member)
    ranked = chosen[np.argsort(-both[chosen], kind="stable")]
    return [FamilyMember(names[b], round(float(both[b]), 2)) for b in ranked]


def _order(affinity: NDArray[np.float32], classes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The given classes in the order of the leaves of an average-linkage tree of their affinity."""
    if len(classes) < 3:
        return classes
    return np.asarray(classes[leaves_list(affinity_tree(affinity[np.ix_(classes, classes)]))])


def affinity_tree(affinity: NDArray[np.float32]) -> NDArray[np.float64]:
    """Average-linkage tree of C classes, at least 2, as scipy writes it.

    `affinity` is (C, C) and symmetric; the distance of two classes is the greatest affinity minus
    their affinity.
    """
    distance = affinity.max() - affinity
    np.fill_diagonal(distance, 0)
    return np.asarray(linkage(squareform(distance, checks=False), "average", optimal_ordering=True))
