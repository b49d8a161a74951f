"""Summary of a store as plain values, for a table or for JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aclnet.datasets.spec import UNLABELLED
from aclnet.datasets.store import zarr_io

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aclnet.datasets.store.store import Store

_BINS = 8


def summarise(store: Store) -> dict[str, Any]:
    """Facts, splits, histogram of lengths, rejected inputs and arrays of a store."""
    attributes = store.attributes
    original = store.column("variant") == 0
    frames, persons = (store.column(n)[original] for n in ("n_frames", "n_persons"))
    stored = {name: file.bytes for name, file in store.manifest.all_files.items()}
    facts = {
        "dataset": attributes.title,
        "samples": int(original.sum()),
        "stored variants": int((~original).sum()),
        "classes": len(store.class_names),
        "unlabelled": int((store.column("label")[original] == UNLABELLED).sum()),
        "subjects": _distinct(store, "subject"),
        "cameras": _distinct(store, "camera"),
        "layout": f"{store.layout.name}, {store.layout.num_joints} joints",
        "converted": _conversion(attributes.conversion),
        "units": attributes.units,
        "persons a sequence": ", ".join(f"{n}: {c}" for n, c in _counts(persons)),
        "frames": f"{frames.min()} to {frames.max()}, median {int(np.median(frames))}",
        "cleaning": attributes.cleaning,
        "normalisation": attributes.normalisation,
        "augmentation": attributes.options.get("augment") or "none",
        "shards": f"{len(store.manifest.shards)} of {store.shard_rows} rows",
        "bytes": sum(stored.values()),
        "digest": store.digest[:16],
    }
    labels = store.column("label")
    splits = [
        [name, int(mask.sum()), len(np.unique(labels[mask])), _distinct(store, "subject", mask)]
        for name, mask in store.splits.items()
    ]
    return {
        "facts": facts,
        "splits": splits,
        "lengths": _histogram(frames),
        "rejected": attributes.rejected,
        "arrays": [_array(store, name, stored) for name in _arrays(store)],
    }


def _conversion(conversion: dict[str, list[str]]) -> str:
    if not conversion:
        return "no"
    approximated = ", ".join(conversion.get("approximated", ())) or "none"
    return f"{' -> '.join(conversion.get('layouts', ()))}, approximated: {approximated}"


def _distinct(store: Store, name: str, mask: NDArray[np.bool_] | None = None) -> int | str:
    values = store.column(name) if mask is None else store.column(name)[mask]
    known = values[values >= 0]
    return len(np.unique(known)) if len(known) or not len(values) else "unknown"


def _counts(values: np.ndarray[Any, Any]) -> list[tuple[int, int]]:
    found, counts = np.unique(values, return_counts=True)
    return list(zip(found.tolist(), counts.tolist(), strict=True))


def _histogram(frames: np.ndarray[Any, Any]) -> list[list[Any]]:
    counts, edges = np.histogram(frames, bins=min(_BINS, int(np.ptp(frames)) + 1))
    first = np.ceil(edges[:-1]).astype(int).tolist()
    last = [*(number - 1 for number in first[1:]), int(frames.max())]
    most = counts.max()
    return [
        [f"{low}-{high}", count, "#" * round(24 * count / most)]
        for low, high, count in zip(first, last, counts.tolist(), strict=True)
    ]


def _arrays(store: Store) -> list[str]:
    return sorted({name.partition("/c/")[0] for name in store.manifest.shards[0].files})


def _array(store: Store, name: str, stored: dict[str, int]) -> list[Any]:
    array = zarr_io.open_array(store.path, name)
    size = sum(n for file, n in stored.items() if file.startswith(f"{name}/"))
    plain = array.nbytes
    return [name, "x".join(map(str, array.shape)), str(array.dtype), size, f"{plain / size:.2f}"]
