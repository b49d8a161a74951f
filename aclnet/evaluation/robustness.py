"""Measures of the accuracy that a run keeps under corruption, and their intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from aclnet.evaluation.bootstrap import DRAWS, draw_groups, interval
from aclnet.evaluation.outcomes import CLEAN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aclnet.evaluation.outcomes import Outcome
    from aclnet.pipelines.inputs.protocols import Protocol

_BINS = 15


@dataclass(frozen=True, slots=True)
class Result:
    """Outcomes of a run: clean, then under each of some protocols, on the same N sequences."""

    name: str
    """Name of the run."""
    protocols: Sequence[Protocol]
    outcomes: Sequence[Outcome]
    """The clean outcome, then one for each protocol."""
    accuracies: NDArray[np.float64]
    """(1 + draws, 1 + protocols): the accuracies, and those of the bootstrap's draws."""

    @classmethod
    def of(cls, name: str, protocols: Sequence[Protocol], outcomes: Sequence[Outcome]) -> Result:
        return cls(name, protocols, outcomes, resampled(outcomes))

    @property
    def kept(self) -> NDArray[np.float64]:
        """(1 + draws, protocols) relative robustness: accuracy divided by clean accuracy."""
        clean, rest = self.accuracies[:, :1], self.accuracies[:, 1:]
        kept = np.full(rest.shape, np.nan)
        np.divide(rest, clean, out=kept, where=clean > 0)
        return kept


def resampled(outcomes: Sequence[Outcome]) -> NDArray[np.float64]:
    """(1 + draws, K) accuracies of K outcomes of the same sequences, then of the bootstrap's draws.

    The bootstrap draws whole groups with replacement, because sequences of one person are not
    independent samples: Davison and Hinkley, "Bootstrap methods and their application" (1997),
    section 3.8.
    Outcomes of the same sequences get the same draws, also in another call, so differences are
    paired. The result is NaN without any sequence.
    """
    groups = outcomes[0].groups
    size = int(groups.max(initial=-1)) + 1
    if not size:
        return np.full((1 + DRAWS, len(outcomes)), np.nan)
    weights = np.bincount(groups, outcomes[0].weight)
    found = np.stack([np.bincount(groups, o.weight * o.found) for o in outcomes], axis=1)
    drawn = np.array([counts @ found / (counts @ weights) for counts in draw_groups(size)])
    plain = np.array([[outcome.accuracy for outcome in outcomes]])
    return np.concatenate([plain, drawn])


def table(result: Result, reference: Result | None = None) -> pd.DataFrame:
    """A row clean and under each protocol.

    Columns: `run`, `protocol`, `severity`, `samples`; `accuracy`; `kept`, the share of the clean
    accuracy; `lost`, the clean accuracy minus the accuracy; with `reference`, `gain`, the accuracy
    minus that of the reference. Each has the ends of its 95 % interval, `_low` and `_high`. `ece`
    is the expected calibration error. All values are shares of 1.
    """
    measures = {
        "accuracy": result.accuracies,
        "kept": np.insert(result.kept, 0, 1.0, axis=1),
        "lost": result.accuracies[:, :1] - result.accuracies,
    }
    if reference is not None:
        measures["gain"] = result.accuracies - reference.accuracies
    return pd.DataFrame(
        {
            "run": result.name,
            "protocol": [CLEAN, *(protocol.name for protocol in result.protocols)],
            "severity": [0.0, *(protocol.severity for protocol in result.protocols)],
            "samples": len(result.outcomes[0].ids),
            **{k: v for name, draws in measures.items() for k, v in _spread(name, draws).items()},
            "ece": [calibration_error(outcome) for outcome in result.outcomes],
        }
    )


def curves(result: Result) -> pd.DataFrame:
    """A row for each kind of corruption with several severities.

    Columns: `run`, `curve`, `points`; `area` under the accuracy by severity, from clean to the
    highest severity, as a share of the full square, with its interval `area_low`, `area_high`.
    """
    rows = []
    for curve, places in _places_of_curves(result.protocols).items():
        if curve is None or len(places) < 2:
            continue
        severity = np.array([0.0, *(result.protocols[place].severity for place in places)])
        order = np.argsort(severity, kind="stable")
        heights = result.accuracies[:, [0, *(1 + place for place in places)]][:, order]
        area = np.trapezoid(heights, severity[order], axis=1) / severity.max()
        spread = {k: v[0] for k, v in _spread("area", area[:, None]).items()}
        rows.append({"run": result.name, "curve": curve, "points": len(places), **spread})
    return pd.DataFrame(rows, columns=["run", "curve", "points", "area", "area_low", "area_high"])


def corruption_error(result: Result, reference: Result) -> tuple[float, float, float]:
    """Mean corruption error against a reference on the same samples, and its interval.

    The errors under the severities of one kind of corruption are summed and divided by the
    reference's; the mean over the kinds. Below 1, the run is better. Hendrycks and Dietterich,
    "Benchmarking neural network robustness to common corruptions and perturbations" (ICLR 2019).
    Kinds without any error of the reference are left out.
    """
    ratios = []
    for curve, places in _places_of_curves(result.protocols).items():
        for kind in [places] if curve is not None else [[place] for place in places]:
            columns = [1 + place for place in kind]
            own, theirs = ((1 - r.accuracies[:, columns]).sum(1) for r in (result, reference))
            ratio = np.full(len(own), np.nan)
            ratios.append(np.divide(own, theirs, out=ratio, where=theirs > 0))
    defined = [ratio for ratio in ratios if not np.isnan(ratio[0])]
    if not defined:
        return float("nan"), float("nan"), float("nan")
    known = ~np.isnan(defined)
    means = np.nansum(defined, axis=0) / np.maximum(known.sum(axis=0), 1)
    means[~known.any(axis=0)] = np.nan
    mean, low, high = (v[0] for v in _spread("", means[:, None]).values())
    return mean, low, high


def per_class(result: Result, names: Sequence[str]) -> pd.DataFrame:
    """A row for each protocol and class that occurs: `run`, `protocol`, `class`, `samples`,
    `accuracy`."""
    return pd.DataFrame(
        {
            "run": result.name,
            "protocol": outcome.made["protocol"],
            "class": names[label],
            "samples": int(chosen.sum()),
            "accuracy": _accuracy(outcome, chosen),
        }
        for outcome in result.outcomes
        for label in np.unique(outcome.labels).tolist()
        for chosen in [outcome.labels == label]
    )


def per_family(result: Result, family: NDArray[np.bool_], names: Sequence[str]) -> pd.DataFrame:
    """A row for each protocol and motion family.

    `family` (C, C) tells which classes are in the family of each class. Columns: `run`, `protocol`,
    `family` (its classes), `samples`, `accuracy`, `inside`: the share of the mistakes that stay in
    the family, NaN without any mistake.
    """
    families = sorted(
        {tuple(np.flatnonzero(row | own).tolist()) for row, own in _with_itself(family)}
    )
    rows = []
    for outcome in result.outcomes:
        for members in families:
            chosen = np.isin(outcome.labels, members)
            if not chosen.any():
                continue
            wrong = chosen & (outcome.found < 1)
            stays = np.isin(outcome.predicted[wrong], members)
            rows.append(
                {
                    "run": result.name,
                    "protocol": outcome.made["protocol"],
                    "family": "; ".join(names[member] for member in members),
                    "samples": int(chosen.sum()),
                    "accuracy": _accuracy(outcome, chosen),
                    "inside": float(stays.mean()) if len(stays) else float("nan"),
                }
            )
    columns = ["run", "protocol", "family", "samples", "accuracy", "inside"]
    return pd.DataFrame(rows, columns=columns)


def calibration_error(outcome: Outcome) -> float:
    """Expected calibration error over 15 bins of equal width; NaN without probabilities.

    Guo et al., "On calibration of modern neural networks" (ICML 2017).
    """
    if not len(outcome.ids) or np.isnan(outcome.confidence).any():
        return float("nan")
    bins = np.minimum((outcome.confidence * _BINS).astype(np.int64), _BINS - 1)
    gaps = np.bincount(bins, outcome.weight * (outcome.found - outcome.confidence))
    return float(np.abs(gaps).sum())


def _with_itself(
    family: NDArray[np.bool_],
) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """The row of each class that has a family, and the place of the class in it."""
    own = np.eye(len(family), dtype=np.bool_)
    return [(row, own[c]) for c, row in enumerate(family) if row.any()]


def _accuracy(outcome: Outcome, chosen: NDArray[np.bool_]) -> float:
    weight = outcome.weight[chosen]
    return float(weight @ outcome.found[chosen] / weight.sum())


def _places_of_curves(protocols: Sequence[Protocol]) -> dict[str | None, list[int]]:
    """Numbers of the protocols of each curve, in order."""
    places: dict[str | None, list[int]] = {}
    for place, protocol in enumerate(protocols):
        places.setdefault(protocol.curve, []).append(place)
    return places


def _spread(name: str, draws: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Columns of a measure (1 + draws, K): its value, and percentiles of the draws."""
    low, high = interval(draws[1:])
    return {name: draws[0], f"{name}_low": low, f"{name}_high": high}
