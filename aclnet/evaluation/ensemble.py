"""Fusion of the scores of several networks by sample id, and the gain in accuracy.

An ensemble of modalities (for example joints and bones) and an ensemble of seeds (the same stream
trained again) support different claims, so every ensemble here has its kind in its name.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, replace
from math import gcd, lcm
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from aclnet.datasets.opening import open_store
from aclnet.datasets.spec import AclnetError, first_of
from aclnet.exchange.score_files import ScoreFile, read_order, read_scores
from aclnet.pipelines.inputs.features import MODALITIES
from aclnet.runs.run import Run
from aclnet.runs.scores import Scores, check_same_ids, check_same_samples, mcnemar

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

STANDARD = (
    {"j": 1, "b": 1},
    {"j": 2, "b": 2, "jm": 1, "bm": 1},
    {"j": 2, "b": 2, "k": 2, "jm": 1, "bm": 1, "km": 1},
)
"""Weights of the ensembles of two, four and six streams (tools/ensemble.py of ACLNet)."""
Summed = Literal["logits", "probabilities"]
_ROUNDS = 5000
_SETTLED = 1e-7


@dataclass(frozen=True, slots=True)
class Member:
    """One network's scores of the test samples."""

    name: str
    scores: Scores
    modality: str | None = None
    """None: unknown."""
    run: Run | None = None
    """The run; None if the scores come from a file."""
    are_logits: bool = False

    @property
    def seed(self) -> int | None:
        return self.run.config.seed if self.run else None


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Weights of some members."""

    kind: Literal["standard", "equal", "given", "searched"]
    weights: tuple[float, ...]
    """One weight per member, not negative; a member with weight 0 has no effect."""


@dataclass(frozen=True, slots=True)
class Search:
    """Weights that a search chose, and their log loss on the samples of the search."""

    weights: tuple[float, ...]
    samples: int
    log_loss: float
    log_loss_equal: float
    """The result with equal weights."""


def open_members(
    arguments: Sequence[str],
    order: str | None = None,
    labels: Path | None = None,
    summed: Summed | None = None,
) -> list[Member]:
    """Runs and `[MODALITY=]FILE`s with the scores of one set of samples.

    The scores of a run are those of its test split. `order` is the order of files without ids
    (`read_order`). Files without labels get the labels of the store `labels` or of another member;
    `test_N` of CTR-GCN's files is row N of the arrays that this store was prepared from. `summed`
    is the kind of the scores; None: logits if all members have them, else probabilities.

    Raises AclnetError unless there are at least two members that fit together (`check_members`).
    """
    split = [_modality_and_path(argument) for argument in arguments]
    paths = [path for _, path in split]
    resolved = [path.resolve() for path in paths]
    if len(set(resolved)) < max(2, len(paths)):
        raise AclnetError("an ensemble needs two or more members, each given once")
    rows = read_order(order) if order else None
    opened: list[tuple[Run | None, Scores | ScoreFile]] = []
    for modality, path in split:
        if not path.is_dir():
            opened.append((None, read_scores(path, rows, labels)))
            continue
        if modality:
            raise AclnetError(
                f"{modality}={path} is a run, which records its modality: give {path}"
            )
        run = Run(path)
        opened.append((run, Scores.load(run.test_scores)))
    names = _short(resolved)
    alike = _alike(names, [found for _, found in opened], summed)
    are_logits = any(isinstance(found, ScoreFile) and found.are_logits for found in alike)
    scores = _with_labels(names, alike, labels)
    members = [
        Member(name, own, run.config.data.modality if run else modality, run, are_logits)
        for name, own, (modality, _), (run, _) in zip(names, scores, split, opened, strict=True)
    ]
    check_members(members)
    return members


def check_members(members: Sequence[Member]) -> None:
    """Raises AclnetError if two members differ in samples, labels or classes."""
    first, *others = members
    for other in others:
        both = f"{first.name} and {other.name}"
        check_same_samples(first.scores, other.scores, both)
        if first.scores.scores.shape != other.scores.scores.shape:
            raise AclnetError(
                f"{both} have {first.scores.scores.shape[1]} and {other.scores.scores.shape[1]} "
                "classes"
            )
    runs = [member for member in members if member.run]
    for one in runs[1:]:
        if member_class_names([one]) != member_class_names(runs[:1]):
            raise AclnetError(f"{runs[0].name} and {one.name} were trained on different classes")


def member_class_names(members: Sequence[Member]) -> list[str]:
    """Class names of the first run; numbers from 0 if all members are files."""
    for member in members:
        if member.run:
            return member.run.score_names
    return [str(number) for number in range(members[0].scores.scores.shape[1])]


def validation_members(members: Sequence[Member]) -> list[Member]:
    """The members with the scores of the samples that all of them held out of training.

    Raises AclnetError if a member has no such scores, or if they held out different samples.
    """
    found = []
    for member in members:
        if member.run is None:
            raise AclnetError(
                f"{member.name} is a file, and only runs have scores of validation samples; use "
                "--weights"
            )
        file = member.run.scores(f"{member.run.protocol}-val")
        if not file.is_file():
            raise AclnetError(
                f"{file} does not exist: if the run held samples out (--select val), `aclnet "
                f"evaluate {member.run.path} --split val` writes it"
            )
        found.append(replace(member, scores=Scores.load(file)))
    try:
        check_members(found)
    except AclnetError as error:
        raise AclnetError(
            "the weights are chosen on samples that every member held out of training: train all "
            "members with one seed, or with one --split file that has val rows. Held-out samples: "
            f"{error}"
        ) from None
    return found


def search_on_validation(members: Sequence[Member]) -> Search:
    """The weights of `search_weights` for the samples that all members held out.

    Raises AclnetError like `validation_members`. The members' own scores are not used.
    """
    held_out = validation_members(members)
    weights = search_weights(held_out)
    equal = (1.0,) * len(members)
    losses = (log_loss(fuse(held_out, tried)) for tried in (weights, equal))
    return Search(weights, len(held_out[0].scores), *losses)


def search_weights(members: Sequence[Member]) -> tuple[float, ...]:
    """The weights, in hundredths, that make the log loss of the fused scores smallest.

    This is the likelihood of a mixture of known distributions, which has one maximum. Expectation
    maximisation finds it: Dempster, Laird and Rubin, JRSS B 39 (1977), section 4.3.
    """
    check_members(members)
    true = np.stack([_of_true_class(member.scores) for member in members], axis=1)
    weights = np.full(len(members), 1 / len(members))
    for _ in range(_ROUNDS):
        shares = weights * true
        before, weights = weights, (shares / shares.sum(axis=1, keepdims=True)).mean(axis=0)
        if np.abs(weights - before).max() < _SETTLED:
            break
    return tuple(weights.round(2).tolist())


def log_loss(scores: Scores) -> float:
    """Mean of -log of the true class's probability, which is at least 1e-12."""
    return float(-np.log(_of_true_class(scores)).mean())


def _of_true_class(scores: Scores) -> NDArray[np.float64]:
    own = np.take_along_axis(scores.scores, scores.labels[:, None], axis=1)[:, 0]
    return np.maximum(own.astype(np.float64), 1e-12)


def fuse(members: Sequence[Member], weights: Sequence[float]) -> Scores:
    """The weighted mean of the members' scores, sample by sample.

    Raises AclnetError unless there is one weight per member, none is negative and not all are 0;
    and like `check_members`.
    """
    if len(weights) != len(members):
        raise AclnetError(f"{len(weights)} weights for {len(members)} members")
    if min(weights) < 0 or not 0 < sum(weights) < np.inf:
        raise AclnetError("weights must not be negative, and at least one must be positive")
    check_members(members)
    pairs = zip(weights, members, strict=True)
    total = sum(weight * member.scores.scores.astype(np.float64) for weight, member in pairs)
    fused = np.asarray(total / sum(weights), dtype=np.float32)
    return replace(members[0].scores, scores=fused)


def standard_ensembles(members: Sequence[Member]) -> list[Ensemble]:
    """The ensembles of the members' modalities; the last one has all members.

    First come the seeds of each stream, equally weighted; then the standard ensembles, in which the
    seeds of a stream share its weight. If no standard ensemble has all members, all members get
    equal weights.
    """
    counts = Counter(member.modality for member in members if member.modality)
    found = [
        Ensemble("equal", tuple(float(member.modality == stream) for member in members))
        for stream, count in counts.items()
        if count > 1
    ]
    for standard in STANDARD:
        if standard.keys() <= counts.keys():
            whole = lcm(*(counts[stream] for stream in standard))
            shares = {stream: w * whole // counts[stream] for stream, w in standard.items()}
            part = gcd(*shares.values())
            weights = tuple(shares.get(member.modality or "", 0) / part for member in members)
            found.append(Ensemble("standard", weights))
    if not found or not all(found[-1].weights):
        found.append(Ensemble("equal", (1.0,) * len(members)))
    return found


def ensemble_name(members: Sequence[Member], ensemble: Ensemble) -> str:
    """Name such as `modalities j, b`, `3 seeds of j`, or both: `2 seeds of j + 2 seeds of b`."""
    chosen = [m for m, weight in zip(members, ensemble.weights, strict=True) if weight]
    streams = list(dict.fromkeys(member.modality for member in chosen))
    if len(streams) == len(chosen) > 1 and None not in streams:
        return f"modalities {', '.join(map(str, streams))}"
    parts = []
    for stream in streams:
        seeds = [member.seed for member in chosen if member.modality == stream]
        what = "seeds" if len(set(seeds) - {None}) == len(seeds) else "runs"
        several = f"{len(seeds)} {what} of {stream}" if len(seeds) > 1 else str(stream)
        parts.append(several if stream else f"{len(seeds)} of unknown modality")
    return " + ".join(parts)


def report(members: Sequence[Member], ensembles: Sequence[Ensemble]) -> dict[str, Any]:
    """Accuracies of the streams and ensembles, and each ensemble against the best stream.

    `gain` is in top-1, a share; `only_stream`, `only_ensemble` and `p` are of `mcnemar`.
    """
    best = best_stream(members)
    return {
        "samples": len(best.scores),
        "summed": "logits" if members[0].are_logits else "probabilities",
        "streams": [
            {"name": m.name, "modality": m.modality, "seed": m.seed, **m.scores.result()}
            for m in members
        ],
        "best_stream": best.name,
        "ensembles": [_row(members, ensemble, best) for ensemble in ensembles],
    }


def best_stream(members: Sequence[Member]) -> Member:
    """The member of the highest top-1, the first among equals."""
    return max(members, key=lambda member: member.scores.top1)


def class_gains(stream: Scores, fused: Scores, names: list[str]) -> pd.DataFrame:
    """A row for each class that occurs: `class`, `samples`, accuracies `stream` and `ensemble`, and
    their difference `gain`.
    """
    before, after = stream.per_class(names), fused.per_class(names)
    gains = before[["class", "samples"]].assign(
        stream=before["accuracy"],
        ensemble=after["accuracy"],
        gain=after["accuracy"] - before["accuracy"],
    )
    return gains[gains["samples"] > 0]


def _row(members: Sequence[Member], ensemble: Ensemble, best: Member) -> dict[str, Any]:
    fused = fuse(members, ensemble.weights)
    only_stream, only_ensemble, p = mcnemar(best.scores.correct, fused.correct)
    chosen = [m for m, weight in zip(members, ensemble.weights, strict=True) if weight]
    return {
        "name": ensemble_name(members, ensemble),
        "kind": ensemble.kind,
        "weights": list(ensemble.weights),
        "modalities": dict(Counter(member.modality or "unknown" for member in chosen)),
        **fused.result(),
        "gain": fused.top1 - best.scores.top1,
        "only_stream": only_stream,
        "only_ensemble": only_ensemble,
        "p": p,
    }


def _modality_and_path(argument: str) -> tuple[str | None, Path]:
    modality, equals, path = argument.partition("=")
    known = bool(equals) and modality in MODALITIES
    return (modality, Path(path)) if known else (None, Path(argument))


def _short(paths: Sequence[Path]) -> list[str]:
    """The paths without their common folder."""
    shared = Path(os.path.commonpath(paths))
    folder = shared.parent if shared in paths else shared
    return [str(path.relative_to(folder)) for path in paths]


def _alike(
    names: Sequence[str], found: Sequence[Scores | ScoreFile], summed: Summed | None
) -> list[Scores | ScoreFile]:
    """All scores as logits or all as probabilities, because the two cannot be summed together."""
    logits = [isinstance(one, ScoreFile) and one.are_logits for one in found]
    if summed == "probabilities":
        return [one.probabilities() if isinstance(one, ScoreFile) else one for one in found]
    if all(logits) or (summed is None and not any(logits)):
        return list(found)
    other = names[logits.index(False)]
    has = f"; {names[logits.index(True)]} has logits" if any(logits) else ""
    raise AclnetError(
        f"{other} has probabilities{has}: use --sum probabilities, which converts logits by softmax"
    )


def _with_labels(
    names: Sequence[str], found: Sequence[Scores | ScoreFile], store: Path | None
) -> list[Scores]:
    """All scores with labels: missing ones come from a store, or from the first labelled member."""
    if store is not None:
        found = [_labelled(name, one, store) for name, one in zip(names, found, strict=True)]
    pairs = list(zip(names, found, strict=True))
    known = [(name, one.ids, one.labels) for name, one in pairs if one.labels is not None]
    if not known:
        raise AclnetError(
            "no member has the true classes: give --labels STORE, or --order "
            "ANNOTATIONS.pkl:SPLIT, or add a member with `labels`"
        )
    source, ids, labels = known[0]
    for name, one in pairs:
        if one.labels is None:
            check_same_ids(ids, one.ids, f"{source} and {name}")
    return [
        Scores(one.ids, one.scores, labels if one.labels is None else one.labels) for one in found
    ]


def _labelled(name: str, found: Scores | ScoreFile, path: Path) -> Scores | ScoreFile:
    """Fills in missing labels from a store, by sample id."""
    if found.labels is not None:
        return found
    store = open_store(path)
    known = dict(zip(store.column("id").tolist(), store.column("label").tolist(), strict=True))
    lost = [sample for sample in found.ids.tolist() if sample not in known]
    if lost:
        raise AclnetError(f"{name}: {path} has no sample {first_of(lost, 3)}")
    labels = np.array([known[sample] for sample in found.ids.tolist()], np.int64)
    if labels.max() >= found.scores.shape[1]:
        raise AclnetError(
            f"{name} has scores of {found.scores.shape[1]} classes, {path} has "
            f"{len(store.class_names)}"
        )
    return replace(found, labels=labels)
