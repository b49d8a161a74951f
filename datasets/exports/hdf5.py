"""The HDF5 files of `aclnet export --to hdf5` and their contents.

Sequences of any length lie one after another, without filling (M persons, T frames, V joints, C
coordinates; N samples, R the sum of M x T over them):

| path | shape, dtype | content |
|---|---|---|
| `frames/keypoint` | (R, V, C) float32 | person 0's frames, then person 1's, ...; m or px |
| `frames/present` | (R,) bool | whether the person is in this frame; if not, joints are zero |
| `frames/index` | (R,) int32 | number of the frame in the recording, from 0 |
| `frames/score` | (R, V) float32 | confidence of each joint; only where the store has it |
| `samples/start`, `n_persons`, `n_frames` | (N,) int | the sample's rows: `start : start + M * T` |
| `samples/id`, `original` | (N,) text | id of the sample, and of its recording |
| `samples/variant` | (N,) int | 0, or the number of an augmented copy, which may only train |
| `samples/label` | (N,) int | class, an index of `class_names` |
| `samples/subject`, `camera`, `setup`, `replication` | (N,) int | -1 where unknown |
| `samples/condition`, `source` | (N,) text | empty where there is none |
| `samples/width`, `height` | (N,) int | image size in pixels; 0 for joints in space |
| `samples/centre`, `rotation` | (N, C), (N, C, C) float32 | camera space = x @ rotation + centre |
| `splits/<protocol>/<side>` | (N,) bool | samples on that side |
| `class_names` | (classes,) text | |
| `layout` | text | the joint layout as JSON: names of joints, bones, parts |

Attributes of the file are the fields of `aclnet.datasets.exports.description.Description`. A
sequence is `keypoint[start : start + M * T].reshape(M, T, V, C)`.

The file begins with HDF5's user block, 512 bytes that other readers skip. `seal` writes the sha256
of the rest of the file into it. The sum is checked before HDF5's library opens the file, because
damaged metadata crashes the whole process. Files of other software are therefore refused.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import h5py
import numpy as np

from aclnet.datasets.exports import MARK
from aclnet.datasets.exports.description import Description, description_of
from aclnet.datasets.exports.recordings import splits_of, with_facts
from aclnet.datasets.formats import unreadable
from aclnet.datasets.formats.caches import cached_by_file, version_of
from aclnet.datasets.spec import (
    UNLABELLED,
    AclnetError,
    DamageError,
    Item,
    Prepared,
    Rejection,
    SkeletonSequence,
    Source,
    shown,
)
from aclnet.datasets.spec.layouts import get_layout

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from aclnet.datasets.spec import DatasetSpec
    from aclnet.datasets.store.store import Store

_TEXTS = ("id", "original", "condition", "source")
_NUMBERS = (
    "label", "subject", "camera", "setup", "replication", "width", "height", "variant", "n_persons",
    "n_frames", "start",
)  # fmt: skip
_VECTORS = ("centre", "rotation")
"""Columns by the kind of their values: text, whole numbers, arrays."""
_FRAMES = {"keypoint": "float32", "present": "bool", "index": "int32", "score": "float32"}
"""Arrays with one row per person and frame, and their dtypes."""

_USER_BLOCK = 512
"""Bytes before HDF5's own content."""
_ERRORS = (OSError, RuntimeError, LookupError, ValueError, TypeError)
"""Exceptions that h5py raises if an object is missing or of another kind."""
_MAX_NUMBERS = 2**27  # numbers in one sequence: half a gigabyte
_CHUNK = 2048  # rows: 600 kB for 25 joints
_CACHE = 32 << 20  # bytes of decoded chunks, because neighbouring sequences share chunks


def _row_shapes(joints: int, coordinates: int, *, scored: bool) -> dict[str, tuple[int, ...]]:
    """Shape of one row of each array of rows."""
    shapes: dict[str, tuple[int, ...]] = {"keypoint": (joints, coordinates)}
    shapes |= {"present": (), "index": ()}
    return shapes | {"score": (joints,)} if scored else shapes


def write_hdf5(store: Store, path: Path) -> list[str]:
    """Writes all of a store; returns remarks on what is left out, here none."""
    persons, frames = (store.column(n).astype(np.int64) for n in ("n_persons", "n_frames"))
    rows = persons * frames
    start = np.cumsum(rows) - rows
    description = description_of(store)
    with h5py.File(path, "w", userblock_size=_USER_BLOCK) as file:
        for name, value in description.model_dump(exclude={"class_names"}).items():
            file.attrs[name] = value
        _add(file, "class_names", store.class_names)
        file["layout"] = json.dumps(store.layout.model_dump(mode="json"))
        for name in (*_TEXTS, *_NUMBERS, *_VECTORS):
            _add(file, f"samples/{name}", start if name == "start" else store.column(name))
        file.create_group("splits", track_order=True)
        for name, mask in splits_of(store).items():
            _add(file, f"splits/{name}", mask)
        _add_frames(file, store, int(rows.sum()))
    seal(path)
    return []


def _add(file: h5py.File, name: str, values: Any) -> None:  # noqa: ANN401 - an array or a list
    values = np.asarray(values)
    text = values.dtype.kind not in "biuf"
    dtype = h5py.string_dtype() if text else values.dtype
    file.create_dataset(name, data=values.tolist() if text else values, dtype=dtype)


def _add_frames(file: h5py.File, store: Store, total: int) -> None:
    shapes = _row_shapes(store.layout.num_joints, store.coordinates, scored=store.has_score)
    arrays = {
        name: file.create_dataset(
            f"frames/{name}",
            shape=(total, *shape),
            dtype=_FRAMES[name],
            chunks=(min(total, _CHUNK), *shape),
            compression="gzip",
            compression_opts=1,
            shuffle=True,
        )
        for name, shape in shapes.items()
    }
    done = 0
    for block in store.packed_rows():
        size = len(block["present"])
        for name, array in arrays.items():
            array[done : done + size] = block[name]
        done += size


def seal(path: Path) -> None:
    """Writes the checksum of a finished file's content into its user block."""
    digest = _digest(path)
    with path.open("r+b") as file:
        file.write(_seal(digest))


def open_hdf5(spec: DatasetSpec, raw: Path) -> Hdf5Source:
    """The reader of an exported file; raises AclnetError for another file or dataset."""
    return Hdf5Source(_table(raw).description.spec(spec, raw), raw)


@dataclass(frozen=True, slots=True)
class Hdf5Source(Source):
    """One exported store, `root`."""

    def normalisation(self) -> str:
        return _table(self.root).description.normalisation

    def fingerprint(self) -> str:
        with self.root.open("rb") as file:
            return hashlib.sha256(file.read(_USER_BLOCK)).hexdigest()

    def scan(self) -> tuple[list[Item], list[Rejection]]:
        table = _table(self.root)
        row_bytes = get_layout(self.spec.layout).num_joints * self.spec.dimensions * 4
        rows = table.numbers["n_persons"] * table.numbers["n_frames"]
        items, rejections = [], []
        for n, sample_id in enumerate(table.texts["id"]):  # in the order of their rows
            if table.place[sample_id] == n:
                items.append(Item(sample_id, "", int(rows[n]) * row_bytes))
            else:
                reason = f"sample {n} has the id of an earlier one, {sample_id!r}"
                rejections.append(Rejection(self.root.name, None, reason, "there twice"))
        return items, rejections

    def splits(self) -> dict[str, list[str]]:
        table = _table(self.root)
        originals = np.array(table.texts["original"], dtype=str)
        return {
            name.replace("/", "_"): np.unique(originals[mask]).tolist()
            for name, mask in table.splits.items()
        }

    def read(self, item: Item) -> SkeletonSequence | Rejection:
        try:
            table = _table(self.root)
            if item.sample_id not in table.place:
                raise DamageError("there is no such sample")
            return self._sequence(table, table.place[item.sample_id])
        except AclnetError as error:
            return unreadable.rejection(error, self.root.name)
        except DamageError as damage:
            reason = f"sample {item.sample_id!r}: {damage.reason}"
            return Rejection(self.root.name, None, reason)

    def _sequence(self, table: _Table, n: int) -> SkeletonSequence:
        number = {name: int(values[n]) for name, values in table.numbers.items()}
        text = {name: values[n] for name, values in table.texts.items()}
        on_side = any(mask[n] for mask in table.splits.values())
        least = 0 if on_side else UNLABELLED
        if not least <= number["label"] < len(self.spec.class_names):
            raise DamageError(f"no class has the label {number['label']}")
        frames = self._frames(table, number["start"], number["n_persons"], number["n_frames"])
        if (frames["index"] != frames["index"][0]).any():
            raise DamageError("its persons have different frame numbers")
        sequence = SkeletonSequence(
            sample_id=text["id"],
            keypoint=frames["keypoint"],
            label=number["label"],
            present=frames["present"],
            frame_index=frames["index"][0],
            score=frames.get("score"),
            prepared=Prepared(
                centre=table.vectors["centre"][n],
                rotation=table.vectors["rotation"][n],
                original=text["original"],
                variant=number["variant"],
            ),
        )
        return with_facts(sequence, number | text)

    def _frames(
        self, table: _Table, start: int, persons: int, frames: int
    ) -> dict[str, NDArray[Any]]:
        """(M, T, ...) values of each array of rows."""
        rows = persons * frames
        joints = get_layout(self.spec.layout).num_joints
        scored = table.description.scored
        found: dict[str, NDArray[Any]] = {}
        for name, shape in _row_shapes(joints, self.spec.dimensions, scored=scored).items():
            try:
                array = _dataset(_file(self.root), f"frames/{name}")
                if array.dtype != _FRAMES[name] or array.shape[1:] != shape:
                    raise DamageError(f"`frames/{name}` is not (rows, {shape}) {_FRAMES[name]}")
                if not (start >= 0 and persons >= 1 and frames >= 1 and start + rows <= len(array)):
                    raise DamageError(f"`frames/{name}` has no rows {start} to {start + rows}")
                if rows * max(1, math.prod(shape)) > _MAX_NUMBERS:
                    raise DamageError(f"{persons} persons in {frames} frames are too many")
                block = array[start : start + rows]
            except _ERRORS as error:
                raise DamageError(f"`frames/{name}` cannot be read: {shown(error, 300)}") from None
            if not np.isfinite(block).all():
                raise DamageError(f"`frames/{name}` has values that are not finite")
            found[name] = block.reshape(persons, frames, *shape)
        return found


class _Table(NamedTuple):
    """All of a file but its rows."""

    description: Description
    numbers: dict[str, NDArray[np.int64]]
    """(N,) numbers by column."""
    texts: dict[str, list[str]]
    vectors: dict[str, NDArray[np.float32]]
    splits: dict[str, NDArray[np.bool_]]
    """(N,) masks by `protocol/side`."""
    place: dict[str, int]
    """Row of the first sample with each id."""


@cached_by_file(maxsize=4)
def _table(path: Path) -> _Table:
    with _damage(path):
        file = _file(path)
        values = {name: _attribute(file, name) for name in file.attrs}
        description = Description.parse(path, {**values, "class_names": _text(file, "class_names")})
        return _read_table(path, file, description)


def _read_table(path: Path, file: h5py.File, description: Description) -> _Table:
    coordinates = 2 if description.units == "px" else 3
    shapes = {"centre": (coordinates,), "rotation": (coordinates, coordinates)}
    texts = {name: _text(file, f"samples/{name}") for name in _TEXTS}
    count = len(texts["id"])
    numbers = {name: _column(file, f"samples/{name}", (count,), "iu") for name in _NUMBERS}
    vectors = {n: _column(file, f"samples/{n}", (count, *shapes[n]), "f") for n in _VECTORS}
    splits = {
        f"{protocol}/{side}": _column(file, f"splits/{protocol}/{side}", (count,), "b")
        for protocol in file["splits"]
        for side in file["splits"][protocol]
    }
    uneven = [name for name, values in texts.items() if len(values) != count]
    if uneven:
        raise ValueError(f"samples/{uneven[0]} does not have {count} values")
    beyond = [
        ((n >= 2**31) | (n < -(2**31))).any() for name, n in numbers.items() if name != "start"
    ]
    if any(beyond):
        raise ValueError("a number of the samples is out of range")
    if not all(np.isfinite(values).all() for values in vectors.values()):
        raise ValueError("a centre or rotation is not finite")
    return _Table(
        description=description,
        numbers={name: values.astype(np.int64) for name, values in numbers.items()},
        texts=texts,
        vectors={name: values.astype(np.float32) for name, values in vectors.items()},
        splits=splits,
        place={sample_id: n for n, sample_id in reversed([*enumerate(texts["id"])])},
    )


def _dataset(file: h5py.File, name: str) -> h5py.Dataset:
    found = file[name]
    if not isinstance(found, h5py.Dataset):
        raise ValueError(f"{name} is not an array")
    if name.startswith("frames/"):
        return found
    # Other arrays are stored in one piece, as large as they announce.
    if found.chunks is not None or found.nbytes > file.id.get_filesize():
        raise ValueError(f"{name} is {found.dtype} {found.shape}, but the file is too short for it")
    return found


def _column(file: h5py.File, name: str, shape: tuple[int, ...], kinds: str) -> NDArray[Any]:
    found = _dataset(file, name)
    if found.shape != shape or found.dtype.kind not in kinds:
        raise ValueError(f"{name} is {found.dtype} {found.shape}; {shape} is expected")
    return np.asarray(found[...])


def _text(file: h5py.File, name: str) -> list[str]:
    found = _dataset(file, name)
    if found.ndim != 1 or h5py.check_string_dtype(found.dtype) is None:
        raise ValueError(f"{name} is not a list of text")
    return [str(value) for value in found.asstr()[...]]


def _attribute(file: h5py.File, name: str) -> Any:  # noqa: ANN401 - whatever an attribute holds
    if file.attrs.get_id(name).shape != ():
        raise ValueError(f"the attribute {name} is not a single value")
    value = file.attrs[name]
    return value.item() if isinstance(value, np.generic) else value


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    try:
        yield
    except _ERRORS as error:
        raise AclnetError(
            f"{path} is not a valid file of `aclnet export --to hdf5` ({shown(error, 300)}); "
            "export it again"
        ) from None


def _file(path: Path) -> h5py.File:
    # a forked process must not share HDF5's state with its parent
    key = (path, version_of(path), os.getpid())
    if key not in _opened:
        for file in _opened.values():
            file.close()  # else HDF5 would take an overwritten file for the one that is open
        _opened.clear()
        _opened[key] = _open_sealed(path)
    return _opened[key]


_opened: dict[tuple[Path, tuple[int, int], int], h5py.File] = {}
"""The file that was read last, kept open: opening it costs more time than reading a sequence."""


def _open_sealed(path: Path) -> h5py.File:
    try:
        with path.open("rb") as file:
            begin = file.read(_USER_BLOCK)
    except OSError as error:
        raise AclnetError(f"{path} cannot be read: {error.strerror}") from None
    if not begin.startswith(_seal("").strip()):
        raise AclnetError(f"{path} is not a file of `aclnet export --to hdf5`")
    if begin != _seal(_digest(path)):
        raise AclnetError(f"{path} differs from what was written; download or export it again")
    return h5py.File(path, "r", rdcc_nbytes=_CACHE)


def _seal(digest: str) -> bytes:
    return f"{MARK} export 1, sha256 {digest}".encode().ljust(_USER_BLOCK)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(_USER_BLOCK)
        return hashlib.file_digest(file, "sha256").hexdigest()
