"""Summary of a store as plain values, for a table or for JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aclnet.datasets.spec import UNLABELLED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from aclnet.datasets.store.contents import FrameArray
    from aclnet.datasets.store.store import Store

_BINS = 8


def summarise(store: Store) -> dict[str, Any]:
    """Facts, splits, histogram of lengths, rejected inputs and arrays of a store.

    Plain values for JSON. `frames` and `lengths` are frames per sequence; `subjects` and `cameras`
    are None if they are unknown; `conversion` and `augmentation` are None if there was none.
    """
    attributes = store.attributes
    original = store.column("variant") == 0
    frames, persons = (store.column(n)[original] for n in ("n_frames", "n_persons"))
    labels = store.column("label")
    conversion = {name: attributes.conversion.get(name, []) for name in ("layouts", "approximated")}
    return {
        "dataset": attributes.title,
        "samples": int(original.sum()),
        "stored_variants": int((~original).sum()),
        "classes": len(store.class_names),
        "unlabelled": int((labels[original] == UNLABELLED).sum()),
        "subjects": _distinct(store, "subject"),
        "cameras": _distinct(store, "camera"),
        "layout": store.layout.name,
        "joints": store.layout.num_joints,
        "conversion": conversion if attributes.conversion else None,
        "units": attributes.units,
        "persons": [{"persons": n, "sequences": count} for n, count in _counts(persons)],
        "frames": {
            "min": int(frames.min()),
            "max": int(frames.max()),
            "median": float(np.median(frames)),
        },
        "cleaning": attributes.cleaning,
        "normalisation": attributes.normalisation,
        "augmentation": attributes.options.get("augment") or None,
        "shards": store.shards,
        "shard_rows": store.shard_rows,
        "bytes": store.stored_bytes(),
        "digest": store.digest,
        "members": [
            {
                "store": str(member.path),
                "dataset": member.attributes.title,
                "samples": int((member.column("variant") == 0).sum()),
                "classes": len(member.class_names),
                "digest": member.digest,
            }
            for member in store.members
        ],
        "remarks": list(store.remarks),
        "splits": [
            {
                "split": name,
                "samples": int(mask.sum()),
                "classes": len(np.unique(labels[mask])),
                "subjects": _distinct(store, "subject", mask),
            }
            for name, mask in store.splits.items()
        ],
        "lengths": _histogram(frames),
        "rejected": [{"kind": kind, "files": n} for kind, n in attributes.rejected.items()],
        "arrays": [_array(name, array) for name, array in store.frame_arrays().items()],
    }


def facts(summary: Mapping[str, Any]) -> list[tuple[str, object]]:
    """The facts of `summarise` in words, for people: pairs of a name and a value."""
    frames, persons = summary["frames"], summary["persons"]
    return [
        ("dataset", summary["dataset"]),
        ("samples", summary["samples"]),
        ("stored variants", summary["stored_variants"]),
        ("classes", summary["classes"]),
        ("unlabelled", summary["unlabelled"]),
        ("subjects", _known(summary["subjects"])),
        ("cameras", _known(summary["cameras"])),
        ("layout", f"{summary['layout']}, {summary['joints']} joints"),
        ("converted", _conversion(summary["conversion"])),
        ("units", summary["units"]),
        ("persons a sequence", ", ".join(f"{p['persons']}: {p['sequences']}" for p in persons)),
        ("frames", f"{frames['min']} to {frames['max']}, median {frames['median']:.0f}"),
        ("cleaning", summary["cleaning"]),
        ("normalisation", summary["normalisation"]),
        ("augmentation", summary["augmentation"] or "none"),
        ("shards", f"{summary['shards']} of {summary['shard_rows']} rows"),
        ("bytes", summary["bytes"]),
        ("digest", summary["digest"][:16]),
    ]


def _known(count: int | None) -> int | str:
    return "unknown" if count is None else count


def _conversion(conversion: Mapping[str, list[str]] | None) -> str:
    if conversion is None:
        return "no"
    approximated = ", ".join(conversion["approximated"]) or "none"
    return f"{' -> '.join(conversion['layouts'])}, approximated: {approximated}"


def _distinct(store: Store, name: str, mask: NDArray[np.bool_] | None = None) -> int | None:
    values = store.column(name) if mask is None else store.column(name)[mask]
    known = values[values >= 0]
    return len(np.unique(known)) if len(known) or not len(values) else None


def _counts(values: np.ndarray[Any, Any]) -> list[tuple[int, int]]:
    found, counts = np.unique(values, return_counts=True)
    return list(zip(found.tolist(), counts.tolist(), strict=True))


def _histogram(frames: np.ndarray[Any, Any]) -> list[dict[str, int]]:
    counts, edges = np.histogram(frames, bins=min(_BINS, int(np.ptp(frames)) + 1))
    first = np.ceil(edges[:-1]).astype(int).tolist()
    last = [*(number - 1 for number in first[1:]), int(frames.max())]
    return [
        {"first": low, "last": high, "sequences": count}
        for low, high, count in zip(first, last, counts.tolist(), strict=True)
    ]


def _array(name: str, array: FrameArray) -> dict[str, Any]:
    return {
        "name": name,
        "shape": list(array.shape),
        "dtype": array.dtype,
        "bytes": array.bytes,
        "bytes_stored": array.stored,
    }
