from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest

import aclnet
from aclnet.datasets.readers.msr_action3d import ORDER, MsrAction3dSource
from aclnet.datasets.registry import get_dataset
from aclnet.datasets.spec import Item, Rejection, SkeletonSequence
from aclnet.datasets.spec.layouts import get_layout
from aclnet.datasets.spec.protocols import sides
from aclnet.datasets.synth import Request, get_generator
from aclnet.datasets.synth.msr_action3d import recording

if TYPE_CHECKING:
    from pathlib import Path

ID = "a20_s03_e02"
FILE = f"{ID}_skeleton3D.txt"
# The bones that everybody draws, joints from 1 in the order of the files.
BONES = [
    *[(20, 3), (1, 3), (2, 3), (1, 8), (8, 10), (10, 12), (2, 9), (9, 11), (11, 13), (3, 4)],
    *[(4, 7), (7, 5), (7, 6), (5, 14), (6, 15), (14, 16), (16, 18), (15, 17), (17, 19)],
]


def read(folder: Path) -> SkeletonSequence | Rejection:
    return MsrAction3dSource(get_dataset("msr-action3d"), folder).read(Item(ID, FILE, 0))


def text(frames: np.ndarray) -> str:
    return "".join(f"{x:g} {y:g} {z:g} {c:g}\n" for x, y, z, c in frames.reshape(-1, 4))


def some_frames(count: int = 2) -> np.ndarray:
    """(T, 20, 4): the line's number from 1 in x, y and z a tenth and a hundredth of it."""
    lines = np.arange(1, 1 + 20 * count).reshape(count, 20, 1)
    return np.concatenate([lines, lines / 10, lines / 100, lines / 1000], axis=-1)


def test_a_recording_becomes_a_sequence(tmp_path: Path):
    (tmp_path / FILE).write_text(text(some_frames()))
    sequence = read(tmp_path)
    assert isinstance(sequence, SkeletonSequence)
    assert sequence.keypoint.shape == (1, 2, 20, 3)
    joints = get_layout("kinect_v1").joints
    lines = dict(zip(joints, sequence.keypoint[0, 0, :, 0].tolist(), strict=True))
    assert (lines["Head"], lines["HipCenter"], lines["Spine"]) == (20, 7, 4)
    assert (lines["HandLeft"], lines["HandRight"]) == (12, 13)
    assert (lines["FootLeft"], lines["FootRight"]) == (18, 19)
    head = joints.index("Head")
    np.testing.assert_allclose(sequence.keypoint[0, 1, head], [40, 4, 0.4])
    assert sequence.score is not None
    np.testing.assert_allclose(sequence.score[0, :, head], [0.02, 0.04])
    assert sequence.frame_index.tolist() == [0, 1]
    assert (sequence.label, sequence.subject, sequence.replication) == (19, 3, 2)
    assert (sequence.sample_id, sequence.camera) == (ID, -1)


def test_the_order_keeps_the_bones():
    layout = get_layout("kinect_v1")
    bones = {frozenset(pair) for pair in BONES}
    assert {frozenset(ORDER[j] + 1 for j in edge) for edge in layout.inward} == bones


def test_frames_of_zeros_are_without_the_person(tmp_path: Path):
    frames = some_frames(3)
    frames[1, :, :3] = 0
    (tmp_path / FILE).write_text(text(frames))
    sequence = read(tmp_path)
    assert isinstance(sequence, SkeletonSequence)
    assert sequence.present.tolist() == [[True, False, True]]
    assert sequence.score is not None
    assert not sequence.score[0, 1].any()
    frames[..., :3] = 0
    (tmp_path / FILE).write_text(text(frames))
    rejection = read(tmp_path)
    assert isinstance(rejection, Rejection)
    assert rejection.kind == "no person"


@pytest.mark.parametrize(
    ("lines", "line", "reason"),
    [
        (["1 2 3 4"] * 39, 39, "19 joints of 20"),
        (["1 2 3 4"] * 7 + ["1 2 3"] + ["1 2 3 4"] * 12, 8, "3 values; 4"),
        (["1 2 3 4"] * 19 + ["1 2 x 4"], 20, "'x' is not a number"),
        (["1 2 3 4"] * 18 + ["1 nan 3 4"] * 2, 19, "not finite"),
        ([], None, "empty"),
    ],
)
def test_damage_is_told_with_its_line(tmp_path: Path, lines: list[str], line: int, reason: str):
    (tmp_path / FILE).write_text("\n".join(lines))
    rejection = read(tmp_path)
    assert isinstance(rejection, Rejection)
    assert (rejection.path, rejection.line) == (FILE, line)
    assert reason in rejection.reason


def test_scan_sorts_the_folder_out(tmp_path: Path):
    for path in (
        f"real/{FILE}",
        f"z/{FILE}",
        f"{ID}_skeleton.txt",
        "a21_s01_e01_skeleton3D.txt",
        "a01_s11_e01_skeleton3D.txt",
        "a01_s01_e00_skeleton3D.txt",
        "depth.bin",
    ):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(b"")
    items, rejections = MsrAction3dSource(get_dataset("msr-action3d"), tmp_path).scan()
    assert items == [Item(ID, f"real/{FILE}", 0)]
    assert sorted(rejection.path for rejection in rejections) == [
        "a01_s01_e00_skeleton3D.txt",
        "a01_s11_e01_skeleton3D.txt",
        f"{ID}_skeleton.txt",
        "a21_s01_e01_skeleton3D.txt",
        f"z/{FILE}",
    ]


def test_odd_subjects_train_and_subsets_leave_other_actions_out():
    labels, subjects = (grid.ravel() for grid in np.meshgrid(np.arange(20), np.arange(1, 11)))
    masks = sides(get_dataset("msr-action3d").protocols, {"label": labels, "subject": subjects})
    assert {name: int(mask.sum()) for name, mask in masks.items()} == {
        "xsub/train": 100, "xsub/test": 100, "as1/train": 40, "as1/test": 40,
        "as2/train": 40, "as2/test": 40, "as3/train": 40, "as3/test": 40,
    }  # fmt: skip
    assert set(subjects[masks["as2/train"]]) == {1, 3, 5, 7, 9}
    names = get_dataset("msr-action3d").class_names
    assert {names[label] for label in labels[masks["as2/test"]]} == {
        *("high arm wave", "hand catch", "draw x", "draw tick", "draw circle"),
        *("two hand wave", "forward kick", "side boxing"),
    }


@pytest.mark.slow
def test_made_up_recordings_arrive_in_the_store(tmp_path: Path, prepare_raw):
    summary = get_generator("msr-action3d")(
        tmp_path / "raw", Request(sequences=30, subjects=4, seed=1, damage=1 / 6)
    )
    files = [file for file in (tmp_path / "raw").rglob("*") if file.is_file()]
    with zipfile.ZipFile(tmp_path / "r.zip", "w") as archive:
        for file in files:
            archive.write(file, file.name)
    report = prepare_raw(tmp_path / "r.zip", tmp_path / "m.zarr", dataset="msr-action3d")
    assert report.rejections == {"damaged": 4, "no person": 1}
    store = aclnet.open_store(tmp_path / "m.zarr")
    damaged = {path.split("/")[-1][:11] for path in summary.damaged}
    assert set(store.column("id")) == {file.name[:11] for file in files} - damaged
    for row, sample_id in enumerate(store.column("id")[:5]):
        found = store.sequence(sample_id).keypoint[0] + store.column("centre")[row]
        np.testing.assert_allclose(found, recording(1, sample_id)[:, list(ORDER), :3], atol=2e-6)
