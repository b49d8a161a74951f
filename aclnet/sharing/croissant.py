"""Croissant metadata of a store (https://docs.mlcommons.org/croissant), and its table of samples.

Croissant's readers do not know Zarr. They read the table, which has a row for each sequence; the
joints are described as a set of files.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aclnet.datasets.store import manifest, zarr_io
from aclnet.sharing.origin import TASKS, published, tags

if TYPE_CHECKING:
    import pandas as pd

    from aclnet.datasets.store.contents import StoreContents
    from aclnet.datasets.store.store import Store

NAME = "croissant.json"
SAMPLES = "samples.csv"
CONFORMS_TO = "http://mlcommons.org/croissant/1.0"

_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""Croissant's own context; readers warn of another one."""
_MEANINGS = {
    "row": "Number of the sequence in the store, from 0.",
    "id": "Name of the recording.",
    "label": "Number of the class; -1 without a class.",
    "class": "Name of the class.",
    "variant": "0 for a recording; 1 and more for its stored augmented copies.",
    "original": "Name of the recording that a stored copy was made from.",
    "subject": "Number of the person; -1 if unknown.",
    "camera": "Number of the camera; -1 if unknown.",
    "setup": "Number of the setup; -1 if unknown.",
    "replication": "Number of the repetition; -1 if unknown.",
    "width": "Width of the image in pixels; not positive if unknown.",
    "height": "Height of the image in pixels; not positive if unknown.",
    "condition": "Condition of the recording, for example of the clothes.",
    "source": "Place in the raw recordings.",
    "n_frames": "Number of frames.",
    "n_persons": "Number of persons.",
    "start": "First row of the sequence in the arrays of the group frames.",
}
_GROUPS = {
    "frames": "Joints, presence and frame numbers: the persons of all sequences one after another.",
    "samples": "Facts about the sequences, an array for each.",
    "splits": "Masks over the sequences, one for each side of a protocol.",
}
"""Zarr groups of a store."""
_SPLIT = "split_"
_LISTING = "Size and sha256 of every file of the store."


def samples_table(store: Store) -> pd.DataFrame:
    """A row for each sample: the store's columns, names of classes, a column for each protocol.

    A protocol's column holds the side of each sample (`train`, `test`, ...), or nothing.
    """
    table = store.samples.copy()
    names = [*store.class_names, ""]  # -1 has no name
    table.insert(0, "row", range(len(table)))
    table["class"] = [names[label] for label in table["label"]]
    for protocol in store.protocols:
        table[f"{_SPLIT}{protocol}"] = ""
    for split, mask in store.splits.items():
        protocol, _, side = split.rpartition("/")
        table.loc[mask, f"{_SPLIT}{protocol}"] = side
    return table


def dataset_files(store: Store, license_id: str | None = None) -> dict[str, bytes]:
    """The table of samples as CSV, and the Croissant metadata, by their names.

    `license_id` is an identifier of SPDX or the Hub; None: the licence is unknown.
    """
    table = samples_table(store)
    samples = table.to_csv(index=False, lineterminator="\n").encode()
    described = _croissant(store, table, samples, license_id)
    text = json.dumps(described, indent=1, ensure_ascii=False) + "\n"
    return {SAMPLES: samples, NAME: text.encode()}


def _croissant(
    store: Store, table: pd.DataFrame, samples: bytes, license_id: str | None
) -> dict[str, Any]:
    spec = published(store.name)
    about = {
        "license": license_id,
        "citeAs": spec.about.publication if spec else None,
        "url": spec.about.home if spec else None,
    }
    title, task = store.attributes.title, spec.task if spec else "action"
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": f"{title} skeletons",
        "description": f"Normalised skeleton sequences of {title} for {TASKS[task]}: "
        f"{len(store)} sequences with {store.layout.num_joints} joints (layout "
        f"{store.layout.name}) in a Zarr store of format 3. Digest of the store: {store.digest}",
        "keywords": tags(task),
        **{name: value for name, value in about.items() if value},
        "distribution": _distribution(store, samples),
        "recordSet": [_classes(store), _samples(table)],
    }


def _distribution(store: Store, samples: bytes) -> list[dict[str, Any]]:
    digest = hashlib.sha256(samples).hexdigest()
    listing = _listing(store)
    return [
        _file(SAMPLES, "text/csv", len(samples), digest, "The sequences, a row for each."),
        _file(
            manifest.NAME,
            "application/json",
            listing.bytes,
            listing.sha256,
            "The stores of the set." if store.members else _LISTING,
        ),
        *_metadata(store),
        *(
            {
                "@type": "cr:FileSet",
                "@id": f"zarr-{group}",
                "name": f"zarr-{group}",
                "description": what,
                "encodingFormat": "application/vnd+zarr",
                "includes": f"**/{group}/**" if store.members else f"{group}/**",
            }
            for group, what in _GROUPS.items()
        ),
    ]


def _listing(store: Store) -> manifest.File:
    """Size and hash of the manifest of a store or a set."""
    if isinstance(store.path, Path) and store.members:
        return manifest.describe_file(store.path / manifest.NAME)
    return manifest.File(bytes=store.manifest_bytes, sha256=store.digest)


def _metadata(store: StoreContents) -> list[dict[str, Any]]:
    """The metadata of a store; of a set, nothing: its manifest leads to its members."""
    if store.members:
        return []
    file = store.manifest.all_files[zarr_io.METADATA]
    what = "Metadata of the Zarr store and of all its arrays."
    return [_file(zarr_io.METADATA, "application/json", file.bytes, file.sha256, what)]


def _file(name: str, form: str, size: int, sha256: str, what: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "description": what,
        "contentUrl": name,
        "contentSize": f"{size} B",
        "encodingFormat": form,
        "sha256": sha256,
    }


def _classes(store: Store) -> dict[str, Any]:
    names = enumerate(store.class_names)
    return {
        "@type": "cr:RecordSet",
        "@id": "classes",
        "name": "classes",
        "description": "Numbers and names of the classes.",
        "dataType": "sc:Enumeration",
        "key": {"@id": "classes/label"},
        "field": [_field("classes", "label", "sc:Integer"), _field("classes", "name", "sc:Text")],
        "data": [{"classes/label": label, "classes/name": name} for label, name in names],
    }


def _samples(table: pd.DataFrame) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": "samples",
        "name": "samples",
        "description": "The sequences of the store, without their joints.",
        "key": {"@id": "samples/row"},
        "field": [_column(str(name), table[name].dtype.kind) for name in table],
    }


def _column(name: str, kind: str) -> dict[str, Any]:
    protocol = name.removeprefix(_SPLIT) if name.startswith(_SPLIT) else None
    what = _MEANINGS.get(name) or (f"Side of the protocol {protocol}." if protocol else name)
    field = _field("samples", name, "sc:Integer" if kind in "iu" else "sc:Text")
    field |= {
        "description": what,
        "source": {"fileObject": {"@id": SAMPLES}, "extract": {"column": name}},
    }
    if name == "label":
        field["references"] = {"field": {"@id": "classes/label"}}
    if protocol:
        field["dataType"] = ["sc:Text", "cr:Split"]
    return field


def _field(record_set: str, name: str, kind: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"{record_set}/{name}",
        "name": name,
        "description": _MEANINGS.get(name, "Name of the class."),
        "dataType": kind,
    }
