"""Outcomes of a run on a split under a protocol, which are kept in the run.

Each file `RUN/occlusion/outcomes/*.npz` holds one outcome with its conditions. The bench computes
an outcome again only if a condition differs.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from aclnet.datasets.formats.npy import load_npz
from aclnet.datasets.spec import AclnetError, DamageError
from aclnet.datasets.store import manifest
from aclnet.runs.inference import Pass
from aclnet.runs.scores import MAX_BYTES
from aclnet.runs.writing import writing

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from aclnet.datasets.spec import Progress
    from aclnet.evaluation.scorer import Scorer
    from aclnet.pipelines.inputs.protocols import Protocol

CLEAN = "nothing (clean)"
CONDITIONS = (
    *("task", "split", "samples", "layout", "normalisation", "clips"),
    *("protocol", "corruption", "missing", "seed"),
)
"""Conditions that two outcomes must share to be compared."""
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """Results of N tested sequences, by id: probes that have a match, or all samples of a split."""

    made: dict[str, Any]
    """Conditions of the outcome, as plain values."""
    ids: NDArray[np.str_]
    """(N,) ids."""
    labels: NDArray[np.int64]
    """(N,) true classes, or identities."""
    predicted: NDArray[np.int64]
    """(N,) predicted classes; -1 for people."""
    found: NDArray[np.float64]
    """(N,) 1 if right and 0 if wrong; for gait a share, see `Recognition.found`."""
    weight: NDArray[np.float64]
    """(N,) weights that sum to 1; the accuracy is the weighted mean of `found`."""
    confidence: NDArray[np.float64]
    """(N,) probability of the predicted class; NaN if similarities decide."""

    @property
    def accuracy(self) -> float:
        """Accuracy as `aclnet evaluate` reports it: top-1, or for people their rank-1."""
        return float(self.weight @ self.found) if len(self.ids) else float("nan")

    @property
    def units(self) -> NDArray[Any]:
        """(N,) the unit that a bootstrap draws: a sequence by id for actions, or a person."""
        return self.ids if self.made["task"] == "action" else self.labels

    @property
    def groups(self) -> NDArray[np.int64]:
        """(N,) `units` numbered from 0."""
        return np.unique(self.units, return_inverse=True)[1]

    def save(self, path: Path) -> None:
        """Writes an npz atomically."""
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        arrays["made"] = np.array([json.dumps(self.made)])
        with writing(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads a file that `save` wrote; raises AclnetError if the file is damaged."""
        try:
            names = [field.name for field in fields(cls)]
            stored = load_npz(path, names, MAX_BYTES, text=("ids", "made"))
            made = json.loads(str(stored.pop("made")[0]))
            if not isinstance(made, dict) or len({a.shape for a in stored.values()}) > 1:
                raise DamageError("its arrays do not fit together")
            return cls(made=made, **{name: stored[name] for name in names[1:]})
        except (DamageError, KeyError, IndexError, ValueError, RecursionError) as damage:
            raise AclnetError(
                f"{path} is damaged ({damage}); delete it and run the command again"
            ) from None


class Maker:
    """Computes the outcomes of a run on a split, or reads those that are kept in the run."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer
        self.folder = scorer.run.path / "occlusion" / "outcomes"
        self._made: dict[object, Outcome] = {}

    def __call__(self, protocol: Protocol | None, progress: Progress) -> Outcome:
        """The outcome under a protocol; None: without corruption."""
        made = self._common | _of_protocol(protocol)
        path = self.folder / _file_name(made)
        corruption = None if protocol is None else protocol.corruption
        if path.is_file():
            outcome = Outcome.load(path)
            if outcome.made != made:
                raise AclnetError(
                    f"the content of {path} does not fit its name; delete it and run the command "
                    "again"
                )
        elif corruption in self._made:  # two protocols may have the same effect
            outcome = replace(self._made[corruption], made=made)
        else:
            how = Pass(corruption, progress=progress, stage=made["protocol"])
            outcome = self._score(made, how)
        if not path.is_file():
            outcome.save(path)
        self._made[corruption] = outcome
        return outcome

    @cached_property
    def _common(self) -> dict[str, Any]:
        """Conditions that all outcomes of the run on the split share."""
        run, store, scorer = self.scorer.run, self.scorer.store, self.scorer
        weights = manifest.describe_file(run.checkpoint(run.selected)).sha256
        sides = [scorer.mask] + ([] if scorer.gallery is None else [scorer.gallery])
        ids = [sorted(store.column("id")[side].tolist()) for side in sides]
        return {
            "format": _FORMAT,
            "weights": weights,
            "store": store.digest,
            "task": run.config.task,
            "split": scorer.split,
            "samples": hashlib.sha256(json.dumps(ids).encode()).hexdigest(),
            "layout": store.layout.name,
            "normalisation": store.attributes.normalisation,
            "clips": scorer.clips,
            "retrieval": scorer.config.retrieval.model_dump() if scorer.gallery is not None else {},
        }

    def _score(self, made: dict[str, Any], how: Pass) -> Outcome:
        scorer = self.scorer
        if scorer.config.task != "action":
            found = scorer.recognise(how).found()
            order = np.argsort(found.ids, kind="stable")
            nobody = np.full(len(order), -1)
            unknown = np.full(len(order), np.nan)
            return Outcome(
                made,
                found.ids[order],
                found.people[order],
                nobody,
                found.share[order],
                found.weight[order],
                unknown,
            )
        scores = scorer.score(how)
        confidence = scores.scores.max(axis=1).astype(np.float64)
        return Outcome(
            made,
            scores.ids,
            scores.labels,
            scores.predictions,
            scores.correct.astype(np.float64),
            np.full(len(scores), 1 / len(scores)),
            confidence if scorer.gallery is None else np.full(len(scores), np.nan),
        )


def check_alike(first: tuple[str, Outcome], second: tuple[str, Outcome]) -> None:
    """Raises AclnetError, with the difference, if the outcomes of two runs have other conditions.

    Each outcome comes with the name of its run.
    """
    (one, a), (two, b) = first, second
    for name in CONDITIONS:
        if a.made[name] != b.made[name]:
            raise AclnetError(
                f"{one} and {two} cannot be compared, because their tables were made differently: "
                f"{name} is {str(a.made[name])[:80]} and {str(b.made[name])[:80]}"
            )


def _of_protocol(protocol: Protocol | None) -> dict[str, Any]:
    if protocol is None:
        return {"protocol": CLEAN, "corruption": None, "missing": None, "seed": None}
    corruption = protocol.corruption
    return {
        "protocol": protocol.name,
        "corruption": repr(corruption),
        "missing": corruption.missing if corruption.hides else None,
        "seed": corruption.seed,
    }


def _file_name(made: dict[str, Any]) -> str:
    """A file name: the protocol for readers, and a hash of all conditions for the bench."""
    digest = hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()
    return f"{words_of(made['split'])}.{words_of(made['protocol'])}.{digest[:8]}.npz"


def words_of(text: str, longest: int = 80) -> str:
    """A text as part of a file's name."""
    return re.sub(r"[^\w.,+-]+", "-", text).strip("-")[:longest]
