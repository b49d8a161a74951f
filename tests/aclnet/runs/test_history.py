"""Values that a run stores for every epoch."""

from __future__ import annotations

import subprocess
import sys

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


def rows_of(epoch: int) -> dict[str, np.ndarray]:
    """Values of an epoch in a history of three classes."""
    rng = np.random.default_rng(epoch)
    return {
        "confusion/train": rng.integers(9, size=(3, 3)),
        "affinity": rng.random((3, 3)).astype(np.float32),
        "family": rng.random((3, 3)) < 0.5,
        "temperature": rng.random(3).astype(np.float32),
    }


def test_rows_come_back(history):
    for epoch in range(3):
        history.write(epoch, rows_of(epoch))
    for name, row in rows_of(2).items():
        np.testing.assert_array_equal(history.read(name, 2), row)
        np.testing.assert_array_equal(history.read(name, -2), row)
        assert history.read_all(name).shape == (4, *row.shape)
    assert (history.read("confusion/train", 3) == -1).all()
    assert (history.read("confusion/eval", 2) == -1).all()
    assert np.isnan(history.read("temperature", 3)).all()
    assert history.trained == 3


def test_creating_again_changes_nothing(history):
    history.write(0, rows_of(0))
    history.create(4, ["sit", "stand", "walk"])
    np.testing.assert_array_equal(history.read("temperature", 0), rows_of(0)["temperature"])


KILLED = """
import os, sys
from pathlib import Path
import numpy as np
from aclnet.runs.history import History

sys.addaudithook(lambda event, _: os._exit(9) if event == "os.rename" else None)
History(Path(sys.argv[1])).write(1, {"temperature": np.ones(3, np.float32)})
"""


def test_creating_again_deletes_what_a_killed_process_left(history):
    history.write(0, rows_of(0))
    files = set(history.path.rglob("*"))
    assert subprocess.run([sys.executable, "-c", KILLED, history.path]).returncode == 9
    left = [path for path in set(history.path.rglob("*")) - files if path.is_file()]
    assert len(left) == 1
    history.create(4, ["sit", "stand", "walk"])
    assert not left[0].exists()
    assert files <= set(history.path.rglob("*"))


FILL = {
    "confusion/train": np.zeros((3, 3), np.int64),
    "affinity": np.zeros((3, 3), np.float32),
    "family": np.zeros((3, 3), np.bool_),
    "temperature": np.full(3, 0.1, np.float32),
}
"""An epoch without families: its row of `family` is the array's fill value."""


@pytest.mark.parametrize("name", FILL)
@pytest.mark.parametrize("epoch", [0, 2])
def test_a_lost_chunk_is_not_read_as_fill(name, epoch, history):
    for number in range(3):
        history.write(number, FILL)
    assert (history.read_all(name)[:3] == FILL[name]).all()
    file = history.path / name / "c" / "/".join([str(epoch), *["0"] * (FILL[name].ndim)])
    file.unlink()
    with pytest.raises(AclnetError, match=f"{file} is missing; .*--fresh"):
        history.read_all(name)
    with pytest.raises(AclnetError, match=f"{file} is missing; .*--fresh"):
        history.read(name, epoch)


def test_a_history_that_left_out_chunks_of_fill(history):
    """As histories were written before every row had a chunk."""
    for epoch in range(2):
        history.write(epoch, FILL)
    group = zarr.open_group(history.path, mode="r+")
    del group.attrs["every_row_has_a_chunk"]
    (history.path / "family/c/0/0/0").unlink()
    assert not history.read_all("family").any()
    history.write(2, rows_of(2))  # resumed
    np.testing.assert_array_equal(history.read("family", 2), rows_of(2)["family"])
    (history.path / "affinity/c/0/0/0").unlink()
    with pytest.raises(AclnetError, match="affinity/c/0/0/0 is missing"):
        history.read_all("affinity")


@pytest.mark.slow
def test_no_flipped_bit_is_read_as_data(history):
    """In metadata and in a chunk: an error that names the history, or the same data."""
    for epoch in range(2):
        history.write(epoch, rows_of(epoch))
    expected = history.read_all("affinity")[:2]
    for file in (history.path / "affinity/zarr.json", history.path / "affinity/c/1/0/0"):
        whole = file.read_bytes()
        for byte in range(0, len(whole), 3):
            damaged = bytearray(whole)
            damaged[byte] ^= 1 << byte % 8
            file.write_bytes(damaged)
            try:
                np.testing.assert_array_equal(history.read_all("affinity")[:2], expected)
            except AclnetError as error:
                assert str(history.path) in str(error)  # noqa: PT017
        file.write_bytes(whole)


@pytest.mark.parametrize("name", ["", "temperature"])
@pytest.mark.parametrize("content", [None, b"", b"{", b"[]"])
def test_metadata_that_are_gone_or_cut(name, content, history):
    history.write(0, FILL)
    file = history.path / name / "zarr.json"
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(AclnetError, match=f"{file} is missing or damaged.*--fresh"):
        history.read_all("family")


def test_plain_zarr_opens_it(history):
    history.write_prototypes(np.zeros((3, 256), np.float32))
    history.write_prototypes(np.ones((3, 256), np.float32))  # again, after a kill
    group = zarr.open_group(history.path, mode="r")
    assert group.attrs["class_names"] == ["sit", "stand", "walk"]
    assert set(KINDS) <= {name for name in KINDS if group[name].shape[0] == 4}
    assert (group["prototype"][:] == 1).all()


def test_nothing_was_trained_yet(tmp_path):
    with pytest.raises(AclnetError, match=r"history\.zarr has no temperature: no epoch"):
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
