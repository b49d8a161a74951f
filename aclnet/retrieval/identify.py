"""Identification of people: the nearest person of a gallery, or unknown."""

from __future__ import annotations

from math import inf, nan
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from aclnet.datasets.opening import open_store
from aclnet.datasets.spec import AclnetError, silent
from aclnet.datasets.store.paths import store_path
from aclnet.datasets.store.places import is_store
from aclnet.datasets.store.store import Store
from aclnet.retrieval.embedder import Embedder
from aclnet.retrieval.ranking import distance_rows, sequence_level
from aclnet.runs.device import choose_device
from aclnet.runs.inference import Pass
from aclnet.runs.network import check_same_input

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aclnet.datasets.spec import Progress
    from aclnet.retrieval.ranking import Embeddings
    from aclnet.runs.run import Run

UNKNOWN = "unknown"


def identify(
    run: Run,
    gallery: Store,
    probes: Sequence[str | Store],
    *,
    side: str | None = None,
    threshold: float | None = None,
    top: int = 3,
    accelerator: str = "auto",
    progress: Progress = silent,
) -> pd.DataFrame:
    """The people of a gallery who are nearest to each probe, by the embedding of a run.

    Args:
        gallery: known people; its `side`, for example `gait/gallery`, or all originals.
        probes: ids of sequences of the gallery, which are compared with all other sequences, and
            stores, whose originals are all probes.
        threshold: distance above which a probe is unknown; None: `threshold_of` the run, if any.
        top: number of people to list for each probe.

    Returns:
        `top` rows per probe, the nearest first; fewer if there are fewer people, and one if there
        is no other person. Columns: `store` and `probe`, `answer` (`UNKNOWN`, or the name of the
        nearest), `place` from 1, `person`, `distance`, and `recording`, that person's nearest.

    Raises AclnetError for an id that the gallery does not have, an empty side, and a store that
    differs from the run's training data.
    """
    threshold = threshold_of(run) if threshold is None else threshold
    embedder = Embedder.of_run(run, gallery, run.config, choose_device(accelerator))

    def embed(title: str, store: Store, mask: NDArray[np.bool_]) -> Embeddings:
        return sequence_level(embedder(store, mask, how=Pass(progress=progress, stage=title)))

    known = embed("gallery", gallery, _known(gallery, side))
    rows: list[dict[str, object]] = []
    for store, mask in _probes(run, gallery, probes):
        probe = embed("probes", store, mask)
        found = distance_rows(probe, known, run.config.retrieval.metric)
        for own, distance in zip(probe.ids.tolist(), found, strict=True):
            # the same id in another store is another recording
            others = known.ids != own if store.digest == gallery.digest else known.ids != ""
            nearest = _nearest(distance, known.label, others, top)
            closest = min((distance[place] for place in nearest.values()), default=inf)
            is_known = nearest and (threshold is None or closest <= threshold)
            answer = gallery.class_names[next(iter(nearest))] if is_known else UNKNOWN
            about = {"store": str(store.path), "probe": own, "answer": answer}
            rows += [
                {
                    **about,
                    "place": number,
                    "person": gallery.class_names[label],
                    "distance": float(distance[place]),
                    "recording": str(known.ids[place]),
                }
                for number, (label, place) in enumerate(nearest.items(), start=1)
            ] or [{**about, "place": 1, "person": "", "distance": nan, "recording": ""}]
    columns = ["store", "probe", "answer", "place", "person", "distance", "recording"]
    return pd.DataFrame(rows, columns=columns)


def threshold_of(run: Run) -> float | None:
    """The distance that a run chose on held-out people; None if it held out nobody."""
    chosen = (run.record.result or {}).get("unknown")
    return float(chosen["threshold"]) if chosen else None


def _known(gallery: Store, side: str | None) -> NDArray[np.bool_]:
    original = np.asarray(gallery.column("variant") == 0)
    known = original & gallery.mask(side) if side else original
    if not known.any():
        raise AclnetError(f"{gallery.path}: {side} has no sample, so no person is known")
    return known


def _probes(
    run: Run, gallery: Store, probes: Sequence[str | Store]
) -> list[tuple[Store, NDArray[np.bool_]]]:
    """Stores, and masks of their probes."""
    named = [probe for probe in probes if isinstance(probe, str)]
    ids, original = gallery.column("id"), gallery.column("variant") == 0
    for name in named:
        if name not in ids[original]:
            raise AclnetError(
                f"{name} is neither a store nor the id of a sequence of {gallery.path}; prepare "
                "the recordings like the run's store (aclnet prepare), and give the new store"
            )
    found = [(gallery, original & np.isin(ids, named))] if named else []
    for store in probes:
        if isinstance(store, Store):
            check_same_input(run, store)
            found.append((store, store.column("variant") == 0))
    return found


def _nearest(
    distance: NDArray[np.float64],
    label: NDArray[np.int64],
    others: NDArray[np.bool_],
    top: int,
) -> dict[int, int]:
    """The `top` nearest people, nearest first, each with the row of the nearest recording."""
    nearest: dict[int, int] = {}
    for place in np.argsort(distance, kind="stable").tolist():
        if others[place]:
            nearest.setdefault(int(label[place]), place)
        if len(nearest) == top:
            break
    return nearest


def open_probes(probes: Sequence[str]) -> list[str | Store]:
    """Stores for paths that hold one, else ids."""
    return [open_store(probe) if is_store(store_path(probe)) else probe for probe in probes]
