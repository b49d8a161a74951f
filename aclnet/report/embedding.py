"""Embeddings of a run's test split in a plane."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aclnet.datasets.spec import AclnetError, silent
from aclnet.report.parts import Embedding, Missing
from aclnet.retrieval.ranking import UNKNOWN_VIEW, sequence_level

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from aclnet.datasets.spec import Progress
    from aclnet.datasets.store.store import Store
    from aclnet.retrieval.ranking import Embeddings
    from aclnet.runs.run import Run

_LEAST = 10
"""Fewer sequences have no neighbourhoods to show."""
_PERPLEXITY = 30.0
_KINDS = {
    "pooled": "activations before the classifier",
    "contrastive": "contrastive embedding",
    "both": "activations before the classifier and contrastive embedding",
}


def embedding_of(
    run: Run,
    store: Path | None,
    most: int,
    *,
    accelerator: str = "auto",
    progress: Progress = silent,
) -> Embedding | Missing:
    """t-SNE of at most `most` sequences of the test split, as many of each class as possible.

    Embeds the sequences with one clip each; Missing where the store or the weights are not there.
    """
    if not most:
        return Missing(
            "The report was made without embeddings. Make it again without --sequences 0."
        )
    try:
        total, found = _embed(run, store, most, accelerator, progress)
    except AclnetError as error:
        return Missing(f"The test split could not be embedded: {error}.")
    if len(found) < _LEAST:
        return Missing(f"The test split has {len(found)} sequences, too few for a map.")
    places = _plane(found.vectors)
    columns = {"condition": [c or "none" for c in found.condition.tolist()]}
    columns["view"] = ["none" if c == UNKNOWN_VIEW else str(c) for c in found.camera.tolist()]
    return Embedding(
        kind=_KINDS[run.config.retrieval.embedding],
        total=total,
        points=[
            (id_, round(x, 3), round(y, 3), label)
            for id_, (x, y), label in zip(
                found.ids.tolist(), places.tolist(), found.label.tolist(), strict=True
            )
        ],
        columns={name: values for name, values in columns.items() if len(set(values)) > 1},
    )


def _embed(
    run: Run, path: Path | None, most: int, accelerator: str, progress: Progress
) -> tuple[int, Embeddings]:
    from aclnet.datasets.opening import open_store
    from aclnet.evaluation.scorer import Scorer
    from aclnet.retrieval.embedder import Embedder
    from aclnet.runs.inference import Pass

    store = open_store(path) if path else run.open_store()
    scorer = Scorer(run, store, accelerator=accelerator)
    embedder = Embedder.of_run(run, store, scorer.config, scorer.device)
    rows = np.flatnonzero(scorer.mask & (store.column("variant") == 0))
    mask = np.zeros(len(store), np.bool_)
    mask[rows[_evenly(store, rows, most)]] = True
    found = embedder(store, mask, clips=1, how=Pass(progress=progress, stage="embeddings"))
    return len(rows), sequence_level(found)


def _evenly(store: Store, rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Places in `rows` of the first `most` samples when classes take turns, each in id order."""
    ids, labels = store.column("id")[rows], store.column("label")[rows]
    turn = np.empty(len(rows), np.int64)
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        turn[own[np.argsort(ids[own], kind="stable")]] = np.arange(len(own))
    return np.lexsort([ids, labels, turn])[:most]


def _plane(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """(N, 2) from 0 to 1.

    van der Maaten and Hinton, "Visualizing data using t-SNE", JMLR 9 (2008).
    """
    from sklearn.manifold import TSNE

    perplexity = min(_PERPLEXITY, (len(vectors) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, init="pca", random_state=0)
    places = np.asarray(tsne.fit_transform(vectors), np.float64)
    places -= places.min(axis=0)
    return places / max(float(places.max()), 1e-9)
