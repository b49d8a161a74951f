"""Occlusion bench: runs on one split, clean and under protocols of corruption."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from aclnet.datasets.spec import AclnetError, silent
from aclnet.evaluation.outcomes import Maker, check_alike
from aclnet.evaluation.robustness import (
    Result,
    corruption_error,
    curves,
    per_class,
    per_family,
    table,
)
from aclnet.pipelines.inputs.protocols import SUITES, open_protocol
from aclnet.pipelines.steps.normalise import is_sizeless

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from aclnet.datasets.spec import Progress
    from aclnet.datasets.store.store import Store
    from aclnet.evaluation.outcomes import Outcome
    from aclnet.evaluation.scorer import Scorer
    from aclnet.pipelines.choices import Missing, Suite
    from aclnet.pipelines.inputs.corruptions.corruption import Corruption
    from aclnet.pipelines.inputs.protocols import Protocol

_NEAREST = 0.1
"""Least distance in metres from a camera at the origin; nearer joints mean another origin."""


@dataclass(frozen=True, slots=True)
class Bench:
    """Results of a bench, as fractions of 1."""

    rows: pd.DataFrame
    """`aclnet.evaluation.robustness.table` of all runs."""
    curves: pd.DataFrame
    """`aclnet.evaluation.robustness.curves` of all runs."""
    classes: pd.DataFrame
    """`aclnet.evaluation.robustness.per_class` of all runs."""
    families: pd.DataFrame
    """`aclnet.evaluation.robustness.per_family` of all runs that know motion families."""
    errors: pd.DataFrame
    """A row for each run except the reference: `run`, `mce`, `mce_low`, `mce_high`, see
    `aclnet.evaluation.robustness.corruption_error`; empty without a reference."""

    def as_dict(self) -> dict[str, Any]:
        """Lists of rows for JSON; None stands for a missing number."""
        frames = {field.name: getattr(self, field.name).astype(object) for field in fields(self)}
        return {n: f.where(f.notna(), None).to_dict("records") for n, f in frames.items()}


def choose_protocols(
    store: Store,
    mask: NDArray[np.bool_],
    *,
    suite: Suite | None = None,
    drops: Iterable[str] = (),
    missing: Missing = "centre",
    seed: int = 0,
) -> tuple[list[Protocol], dict[str, str]]:
    """The protocols of a suite and further ones by name, for the samples of a store in `mask`.

    Returns the protocols, and the reasons, by name, why others of the suite are not possible.
    Raises AclnetError if one of `drops` is unknown or not possible, or if no protocol of the suite
    is.
    """
    named = [possible_protocol(name, store, mask, missing, seed) for name in drops]
    # several spellings can name one protocol
    protocols = {protocol.name: protocol for protocol in named}
    left_out: dict[str, str] = {}
    for name in SUITES[suite] if suite else ():
        try:
            protocol = possible_protocol(name, store, mask, missing, seed)
            protocols[protocol.name] = protocol
        except AclnetError as error:
            left_out[name] = str(error)
    if not protocols:
        raise AclnetError(f"{store.path}: no protocol of suite {suite} is possible")
    return list(protocols.values()), left_out


def run_bench(
    scorers: Sequence[Scorer],
    protocols: Sequence[Protocol],
    *,
    reference: int | None = None,
    progress: Progress = silent,
) -> Bench:
    """Scores runs clean and under each protocol, or reads the outcomes that they keep.

    Args:
        scorers: runs, each with the samples to score.
        protocols: corruptions of the samples.
        reference: number of the run, from 0, that the others are compared with.
        progress: receives the number of finished samples, by protocol.

    Raises:
        AclnetError: outcomes that cannot be compared, because the runs were tested on other
            samples or in another way.
    """
    results = [
        Result.of(name, protocols, outcomes)
        for name, outcomes in _comparable_outcomes(scorers, protocols, progress)
    ]
    against = None if reference is None else results[reference]
    pairs = list(zip(scorers, results, strict=True))
    tables = {
        "rows": [table(result, against) for result in results],
        "curves": [curves(result) for result in results],
        "classes": [per_class(result, scorer.class_names) for scorer, result in pairs],
        "families": [
            per_family(result, family, scorer.class_names)
            for scorer, result in pairs
            for family in _families(scorer)
        ],
    }
    errors = [
        (result.name, *corruption_error(result, against))
        for result in results
        if against is not None and result is not against
    ]
    return Bench(
        **{n: pd.concat(t, ignore_index=True) if t else pd.DataFrame() for n, t in tables.items()},
        errors=pd.DataFrame(errors, columns=["run", "mce", "mce_low", "mce_high"]),
    )


def _comparable_outcomes(
    scorers: Sequence[Scorer], protocols: Sequence[Protocol], progress: Progress
) -> Iterator[tuple[str, list[Outcome]]]:
    """Name and outcomes of each run; raises AclnetError if their conditions differ."""
    names = [scorer.run.name for scorer in scorers]
    if len(set(names)) < len(names):
        names = [str(scorer.run.path) for scorer in scorers]
    first: list[Outcome] = []
    for scorer, name in zip(scorers, names, strict=True):
        make, outcomes = Maker(scorer), []
        for number, protocol in enumerate((None, *protocols)):
            outcomes.append(make(protocol, progress))
            if first:
                check_alike((names[0], first[number]), (name, outcomes[number]))
        first = first or outcomes
        yield name, outcomes


def possible_protocol(
    name: str, store: Store, mask: NDArray[np.bool_], missing: Missing, seed: int
) -> Protocol:
    """A protocol by name; raises AclnetError if it is unknown or impossible for these samples."""
    protocol = open_protocol(name, store.layout, missing, seed)
    _check_need(protocol.corruption, store, mask)
    return protocol


def _check_need(corruption: Corruption, store: Store, mask: NDArray[np.bool_]) -> None:
    normalised = store.attributes.normalisation
    in_space = store.coordinates == 3 and not is_sizeless(normalised)
    if corruption.need == "metres" and not in_space:
        raise AclnetError(f"{store.path}: joints in metres are needed")
    if corruption.need == "camera" and not (
        in_space and (np.abs(store.column("centre")[mask][:, 2]) > _NEAREST).all()
    ):
        raise AclnetError(f"{store.path}: the place of the camera is not known")
    if corruption.need == "two persons" and store.column("n_persons")[mask].max() < 2:
        raise AclnetError(f"{store.path}: no sequence has two persons")


def _families(scorer: Scorer) -> list[NDArray[np.bool_]]:
    """The final motion families of a run of actions, if it was trained with families."""
    run = scorer.run
    if run.config.task != "action" or scorer.gallery is not None or run.imported:
        return []
    return [run.history.read("family", run.history.trained - 1)]
