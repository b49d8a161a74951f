"""Default inputs of commands."""

from __future__ import annotations

import os

import pytest

from aclnet.datasets.discovery import newest_run
from aclnet.datasets.spec import AclnetError


def make_run(folder, *, written: float, checkpoint: bool) -> None:
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "run.json").touch()
    os.utime(folder / "run.json", (written, written))
    if checkpoint:
        (folder / "checkpoints" / "best.pt").touch()


def test_the_newest_run_is_one_with_a_checkpoint(tmp_path):
    with pytest.raises(AclnetError, match="no run below"):
        newest_run(tmp_path)
    make_run(tmp_path / "runs" / "begun", written=9, checkpoint=False)
    with pytest.raises(AclnetError, match=r"no run with a checkpoint below .*`aclnet train`"):
        newest_run(tmp_path)
    make_run(tmp_path / "a.zarr.runs" / "old", written=1, checkpoint=True)
    make_run(tmp_path / "a.zarr.runs" / "new", written=2, checkpoint=True)
    make_run(tmp_path / "a.zarr.runs" / "older", written=0, checkpoint=True)
    assert newest_run(tmp_path) == tmp_path / "a.zarr.runs" / "new"
