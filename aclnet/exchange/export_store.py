"""Export of a store to a file for other training code, which `aclnet prepare` can read.

Sequences are written as in the store, normalised, in float32. Half precision, usual in PYSKL's
pickles, is exact to 2 mm at three metres, and would change the numbers.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aclnet.datasets.exports.forms import STORE_FORMS
from aclnet.datasets.exports.hdf5 import write_hdf5
from aclnet.datasets.exports.npz import write_npz
from aclnet.datasets.exports.pyskl import write_pyskl
from aclnet.datasets.exports.recordings import recordings
from aclnet.datasets.formats.atomic import replacing
from aclnet.datasets.spec import AclnetError
from aclnet.datasets.spec.layouts import get_layout
from aclnet.pipelines.steps.convert import CONVERSIONS, convert

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aclnet.datasets.spec import SkeletonSequence
    from aclnet.datasets.store.store import Store


def export_store(store: Store, to: str, out: Path, protocol: str | None = None) -> list[str]:
    """Writes a store to `out` in one of `STORE_FORMS`; returns descriptions of lost content.

    `protocol` is for `npz`, which holds one (the store's first by default). Memory is bounded by a
    shard and the longest recording, except for `pyskl`, which every reader loads as a whole too.

    Raises AclnetError if `out` exists, cannot be written or does not have the suffix of the form,
    by which `prepare` recognises it, or if the form cannot hold the store.
    """
    if protocol is not None and to != "npz":
        raise AclnetError(f"--protocol is for npz; {to} holds all protocols of a store")
    if out.suffix.lower() not in STORE_FORMS[to]:
        raise AclnetError(
            f"--out {out}: `prepare` recognises this form by its suffix; call the file "
            f"{out.with_suffix(STORE_FORMS[to][0]).name}"
        )
    with new_file(out) as temporary:
        if to == "npz":
            return write_npz(store, temporary, protocol or store.default_protocol)
        return (_write_pyskl if to == "pyskl" else write_hdf5)(store, temporary)


def default_file(store: Store, to: str, protocol: str | None = None) -> Path:
    """Default file of an export, beside the store, or in the working folder."""
    path = Path(store.path.name) if store.distant else Path(store.path)
    path = path if path.suffix else path.resolve()  # . and .. are not names
    name = path.name.removesuffix(".zarr")
    if to == "npz":
        name = f"{name}-{protocol or store.default_protocol}"
    return path.with_name(name + STORE_FORMS[to][0])


@contextmanager
def new_file(out: Path) -> Iterator[Path]:
    """A temporary path that is renamed to `out` at the end, if all went well.

    Raises AclnetError if `out` exists or cannot be written.
    """
    if out.exists():
        raise AclnetError(f"{out} already exists; choose another --out")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with replacing(out) as temporary:
            yield temporary
    except OSError as error:
        raise AclnetError(f"{out} cannot be written: {error.strerror or error}") from None


def _write_pyskl(store: Store, path: Path) -> list[str]:
    everything = list(recordings(store, np.ones(len(store), np.bool_)))
    file_layout = _file_layout(store, [sequence for _, sequence in everything])
    return write_pyskl(store, everything, path, file_layout)


def _file_layout(store: Store, sequences: list[SkeletonSequence]) -> str:
    """Layout whose joints are the first of the store's and determine the others exactly; or "".

    Other code knows COCO's 17 joints; the last three of `coco_new`'s 20 are made from them.
    """
    target = store.layout
    for source, name in CONVERSIONS:
        first = get_layout(source).joints
        if name != target.name or target.joints[: len(first)] != first or target.joints == first:
            continue
        if all(_is_made_from(sequence, source, name) for sequence in sequences):
            return source
    return ""


def _is_made_from(sequence: SkeletonSequence, source: str, target: str) -> bool:
    joints = get_layout(source).num_joints
    score = sequence.score
    fewer = replace(
        sequence,
        keypoint=sequence.keypoint[:, :, :joints],
        score=None if score is None else score[:, :, :joints],
    )
    made = convert(fewer, source, target)
    same_score = score is None or np.array_equal(made.score, score)  # type: ignore[arg-type]
    return same_score and np.array_equal(made.keypoint, sequence.keypoint)
