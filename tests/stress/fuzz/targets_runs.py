"""Targets: runs with their files, and files of scores."""

from __future__ import annotations

import hashlib
import json
import shutil
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.stress.fuzz.cases import Case
from tests.stress.fuzz.files import HOSTILE, KEPT, half, packed, pickled, put, repaired_zip
from tests.stress.fuzz.targets_checkpoints import saved, tensors
from tests.stress.fuzz.targets_stores import store

if TYPE_CHECKING:
    from collections.abc import Callable


@cache
def _run() -> Path:
    """An untrained run with every file that is read, made once for each process."""
    from aclnet.datasets.spec.layouts import get_layout
    from aclnet.runs.config import build_config
    from aclnet.runs.record import RunRecord, SplitRecord, StoreRecord
    from aclnet.runs.run import Run

    path = Path(KEPT.name) / "run"
    record = RunRecord(
        name="run",
        store=StoreRecord(path=str(path.parent / "no.zarr"), digest="0" * 64),
        dataset="custom",
        layout=get_layout("sbu"),
        channels=3,
        normalisation="x",
        class_names=["a", "b"],
        split=SplitRecord(protocol="own", fold=(1, 2)),
        init_from=None,
        environment={"torch": "2"},
        result={"top1": 0.5, "unknown": {"threshold": 0.5}},
    )
    run = Run.begin(path, build_config("demo"), record)
    history = run.history
    history.create(2, ["a", "b"])
    ones = {"confusion/train": np.ones((2, 2), int), "affinity": np.ones((2, 2), np.float32)}
    more = {"family": np.ones((2, 2), bool), "temperature": np.ones(2, np.float32)}
    history.write(0, ones | more)
    history.write_prototypes(np.ones((2, 4), np.float32))
    return path


def _run_json(folder: Path) -> Case:
    from aclnet.runs.record import record_digest
    from aclnet.runs.run import Run

    path = folder / "run"
    shutil.copytree(_run(), path)

    def parse(data: bytes) -> None:
        with suppress(ValueError, RecursionError):
            values = json.loads(data)
            if half(data) and isinstance(values, dict):  # the digest of the present content
                values.pop("sha256", None)
                data = json.dumps({**values, "sha256": record_digest(values)}).encode()
        put(path / "run.json", data)
        _use_run(Run(path))

    return Case([(path / "run.json").read_bytes()], parse)


def _use_run(run: Any) -> None:
    """Reads all facts of a run from its record and configuration."""
    from aclnet.datasets.spec import AclnetError
    from aclnet.retrieval.identify import threshold_of

    names = ("score_names", "test_split", "result", "split_file", "fold", "test_scores", "selected")
    for name in names:
        with suppress(AclnetError):
            getattr(run, name)
    threshold_of(run)
    if run.record.result and "top1" in run.record.result:
        float(run.record.result["top1"])
    with suppress(AclnetError):
        run.open_store()
    with suppress(AclnetError):
        run.weights()


def _config_toml(folder: Path) -> Case:
    from aclnet.runs.record import record_digest
    from aclnet.runs.run import Run

    path = folder / "run"
    shutil.copytree(_run(), path)
    record = json.loads((path / "run.json").read_bytes())
    record.pop("sha256")

    def parse(data: bytes) -> None:
        record["config_sha256"] = hashlib.sha256(data).hexdigest()
        whole = {**record, "sha256": record_digest(record)}
        put(path / "run.json", json.dumps(whole).encode())
        put(path / "config.toml", data)
        run = Run(path)
        run.config.digest()
        run.config.to_toml()

    return Case([(path / "config.toml").read_bytes()], parse)


def history_file(name: str) -> Callable[[Path], Case]:
    """A file of a run's history."""

    def make(folder: Path) -> Case:
        from aclnet.datasets.spec import AclnetError
        from aclnet.runs.history import KINDS, History

        path = folder / "history.zarr"
        shutil.copytree(_run() / "history.zarr", path)

        def parse(data: bytes) -> None:
            put(path / name, data)
            history = History(path)
            for kind in (*KINDS, "prototype"):
                with suppress(AclnetError):
                    history.read_all(kind)
            with suppress(AclnetError):
                history.trained  # noqa: B018 - reads the metadata of all arrays

        return Case([(path / name).read_bytes()], parse)

    return make


def _checkpoint(folder: Path) -> Case:
    from aclnet.runs.run import Run

    path = folder / "run"
    shutil.copytree(_run(), path)
    (path / "checkpoints").mkdir()
    run = Run(path)

    def parse(data: bytes) -> None:
        put(path / "checkpoints/last.pt", repaired_zip(data))
        run.weights()

    state = {"network": {f"model.{name}": value for name, value in tensors().items()}, "epoch": 1}
    return Case([saved(state), saved([1]), saved({"network": 3}), *HOSTILE], parse)


def _split_csv(folder: Path) -> Case:
    from aclnet.datasets.store.store import Store
    from aclnet.runs.splits import file_splits

    file = folder / "sides.csv"
    shutil.copytree(store(), folder / "some.zarr")
    opened = Store(folder / "some.zarr")
    ids = [str(name) for name in opened.column("id")]
    sides = ["train", "val", "test", "train", "test", "train"]
    rows = [f"{name},{side}" for name, side in zip(ids, sides, strict=True)]
    people = [f"{name},train+gallery" for name in ids[:3]] + [f'"{ids[3]}",probe']

    def parse(data: bytes) -> None:
        put(file, data)
        file_splits(opened, file)

    seeds = ["\n".join(["id,split", *rows]), "\ufeff" + "\r\n".join(["split,id", *people])]
    return Case(
        [*(seed.encode() for seed in seeds), "\n".join(["id,split", *people]).encode()], parse
    )


def _demo_people(folder: Path) -> Case:
    """Record of the people in a folder of the demonstration."""
    from aclnet import demo

    def parse(data: bytes) -> None:
        put(folder / "people.json", data)
        demo._claim(folder, demo.People())

    demo._claim(folder, demo.People())
    return Case([(folder / "people.json").read_bytes()], parse)


def _scores(folder: Path) -> Case:
    from aclnet.runs.scores import Scores

    def parse(data: bytes) -> None:
        put(folder / "scores.npz", repaired_zip(data))
        found = Scores.load(folder / "scores.npz")
        if len(found):
            found.result()
            found.per_class([str(n) for n in range(found.scores.shape[1])])

    return Case([packed(score_arrays())], parse)


def score_arrays() -> dict[str, Any]:
    return {
        "ids": np.array(["a", "b"]),
        "scores": np.array([[0.25, 0.75], [0.5, 0.5]], np.float32),
        "labels": np.array([1, 0]),
    }


def score_file(suffix: str, *seeds: bytes) -> Callable[[Path], Case]:
    """Scores that another toolkit wrote."""

    def make(folder: Path) -> Case:
        from aclnet.exchange.score_files import Order, read_scores

        file, order = folder / f"scores{suffix}", Order(["a", "b"], [0, 1])

        def parse(data: bytes) -> None:
            put(file, repaired_zip(data) if suffix == ".npz" else data)
            read_scores(file, order).probabilities()

        return Case(list(seeds), parse)

    return make


_LOGITS = [np.array([0.25, 0.75], np.float32), np.array([5, -3], np.float32)]
_OLD_DUMP = [{"pred_scores": {"item": row}, "gt_labels": {"item": np.ones(1)}} for row in _LOGITS]
_DUMP = [
    {"pred_score": row, "gt_label": np.array([1]), "frame_dir": name}
    for row, name in zip(_LOGITS, "ab", strict=True)
]


def order_file(suffix: str) -> Callable[[Path], Case]:
    """The order of the samples of scores without ids."""

    def make(folder: Path) -> Case:
        from aclnet.exchange.score_files import read_order

        file = folder / f"order{suffix}"

        def parse(data: bytes) -> None:
            put(file, data)
            read_order(f"{file}:val" if suffix == ".pkl" else str(file))

        annotations = [{"frame_dir": "a", "label": 1}, {"frame_dir": "b", "label": np.int64(2)}]
        content = {"split": {"val": ["a", "b"]}, "annotations": annotations}
        named = {"split": {"val": ["a"]}, "annotations": [{"filename": "a", "label": 1}]}
        return Case(
            [pickled(content), pickled(named, 2)] if suffix == ".pkl" else [b"a\nb\n\n c \n"], parse
        )

    return make


def _score_tables(folder: Path) -> Case:
    from aclnet.runs.run import Run

    path = folder / "run"
    shutil.copytree(_run(), path)
    run = Run(path)
    run.test_scores.parent.mkdir()

    def parse(data: bytes) -> None:
        put(run.test_scores.with_suffix(".views.csv"), data)
        run.load_tables(run.test_scores)

    return Case([b"condition,gallery_condition,18,36\nnm,,0.5,0.25\nbg,x,,1\n"], parse)


TARGETS: dict[str, Callable[[Path], Case]] = {
    "run-json": _run_json,
    "config-toml": _config_toml,
    "demo-people": _demo_people,
    "checkpoint": _checkpoint,
    "history-group": history_file("zarr.json"),
    "history-array": history_file("temperature/zarr.json"),
    "history-chunk": history_file("confusion/train/c/0/0/0"),
    "scores": _scores,
    "score-tables": _score_tables,
    "score-file-npz": score_file(".npz", packed(score_arrays())),
    "score-file-pkl": score_file(
        ".pkl", pickled(_LOGITS), pickled(np.stack(_LOGITS), 2), pickled([[0.5, 0.5]] * 2), *HOSTILE
    ),
    "score-file-ctr": score_file(
        ".pkl",
        pickled(dict(zip("ab", _LOGITS, strict=True))),
        pickled({"test_0": _LOGITS[0], "test_1": _LOGITS[1]}, 2),
    ),
    "score-file-mmaction": score_file(".pkl", pickled(_DUMP), pickled(_OLD_DUMP, 2)),
    "order-text": order_file(".txt"),
    "order-pkl": order_file(".pkl"),
    "split-csv": _split_csv,
}
"""Functions that make the case of each target in an empty folder."""
