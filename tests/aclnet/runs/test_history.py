"""What a run remembers of every epoch."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

from aclnet.datasets.spec import AclnetError
from aclnet.runs.history import KINDS, History


@pytest.fixture
def history(tmp_path) -> History:
    made = History(tmp_path / "history.zarr")
    made.create(4, ["sit", "stand", "walk"])
    return made


def test_rows_come_back(history):
    rng = np.random.default_rng(0)
    rows = {
        "confusion/train": rng.integers(9, size=(3, 3)),
        "affinity": rng.random((3, 3)).astype(np.float32),
        "family": rng.random((3, 3)) < 0.5,
        "temperature": rng.random(3).astype(np.float32),
    }
    history.write(2, rows)
    for name, row in rows.items():
        np.testing.assert_array_equal(history.read(name, 2), row)
        np.testing.assert_array_equal(history.read(name, -2), row)
        assert history.read_all(name).shape == (4, *row.shape)
    assert (history.read("confusion/train", 1) == -1).all()
    assert (history.read("confusion/eval", 2) == -1).all()
    assert np.isnan(history.read("temperature", 3)).all()


def test_creating_again_changes_nothing(history):
    history.write(0, {"temperature": np.ones(3, np.float32)})
    history.create(4, ["sit", "stand", "walk"])
    assert history.read("temperature", 0).tolist() == [1, 1, 1]


def test_plain_zarr_opens_it(history):
    history.write_prototypes(np.zeros((3, 256), np.float32))
    history.write_prototypes(np.ones((3, 256), np.float32))  # again, after a kill
    group = zarr.open_group(history.path, mode="r")
    assert group.attrs["class_names"] == ["sit", "stand", "walk"]
    assert set(KINDS) <= {name for name in KINDS if group[name].shape[0] == 4}
    assert (group["prototype"][:] == 1).all()


def test_nothing_was_trained_yet(tmp_path):
    with pytest.raises(AclnetError, match=r"history\.zarr holds no temperature: no epoch"):
        History(tmp_path / "history.zarr").read_all("temperature")


def test_a_creation_that_was_killed(tmp_path):
    history = History(tmp_path / "history.zarr")
    (tmp_path / "history.zarr.new").mkdir()
    (tmp_path / "history.zarr.new" / "rest").touch()
    history.create(2, ["sit", "stand"])
    assert history.read_all("affinity").shape == (2, 2, 2)


def test_epochs_of_a_run(quick_run):
    last = quick_run.load("last")["network"]
    families = {n.rpartition(".")[2]: v for n, v in last.items() if ".families." in n}
    for name, key in (
        ("affinity", "affinity"),
        ("family", "member"),
        ("temperature", "temperature"),
    ):
        np.testing.assert_array_equal(quick_run.history.read(name, -1), families[key].numpy())
    np.testing.assert_array_equal(
        quick_run.history.read_all("prototype"), last["contrast.prototypes"].numpy()
    )
    assert families["member"].any()
