"""Targets: stores, unfinished stores, exports."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import zipfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.stress.fuzz.cases import Case
from tests.stress.fuzz.files import KEPT, few_pickled, half, npy, put, repaired_zip, touch, zipped
from tests.stress.fuzz.targets_recordings import read_raw

if TYPE_CHECKING:
    from collections.abc import Callable


@cache
def store() -> Path:
    """A small store of synthetic people, made once for each process, with its `.wip` beside it.

    The work folder has the state after all shards are written.
    """
    from aclnet.datasets.synth import Request, get_generator

    folder = Path(KEPT.name)
    request = Request(sequences=6, subjects=4, seed=1)
    get_generator("custom", "npy")(folder / "raw", request)
    for file in sorted((folder / "raw").glob("*.npy")):
        file.write_bytes(npy(np.load(file)[:4]))
    _prepare(folder / "raw", folder / "some.zarr")
    with suppress(_StoppedError):
        _prepare(folder / "raw", folder / "half.zarr", until="_put_into_place")
    return folder / "some.zarr"


class _StoppedError(Exception):
    """The deliberate early end of a preparation."""


def _prepare(raw: Path, out: Path, until: str = "") -> None:
    """Prepares raw recordings, until a function of `stages` is called, if one is named."""
    from aclnet.datasets.registry import get_dataset, open_raw
    from aclnet.pipelines.prepare import stages
    from aclnet.pipelines.prepare.executor import open_executor
    from aclnet.pipelines.prepare.options import PrepareOptions

    def stop(*_: object) -> None:
        raise _StoppedError

    original = getattr(stages, until) if until else None
    if until:
        setattr(stages, until, stop)
    try:
        with open_executor() as execute:
            source = open_raw(get_dataset("custom"), raw)
            stages.prepare(source, out, PrepareOptions(), execute)
    finally:
        if until:
            setattr(stages, until, original)


def read_store(path: Path) -> None:
    """Reads all of a store in every way."""
    from aclnet.datasets.spec import AclnetError
    from aclnet.datasets.store.store import Store
    from aclnet.datasets.store.summary import summarise
    from aclnet.datasets.store.verify import verify

    with suppress(AclnetError):
        for problem in verify(path):
            assert problem.strip()
    store = Store(path)
    assert len(store.samples) == len(store)
    store.splits  # noqa: B018 - reads the masks
    for row in range(min(len(store), 3)):
        store.sequence(row)
    summarise(store)


def store_file(name: str) -> Callable[[Path], Case]:
    """A file of a store; half of the inputs come with a manifest that fits them."""

    def make(folder: Path) -> Case:
        path = folder / "some.zarr"
        shutil.copytree(store(), path)
        manifest = json.loads((path / "manifest.json").read_bytes())

        def parse(data: bytes) -> None:
            put(path / name, data)
            if name != "manifest.json":
                describe(manifest, name, data if half(data) else b"")
                put(path / "manifest.json", json.dumps(manifest).encode())
            read_store(path)

        return Case([(path / name).read_bytes()], parse)

    return make


def describe(manifest: dict[str, Any], name: str, data: bytes) -> None:
    """Notes the size and hash of a file in a manifest."""
    for files in (manifest["files"], *(shard["files"] for shard in manifest["shards"])):
        if name in files:
            files[name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def checked_chunk(name: str) -> Callable[[Path], Case]:
    """A chunk of a store with its checksum at the end, which is right for half of the inputs."""

    def make(folder: Path) -> Case:
        from google_crc32c import value

        case = store_file(name)(folder)

        def parse(data: bytes) -> None:
            whole = data[:-4] + struct.pack("<I", value(data[:-4])) if len(data) > 4 else data
            case.parse(whole if half(data[:-4]) else data)

        return Case(case.seeds, parse)

    return make


def unfinished(name: str) -> Callable[[Path], Case]:
    """A file of an unfinished preparation, which is then resumed."""

    def make(folder: Path) -> Case:
        pristine, raw, work = (folder / name for name in ("pristine", "raw", "some.zarr.wip"))
        shutil.copytree(store().with_name("half.zarr.wip"), pristine)
        shutil.copytree(store().with_name("raw"), raw)
        (file,) = pristine.glob(name)

        def parse(data: bytes) -> None:
            for path in (work, folder / "some.zarr"):
                shutil.rmtree(path, ignore_errors=True)
            shutil.copytree(pristine, work)
            put(work / file.relative_to(pristine), data)
            _prepare(raw, folder / "some.zarr")

        return Case([file.read_bytes()], parse)

    return make


def export(form: str, suffix: str) -> Callable[[Path], Case]:
    """An exported store, read back as raw data."""

    def make(folder: Path) -> Case:
        from aclnet.datasets.store.store import Store

        file = folder / f"export{suffix}"
        _write_export(Store(store()), form, file)
        seed = file.read_bytes()
        if form == "npz":
            with zipfile.ZipFile(file) as archive:
                seed = zipped({name: archive.read(name) for name in archive.namelist()})
        if form == "pyskl":
            seed = few_pickled(seed)

        def parse(data: bytes) -> None:
            put(file, repaired_zip(data) if form == "npz" else data)
            read_raw("custom", file)

        return Case([seed], parse)

    return make


def _hdf5_sealed(folder: Path) -> Case:
    """An HDF5 export with changed bytes, sealed again, so that HDF5's own library reads them."""
    from aclnet.datasets.exports.hdf5 import seal
    from aclnet.datasets.store.store import Store

    whole, file = folder / "whole.h5", folder / "export.h5"
    _write_export(Store(store()), "hdf5", whole)

    def parse(data: bytes) -> None:
        file.unlink(missing_ok=True)  # HDF5 keeps the previous file open
        file.write_bytes(data)
        if len(data) > 512:
            seal(file)
        touch(file)
        read_raw("custom", file)

    return Case([whole.read_bytes()], parse)


def _write_export(store: Any, form: str, file: Path) -> None:
    from aclnet.datasets.exports.hdf5 import write_hdf5
    from aclnet.datasets.exports.npz import write_npz
    from aclnet.datasets.exports.pyskl import write_pyskl
    from aclnet.datasets.exports.recordings import recordings

    if form == "hdf5":
        write_hdf5(store, file)
    elif form == "npz":
        write_npz(store, file, store.default_protocol)
    else:
        write_pyskl(store, recordings(store, np.ones(len(store), bool)), file)


def _hdf5_values(folder: Path) -> Case:
    """An HDF5 export with other values of one array or attribute, sealed again.

    The first byte of an input chooses the array, the second its dtype and shape; the others are its
    values.
    """
    import h5py

    from aclnet.datasets.exports.hdf5 import seal
    from aclnet.datasets.store.store import Store

    whole, file = folder / "whole.h5", folder / "export.h5"
    _write_export(Store(store()), "hdf5", whole)
    names: list[str] = []
    with h5py.File(whole) as opened:
        opened.visititems(lambda n, o: names.append(n) if isinstance(o, h5py.Dataset) else None)
        names += [f"@{name}" for name in opened.attrs]

    def parse(data: bytes) -> None:
        file.unlink(missing_ok=True)  # HDF5 keeps the previous file open
        shutil.copyfile(whole, file)
        if len(data) > 2:
            with h5py.File(file, "r+") as opened, suppress(OSError, ValueError, TypeError):
                _exchange(opened, names[data[0] % len(names)], data[1], data[2:])
        seal(file)
        touch(file)
        read_raw("custom", file)

    seeds = [bytes([n, kind]) + bytes(range(64)) for n in range(len(names)) for kind in (0, 7)]
    return Case(seeds, parse)


def _exchange(opened: Any, name: str, kind: int, values: bytes) -> None:
    """Exchanges an array, or an attribute (`@name`), of an HDF5 file for other values."""
    import h5py

    text = values.decode("latin1").replace("\0", "0")
    if name.startswith("@"):
        numbers = np.frombuffer(values, np.uint8)
        opened.attrs[name[1:]] = (text, numbers, len(text), text.encode("latin1"))[kind % 4]
        return
    old = opened[name]
    shape, dtype = old.shape, old.dtype
    if kind & 1:
        shape = (shape, (len(values) // 8,), (), (2, 2, 2))[kind // 2 % 4]
    if kind & 16:
        dtype = [np.dtype(d) for d in ("f8", "i4", "u8", "S3", "?")][kind // 32 % 5]
    del opened[name]
    if h5py.check_string_dtype(dtype):
        size = int(np.prod(shape))
        parts = [text[n : n + 5] for n in range(size)]
        opened.create_dataset(name, data=np.array(parts, object).reshape(shape), dtype=dtype)
        return
    size = int(np.prod(shape)) * dtype.itemsize
    filled = (values * (size // max(1, len(values)) + 1))[:size]
    opened.create_dataset(name, data=np.frombuffer(filled, dtype).reshape(shape))


TARGETS: dict[str, Callable[[Path], Case]] = {
    "export-hdf5": export("hdf5", ".h5"),
    "export-hdf5-sealed": _hdf5_sealed,
    "export-hdf5-values": _hdf5_values,
    "export-npz": export("npz", ".npz"),
    "export-pyskl": export("pyskl", ".pkl"),
    "store-manifest": store_file("manifest.json"),
    "store-metadata": store_file("zarr.json"),
    "store-column-metadata": store_file("samples/start/zarr.json"),
    "store-ids": checked_chunk("samples/id/c/0"),
    "store-starts": checked_chunk("samples/start/c/0"),
    "store-frames": checked_chunk("frames/keypoint/c/0/0/0"),
    "prepare-plan": unfinished("plan.json"),
    "prepare-fragment": unfinished("*/fragments/0000/000000/table.json"),
    "prepare-array": unfinished("*/fragments/0000/000000/keypoint.npy"),
    "prepare-receipt": unfinished("*/shards/0000/000000.json"),
}
"""Functions that make the case of each target in an empty folder."""
