from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest

import aclnet
from aclnet.datasets.registry import get_dataset, open_raw
from aclnet.datasets.spec import Item, Rejection, SkeletonSequence
from aclnet.datasets.synth import Request, get_generator
from aclnet.datasets.synth.shrec17 import image, recording

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = "gesture_14/finger_2/subject_3/essai_1"
WORLD, IMAGE = f"{FOLDER}/skeletons_world.txt", f"{FOLDER}/skeletons_image.txt"
ID = "g14_f2_s03_e01"


def write(folder: Path, path: str, rows: np.ndarray) -> None:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(folder / path, rows, fmt="%.7g")


def read(folder: Path, dataset: str = "shrec17") -> SkeletonSequence | Rejection:
    source = open_raw(get_dataset(dataset), folder)
    (item,), _ = source.scan()
    return source.read(item)


def test_a_line_is_a_frame_of_22_joints(tmp_path: Path):
    rows = np.arange(2 * 66.0).reshape(2, 66)
    write(tmp_path, WORLD, rows)
    sequence = read(tmp_path)
    assert isinstance(sequence, SkeletonSequence)
    assert (sequence.keypoint.shape, sequence.keypoint.dtype) == ((1, 2, 22, 3), np.float32)
    assert sequence.keypoint[0, 1, 21].tolist() == [129, 130, 131]
    assert sequence.present.all()
    assert sequence.frame_index.tolist() == [0, 1]
    assert (sequence.sample_id, sequence.source) == (ID, WORLD)
    assert (sequence.subject, sequence.replication) == (3, 1)
    assert (sequence.condition, sequence.width) == ("whole hand", 0)


@pytest.mark.parametrize(
    ("dataset", "label", "name"),
    [("shrec17", 13, "shake"), ("shrec17-28", 27, "shake (whole hand)")],
)
def test_each_task_has_its_classes(tmp_path: Path, dataset: str, label: int, name: str):
    write(tmp_path, WORLD, np.ones((1, 66)))
    sequence = read(tmp_path, dataset)
    assert isinstance(sequence, SkeletonSequence)
    assert sequence.label == label
    assert get_dataset(dataset).class_names[label] == name


def test_pixels_are_read_where_there_are_no_metres(tmp_path: Path):
    write(tmp_path, IMAGE, np.arange(1, 45.0)[None])
    sequence = read(tmp_path)
    assert isinstance(sequence, SkeletonSequence)
    assert sequence.keypoint.shape == (1, 1, 22, 2)
    assert sequence.keypoint[0, 0, :2].tolist() == [[1, 2], [3, 4]]
    assert (sequence.width, sequence.height) == (640, 480)
    write(tmp_path, WORLD, np.ones((1, 66)))
    assert open_raw(get_dataset("shrec17"), tmp_path).spec.units == "m"


def test_frames_of_zeros_are_without_the_hand(tmp_path: Path):
    write(tmp_path, WORLD, np.array([[1.0], [0.0]]) * np.ones(66))
    sequence = read(tmp_path)
    assert isinstance(sequence, SkeletonSequence)
    assert sequence.present.tolist() == [[True, False]]
    write(tmp_path, WORLD, np.zeros((2, 66)))
    rejection = read(tmp_path)
    assert isinstance(rejection, Rejection)
    assert rejection.kind == "no person"


@pytest.mark.parametrize(
    ("lines", "line", "reason"),
    [
        (["1 " * 66, "1 " * 63], 2, "63 values; 66 are expected"),
        (["1 " * 66, "1 " * 65 + "x"], 2, "'x' is not a number"),
        (["1 " * 65 + "nan"], 1, "not finite"),
        ([], None, "empty"),
    ],
)
def test_damage_is_told_with_its_line(tmp_path: Path, lines: list[str], line: int, reason: str):
    write(tmp_path, WORLD, np.ones((1, 66)))
    (tmp_path / WORLD).write_text("\n".join(lines))
    rejection = read(tmp_path)
    assert isinstance(rejection, Rejection)
    assert (rejection.path, rejection.line) == (WORLD, line)
    assert reason in rejection.reason


def test_scan_sorts_the_folder_out(tmp_path: Path):
    strange = [
        WORLD.replace("gesture_14", "gesture_15"),
        WORLD.replace("finger_2", "finger_3"),
        WORLD.replace("subject_3", "subject_29"),
        WORLD.replace("essai_1", "essai_0"),
        "skeletons_world.txt",
    ]
    others = [f"{FOLDER}/general_informations.txt", IMAGE, "train_gestures.txt"]
    for path in (f"set/{WORLD}", f"z/{WORLD}", *strange, *others):
        write(tmp_path, path, np.ones((1, 1)))
    items, rejections = open_raw(get_dataset("shrec17"), tmp_path).scan()
    assert items == [Item(ID, f"set/{WORLD}", 2)]
    kinds = {rejection.path: rejection.kind for rejection in rejections}
    assert kinds == dict.fromkeys(strange, "unknown name") | {f"z/{WORLD}": "there twice"}


@pytest.mark.slow
@pytest.mark.parametrize(("form", "joints"), [("world", recording), ("image", image)])
def test_made_up_recordings_arrive_in_the_store(tmp_path: Path, prepare_raw, form: str, joints):
    request = Request(sequences=20, subjects=3, seed=1, damage=0.25)
    summary = get_generator("shrec17-28", form)(tmp_path / "raw", request)
    report = prepare_raw(tmp_path / "raw", tmp_path / "s.zarr", dataset="shrec17-28")
    assert report.rejections == {"damaged": 5}
    store = aclnet.open_store(tmp_path / "s.zarr")
    assert (store.layout.name, len(store)) == ("hand22", 15)
    assert not {*store.column("source")} & summary.damaged.keys()
    for name, path, centre in zip(
        *(store.column(column)[:3] for column in ("id", "source", "centre")), strict=True
    ):
        found = store.sequence(name).keypoint[0]
        expected = joints(1, path.rpartition("/")[0])
        known = expected.any(axis=-1, keepdims=True)  # a camera misses a joint now and then
        np.testing.assert_allclose(found, known * (expected - centre), rtol=1e-6, atol=1e-4)


def test_the_official_lists_of_the_real_set(real_data: Path):
    archive = real_data / "shrec17.zip"
    sources = [open_raw(get_dataset(name), archive) for name in ("shrec17", "shrec17-28")]
    items, rejections = sources[0].scan()
    assert (len(items), rejections) == (2_800, [])
    by_id = {item.sample_id: item for item in items}
    (protocol,) = sources[0].spec.protocols
    with zipfile.ZipFile(archive) as members:
        listed = {
            side: np.loadtxt(members.open(f"{side}_gestures.txt"), int)
            for side in ("train", "test")
        }
        for side, rows in listed.items():
            on_side = protocol.divide({"subject": rows[:, 2]})[side]
            assert on_side.all()
            assert len(rows) == protocol.published[side]
            for *numbers, of_14, of_28, frames in rows[:: len(rows) // 40].tolist():
                item = by_id["g{:02}_f{}_s{:02}_e{:02}".format(*numbers)]
                sequence, finer = (source.read(item) for source in sources)
                assert isinstance(sequence, SkeletonSequence)
                assert isinstance(finer, SkeletonSequence)
                assert (sequence.label, finer.label) == (of_14 - 1, of_28 - 1)
                path = "gesture_{}/finger_{}/subject_{}/essai_{}".format(*numbers)
                expected = np.loadtxt(members.open(f"{path}/skeletons_world.txt"), np.float32)
                np.testing.assert_array_equal(sequence.keypoint.reshape(frames, 66), expected)
    both = np.concatenate([*listed.values()])
    assert len({tuple(row) for row in both[:, :4].tolist()}) == len(items)
    assert (both[:, 6].min(), both[:, 6].max()) == (7, 171)
