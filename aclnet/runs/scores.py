"""Scores of a split with their ids, and figures computed from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypeVar

import numpy as np
import pandas as pd

from aclnet.datasets.formats.npy import load_npz
from aclnet.datasets.spec import AclnetError, DamageError, first_of
from aclnet.runs.writing import writing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray


T = TypeVar("T")
MAX_BYTES = 2**30
"""Largest array in a score file: 600,000 samples of 400 classes in float32 take less."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of N samples by a network, sorted by id; the figures below need at least one."""

    ids: NDArray[np.str_]
    """(N,) ids."""
    scores: NDArray[np.float32]
    """(N, classes) probabilities or, for probes, similarities to a gallery; finite."""
    labels: NDArray[np.int64]
    """(N,) true classes."""

    @classmethod
    def sorted(
        cls, ids: NDArray[np.str_], scores: NDArray[np.float32], labels: NDArray[np.int64]
    ) -> Self:
        """Scores in order of ids, from any order."""
        order = np.argsort(ids)
        return cls(ids[order], scores[order], labels[order])

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """The samples of several scores, no sample twice."""
        joined = (
            np.concatenate([getattr(p, f) for p in parts]) for f in ("ids", "scores", "labels")
        )
        return cls.sorted(*joined)

    def save(self, path: Path) -> None:
        """Writes `ids`, `scores`, `labels` to an npz atomically."""
        with writing(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, ids=self.ids, scores=self.scores, labels=self.labels)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Scores that `save` wrote; raises AclnetError if they are missing or damaged."""
        if not path.is_file():
            raise AclnetError(f"{path}: there are no scores; `aclnet evaluate` writes them")
        names = ("ids", "scores", "labels")
        try:
            stored = load_npz(path, names, MAX_BYTES, text=("ids",))
            ids, scores, labels = (stored[name] for name in names)
            if ids.ndim != 1 or scores.shape[:1] != ids.shape or labels.shape != ids.shape:
                raise DamageError("its arrays do not fit together")
            if scores.ndim != 2 or scores.dtype.kind != "f" or labels.dtype.kind not in "iu":
                raise DamageError("its arrays are of other kinds")
            if not ((labels >= 0) & (labels < scores.shape[1])).all():
                raise DamageError(f"a label is not a class from 0 to {scores.shape[1] - 1}")
            if not np.isfinite(scores).all():
                raise DamageError("a score is not finite")
        except (DamageError, KeyError) as damage:
            raise AclnetError(
                f"{path} is damaged ({damage}); `aclnet evaluate` writes it again"
            ) from None
        return cls(ids, scores, labels)

    def __len__(self) -> int:
        return len(self.ids)

    def frame(self, names: Sequence[str], kind: str = "p") -> pd.DataFrame:
        """A row per sample: `id`, names of the class `label` and the `prediction`, and the scores.

        The column of a class is called `p(walk)`, or by another `kind` of scores.
        """
        if len(names) != self.scores.shape[1]:
            raise AclnetError(
                f"{self.scores.shape[1]} classes have scores, but {len(names)} have a name"
            )
        known = np.array(names, dtype=object)
        about = {
            "id": self.ids,
            "label": known[self.labels],
            "prediction": known[self.predictions],
        }
        columns = [f"{kind}({name})" for name in names]
        scores = pd.DataFrame(self.scores, columns=columns)
        return pd.concat([pd.DataFrame(about), scores], axis=1)

    @property
    def predictions(self) -> NDArray[np.int64]:
        return np.asarray(self.scores.argmax(axis=1), dtype=np.int64)

    @property
    def correct(self) -> NDArray[np.bool_]:
        return np.asarray(self.predictions == self.labels)

    @property
    def top1(self) -> float:
        """Share of samples whose best class is right."""
        return float(self.correct.mean())

    @property
    def top5(self) -> float:
        """Share of samples whose class is among the best five; ties count in its favour."""
        own = np.take_along_axis(self.scores, self.labels[:, None], axis=1)
        return float(((self.scores > own).sum(axis=1) < 5).mean())

    @property
    def mean_class(self) -> float:
        """Mean of the accuracies (recalls) of the classes that occur."""
        confusion = self.confusion()
        sizes = confusion.sum(axis=1)
        return float((confusion.diagonal()[sizes > 0] / sizes[sizes > 0]).mean())

    def result(self) -> dict[str, float]:
        """The accuracies and their uncertainty, for a record or JSON."""
        low, high = self.interval()
        return {
            "top1": self.top1,
            "top5": self.top5,
            "mean_class": self.mean_class,
            "top1_low": low,
            "top1_high": high,
            "samples": len(self),
        }

    def confusion(self) -> NDArray[np.int64]:
        """(classes, classes) counts, true class by predicted class."""
        classes = self.scores.shape[1]
        flat = np.bincount(self.labels * classes + self.predictions, minlength=classes**2)
        return flat.reshape(classes, classes).astype(np.int64)

    def per_class(self, names: list[str]) -> pd.DataFrame:
        """A row per class: `class`, `samples`, `accuracy`, commonest error `taken_for`, `times`.

        Without samples the accuracy is NaN; `taken_for` is empty if there was no error.
        """
        confusion = self.confusion()
        sizes = confusion.sum(axis=1)
        wrong = confusion - np.diag(confusion.diagonal())
        most = wrong.max(axis=1)
        taken_for = [names[w] if n else "" for w, n in zip(wrong.argmax(axis=1), most, strict=True)]
        return pd.DataFrame(
            {
                "class": names,
                "samples": sizes,
                "accuracy": np.divide(
                    confusion.diagonal(), sizes, out=np.full(len(sizes), np.nan), where=sizes > 0
                ),
                "taken_for": taken_for,
                "times": most,
            }
        )

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Confidence interval of `top1`, see `wilson`."""
        return wilson(int(self.correct.sum()), len(self), level)


def wilson(right: int, samples: int, level: float = 0.95) -> tuple[float, float]:
    """Confidence interval of a share of right answers; there is at least one sample.

    Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    """
    from scipy.stats import binomtest  # takes half a second, and most processes do not need it

    low, high = binomtest(right, samples).proportion_ci(confidence_level=level, method="wilson")
    return float(low), float(high)


def snake_case(figures: Mapping[str, T]) -> dict[str, T]:
    """Figures under names in snake_case, for JSON: `mAP` becomes `map`."""
    return {name.lower(): figure for name, figure in figures.items()}


def mcnemar(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> tuple[int, int, float]:
    """Exact McNemar test of two paired lists of right and wrong answers.

    Returns how often only `a` and only `b` was right, and the two-sided p-value.
    """
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    if only_a + only_b == 0:
        return 0, 0, 1.0
    from scipy.stats import binomtest  # as above

    return only_a, only_b, float(binomtest(only_a, only_a + only_b).pvalue)


def check_same_ids(a: NDArray[np.str_], b: NDArray[np.str_], what: str) -> None:
    """Raises AclnetError that names ids that only one of two lists has; what: for the message."""
    first, second = set(a.tolist()), set(b.tolist())
    differing = [
        f"{len(only)} in the {side} only ({first_of(sorted(only), 3)})"
        for side, only in (("first", first - second), ("second", second - first))
        if only
    ]
    if differing:
        raise AclnetError(f"{what} have different samples: {'; '.join(differing)}")


def check_same_samples(a: Scores, b: Scores, what: str) -> None:
    """Raises AclnetError that names samples whose ids or labels differ; what: for the message."""
    check_same_ids(a.ids, b.ids, what)
    differing = np.flatnonzero(a.labels != b.labels)
    if len(differing):
        one = differing[0]
        raise AclnetError(
            f"{what} disagree on the class of {len(differing)} samples, first {a.ids[one]}: "
            f"{a.labels[one]} and {b.labels[one]}, counting from 0"
        )
