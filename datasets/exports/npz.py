"""The arrays of `aclnet export --to npz`: CTR-GCN's, and others beside them.

The sides are `train` and `test` of one protocol (N recordings, T frames of the longest recording of
both sides, V joints, C coordinates). Recordings have two persons; missing persons and frames after
the last one are zero:

| array | shape, dtype | content |
|---|---|---|
| `x_SIDE` | (N, T, 2 x V x C) float32 | joints; confidence of pixels is a third coordinate |
| `y_SIDE` | (N, classes) float32 | one-hot |
| `present_SIDE` | (N, T, 2) bool | whether the person is in this frame |
| `frame_index_SIDE` | (N, T) int32 | number of the frame in the recording, from 0 |
| `score_SIDE` | (N, T, 2, V) float32 | confidence of joints in space; only where the store has it |
| `n_persons_SIDE`, `n_frames_SIDE` | (N,) int32 | persons and frames of a row without the filling |
| `subject_SIDE`, `camera_SIDE`, `setup_SIDE`, `replication_SIDE` | (N,) int32 | -1: unknown |
| `width_SIDE`, `height_SIDE` | (N,) int32 | image size in pixels; 0 for joints in space |
| `id_SIDE`, `condition_SIDE`, `source_SIDE` | (N,) text | |
| `centre_SIDE`, `rotation_SIDE` | (N, C), (N, C, C) float32 | camera = x @ rotation + centre |

`aclnet` (1,) text, the first array, is a `_NpzDescription` as JSON.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from pydantic import Field

from aclnet.datasets.exports import MARK
from aclnet.datasets.exports.description import Description, description_of
from aclnet.datasets.exports.recordings import left_out_variants, recordings, with_facts
from aclnet.datasets.formats.caches import cached_by_file
from aclnet.datasets.formats.files import UNSOUND
from aclnet.datasets.formats.npy_rows import NpyRows, open_npz
from aclnet.datasets.readers.ctr_npz import NUM_PERSONS, SIDES, UNSURE, labels_of, side_and_row
from aclnet.datasets.readers.items import ItemSource
from aclnet.datasets.spec import (
    AclnetError,
    DamageError,
    Item,
    Prepared,
    Rejection,
    SkeletonSequence,
    shown,
)
from aclnet.datasets.spec.layouts import get_layout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from aclnet.datasets.spec import DatasetSpec
    from aclnet.datasets.store.store import Store

    Arrays = dict[str, tuple[np.dtype[Any], tuple[int, ...]]]
    """dtype and shape of arrays, by their names."""

_TEXTS = ("id", "condition", "source")
_NUMBERS = (
    "subject", "camera", "setup", "replication", "width", "height", "n_persons", "n_frames",
)  # fmt: skip
_VECTORS = ("centre", "rotation")
"""Columns by the kind of their values: text, whole numbers, arrays."""
_MAX_IDS = 2**28  # bytes: a million recordings with ids of 64 characters
_BLOCK = 2**24  # bytes


class _NpzDescription(Description):
    """The description in an exported file."""

    protocol: str = Field(pattern="^[^/]+$")
    """Protocol whose sides the file holds."""


def _frame_arrays(joints: int, coordinates: int, *, scored: bool) -> Arrays:
    """dtype, and shape of one frame's values, of each array of frames."""
    channels = 3 if scored else coordinates
    arrays: Arrays = {
        "x": (np.dtype("<f4"), (NUM_PERSONS * joints * channels,)),
        "present": (np.dtype("?"), (NUM_PERSONS,)),
        "frame_index": (np.dtype("<i4"), ()),
    }
    if scored and coordinates == channels:
        arrays["score"] = (np.dtype("<f4"), (NUM_PERSONS, joints))
    return arrays


def write_npz(store: Store, path: Path, protocol: str) -> list[str]:
    """Writes one protocol of a store; returns remarks on what is left out.

    Memory is bounded by a shard and the longest recording. Raises AclnetError if a recording has
    more than two persons.
    """
    masks = {side: store.mask(f"{protocol}/{side}") for side in SIDES}
    chosen = (masks["train"] | masks["test"]) & (store.column("variant") == 0)
    persons, frames = store.column("n_persons")[chosen], _frames_by_recording(store, chosen)
    if persons.max(initial=0) > NUM_PERSONS:
        crowd = store.column("id")[chosen][persons.argmax()]
        raise AclnetError(
            f"{store.path}: {crowd} has {persons.max()} persons, but npz holds at most "
            f"{NUM_PERSONS}; export to pyskl or hdf5"
        )
    description = _NpzDescription(**description_of(store).model_dump(), protocol=protocol)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        _add_member(archive, MARK, np.array([description.model_dump_json()]))
        for side in SIDES:
            _write_side(archive, store, protocol, side, max(frames, default=0))
    left_out = int((store.column("variant") == 0).sum()) - int(chosen.sum())
    remarks = left_out_variants(store)
    if left_out:
        remarks.append(f"{left_out} samples are on neither side of {protocol} and were left out")
    return remarks


def _write_side(
    archive: zipfile.ZipFile, store: Store, protocol: str, side: str, longest: int
) -> None:
    mask = store.mask(f"{protocol}/{side}")
    count = len(np.unique(store.column("original")[mask & (store.column("variant") == 0)]))
    arrays = _frame_arrays(store.layout.num_joints, store.coordinates, scored=store.has_score)
    members = {name: (dtype, (count, longest, *shape)) for name, (dtype, shape) in arrays.items()}
    row_of, frames = [], []
    with ExitStack() as stack:
        # An archive takes one array at a time, so the smaller arrays wait in files.
        folder = Path(str(archive.filename)).parent
        waiting = {n: stack.enter_context(TemporaryFile(dir=folder)) for n in arrays if n != "x"}
        with _member(archive, f"x_{side}", *members["x"]) as file:
            for row, sequence in recordings(store, mask):
                for name, values in _rows_of(sequence, longest, arrays).items():
                    waiting.get(name, file).write(values.tobytes())
                row_of.append(row)
                frames.append(len(sequence.frame_index))
        for name, rows in waiting.items():
            rows.seek(0)
            with _member(archive, f"{name}_{side}", *members[name]) as file:
                shutil.copyfileobj(rows, file)
    columns = _columns_of(store, protocol, np.array(row_of, np.int64))
    columns["n_frames"] = np.array(frames, "<i4")  # sum of all pieces
    for name, values in columns.items():
        _add_member(archive, f"{name}_{side}", values)


def _rows_of(sequence: SkeletonSequence, longest: int, arrays: Arrays) -> dict[str, NDArray[Any]]:
    """(longest, ...) values of each array of frames: a frame's first person, then its second."""
    persons, frames = sequence.present.shape
    tracks = {"x": sequence.keypoint, "present": sequence.present}
    if sequence.score is not None and "score" in arrays:
        tracks["score"] = sequence.score
    elif sequence.score is not None:
        tracks["x"] = np.concatenate([sequence.keypoint, sequence.score[..., None]], axis=-1)
    rows = {name: np.zeros((longest, *shape), dtype) for name, (dtype, shape) in arrays.items()}
    rows["frame_index"][:frames] = sequence.frame_index
    for name, values in tracks.items():
        of_persons = rows[name].reshape(longest, NUM_PERSONS, -1)
        of_persons[:frames, :persons] = values.reshape(persons, frames, -1).swapaxes(0, 1)
    return rows


def _columns_of(store: Store, protocol: str, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Values of recordings, each taken from its (first) row in `samples`."""
    classes = np.eye(len(store.classes_of(protocol)), dtype="<f4")
    others = ("condition", "source", *_VECTORS)
    return {
        "y": classes[store.column("label")[rows]],
        "id": store.column("original")[rows],
        **{name: store.column(name)[rows].astype("<i4") for name in _NUMBERS},
        **{name: store.column(name)[rows] for name in others},
    }


def _add_member(archive: zipfile.ZipFile, name: str, values: NDArray[Any]) -> None:
    with _member(archive, name, values.dtype, values.shape) as file:
        file.write(values.tobytes())


@contextmanager
def _member(
    archive: zipfile.ZipFile, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> Iterator[BinaryIO]:
    """A stream into an array of the archive, which takes the array's values in C order."""
    described = {
        "descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape
    }  # fmt: skip
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array_header_1_0(file, described)
        yield file  # type: ignore[misc]  # it can all that is needed


def _frames_by_recording(store: Store, mask: NDArray[np.bool_]) -> list[int]:
    """Number of frames of each recording of a mask, with its pieces joined."""
    _, recording = np.unique(store.column("original")[mask], return_inverse=True)
    frames = np.bincount(recording, weights=store.column("n_frames")[mask])
    return frames.astype(int).tolist()  # type: ignore[no-any-return]


def open_npz_export(spec: DatasetSpec, raw: Path) -> ExportedNpz:
    """The reader of an exported file; raises AclnetError for another file or dataset."""
    source = ExportedNpz(_describe(raw).spec(spec, raw), raw)
    source.arrays()
    return source


@dataclass(frozen=True, slots=True)
class ExportedNpz(ItemSource):
    """One protocol of a store, `root`, read row by row; an item's path is `FILE/x_train/ROW`."""

    def normalisation(self) -> str:
        return self._description.normalisation

    def fingerprint(self) -> str:
        """The checksums of all arrays, from the archive's list."""
        return _checksums(self.root)

    def scan(self) -> tuple[list[Item], list[Rejection]]:
        found: dict[str, Item] = {}
        rejections = []
        for side, rows in self.arrays().items():
            of_side = set()
            for row, sample_id in enumerate(self._ids(side)):
                item = Item(sample_id, f"{self.root.name}/x_{side}/{row}", rows["x"].row_bytes)
                first = found.setdefault(sample_id, item)
                if sample_id in of_side:  # a recording may be on both sides
                    reason = f"the same recording is at {first.path}"
                    rejections.append(Rejection(item.path, None, reason, "there twice"))
                of_side.add(sample_id)
        return list(found.values()), rejections

    def splits(self) -> dict[str, list[str]]:
        return {f"{self._description.protocol}_{side}": list(self._ids(side)) for side in SIDES}

    def sequence(self, item: Item) -> SkeletonSequence:
        side, row = side_and_row(item)
        arrays = self.arrays()[side]
        label = int(labels_of(arrays["y"].read(row))[0])
        if label == UNSURE:
            raise DamageError(f"row {row} of y is not one-hot")
        text = {name: _texts(arrays[name], row, 1)[0] for name in _TEXTS}
        number = {name: int(arrays[name].read(row)[0]) for name in _NUMBERS}
        vector = {name: _finite(arrays, name, row) for name in _VECTORS}
        persons, frames = number["n_persons"], number["n_frames"]
        longest = arrays["x"].shape[1]
        if not (1 <= persons <= NUM_PERSONS and 1 <= frames <= longest):
            raise DamageError(f"{persons} persons in {frames} frames do not fit its row")

        def tracks(values: NDArray[Any]) -> NDArray[Any]:
            """(M, T, ...) values from (longest, two persons, ...)."""
            return np.ascontiguousarray(values[:frames, :persons].swapaxes(0, 1))

        joints = get_layout(self.spec.layout).num_joints
        x = tracks(_finite(arrays, "x", row).reshape(longest, NUM_PERSONS, joints, -1))
        score = None
        if "score" in arrays:
            score = tracks(_finite(arrays, "score", row))
        elif self._description.scored:
            score = np.ascontiguousarray(x[..., -1])
        sequence = SkeletonSequence(
            sample_id=text["id"],
            keypoint=np.ascontiguousarray(x[..., : self.spec.dimensions]),
            label=label,
            present=tracks(arrays["present"].read(row)[0].view(np.uint8) != 0),
            frame_index=arrays["frame_index"].read(row)[0, :frames].copy(),
            score=score,
            prepared=Prepared(vector["centre"], vector["rotation"], original=text["id"]),
        )
        return with_facts(sequence, number | text)

    def _ids(self, side: str) -> Iterator[str]:
        """Sample ids of a side, row by row; raises AclnetError if they cannot be read."""
        rows = self.arrays()[side]["id"]
        block = max(1, _BLOCK // rows.row_bytes)
        try:
            for first in range(0, len(rows), block):
                yield from _texts(rows, first, min(block, len(rows) - first))
        except DamageError as damage:
            raise AclnetError(f"{self.root}/id_{side}: {damage.reason}; export it again") from None

    @property
    def _description(self) -> _NpzDescription:
        return _describe(self.root)

    def arrays(self) -> dict[str, dict[str, NpyRows]]:
        """Arrays by side and name; raises AclnetError if one is missing or not as expected."""
        joints = get_layout(self.spec.layout).num_joints
        return _open(self.root, joints, self.spec.dimensions)


@cached_by_file(maxsize=4)
def _describe(path: Path) -> _NpzDescription:
    try:
        values = json.loads(_texts(open_npz(path, MARK, text=True), 0, 1)[0])
    except (DamageError, ValueError, RecursionError):
        values = None
    return _NpzDescription.parse(path, values)


@cached_by_file(per_process=True)
def _open(path: Path, joints: int, coordinates: int) -> dict[str, dict[str, NpyRows]]:
    description = _describe(path)
    frames = _frame_arrays(joints, coordinates, scored=description.scored)
    sides = {}
    for side in SIDES:
        names = ("y", *frames, *_NUMBERS, *_VECTORS)
        arrays = {name: open_npz(path, f"{name}_{side}") for name in names}
        arrays |= {name: open_npz(path, f"{name}_{side}", text=True) for name in _TEXTS}
        count, longest = (*arrays["x"].shape, 0)[:2]
        expected: Arrays = {
            **{name: (dtype, (longest, *shape)) for name, (dtype, shape) in frames.items()},
            **{name: (np.dtype("<i4"), ()) for name in _NUMBERS},
            **{name: (arrays[name].dtype, ()) for name in _TEXTS},
            "centre": (np.dtype("<f4"), (coordinates,)),
            "rotation": (np.dtype("<f4"), (coordinates, coordinates)),
            "y": (np.dtype("<f4"), (arrays["y"].row_bytes // 4,)),
        }
        for name, (dtype, shape) in expected.items():
            found = arrays[name]
            if (found.dtype, found.shape) != (dtype, (count, *shape)):
                raise AclnetError(
                    f"{path}/{name}_{side} is {found.dtype} {found.shape}; {dtype} "
                    f"{(count, *shape)} is expected; export it again"
                )
        classes = len(description.class_names)
        if not 1 <= arrays["y"].shape[1] <= classes:
            raise AclnetError(f"{path}/y_{side} does not have {classes} classes; export it again")
        if count * arrays["id"].row_bytes > _MAX_IDS:
            raise AclnetError(f"{path}/id_{side} is longer than all ids together")
        sides[side] = arrays
    return sides


def _texts(rows: NpyRows, first: int, count: int) -> list[str]:
    values = rows.read(first, count)
    try:
        texts: list[str] = values.tolist()
        "".join(texts).encode()
    except ValueError:  # a code that is not a character
        raise DamageError("a text has invalid characters") from None
    return texts


def _finite(arrays: dict[str, NpyRows], name: str, row: int) -> NDArray[np.float32]:
    values: NDArray[np.float32] = arrays[name].read(row)[0].copy()
    if not np.isfinite(values).all():
        raise DamageError(f"row {row} of {name} has values that are not finite")
    return values


def _checksums(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [(info.filename, info.CRC, info.file_size) for info in archive.infolist()]
    except (OSError, *UNSOUND) as error:
        raise AclnetError(f"{path} cannot be read ({shown(error, 300)}); export it again") from None
    return hashlib.sha256(repr(members).encode()).hexdigest()
