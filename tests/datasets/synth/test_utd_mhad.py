"""Made-up UTD-MHAD: read with scipy, whose reader is not ours, and through prepare."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.io import loadmat

import aclnet
from aclnet.datasets.spec.layouts import get_layout
from aclnet.datasets.synth import Request, get_generator
from aclnet.datasets.synth.utd_mhad import JOINTS, recording

if TYPE_CHECKING:
    from pathlib import Path

# What the Kinect v2 joints are called that have no counterpart of the same name.
RENAMED = {"SpineBase": "HipCenter", "SpineMid": "Spine", "SpineShoulder": "ShoulderCenter"}


def generate(folder: Path, **changes: float):
    arguments = {"sequences": 24, "subjects": 3, "seed": 5, "damage": 0.0} | changes
    return get_generator("utd-mhad")(folder, Request(**arguments))


def test_files_hold_what_is_meant(tmp_path: Path):
    generate(tmp_path, sequences=4)
    files = sorted(tmp_path.rglob("*.mat"))
    assert len(files) == 4
    for file in files:
        meant = recording(5, file.name.removesuffix("_skeleton.mat"))
        np.testing.assert_array_equal(loadmat(file)["d_skel"], meant.transpose(1, 2, 0))
        assert 1.0 < np.ptp(meant[0, :, 1]) < 2.2  # a body upright, in metres


def test_joints_are_those_of_the_layout():
    kinect = get_layout("nturgb+d").joints
    names = [RENAMED.get(kinect[j], kinect[j]) for j in JOINTS]
    assert names == list(get_layout("utd_mhad").joints)


@pytest.mark.slow
def test_made_up_recordings_arrive_in_the_store(tmp_path: Path, prepare_raw):
    summary = generate(tmp_path / "raw", damage=0.25)
    report = prepare_raw(tmp_path / "raw", tmp_path / "u.zarr", dataset="utd-mhad")
    assert report.rejections == {"damaged": 6}
    assert len(summary.damaged) == 6
    assert report.samples == 18
    store = aclnet.open_store(tmp_path / "u.zarr")
    trains = np.isin(store.column("subject"), [1, 3])
    assert store.splits["xsub/train"].tolist() == trains.tolist()
    for row, sample_id in enumerate(store.column("id")[:3]):
        found = store.sequence(sample_id).keypoint[0] + store.column("centre")[row]
        np.testing.assert_allclose(found, recording(5, sample_id), atol=2e-6)
