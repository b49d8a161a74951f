"""Targets: files of each kind (datasets/formats), layouts, and settings that a user writes."""

from __future__ import annotations

import io
import zipfile
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.stress.fuzz.cases import Case
from tests.stress.fuzz.files import HOSTILE, npy, packed, pickled, put, repaired_zip, zipped
from tests.stress.fuzz.targets_custom import own_layout, sheets, short_layout

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def _json(_: Path) -> Case:
    from aclnet.datasets.formats.json_text import parse_json

    seeds = [b'{"a": [1, -2.5e3, null, "\\u00e9"]}', b"[[[]]]", '"é"'.encode("utf-16")]
    return Case(seeds, parse_json)


def _npy(_: Path) -> Case:
    from aclnet.datasets.formats.npy import parse_npy
    from aclnet.datasets.spec import DamageError

    def parse(data: bytes) -> None:
        with suppress(DamageError):
            parse_npy(data, text=True)
        parse_npy(data)

    arrays: list[Any] = [
        np.ones((2, 3), np.float32),
        np.asfortranarray(np.ones((2, 3), ">i2")),
        np.array(["a", "é"]),
        np.ones(()),
        np.zeros((0, 3)),
        np.array([True]),
        np.ones(2, [("a", "f4")]),
    ]
    version_2 = io.BytesIO()
    np.lib.format.write_array(version_2, arrays[0], version=(2, 0))
    return Case([*map(npy, arrays), version_2.getvalue()], parse)


def _npy_rows(folder: Path) -> Case:
    from aclnet.datasets.formats.npy_rows import open_npy

    def parse(data: bytes) -> None:
        put(folder / "rows.npy", data)
        rows = open_npy(folder / "rows.npy")
        for row in {0, len(rows) // 2, len(rows) - 1}:
            rows.read(row)

    return Case([npy(np.ones((3, 2, 2), "f4")), npy(np.ones(0)), npy(np.ones((2, 0)))], parse)


def _npz(folder: Path) -> Case:
    from aclnet.datasets.formats.npy import load_npz, parse_npz
    from aclnet.datasets.spec import DamageError

    names = ("ids", "x", "y")

    def parse(data: bytes) -> None:
        data = repaired_zip(data)
        with suppress(DamageError):
            parse_npz(data, names, 2**20)
        put(folder / "some.npz", data)
        load_npz(folder / "some.npz", names, 2**20, text=("ids",))

    return Case(_some_npz(), parse)


def _some_npz() -> list[bytes]:
    arrays = {"ids": np.array(["a", "b"]), "x": np.ones((2, 2), "f4"), "y": np.ones(2, int)}
    compressed = io.BytesIO()
    np.savez_compressed(compressed, **arrays)
    return [packed(arrays), compressed.getvalue()]


def _npz_rows(folder: Path) -> Case:
    from aclnet.datasets.formats.npy_rows import open_npz
    from aclnet.datasets.spec import AclnetError, DamageError

    def parse(data: bytes) -> None:
        put(folder / "rows.npz", repaired_zip(data))
        for name in ("ids", "x", "y"):
            with suppress(AclnetError, DamageError):
                rows = open_npz(folder / "rows.npz", name, text=name == "ids")
                for row in (len(rows) - 1, 0):
                    rows.read(row)

    return Case(_some_npz(), parse)


def _pickle(folder: Path) -> Case:
    from aclnet.datasets.formats.unpickle import load_pickle

    def parse(data: bytes) -> None:
        put(folder / "some.pkl", data)
        load_pickle(folder / "some.pkl")

    value = {
        "split": {"train": ["a"]},
        "annotations": [{"x": np.ones((2, 2), "f4"), "n": np.float32(1), "t": (1, "é", b"b")}],
        "names": np.array(["a", "b"]),
    }
    seeds = [pickled(value, protocol) for protocol in range(6)]
    return Case([*seeds, *HOSTILE], parse)


def _zip(folder: Path) -> Case:
    from aclnet.datasets.formats.files import read_file, walk_files
    from aclnet.datasets.spec import DamageError

    (folder / "in").mkdir()

    def parse(data: bytes) -> None:
        put(folder / "in" / "some.zip", repaired_zip(data))
        for path, _ in list(walk_files(folder / "in"))[:5]:
            with suppress(DamageError):
                read_file(folder / "in", path, 2**20)

    compressed = io.BytesIO()
    with zipfile.ZipFile(compressed, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a/b.txt", b"text" * 50)
        archive.writestr("c.txt", b"text" * 50, zipfile.ZIP_BZIP2)
        archive.writestr("d.txt", b"text" * 50, zipfile.ZIP_DEFLATED)
    names = {"a/b.txt": b"text", "../x": b"", "/etc/passwd": b"", "inner.zip/x": b"", "d/": b""}
    return Case([zipped(names), compressed.getvalue()], parse)


def _recipe(folder: Path) -> Case:
    from aclnet.runs.config import build_config

    file = folder / "own.toml"
    (folder / "other.toml").write_bytes(b'extends = "own.toml"\n')

    def parse(data: bytes) -> None:
        put(file, data)
        build_config(str(file)).to_toml()

    seeds = [
        b'extends = "demo"\nseed = 3\n[model]\nsize = 16\n[about]\ntitle = "t"\nwhose = "ours"\n',
        b'extends = "other.toml"\n[streams.b]\noptim.epochs = 3\n[loss.families]\nstart = 0\n',
        b'settings = "official"\ntask = "gait"\n[data]\ninterval = [0.5, 1]\nmodality = "bm"\n',
        b'select = "val"\n[augment]\nrotate = 0.3\n[optim]\nlr = 0.1\nwarmup_epochs = 2.5\n',
    ]
    return Case(seeds, parse)


def _set(_: Path) -> Case:
    from aclnet.runs.config import build_config

    def parse(data: bytes) -> None:
        settings = data.decode("utf-8", "surrogateescape").split("\n")
        build_config("demo", settings[:5]).digest()

    texts = (
        "optim.epochs=30",
        "data.modality=bm\nloss.weight=0.2",
        "data.interval=[0.5,1]",
        'model={size="tiny"}',
        "loss.families.source=val\ntask=gait",
        "seed=1979-05-27T07:32:00Z",
        "a.b.c.d=1",
    )
    return Case([text.encode() for text in texts], parse, typed=True)


def _grid(_: Path) -> Case:
    from aclnet.runs.splits import Fold
    from aclnet.sweeps.rows import parse_grid

    def parse(data: bytes) -> None:
        text = data.decode("utf-8", "surrogateescape")
        if "=" in text:
            parse_grid(text)
        else:
            Fold.parse(text)

    return Case(
        [b"loss.weight=0,0.1", b"data.interval=[0.5,1],[1,1]", b"2/4", b"components"],
        parse,
        typed=True,
    )


def _layout(folder: Path) -> Case:
    from aclnet.datasets.spec.layouts import get_layout

    def parse(data: bytes) -> None:
        put(folder / "own.json", data)
        layout = get_layout(str(folder / "own.json"))
        layout.resolve("+".join([*layout.joints, *layout.parts]) or "hands")

    return Case([own_layout(), short_layout(), b"{}"], parse)


def _sheet(_: Path) -> Case:
    from aclnet.datasets.formats.sheet import sheet_to_csv

    return Case(sheets(), lambda data: sheet_to_csv(repaired_zip(data)))


def _bvh_layout(folder: Path) -> Case:
    """The layout from the hierarchy of motion capture."""
    from aclnet.cli.layouts import _layout
    from aclnet.datasets.synth import pose_files

    def parse(data: bytes) -> None:
        put(folder / "own.bvh", data)
        _layout(str(folder / "own.bvh"))

    return Case([pose_files.bvh(np.ones((1, 20, 3)))], parse)


TARGETS: dict[str, Callable[[Path], Case]] = {
    "json": _json,
    "npy": _npy,
    "npy-rows": _npy_rows,
    "npz": _npz,
    "npz-rows": _npz_rows,
    "pickle": _pickle,
    "zip": _zip,
    "sheet": _sheet,
    "layout": _layout,
    "layout-bvh": _bvh_layout,
    "recipe": _recipe,
    "set": _set,
    "grid": _grid,
}
"""Functions that make the case of each target in an empty folder."""
