"""Trackers of a run that was interrupted and resumed, read back by the packages' own readers."""

from __future__ import annotations

import json
import re
import struct
import sys
import tomllib
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import image

import aclnet.tracking.trackers
from aclnet.datasets.spec import AclnetError
from aclnet.evaluation.figures import draw_confusion
from aclnet.retrieval.embedder import Embedder
from aclnet.runs.run import Run
from aclnet.runs.scores import Scores
from aclnet.runs.settings import by_name
from aclnet.tracking import Tracker
from aclnet.tracking.trackers import GROUP, GROUPED, SHIPPED, Trackers, find_tracker

PAGE = Path(__file__).parents[3] / "docs" / "tracking.md"
INSTALLED = [name for name in SHIPPED if find_spec(name)]
CLOCKS = ("seconds", "sequences_per_second", "waiting")

# warnings of the packages and of what they import
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]


def needs(name):
    return pytest.mark.skipif(name not in INSTALLED, reason=f"aclnet[{name}]")


PLAIN = """
from aclnet.tracking import Tracker

ends = []


class Ends(Tracker):
    def __init__(self, run):
        self.done = run.done

    def close(self, *, finished):
        ends.append((self.done, finished))


class Broken(Tracker):
    def __init__(self, run): ...

    def {method}(self, *arguments, **named):
        raise ConnectionError("no network")


def nothing(run):
    return 1
"""
OWN = ("mylog:Lines", "plain:Ends", "plain:Broken", "plain:nothing")


@contextmanager
def working_folder(folder, method="log_epoch"):
    """The working folder with the module of the page, and others."""
    modules = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (page,) = (module for module in modules if "Tracker" in module)
    (folder / "mylog.py").write_text(page)
    (folder / "plain.py").write_text(PLAIN.replace("{method}", method))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", [*sys.path])
        yield patch
    for name in ("mylog", "plain"):
        sys.modules.pop(name, None)


class Remarks:
    """A progress that remembers remarks."""

    def __init__(self) -> None:
        self.remarks: list[str] = []

    def remark(self, text) -> None:
        self.remarks.append(text)

    def step(self, *_: object) -> None: ...

    def epoch(self, _: object) -> None: ...


@pytest.fixture(scope="session")
def everything(train_quickly, stop_at, make_once):
    """A run with all trackers, stopped between its second epoch and that epoch's checkpoint.

    With its remarks, and what the trackers `plain:Ends` were told at the end.
    """
    save = Run.save

    def stop(run, name, state) -> None:
        if state["stream"]["epoch"] == 2:
            raise stop_at.Stopped
        save(run, name, state)

    def fill(folder):
        with working_folder(folder) as patch:
            told = train_twice(folder, patch)
        (folder / "told.json").write_text(json.dumps(told))

    def train_twice(folder, patch):
        progress = Remarks()
        trackers = (*INSTALLED, *OWN)
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_ERROR_REPORTING", "false")
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        patch.delenv("WANDB_DIR", raising=False)
        patch.setattr(Run, "save", stop)
        with pytest.raises(stop_at.Stopped):
            train_quickly(folder / "run", trackers=trackers, progress=progress)
        patch.setattr(Run, "save", save)
        train_quickly(folder / "run", trackers=trackers, progress=progress)
        return progress.remarks, sys.modules["plain"].ends

    folder = make_once("tracked", fill)
    return Run(folder / "run"), *json.loads((folder / "told.json").read_text())


@pytest.fixture(scope="session")
def tracked(everything) -> Run:
    return everything[0]


@pytest.fixture
def rows(tracked):
    """metrics.csv with the names that trackers get."""
    return pd.read_csv(tracked.path / "metrics.csv").rename(columns=GROUPED)


def drawn_confusion(run, folder) -> np.ndarray:
    confusion = Scores.load(run.test_scores).confusion()
    return image.imread(draw_confusion(confusion, run.class_names, folder / "c.png"))[..., :3]


def test_trackers_change_no_result_and_no_name(tracked, quick_run, assert_same_run):
    assert_same_run(tracked, quick_run)
    assert tracked.record.name == quick_run.record.name


@needs("tensorboard")
def test_tensorboard(tracked, rows, store, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tracked.path / "tb")).Reload()
    scalars = set(events.Tags()["scalars"])
    assert {name for name in scalars if not name.startswith("test/")} == {*rows} - {"epoch"}
    assert {name.partition("/")[0] for name in scalars} >= {"loss", "accuracy", "speed", "test"}
    for name in {*rows} - {"epoch"}:
        assert [e.step for e in events.Scalars(name)] == [1, 2, 3]
        np.testing.assert_allclose([e.value for e in events.Scalars(name)], rows[name], 1e-6)
    assert [e.value for e in events.Scalars("test/top1")] == pytest.approx([tracked.result["top1"]])
    (shown,) = events.Images("confusion")
    found = image.imread(BytesIO(shown.encoded_image_string))[..., :3]
    np.testing.assert_allclose(found, drawn_confusion(tracked, tmp_path), atol=1e-3)
    assert len(events.Images("affinity")) == 1

    folder = tracked.path / "tb" / "00003" / "test"
    vectors = np.loadtxt(folder / "tensors.tsv", delimiter="\t")
    mask = store.mask("xsub/test")
    embed = Embedder.of_run(tracked, store, tracked.config, torch.device("cpu"))
    expected = embed.sequences(store, mask, clips=1)
    np.testing.assert_allclose(vectors, expected.vectors, atol=1e-4)
    label_of = dict(zip(store.column("id"), store.column("label"), strict=True))
    labels = [store.class_names[label_of[identity]] for identity in expected.ids]
    assert (folder / "metadata.tsv").read_text().splitlines() == labels


def wandb_records(file):
    """Records of an offline run: blocks of 32 kB, in the format of LevelDB's log."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, parts = file.read_bytes(), 7, []
    while place + 7 <= len(data):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        parts.append(data[place + 7 : place + 7 + length])
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            record = Record()
            record.ParseFromString(b"".join(parts))
            yield record
            parts = []


def wandb_items(record):
    return {
        "/".join(item.nested_key) or item.key: json.loads(item.value_json)
        for item in record.history.item
    }


@needs("wandb")
def test_wandb_offline(tracked, rows, tmp_path):
    files = sorted((tracked.path / "wandb").glob("offline-run-*/*.wandb"))
    sessions = [list(wandb_records(file)) for file in files]
    begun = [r.run for records in sessions for r in records if r.HasField("run")]
    identity = json.loads((tracked.path / "tracking" / "wandb.json").read_text())["id"]
    assert {(r.run_id, r.project) for r in begun} == {(identity, "aclnet")}
    config = {"/".join(u.nested_key) or u.key: u.value_json for r in begun for u in r.config.update}
    assert json.loads(config["optim.epochs"]) == 3
    assert json.loads(config["dataset"]) == "ntu60"
    logged = [
        [(r.history.step.num, wandb_items(r)) for r in records if r.HasField("history")]
        for records in sessions
    ]
    assert [[step for step, _ in session] for session in logged] == [[1, 2], [2, 3, 4]]
    # clocks differ between an epoch that was interrupted and the same epoch when it is repeated
    same = [n for n in rows if n.rpartition("/")[2] not in CLOCKS]
    for step, values in (pair for session in logged for pair in session):
        if step < 4:
            assert {n: values[n] for n in same} == pytest.approx(dict(rows.loc[step - 1, same]))
    _, results = logged[-1][-1]
    assert results["test/top1"] == pytest.approx(tracked.result["top1"])
    found = image.imread(files[-1].parent / "files" / results["confusion/path"])[..., :3]
    np.testing.assert_allclose(found, drawn_confusion(tracked, tmp_path), atol=1e-3)
    ends = [r.exit.exit_code for records in sessions for r in records if r.HasField("exit")]
    assert ends == [1, 0]


@needs("mlflow")
def test_mlflow_in_a_local_database(tracked, rows, tmp_path):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{tracked.path.parent}/mlflow.db")
    experiment = client.get_experiment_by_name("aclnet")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.info.run_name == tracked.record.name
    for name in {*rows} - {"epoch"}:
        history = client.get_metric_history(run.info.run_id, name)
        assert [m.step for m in history] == [1, 2, 3]
        if name.rpartition("/")[2] not in CLOCKS:
            assert [m.value for m in history] == pytest.approx(list(rows[name]))
    assert run.data.metrics["test/top1"] == pytest.approx(tracked.result["top1"])
    settings = by_name(tracked.config.model_dump(mode="json"))
    assert run.data.params == {name: str(value) for name, value in settings.items()}
    assert run.data.tags["dataset"] == "ntu60"
    assert [f.path for f in client.list_artifacts(run.info.run_id)] == [
        "affinity.png",
        "confusion.png",
    ]
    file = client.download_artifacts(run.info.run_id, "confusion.png", str(tmp_path))
    expected = drawn_confusion(tracked, tmp_path)
    np.testing.assert_allclose(image.imread(file)[..., :3], expected, atol=1e-3)


def test_the_tracker_of_the_page(tracked, rows):
    lines = [json.loads(line) for line in (tracked.path / "lines.jsonl").read_text().splitlines()]
    assert [line.get("epoch") for line in lines] == [1, 2, 2, 3, None]
    assert [lines[0], *lines[2:4]] == [pytest.approx(row) for row in rows.to_dict("records")]
    assert lines[-1]["test/top1"] == tracked.result["top1"]
    assert lines[-1]["confusion"][2] == lines[-1]["affinity"][2] == 3


def test_the_ends_of_trackers_and_what_is_said_of_them(everything):
    run, remarks, ends = everything
    assert ends == [[0, False], [1, True]]
    assert f"tracker mylog:Lines: {run.path}/lines.jsonl" in remarks
    folder = run.path.parent
    for failure in (
        f"plain:Broken failed (ConnectionError: no network ({folder}/plain.py:19))",
        "plain:nothing failed (TypeError: it returns a int; an aclnet.tracking.Tracker is "
        "expected)",
    ):
        assert remarks.count(f"tracker {failure}; the training continues without it") == 2


@pytest.mark.parametrize("method", ["__init__", "log_epoch", "log_outcome", "close"])
def test_a_failing_tracker_is_left_out(method, tmp_path):
    remarks = []
    with working_folder(tmp_path, method):
        with Trackers(("plain:Broken", "mylog:Lines", "plain:Ends"), remarks.append) as trackers:
            trackers.begin(SimpleRun(tmp_path))
            trackers.log_epoch({"epoch": 1, "loss": 2.0, "new": 3.0})
            trackers.log_epoch({"epoch": 2, "loss": 1.0, "new": 3.0})
            trackers.log_outcome(SimpleOutcome())
        assert sys.modules["plain"].ends == [(0, True)]
    (failure,) = (remark for remark in remarks if "failed" in remark)
    assert failure.startswith("tracker plain:Broken failed (ConnectionError: no network ")
    lines = [json.loads(line) for line in (tmp_path / "lines.jsonl").read_text().splitlines()]
    assert lines[0] == {"epoch": 1, "loss/total": 2.0, "other/new": 3.0}
    assert len(lines) == 3


def test_without_begin_trackers_are_told_nothing(tmp_path):
    """The state of every process except the first."""
    with working_folder(tmp_path):
        with Trackers(("plain:Ends", "plain:Broken")) as trackers:
            trackers.log_epoch({"epoch": 1})
        assert sys.modules["plain"].ends == []


class SimpleRun:
    """The parts of a run that the trackers of this page use."""

    done = 0

    def __init__(self, folder) -> None:
        self.folder = folder


class SimpleOutcome:
    figures, images = {}, {}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tensorbord", r"--tracker: there is no 'tensorbord' \(did you mean tensorboard\?\)"),
        ("tensorbord", r"own as package\.module:function \(docs/tracking\.md\)"),
        ("nowhere:Tracker", "module nowhere of --tracker nowhere:Tracker cannot be imported"),
        ("wandb", r"--tracker wandb needs a further package: pip install 'aclnet\[wandb\]'"),
    ],
)
def test_an_unusable_name_is_refused_before_the_training(
    name, message, train_quickly, tmp_path, monkeypatch
):
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(aclnet.tracking.trackers, "find_spec", lambda _: None)
    with pytest.raises(AclnetError, match=message):
        train_quickly(tmp_path / "run", trackers=(name,))
    assert not (tmp_path / "run").exists()


def test_an_entry_point_names_a_tracker(tmp_path):
    point = EntryPoint("lines", "mylog:Lines", GROUP)
    with working_folder(tmp_path) as patch:
        patch.setattr(
            "aclnet.own.building.entry_points", lambda group: [point] if group == GROUP else []
        )
        patch.syspath_prepend(tmp_path)
        assert issubclass(find_tracker("lines"), Tracker)


def test_the_extras_have_the_names_of_the_trackers():
    project = tomllib.loads((PAGE.parents[1] / "pyproject.toml").read_text())["project"]
    assert {*SHIPPED} <= {*project["optional-dependencies"]}
    assert all(f"`{name}`" in PAGE.read_text() for name in SHIPPED)
