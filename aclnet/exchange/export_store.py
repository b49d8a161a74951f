"""A store as a file for other training code, which `aclnet prepare` takes back.

Sequences are written as the store holds them, normalised, in float32: half precision, customary in
PYSKL's pickles, is exact to 2 mm at three metres, and would come back as other numbers.
"""

from __future__ import annotations

import json
import pickle
import shutil
import zipfile
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, BinaryIO

import h5py
import numpy as np

from aclnet.datasets.exports import MARK
from aclnet.datasets.exports import npz as npz_form
from aclnet.datasets.exports.description import Description
from aclnet.datasets.exports.hdf5 import FRAMES, NUMBERS, TEXTS, USER_BLOCK, VECTORS, seal
from aclnet.datasets.exports.npz import NpzDescription
from aclnet.datasets.readers.ctr_npz import NUM_PERSONS, SIDES
from aclnet.datasets.spec import protocols
from aclnet.datasets.spec.errors import AclnetError
from aclnet.datasets.spec.layouts import get_layout
from aclnet.pipelines.steps.convert import CONVERSIONS, convert

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from aclnet.datasets.spec.sequence import SkeletonSequence
    from aclnet.datasets.store.store import Store

FORMATS = {"pyskl": (".pkl",), "npz": (".npz",), "hdf5": (".h5", ".hdf5")}
"""Endings by form, the customary one first. `pyskl` is PYSKL's pickle, with keys more that it does
not know; `npz` CTR-GCN's arrays of one protocol, with arrays more, see
`aclnet.datasets.exports.npz`; `hdf5` all of the store, its schema in
`aclnet.datasets.exports.hdf5`."""
_HDF5_ROWS = 2048  # of a chunk: 600 kB of 25 joints


def export_store(store: Store, to: str, out: Path, protocol: str | None = None) -> list[str]:
    """Writes a store to `out` in one of `FORMATS`; returns what the form has no place for.

    `protocol` is for `npz`, which holds one (the store's first by default). Memory is bounded by a
    shard and the longest recording, but for `pyskl`, which every reader loads as a whole too.

    AclnetError where `out` is there already, cannot be written or has another ending than the form,
    by which `prepare` knows it again, and where the form cannot hold the store.
    """
    if protocol is not None and to != "npz":
        raise AclnetError(f"--protocol is for npz; {to} holds all protocols of a store")
    if out.suffix.lower() not in FORMATS[to]:
        raise AclnetError(
            f"--out {out}: prepare knows this form again by its ending; call it "
            f"{out.with_suffix(FORMATS[to][0]).name}"
        )
    with new_file(out) as temporary:
        if to == "npz":
            return _npz(store, temporary, protocol or store.default_protocol)
        return (_pyskl if to == "pyskl" else _hdf5)(store, temporary)


def file_of(store: Store, to: str, protocol: str | None = None) -> Path:
    """Where an export goes that was told no place: beside the store."""
    path = store.path if store.path.suffix else store.path.resolve()  # . and .. are no names
    name = path.name.removesuffix(".zarr")
    if to == "npz":
        name = f"{name}-{protocol or store.default_protocol}"
    return path.with_name(name + FORMATS[to][0])


@contextmanager
def new_file(out: Path) -> Iterator[Path]:
    """A temporary path that is renamed to `out` at the end, where all went well.

    AclnetError where `out` is there already or cannot be written.
    """
    if out.exists():
        raise AclnetError(f"{out} is there already; choose another --out")
    temporary = out.with_name(out.name + ".tmp")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(out)
    except OSError as error:
        raise AclnetError(f"{out} cannot be written: {error.strerror or error}") from None
    finally:
        temporary.unlink(missing_ok=True)


def describe(store: Store, file_layout: str = "") -> Description:
    """What an export of a store says of it; `file_layout` of its joints where it is another."""
    return Description(
        dataset=store.name,
        title=store.attributes["title"],
        layout=store.layout.name,
        file_layout=file_layout or store.layout.name,
        units=store.attributes["units"],
        scored=store.has_score,
        normalisation=store.attributes["normalisation"],
        class_names=tuple(store.class_names),
    )


# PYSKL's pickle


def _pyskl(store: Store, path: Path) -> list[str]:
    recordings = list(_recordings(store, np.ones(len(store), np.bool_)))
    file_layout = _file_layout(store, [sequence for _, sequence in recordings])
    joints = get_layout(file_layout).num_joints if file_layout else store.layout.num_joints
    content = {
        MARK: describe(store, file_layout).model_dump(),  # first, so that it is soon found
        "split": _pyskl_splits(store),
        "annotations": [_annotation(store, row, s, joints) for row, s in recordings],
    }
    with path.open("wb") as file:
        _Pickler(file, protocol=4).dump(content)
    return _variants_left_out(store)


class _Pickler(pickle.Pickler):
    """Names only what every numpy has: what numpy 2 calls to make arrays, numpy 1 does not know."""

    def reducer_override(self, obj: Any) -> Any:  # noqa: ANN401 - as pickle declares it
        if not isinstance(obj, np.ndarray):
            return NotImplemented
        return np.ndarray, ((0,), obj.dtype), obj.__reduce__()[2]


def _annotation(store: Store, row: int, sequence: SkeletonSequence, joints: int) -> dict[str, Any]:
    """What PYSKL reads, then what else the store knows: see `readers.pyskl.ExportedPickle`."""
    entry = {
        "frame_dir": sequence.sample_id,
        "label": sequence.label,
        "total_frames": len(sequence.frame_index),
        "keypoint": np.ascontiguousarray(sequence.keypoint[:, :, :joints]),
    }
    if sequence.score is not None:
        entry["keypoint_score"] = np.ascontiguousarray(sequence.score[:, :, :joints])
    if sequence.width or sequence.height:
        entry["img_shape"] = entry["original_shape"] = (sequence.height, sequence.width)
    return entry | {
        "present": sequence.present,
        "frame_index": sequence.frame_index,
        "subject": sequence.subject,
        "camera": sequence.camera,
        "setup": sequence.setup,
        "replication": sequence.replication,
        "condition": sequence.condition,
        "source": sequence.source,
        "centre": store.column("centre")[row].copy(),
        "rotation": store.column("rotation")[row].copy(),
    }


def _file_layout(store: Store, sequences: list[SkeletonSequence]) -> str:
    """Layout whose joints are the first of the store's and give the others, exactly; or "".

    Other code knows COCO's 17 joints; of the 20 of `coco_new` the last three are made from them.
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


def _pyskl_splits(store: Store) -> dict[str, list[str]]:
    """Ids of recordings by PYSKL's names: `xsub_train`, `xsub_val`, `train1`, `val1`."""
    ids, is_original = store.column("original"), store.column("variant") == 0
    return {
        _pyskl_name(name, store.splits): np.unique(ids[mask & is_original]).tolist()
        for name, mask in _splits(store).items()
    }


def _pyskl_name(split: str, splits: dict[str, Any]) -> str:
    """The inverse of `parts.own_sides`."""
    protocol, _, side = split.partition("/")
    if side == "test" and f"{protocol}/val" not in splits:
        side = "val"
    number = protocol.removeprefix(protocols.OWN)
    is_own = protocol.startswith(protocols.OWN) and (not number or number.isdecimal())
    return f"{side}{number}" if is_own else f"{protocol}_{side}"


# CTR-GCN's npz


def _npz(store: Store, path: Path, protocol: str) -> list[str]:
    masks = {side: store.mask(f"{protocol}/{side}") for side in SIDES}
    chosen = (masks["train"] | masks["test"]) & (store.column("variant") == 0)
    persons, frames = store.column("n_persons")[chosen], _frames_of_recordings(store, chosen)
    if persons.max(initial=0) > NUM_PERSONS:
        crowd = store.column("id")[chosen][persons.argmax()]
        raise AclnetError(
            f"{store.path}: {crowd} has {persons.max()} persons, npz has room for {NUM_PERSONS}; "
            "export to pyskl or hdf5"
        )
    description = NpzDescription(**describe(store).model_dump(), protocol=protocol)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        _add_member(archive, MARK, np.array([description.model_dump_json()]))
        for side in SIDES:
            _npz_side(archive, store, protocol, side, max(frames, default=0))
    left_out = int((store.column("variant") == 0).sum()) - int(chosen.sum())
    remarks = _variants_left_out(store)
    if left_out:
        remarks.append(f"{left_out} samples on neither side of {protocol} are left out")
    return remarks


def _npz_side(
    archive: zipfile.ZipFile, store: Store, protocol: str, side: str, longest: int
) -> None:
    mask = store.mask(f"{protocol}/{side}")
    count = len(np.unique(store.column("original")[mask & (store.column("variant") == 0)]))
    arrays = npz_form.frame_arrays(
        store.layout.num_joints, store.coordinates, scored=store.has_score
    )
    members = {name: (dtype, (count, longest, *shape)) for name, (dtype, shape) in arrays.items()}
    row_of, frames = [], []
    with ExitStack() as stack:
        # an archive takes one array at a time: the smaller ones wait in files
        folder = Path(str(archive.filename)).parent
        waiting = {n: stack.enter_context(TemporaryFile(dir=folder)) for n in arrays if n != "x"}
        with _member(archive, f"x_{side}", *members["x"]) as file:
            for row, sequence in _recordings(store, mask):
                for name, values in _npz_rows(sequence, longest, arrays).items():
                    waiting.get(name, file).write(values.tobytes())
                row_of.append(row)
                frames.append(len(sequence.frame_index))
        for name, rows in waiting.items():
            rows.seek(0)
            with _member(archive, f"{name}_{side}", *members[name]) as file:
                shutil.copyfileobj(rows, file)
    columns = _npz_columns(store, protocol, np.array(row_of, np.int64))
    columns["n_frames"] = np.array(frames, "<i4")  # of all pieces together
    for name, values in columns.items():
        _add_member(archive, f"{name}_{side}", values)


def _npz_rows(
    sequence: SkeletonSequence,
    longest: int,
    arrays: dict[str, tuple[np.dtype[Any], tuple[int, ...]]],
) -> dict[str, NDArray[Any]]:
    """(longest, ...) of each array of frames: a frame's first person, then its second."""
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


def _npz_columns(store: Store, protocol: str, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Values of recordings, each by its (first) row in `samples`."""
    classes = np.eye(len(store.classes_of(protocol)), dtype="<f4")
    numbers, others = npz_form.NUMBERS, ("condition", "source", *npz_form.VECTORS)
    return {
        "y": classes[store.column("label")[rows]],
        "id": store.column("original")[rows],
        **{name: store.column(name)[rows].astype("<i4") for name in numbers},
        **{name: store.column(name)[rows] for name in others},
    }


def _add_member(archive: zipfile.ZipFile, name: str, values: NDArray[Any]) -> None:
    with _member(archive, name, values.dtype, values.shape) as file:
        file.write(values.tobytes())


@contextmanager
def _member(
    archive: zipfile.ZipFile, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> Iterator[BinaryIO]:
    """A stream into an array of the archive, to be given its values in C order."""
    described = {
        "descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape
    }  # fmt: skip
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array_header_1_0(file, described)
        yield file  # type: ignore[misc]  # it can all that is needed


# HDF5


def _hdf5(store: Store, path: Path) -> list[str]:
    persons, frames = (store.column(n).astype(np.int64) for n in ("n_persons", "n_frames"))
    rows = persons * frames
    start = np.cumsum(rows) - rows
    description = describe(store)
    with h5py.File(path, "w", userblock_size=USER_BLOCK) as file:
        for name, value in description.model_dump(exclude={"class_names"}).items():
            file.attrs[name] = value
        _add(file, "class_names", store.class_names)
        file["layout"] = json.dumps(store.layout.model_dump(mode="json"))
        for name in (*TEXTS, *NUMBERS, *VECTORS):
            _add(file, f"samples/{name}", start if name == "start" else store.column(name))
        file.create_group("splits", track_order=True)
        for name, mask in _splits(store).items():
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
    joints = store.layout.num_joints
    shapes = {"keypoint": (joints, store.coordinates), "score": (joints,)}
    arrays = {
        name: file.create_dataset(
            f"frames/{name}",
            shape=(total, *shapes.get(name, ())),
            dtype=dtype,
            chunks=(min(total, _HDF5_ROWS), *shapes.get(name, ())),
            compression="gzip",
            compression_opts=1,
            shuffle=True,
        )
        for name, dtype in FRAMES.items()
        if name != "score" or store.has_score
    }
    done = 0
    for block in store.packed_rows():
        size = len(block["present"])
        for name, array in arrays.items():
            array[done : done + size] = block[name]
        done += size


# What they share


def _splits(store: Store) -> dict[str, NDArray[np.bool_]]:
    """Masks by `protocol/side`, the store's first protocol first."""
    sides = store.attributes["protocols"].items()
    names = [f"{protocol}/{side}" for protocol, sizes in sides for side in sizes]
    return {name: store.mask(name) for name in names}


def _recordings(store: Store, mask: NDArray[np.bool_]) -> Iterator[tuple[int, SkeletonSequence]]:
    """Rows in `samples` and sequences of a mask's originals, those that were cut joined again."""
    ids, originals = store.column("id"), store.column("original")
    chosen = np.flatnonzero(mask & (store.column("variant") == 0))
    pieces: dict[str, list[int]] = {}
    for row in chosen[ids[chosen] != originals[chosen]].tolist():
        pieces.setdefault(str(originals[row]), []).append(row)
    for row, sequence in zip(chosen.tolist(), store.sequences(chosen), strict=True):
        rows = pieces.get(str(originals[row]))
        if rows is None:
            yield row, sequence
        elif row == rows[0]:
            in_order = sorted(rows, key=lambda n: int(str(ids[n]).rpartition("#")[2]))
            yield row, _joined([store.sequence(n) for n in in_order], str(originals[row]))


def _joined(pieces: list[SkeletonSequence], sample_id: str) -> SkeletonSequence:
    first, scores = pieces[0], [piece.score for piece in pieces if piece.score is not None]
    return replace(
        first,
        sample_id=sample_id,
        keypoint=np.concatenate([piece.keypoint for piece in pieces], axis=1),
        present=np.concatenate([piece.present for piece in pieces], axis=1),
        frame_index=np.concatenate([piece.frame_index for piece in pieces]),
        score=np.concatenate(scores, axis=1) if scores else None,
    )


def _frames_of_recordings(store: Store, mask: NDArray[np.bool_]) -> list[int]:
    """Frames of each recording of a mask, its pieces together."""
    _, recording = np.unique(store.column("original")[mask], return_inverse=True)
    frames = np.bincount(recording, weights=store.column("n_frames")[mask])
    return frames.astype(int).tolist()  # type: ignore[no-any-return]


def _variants_left_out(store: Store) -> list[str]:
    count = int((store.column("variant") != 0).sum())
    return [f"{count} stored variants are left out"] if count else []
