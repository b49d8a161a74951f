"""The card of a store: its content, its preparation, and its limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aclnet.datasets.store.joined import JoinedStore
from aclnet.datasets.store.summary import facts, summarise
from aclnet.sharing.croissant import SAMPLES
from aclnet.sharing.markdown import front_matter, listed, plain, table
from aclnet.sharing.origin import TASKS, origin, published, tags

if TYPE_CHECKING:
    from aclnet.datasets.store.store import Store

_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"))
_LARGEST = "1M<n<10M"


def dataset_card(store: Store, license_id: str | None = None) -> str:
    """The card as Markdown, with the Hub's YAML at its head.

    `license_id` is an identifier of the Hub (`cc-by-4.0`); None: unknown.
    """
    spec = published(store.name)
    task = spec.task if spec else "action"
    summary = summarise(store)
    title = store.attributes.title
    head = {
        "pretty_name": f"{title}, skeletons prepared by aclnet",
        "license": license_id or "unknown",
        "task_categories": ["other"],
        "tags": tags(task),
        "size_categories": [_size(summary["samples"])],
        "configs": [{"config_name": "samples", "data_files": SAMPLES}],
    }
    parts = [
        front_matter(head),
        f"# {plain(title)}: skeletons for {TASKS[task]}",
        "Normalised skeleton sequences in a Zarr store (format 3), prepared by "
        f"aclnet {plain(store.attributes.software.get('aclnet', ''))}. "
        f"`{SAMPLES}` lists the sequences; `croissant.json` describes the files.",
        "## Origin",
        origin(spec),
        "## Contents",
        table(["fact", "value"], facts(summary)),
        "### Splits",
        table(
            ["split", "samples", "classes", "subjects"],
            [split.values() for split in summary["splits"]],
        ),
        "### Classes",
        table(["label", "class", "samples"], _classes(store)),
        "## Preparation",
        table(["option", "value"], _options(store)),
        _rejected(store.attributes.rejected),
        "## Use",
        _USE.replace("PLACE", _place_of_joints(store)),
        "## Limits",
        listed(_limits(store)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


_USE = """\
```python
import aclnet, xarray

store = aclnet.open_store("FOLDER")           # compares every file that it reads with its hash
sequence = store.sequence(0)                  # (persons, frames, joints, coordinates)
joints = xarray.open_zarr("PLACE", group="frames")
```

`aclnet verify FOLDER` compares every byte with `manifest.json`."""


def _place_of_joints(store: Store) -> str:
    """Path of the Zarr group of a store, or of the first one of a set."""
    return f"FOLDER/{store.record.members[0].path}" if isinstance(store, JoinedStore) else "FOLDER"


def _size(samples: int) -> str:
    return next((name for most, name in _SIZES if samples < most), _LARGEST)


def _classes(store: Store) -> list[list[object]]:
    labels = store.column("label")[store.column("variant") == 0]
    counts = np.bincount(labels[labels >= 0], minlength=len(store.class_names))
    return [[n, *row] for n, row in enumerate(zip(store.class_names, counts, strict=True))]


def _options(store: Store) -> list[list[Any]]:
    attributes = store.attributes
    facts = {
        "cleaning": attributes.cleaning,
        "normalisation": attributes.normalisation,
        "units": attributes.units,
    }
    given = {name: value for name, value in attributes.options.items() if value not in ("", None)}
    return [[name, value] for name, value in (facts | given).items()]


def _rejected(rejected: dict[str, int]) -> str:
    if not rejected:
        return "No recording was rejected."
    return f"Rejected recordings:\n\n{table(['reason', 'recordings'], rejected.items())}"


def _limits(store: Store) -> list[str]:
    found = [
        "The sequences show people. Numbers of subjects are kept, and body proportions and gait "
        "can identify a person.",
    ]
    if store.attributes.conversion.get("approximated"):
        joints = ", ".join(store.attributes.conversion["approximated"])
        found.append(f"The joints {plain(joints)} are approximated from other joints.")
    if store.attributes.options.get("normalise", "default") != "default":
        found.append("Body size was removed, and the raw coordinates cannot be computed again.")
    if str(store.attributes.options.get("dtype")) == "int16":
        found.append("Coordinates are rounded to int16 (see the attributes of `frames/keypoint`).")
    labels = store.column("label")
    empty = [n for c, n in enumerate(store.class_names) if not (labels == c).any()]
    if empty:
        found.append(f"{len(empty)} classes have no sample: {plain(', '.join(empty))}.")
    if not store.protocols:
        found.append("The store defines no split.")
    found.append(
        "The labels are those of the raw recordings. aclnet does not check whether they are right."
    )
    return found
