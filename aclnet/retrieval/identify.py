"""Identification of people: the nearest person of a gallery, or unknown."""

from __future__ import annotations

from math import inf, nan
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from aclnet.datasets.spec import AclnetError, silent
from aclnet.datasets.store import manifest
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
    """The people of a gallery that are nearest to each probe, by the embedding of a run.

    Args:
        gallery: whom the probes may be; `side` of it, as `gait/gallery`, or all originals.
        probes: ids of sequences of the gallery, which are compared with all others of it, and
            stores, of which every original is a probe.
        threshold: who is further is unknown; None: `threshold_of` the run, which may be none.
        top: how many people a probe is told.

    Returns:
        `top` rows a probe, the nearest first, fewer where there are fewer people (and one where
        there is nobody else): `store` and `probe`, `answer` (`UNKNOWN`, or the name of the
        nearest), `place` from 1, `person`, `distance`, and `recording`, that person's nearest.

    AclnetError on an id that the gallery does not have, an empty side, and a store that is not
    what the run was trained on.
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
    """The distance that a run chose on people whom it held out; None where it held out none."""
    chosen = (run.record.result or {}).get("unknown")
    return float(chosen["threshold"]) if chosen else None


def _known(gallery: Store, side: str | None) -> NDArray[np.bool_]:
    original = np.asarray(gallery.column("variant") == 0)
    known = original & gallery.mask(side) if side else original
    if not known.any():
        raise AclnetError(f"{gallery.path}: {side} has no sample, so that nobody is known")
    return known


def _probes(
    run: Run, gallery: Store, probes: Sequence[str | Store]
) -> list[tuple[Store, NDArray[np.bool_]]]:
    """Stores, and masks of what of them are probes."""
    named = [probe for probe in probes if isinstance(probe, str)]
    ids, original = gallery.column("id"), gallery.column("variant") == 0
    for name in named:
        if name not in ids[original]:
            raise AclnetError(
                f"{name} is neither a store nor the id of a sequence of {gallery.path}; "
                "prepare recordings as the run's store was (aclnet prepare), and give that store"
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
    """Of `top` people, the nearest first: their number, and the row of their nearest recording."""
    nearest: dict[int, int] = {}
    for place in np.argsort(distance, kind="stable").tolist():
        if others[place]:
            nearest.setdefault(int(label[place]), place)
        if len(nearest) == top:
            break
    return nearest


def open_probes(probes: Sequence[str]) -> list[str | Store]:
    """Stores where a path holds one, else ids."""
    return [
        Store(Path(probe)) if (Path(probe) / manifest.NAME).is_file() else probe for probe in probes
    ]
