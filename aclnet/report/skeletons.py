"""Skeletons of a report: the sequences to look at, and their joints."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from aclnet.datasets.opening import open_store
from aclnet.datasets.spec import AclnetError, silent
from aclnet.evaluation.scorer import Scorer
from aclnet.report.parts import Missing, Sequences, Skeletons
from aclnet.report.people import shown_probes, worst_first
from aclnet.runs.inference import Pass
from aclnet.viewing.forms import FPS, frame_rate, stored_form
from aclnet.viewing.page import form_data, layout_data

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray

    from aclnet.datasets.spec import Progress
    from aclnet.datasets.spec.layouts import Layout
    from aclnet.datasets.store.store import Store
    from aclnet.runs.run import Run
    from aclnet.runs.scores import Scores

FRAMES = 300
"""Frames of a sequence on the page: its first ones."""
_PROBES = 60
"""Probes whose matches are searched, which bounds the time."""


class Example(NamedTuple):
    """A tested sequence, and those to see beside it."""

    row: int
    """Row of the scores."""
    beside: dict[str, str]
    """Ids by role: `recognised`, a sequence of the class that it was taken for; of a probe `wrong`
    and `right`, the nearest sequence of the person in the answer and of its own person."""


class Shelf:
    """Joints of sequences for the page, each sequence once, within a number of bytes."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.bytes = 0
        self._allowed = limit
        self._layouts: list[Layout] = []
        self._forms: dict[str, dict[str, Any]] = {}

    def allow(self, share: float) -> None:
        """Allows this share of the bytes, those in use included."""
        self._allowed = share * self.limit

    def put(self, store: Store, ids: Iterable[str]) -> bool:
        """Adds all of the sequences, or none if they need more bytes than are allowed."""
        forms = {key_of(store, id_): id_ for id_ in ids}
        new = {
            key: _form_of(store, id_, self._layouts)
            for key, id_ in forms.items()
            if key not in self._forms
        }
        size = sum(len(json.dumps({k: f}, separators=(",", ":"))) for k, f in new.items())
        if self.bytes + size > self._allowed:
            return False
        self.bytes += size
        self._forms |= new
        return True

    @property
    def sequences(self) -> Sequences:
        """Everything on it."""
        return Sequences([layout_data(layout) for layout in self._layouts], self._forms)


def skeletons_of(
    run: Run,
    scores: Scores,
    path: Path | None,
    shelf: Shelf,
    *,
    accelerator: str = "auto",
    progress: Progress = silent,
) -> Skeletons | Missing:
    """Puts the skeletons of errors on the shelf, until an example has no room.

    Args:
        run: the run.
        scores: scores of its test split.
        path: the store; None: the run's own.
        shelf: where the joints go.
        accelerator: device on which the matches of probes are searched.
        progress: told of the embeddings for this search.

    Returns:
        The content of the shelf, or Missing if the store (for people, the weights) is not there.
    """
    if not shelf.limit:
        return Missing(
            "The report was made without skeletons. Make it again without --skeletons 0."
        )
    try:
        store = open_store(path) if path else run.open_store()
        examples = (
            actions_to_show(scores)
            if run.config.task == "action"
            else _people_to_show(run, store, scores, accelerator, progress)
        )
        return _put(store, scores, examples, shelf)
    except AclnetError as error:
        return Missing(f"The skeletons could not be read: {error}.")


def key_of(store: Store, sample_id: str) -> str:
    """Name of a sequence on a page, which sequences of other stores do not have."""
    return f"{store.digest[:12]}/{sample_id}"


def actions_to_show(scores: Scores) -> Iterator[Example]:
    """The errors in order, each beside a sequence that is recognised.

    Rounds over the pairs of classes that are confused, the pair with the most confusions first:
    the most confident error of each pair, then the second of each pair, and so on. Beside an error
    is the most confident correct sequence of the class that it was taken for, if there is one.
    """
    best = scores.scores.max(axis=1)
    recognised: dict[int, str] = {}
    right = np.flatnonzero(scores.correct)
    for row in right[np.argsort(-best[right], kind="stable")].tolist():
        recognised.setdefault(int(scores.labels[row]), str(scores.ids[row]))
    for row in _in_rounds(scores, best).tolist():
        found = recognised.get(int(scores.predictions[row]))
        yield Example(row, {} if found is None else {"recognised": found})


def _in_rounds(scores: Scores, best: NDArray[np.float32]) -> NDArray[np.int64]:
    """Rows of the errors in the order of `actions_to_show`."""
    wrong = np.flatnonzero(~scores.correct)
    true, predicted = scores.labels[wrong], scores.predictions[wrong]
    numbers = np.minimum(true, predicted) * scores.scores.shape[1] + np.maximum(true, predicted)
    _, pair, count = np.unique(numbers, return_inverse=True, return_counts=True)
    order = np.lexsort((-best[wrong], pair))
    turn = np.empty(len(wrong), np.int64)
    turn[order] = np.arange(len(wrong)) - (np.cumsum(count) - count)[pair[order]]
    place = np.empty(len(count), np.int64)
    place[np.argsort(-count, kind="stable")] = np.arange(len(count))
    return np.asarray(wrong[np.lexsort((place[pair], turn))])


def _people_to_show(
    run: Run, store: Store, scores: Scores, accelerator: str, progress: Progress
) -> Iterator[Example]:
    """The probes of the examples of retrieval, then further errors, the worst rank first.

    Beside each is the nearest sequence of the person in the answer, if that is wrong, and the
    nearest one of its own person.
    """
    rows = list(dict.fromkeys([*shown_probes(scores), *worst_first(scores)]))[:_PROBES]
    people = np.stack([scores.predictions[rows], scores.labels[rows]], axis=1)
    scorer = Scorer(run, store, accelerator=accelerator)
    found = scorer.matches(scores.ids[rows], people, Pass(progress=progress, stage="skeletons"))
    for row, (wrong, right) in zip(rows, found.tolist(), strict=True):
        beside = {"wrong": "" if scores.correct[row] else wrong, "right": right}
        yield Example(row, {role: id_ for role, id_ in beside.items() if id_})


def _put(store: Store, scores: Scores, examples: Iterable[Example], shelf: Shelf) -> Skeletons:
    """Puts examples on the shelf until one has no room; those not in the store are left out."""
    known = set(store.column("id").tolist())
    rows = []
    for example in examples:
        own = str(scores.ids[example.row])
        forms = {"sample": own, **example.beside}
        if not known.issuperset(forms.values()):
            continue
        if not shelf.put(store, forms.values()):
            break
        rows.append(
            {
                "id": own,
                "true": int(scores.labels[example.row]),
                "predicted": int(scores.predictions[example.row]),
                "score": round(float(scores.scores[example.row].max()), 4),
                "forms": [*forms.items()],
            }
        )
    return Skeletons(rows, int((~scores.correct).sum()), str(store.path), key_of(store, ""))


def _form_of(store: Store, sample_id: str, layouts: list[Layout]) -> dict[str, Any]:
    """A sequence for the viewer, and what the viewer says of it."""
    row = store.row_of(sample_id)
    rate = frame_rate(store)
    data = form_data(stored_form(store, row, FRAMES), layouts, compact=True)
    length = int(store.column("n_frames")[row])
    return data | {"length": length, "fps": rate or FPS, "timed": rate is not None}
