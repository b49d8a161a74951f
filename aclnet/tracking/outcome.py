"""The results of a finished run, as trackers get them."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from aclnet.tracking.contract import LabelledVectors, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from numpy.typing import NDArray

    from aclnet.datasets.store.store import Store
    from aclnet.retrieval.embedder import Embedder
    from aclnet.runs.run import Run

_EMBEDDED = 2000
"""Largest number of sequences that are embedded."""


def outcome_of(
    run: Run, store: Store, test: NDArray[np.bool_], embedder: Callable[[], Embedder]
) -> Outcome:
    """The results of a finished run.

    `test` (N,) marks the rows of its test split in the store; `embedder` makes an embedder with the
    run's network.
    """
    return Outcome(
        run.config.optim.epochs,
        _numbers(run.result),
        lambda: _draw(run),
        lambda: _embed(store, test, embedder()),
    )


def _numbers(result: dict[str, Any]) -> dict[str, float]:
    numeric = {name: value for name, value in result.items() if isinstance(value, int | float)}
    return {f"test/{name}": float(value) for name, value in numeric.items()}


def _draw(run: Run) -> dict[str, NDArray[np.uint8]]:
    from aclnet.evaluation.family_table import family_table
    from aclnet.evaluation.figures import draw_affinity, draw_confusion
    from aclnet.runs.scores import Scores

    with TemporaryDirectory() as folder:
        images = {"affinity": _pixels(draw_affinity(family_table(run), Path(folder, "a.png")))}
        if run.config.task == "action" and run.test_scores.is_file():
            confusion = Scores.load(run.test_scores).confusion()
            file = draw_confusion(confusion, run.score_names, Path(folder, "c.png"))
            images["confusion"] = _pixels(file)
    return images


def _pixels(png: Path) -> NDArray[np.uint8]:
    """(H, W, 3) of a PNG file."""
    from matplotlib import image

    return np.round(255 * image.imread(png)[..., :3]).astype(np.uint8)


def _embed(store: Store, test: NDArray[np.bool_], embedder: Embedder) -> LabelledVectors | None:
    """Embeddings of sequences that are spread evenly over the test split, from one clip each."""
    rows = np.flatnonzero(test & (store.column("variant") == 0))
    if not len(rows):
        return None
    chosen = np.zeros(len(store), np.bool_)
    chosen[rows[np.linspace(0, len(rows) - 1, min(len(rows), _EMBEDDED)).astype(np.int64)]] = True
    found = embedder.sequences(store, chosen, clips=1)
    name_of = dict(zip(store.column("id")[rows], store.column("label")[rows], strict=True))
    labels = [store.class_names[name_of[identity]] for identity in found.ids]
    return LabelledVectors(found.vectors, labels)
