"""Parts of a report as plain values, which the page and the figures draw.

Classes are numbers of a `Labels`, shares are fractions of 1, and NaN stands for a missing number.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

Rows = list[dict[str, Any]]
"""Rows of a table: values by the name of the column."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A part without data."""

    reason: str
    """Reason, as a sentence."""
    command: str = ""
    """Command that makes the data, if there is one."""


@dataclass(frozen=True, slots=True)
class Labels:
    """Names of C classes or people, and their relations."""

    names: list[str]
    """(C,) names."""
    order: list[int]
    """Numbers of the classes that occur, with related classes side by side."""
    groups: list[int]
    """(C,) group of related classes, from 1 in `order`; 0 for classes without relatives."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts about a run: data, training, software and hardware."""

    groups: dict[str, dict[str, str]]
    """Facts by name, by heading."""
    config: str
    """All settings, as TOML."""


@dataclass(frozen=True, slots=True)
class Curves:
    """Figures of E trained epochs."""

    epochs: list[int]
    """(E,) numbers from 1."""
    figures: dict[str, list[float]]
    """(E,) columns of `metrics.csv`; NaN if a contrastive term had not started."""
    starts: dict[str, int]
    """First epoch in which a contrastive term was not zero, by the name of its column."""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Accuracies of all score files of a run."""

    rows: Rows
    """`scores` (name of the file), `tested` (whether it is the run's test split), `samples`,
    `top1`, `top1_low`, `top1_high`, `top5`, `mean_class`."""


@dataclass(frozen=True, slots=True)
class Classes:
    """Classes that occur in the test split."""

    rows: Rows
    """`class` (number), `samples`, `accuracy` with its 95 % interval `low` and `high`, `precision`,
    `taken_for` (the most frequent wrong prediction: number, or None) and `times`."""
    pairs: Rows
    """Pairs with the most confusions: `first`, `second` (numbers), `forth` (first predicted as
    second), `back`, which is at most `forth`, `samples` of both, and `family`, whether one is in
    the other's family."""


@dataclass(frozen=True, slots=True)
class Confusion:
    """Confusion matrix of the test split."""

    cells: list[tuple[int, int, int]]
    """True class, predicted class and count of each cell that is not zero."""
    samples: list[tuple[str, int, int, float]]
    """Id, true class, predicted class and its score of tested sequences."""
    whole: bool
    """True if `samples` has every sequence; otherwise it has errors only, and perhaps not all."""
    score: str
    """Name of the score, in words."""


@dataclass(frozen=True, slots=True)
class Families:
    """Motion families over K epochs."""

    labels: Labels
    origin: str
    """Source of the confusions, in words."""
    epochs: list[int]
    """(K,) numbers from 1; empty if there is no epoch."""
    affinity: list[list[tuple[int, int, float]]]
    """(K or 1,) pairs of classes (smaller number first) with their affinity, if it is not zero."""
    threshold: float
    """Affinity above which a pair is in one family."""
    rows: Rows
    """Families at the end: `class`, `temperature`, `members`: pairs of a class and the confusions
    in both directions."""


@dataclass(frozen=True, slots=True)
class Occlusion:
    """An occlusion bench of a run."""

    title: str
    """Split, clips and meaning of missing joints."""
    rows: Rows
    """`aclnet.evaluation.robustness.table`, with `short` (name of the protocol without the meaning
    of missing) and `curve` (name that its severities share, or None)."""


@dataclass(frozen=True, slots=True)
class Embedding:
    """A plane in which N embeddings of the test split keep their neighbours (t-SNE)."""

    kind: str
    """Embedding, in words."""
    total: int
    """Number of sequences of the split."""
    points: list[tuple[str, float, float, int]]
    """(N,) id, place, and true class."""
    columns: dict[str, list[str]]
    """(N,) further facts of the points, by name."""


@dataclass(frozen=True, slots=True)
class People:
    """Recognition of people."""

    tables: dict[str, Rows]
    """The protocol's tables by heading; shares are floats."""
    views: dict[str, list[tuple[int, int, float]]]
    """Probe view, gallery view and rank-1, by condition; empty for re-identification."""
    examples: Rows
    """Probes: `probe` (id), `person` (number), `right`, `rank` of the person, and `nearest`: pairs
    of a person and the similarity."""


@dataclass(frozen=True, slots=True)
class Skeletons:
    """Tested sequences whose skeletons are on the page."""

    examples: Rows
    """`id`, classes `true` and `predicted`, `score` of the predicted class, and `forms`: pairs of a
    role and an id. The roles are `sample`, and those of `aclnet.report.skeletons.Example`."""
    errors: int
    """Number of errors of the test split."""
    store: str
    """Path of the store."""
    prefix: str
    """Beginning of the keys in `Sequences.forms`; the id follows."""


@dataclass(frozen=True, slots=True)
class Sequences:
    """Joints of all sequences on the page."""

    layouts: Rows
    """Layouts from `aclnet.viewing.page.layout_data`."""
    forms: dict[str, dict[str, Any]]
    """Forms from `aclnet.viewing.page.form_data` by key, each with the `length` of the sequence
    in frames, `fps`, and whether the frame rate is known (`timed`)."""


@dataclass(frozen=True, slots=True)
class Improvement:
    """A run against the first one, on the same test samples."""

    run: int
    """Number of the run."""
    total: dict[str, float]
    """`first`, `second`, `difference`, `low`, `high`, `effect`, `visible` as in
    `aclnet.evaluation.bootstrap.Difference`, and `only_first`, `only_second`, `p` of McNemar's
    test."""
    classes: Rows
    """Rows of `aclnet.evaluation.compare.by_class`, with `only_first`, `only_second`, `p` and `q`,
    the p-value corrected for the number of classes. The largest gain is first."""
    unit: str
    """Unit that the bootstrap draws: sequences or people."""


@dataclass(frozen=True, slots=True)
class RunReport:
    """All parts of the report of a run."""

    name: str
    path: str
    store_option: str
    """Option that commands on the run need; empty if its store is known."""
    task: str
    labels: Labels
    """Classes of the test scores."""
    headline: list[tuple[str, str, str]]
    """Label, figure and remark of each of the most important figures."""
    facts: Facts
    curves: Curves | Missing
    accuracy: Accuracy | Missing
    confusion: Confusion | Missing
    classes: Classes | Missing
    families: Families | Missing
    occlusion: list[Occlusion] | Missing
    embedding: Embedding | Missing
    people: People | Missing | None
    """Tables of people; None for actions."""
    skeletons: Skeletons | Missing


@dataclass(frozen=True, slots=True)
class Report:
    """A report of one or more runs."""

    runs: list[RunReport]
    improvements: list[Improvement | Missing] = field(default_factory=list)
    """One for each run except the first."""
    sequences: Sequences = field(default_factory=lambda: Sequences([], {}))
    """Joints for the skeletons of all runs."""


def rows_of(table: pd.DataFrame) -> Rows:
    """Rows of a table as plain values."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
