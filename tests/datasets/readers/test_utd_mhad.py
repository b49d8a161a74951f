from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import loadmat, savemat

from aclnet.datasets.readers.utd_mhad import UtdMhadSource
from aclnet.datasets.registry import get_dataset, open_raw
from aclnet.datasets.spec import AclnetError, Item, Rejection, SkeletonSequence
from aclnet.datasets.spec.protocols import check_counts, sides

if TYPE_CHECKING:
    from pathlib import Path

ID = "a27_s8_t4"
FILE = f"{ID}_skeleton.mat"


def read(folder: Path) -> SkeletonSequence | Rejection:
    return UtdMhadSource(get_dataset("utd-mhad"), folder).read(Item(ID, FILE, 0))


def some_skeleton(num_frames: int = 7) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(20, 3, num_frames))


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("num_frames", [1, 7])
def test_a_recording_becomes_a_sequence(tmp_path: Path, num_frames: int, compress: bool):
    skeleton = some_skeleton(num_frames)
    savemat(tmp_path / FILE, {"d_skel": skeleton}, do_compression=compress)
    sequence = read(tmp_path)
    assert isinstance(sequence, SkeletonSequence)
    assert sequence.keypoint.dtype == np.float32
    assert sequence.keypoint.shape == (1, num_frames, 20, 3)
    for frame, joint, axis in [(0, 3, 2), (num_frames - 1, 19, 0)]:
        assert sequence.keypoint[0, frame, joint, axis] == np.float32(skeleton[joint, axis, frame])
    assert sequence.present.all()
    assert sequence.present.shape == (1, num_frames)
    assert sequence.frame_index.tolist() == list(range(num_frames))
    assert (sequence.sample_id, sequence.label, sequence.subject) == (ID, 26, 8)
    assert (sequence.replication, sequence.camera) == (4, -1)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"skel": some_skeleton()}, "missing"),
        ({"d_skel": "text"}, "not an array of real numbers"),
        ({"d_skel": np.array([{}, {}])}, "not an array of real numbers"),
        ({"d_skel": some_skeleton() * 1j}, "not an array of real numbers"),
        ({"d_skel": some_skeleton()[:19]}, "(19, 3, 7)"),
        ({"d_skel": some_skeleton()[..., :0]}, "(20, 3, 0)"),
        ({"d_skel": some_skeleton()[0]}, "(3, 7, 1)"),
        ({"d_skel": some_skeleton() * np.inf}, "not finite"),
        ({"d_skel": some_skeleton() * 1e300}, "not finite"),
    ],
)
def test_other_content_is_rejected(tmp_path: Path, content: dict[str, object], reason: str):
    savemat(tmp_path / FILE, content)
    rejection = read(tmp_path)
    assert isinstance(rejection, Rejection)
    assert reason in rejection.reason
    assert rejection.path == FILE


@pytest.mark.parametrize("data", [b"", b"MATLAB", b"\x89HDF\r\n\x1a\n" + bytes(600), b"x" * 2**21])
def test_files_of_another_kind_are_rejected(tmp_path: Path, data: bytes):
    (tmp_path / FILE).write_bytes(data)
    assert isinstance(read(tmp_path), Rejection)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("utd")


@given(data=st.data())
def test_a_cut_file_is_rejected(folder: Path, data: st.DataObject):
    savemat(folder / FILE, {"d_skel": some_skeleton()})
    whole = (folder / FILE).read_bytes()
    length = data.draw(st.integers(0, len(whole) - 1))
    (folder / FILE).write_bytes(whole[:length])
    assert isinstance(read(folder), Rejection)


@given(data=st.data(), compress=st.booleans())
def test_changed_bytes_are_a_sequence_or_a_rejection(
    folder: Path, data: st.DataObject, compress: bool
):
    content = {"first": "text", "d_skel": some_skeleton(2)}
    savemat(folder / FILE, content, do_compression=compress)
    changed = bytearray((folder / FILE).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(120, 300))] = data.draw(st.integers(0, 255))
    (folder / FILE).write_bytes(changed)
    assert isinstance(read(folder), SkeletonSequence | Rejection)


@pytest.mark.parametrize("dtype", ["f4", "i2", "u1", "i8", ">f8"])
def test_other_numbers_and_other_variables_do_no_harm(tmp_path: Path, dtype: str):
    skeleton = np.arange(240).reshape(20, 3, 4).astype(dtype)
    content = {"x": "text", "cells": np.array([{}], object), "d_skel": skeleton, "z": 1}
    for compress in (False, True):
        savemat(tmp_path / FILE, content, do_compression=compress)
        sequence = read(tmp_path)
        assert isinstance(sequence, SkeletonSequence)
        np.testing.assert_array_equal(sequence.keypoint[0].transpose(1, 2, 0), skeleton)


def test_decompression_is_bounded(tmp_path: Path):
    savemat(tmp_path / FILE, {"d_skel": np.zeros((20, 3, 10_000))}, do_compression=True)
    rejection = read(tmp_path)
    assert isinstance(rejection, Rejection)
    assert "too long" in rejection.reason


def test_scan_sorts_the_folder_out(tmp_path: Path):
    for path in (
        "Skeleton/a2_s1_t1_skeleton.mat",
        "Skeleton/a10_s1_t1_skeleton.mat",
        "copy/a2_s1_t1_skeleton.mat",
        "a28_s1_t1_skeleton.mat",
        "a1_s9_t1_skeleton.mat",
        "a1_s0_t1_skeleton.mat",
        "a1_s1_t1_inertial.mat",
        "README.txt",
    ):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(b"")
    items, rejections = UtdMhadSource(get_dataset("utd-mhad"), tmp_path).scan()
    assert items == [
        Item("a10_s1_t1", "Skeleton/a10_s1_t1_skeleton.mat", 0),
        Item("a2_s1_t1", "Skeleton/a2_s1_t1_skeleton.mat", 0),
    ]
    assert sorted(rejection.path for rejection in rejections) == [
        "a1_s0_t1_skeleton.mat",
        "a1_s1_t1_inertial.mat",
        "a1_s9_t1_skeleton.mat",
        "a28_s1_t1_skeleton.mat",
        "copy/a2_s1_t1_skeleton.mat",
    ]


def test_a_missing_folder_is_the_users_mistake(tmp_path: Path):
    with pytest.raises(AclnetError, match="nowhere does not exist"):
        open_raw(get_dataset("utd-mhad"), tmp_path / "nowhere")


def test_the_real_set_is_complete(real_data: Path):
    source = pickle.loads(pickle.dumps(open_raw(get_dataset("utd-mhad"), real_data / "utd_mhad")))  # noqa: S301
    items, rejections = source.scan()
    assert not rejections
    subjects = np.array([int(item.sample_id.split("_")[1][1:]) for item in items])
    protocols = source.spec.protocols
    masks = sides(protocols, {"subject": subjects, "label": np.zeros_like(subjects)})
    counts = check_counts(protocols, {side: int(mask.sum()) for side, mask in masks.items()})
    assert {count.side: count.found for count in counts} == {"xsub/train": 431, "xsub/test": 430}
    assert {count.verdict for count in counts} == {"complete"}


def test_real_recordings_are_read(real_data: Path):
    source = UtdMhadSource(get_dataset("utd-mhad"), real_data / "utd_mhad")
    for item in source.scan()[0][::50]:
        sequence = source.read(item)
        assert isinstance(sequence, SkeletonSequence)
        skeleton = loadmat(source.root / item.path)["d_skel"]
        assert (sequence.keypoint[0].transpose(1, 2, 0) == skeleton.astype(np.float32)).all()
