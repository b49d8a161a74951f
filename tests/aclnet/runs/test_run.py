"""The folder of a run: what is in it, what may replace it, what a damaged one says."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
import tomllib
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from aclnet.datasets.spec import AclnetError
from aclnet.runs.config import Config
from aclnet.runs.network import load_model
from aclnet.runs.places import is_run
from aclnet.runs.run import Run, environment, is_finished
from aclnet.runs.scores import Scores
from aclnet.runs.splits import protocol_splits


@pytest.fixture
def copied_run(quick_run, tmp_path) -> Run:
    """One's own copy, to be damaged."""
    shutil.copytree(quick_run.path, tmp_path / "runs" / "copy")
    return Run(tmp_path / "runs" / "copy")


def test_a_run_in_the_working_folder_has_the_name_of_the_folder(copied_run, monkeypatch):
    monkeypatch.chdir(copied_run.path)
    assert Run(Path()).name == copied_run.path.name


def test_a_run_says_how_it_came_about(quick_run, store):
    record = json.loads((quick_run.path / "run.json").read_text())
    assert record["store"] == {"path": str(store.path.resolve()), "digest": store.digest}
    assert record["split"] == {"protocol": "xsub"}
    # A build tells its kind behind a plus ("2.13.0+cu130"), which the package index may not.
    assert record["environment"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    digest = record.pop("sha256")
    assert record == quick_run.record.model_dump(mode="json")
    text = json.dumps(record, sort_keys=True)
    assert digest == hashlib.sha256(text.encode()).hexdigest()
    config = (quick_run.path / "config.toml").read_bytes()
    assert record["config_sha256"] == hashlib.sha256(config).hexdigest()
    last = (quick_run.path / "checkpoints" / "last.pt").read_bytes()
    assert record["files"]["checkpoints/last.pt"] == hashlib.sha256(last).hexdigest()
    assert set(record["files"]) == {"checkpoints/last.pt", "history.zarr"}
    assert quick_run.layout == store.layout
    assert quick_run.class_names == store.class_names
    assert quick_run.finished
    values = tomllib.loads((quick_run.path / "config.toml").read_text())
    assert Config.model_validate(values) == quick_run.config
    assert not list(quick_run.path.rglob("*.tmp*"))


def test_finished_is_a_run_in_the_folder_of_its_name(copied_run, tmp_path):
    assert not is_finished(tmp_path / "absent")
    assert not is_finished(copied_run.path)
    own = copied_run.path.rename(copied_run.path.with_name(copied_run.record.name))
    assert is_finished(own)
    (own / "run.json").write_text("{")
    assert not is_finished(own)


def test_a_run_is_trained_by_one_process(copied_run):
    other = Run(copied_run.path).claimed()
    refused = pytest.raises(AclnetError, match="is being trained by another process")
    with copied_run.claimed(), refused, other:
        pass
    with copied_run.claimed():
        pass


def test_a_folder_that_cannot_be_made(quick, store, tmp_path):
    (tmp_path / "file").touch()
    splits = protocol_splits(store, "xsub", hold_out=False, seed=0)
    with pytest.raises(AclnetError, match=r"cannot be written.*use --out"):
        Run.create(tmp_path / "file" / "run", "name", quick(), store, splits, None)


def test_what_is_no_run(tmp_path, copied_run):
    with pytest.raises(AclnetError, match=r"is not a run of aclnet: .*run\.json cannot be read"):
        Run(tmp_path)
    assert not is_run(tmp_path)
    for text, message in (
        ("{", "is damaged"),
        ("[]", "another version"),
        ('{"format": 99}', "another version of aclnet"),
    ):
        (copied_run.path / "run.json").write_text(text)
        with pytest.raises(AclnetError, match=message):
            Run(copied_run.path)


@pytest.mark.parametrize("change", [("lr = 0.8", "lr = 0.7"), ("epochs = 3", "epochs = 0"), None])
def test_a_configuration_that_was_changed_or_cut(change, copied_run):
    config = copied_run.path / "config.toml"
    text = config.read_text()
    # what is left of a file that was cut between two sections is a valid configuration
    changed = text.replace(*change) if change else text[: text.index("[optim]")]
    assert changed != text
    config.write_text(changed)
    with pytest.raises(AclnetError, match=r"config\.toml was changed after .*--fresh"):
        Run(copied_run.path)


def test_a_configuration_of_before_that_was_changed(copied_run, change_record):
    """Runs without its hash are opened as they were."""
    change_record(copied_run.path, config_sha256=None, files=None)
    config = copied_run.path / "config.toml"
    text = config.read_text()
    config.write_text(text.replace("lr = 0.8", "lr = 0.7"))
    assert Run(copied_run.path).config.optim.lr == 0.7
    config.write_text(text.replace("epochs = 3", "epochs = 0"))
    with pytest.raises(AclnetError, match=r"config\.toml: optim\.epochs: .*not 0"):
        Run(copied_run.path)


def test_a_record_that_was_changed(copied_run):
    file = copied_run.path / "run.json"
    text = file.read_text()
    for old, new in (("drink water", "drink later"), ('"channels": 3', '"channels": 2')):
        assert old in text
        file.write_text(text.replace(old, new))
        with pytest.raises(AclnetError, match=r"run\.json differs from what was written.*--fresh"):
            Run(copied_run.path)


@pytest.fixture
def of_before(copied_run, change_record) -> Run:
    """A run without digests."""
    change_record(copied_run.path, config_sha256=None, files=None)
    return Run(copied_run.path)


@pytest.mark.slow
def test_a_checkpoint_of_another_run(copied_run):
    """Sound, fitting, and not this run's."""
    state = copied_run.load("last")
    state["network"]["model.fc_cls.bias"] += 1
    copied_run.save("last", state)
    with pytest.raises(AclnetError, match=r"last\.pt differs from what was written.*--fresh"):
        load_model(Run(copied_run.path))


@pytest.mark.slow
def test_a_flipped_bit_of_a_checkpoint(of_before):
    """In the middle of the weights, where torch does not look."""
    path = of_before.checkpoint("last")
    data = bytearray(path.read_bytes())
    for share in (0.3, 0.6, 0.9):
        flipped = bytearray(data)
        flipped[int(share * len(data))] ^= 1
        path.write_bytes(flipped)
        with pytest.raises(AclnetError, match=r"last\.pt was not loaded: .*--fresh"):
            load_model(of_before)
    path.write_bytes(data)
    load_model(of_before)


def test_checkpoints_are_replaced_whole(of_before, monkeypatch):
    before = of_before.checkpoint("last").read_bytes()

    def die(path, content):
        with path.open("wb") as file:
            file.write(content[:12])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", die)
        with pytest.raises(KeyboardInterrupt):
            of_before.save("last", {})
    assert of_before.checkpoint("last").read_bytes() == before
    of_before.save("last", {"x": torch.ones(2)})
    assert torch.equal(of_before.load("last")["x"], torch.ones(2))
    assert [p.name for p in of_before.checkpoint("last").parent.iterdir()] == ["last.pt"]
    assert of_before.load("best") is None


@contextmanager
def full_disk():
    """Inside, a file of this process that grows beyond 4 KB is refused by the system."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_keeps_what_was_there(copied_run):
    noise = np.random.default_rng(0).random((3000, 6)).astype(np.float32)
    table = pd.DataFrame(noise)
    scores = Scores(np.arange(3000).astype(str), noise, np.zeros(3000, np.int64))
    table_file = copied_run.test_scores.with_suffix(".found.csv")
    table_file.write_text("old")
    writers = {
        copied_run.checkpoint("last"): lambda: copied_run.save("last", {"x": torch.rand(9999)}),
        copied_run.path / "metrics.csv": lambda: copied_run.write_metrics(table.to_dict("records")),
        copied_run.test_scores: lambda: scores.save(copied_run.test_scores),
        table_file: lambda: copied_run.save_tables(copied_run.test_scores, {"found": table}),
        copied_run.path / "run.json": lambda: copied_run.finish({"x": noise.tolist()}),
    }
    names = sorted(str(f) for f in copied_run.path.rglob("*"))
    for file, write in writers.items():
        before = file.read_bytes()
        with full_disk(), pytest.raises(AclnetError, match=f"{file} cannot be written .*again"):
            write()
        assert file.read_bytes() == before
    assert sorted(str(f) for f in copied_run.path.rglob("*")) == names
    prototypes = np.random.default_rng(0).random((100, 256)).astype(np.float32)
    with (
        full_disk(),
        pytest.raises(AclnetError, match=r"history\.zarr/prototype cannot be written"),
    ):
        copied_run.history.write_prototypes(prototypes)


class Malicious:
    """Makes a file when it is unpickled."""

    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_checkpoint_with_code_in_it_is_refused(copied_run, tmp_path):
    trace = tmp_path / "trace"
    path = copied_run.checkpoint("last")
    torch.save({"network": Malicious(trace)}, path)
    for zipped in (True, False):
        if not zipped:
            path.write_bytes(pickle.dumps(Malicious(trace), protocol=2))
        with pytest.raises(AclnetError, match="was not loaded") as error:
            load_model(copied_run)
        assert str(path) in str(error.value)
        assert "weights_only" not in str(error.value), "nobody is told to load it anyway"
    assert not trace.exists()


@pytest.mark.parametrize("share", [0, 0.001, 0.3, 0.9, 0.999])
def test_a_truncated_checkpoint(share, copied_run):
    path = copied_run.checkpoint("last")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(AclnetError, match=r"last\.pt was not loaded: .*--fresh"):
        load_model(copied_run)


def test_a_checkpoint_of_something_else(of_before):
    for state in ({}, {"network": {"model.fc_cls.weight": torch.zeros(2)}}, {"network": {}}):
        of_before.save("last", state)
        with pytest.raises(AclnetError, match=r"last\.pt does not fit the run's configuration"):
            load_model(of_before)


def test_a_run_without_a_checkpoint(copied_run, change_record):
    copied_run.checkpoint("last").unlink()
    with pytest.raises(AclnetError, match=r"last\.pt is missing; .*--fresh"):
        load_model(copied_run)
    change_record(copied_run.path, finished=False)
    copied_run = Run(copied_run.path)
    with pytest.raises(AclnetError, match="has no checkpoint yet; `aclnet train` resumes it"):
        load_model(copied_run)


def test_the_store_is_found_again_by_its_content(copied_run, store, tmp_path, monkeypatch):
    assert copied_run.open_store().path == store.path.resolve()
    gone = copied_run.record.store.model_copy(update={"path": str(tmp_path / "gone.zarr")})
    copied_run.record = copied_run.record.model_copy(update={"store": gone})
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AclnetError, match=r"neither at .*gone\.zarr nor below .*--store"):
        copied_run.open_store()
    # a store beside the run's folder, one below the working folder; others on the way are passed
    unfinished = tmp_path / "a.zarr"
    unfinished.mkdir()
    other = tmp_path / "b.zarr"
    other.mkdir()
    (other / "manifest.json").write_text("damaged")
    for place in (tmp_path / "moved.zarr", tmp_path / "x" / "y" / "moved.zarr"):
        shutil.copytree(store.path, place)
        found = copied_run.open_store()
        assert found.path.resolve() == place
        shutil.rmtree(place)


def test_environment_names_versions():
    found = environment()
    assert {"aclnet", "torch", "numpy", "zarr", "python", "machine"} <= set(found)
    assert all(isinstance(value, str) and value for value in found.values())
