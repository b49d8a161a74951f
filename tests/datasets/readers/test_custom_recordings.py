"""Custom recordings in arrays, tables and landmarks: what is read, and what is rejected."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from aclnet.datasets.readers import pose_table
from aclnet.datasets.registry import get_dataset, open_raw
from aclnet.datasets.spec import SkeletonSequence
from aclnet.datasets.spec.layouts import get_layout
from aclnet.datasets.store.store import Store
from tests.datasets.readers.custom_folder import FACTS, reason, sequence, some, write


@pytest.mark.parametrize("persons", [1, 2])
def test_arrays(tmp_path, persons):
    keypoint = some(persons=persons)
    keypoint[:, 2] = 0
    np.save(tmp_path / "a.npy", keypoint if persons > 1 else keypoint[0].astype(np.float64))
    found = sequence(tmp_path, "a.npy")
    np.testing.assert_array_equal(found.keypoint, keypoint)
    assert found.present.tolist() == [[True, True, False, True, True, True]] * persons
    assert found.score is None
    assert found.frame_index.tolist() == list(range(6))


def test_arrays_of_several_names(tmp_path):
    keypoint, score = some(persons=2), some(persons=2)[..., 0]
    present = np.ones((2, 6), np.int64)
    present[1, 3:] = 0
    np.savez(tmp_path / "a.npz", keypoint=keypoint, score=score, present=present)
    found = sequence(tmp_path, "a.npz")
    np.testing.assert_array_equal(found.present, present == 1)
    np.testing.assert_array_equal(found.keypoint, keypoint * present[..., None, None])
    np.testing.assert_array_equal(found.score, score * present[..., None])


@pytest.mark.parametrize(("units", "dimensions"), [("m", 3), ("px", 2)])
@pytest.mark.parametrize("suffix", [".npy", ".csv"])
def test_one_coordinate_more_is_the_confidence(tmp_path, units, dimensions, suffix):
    values = some(coordinates=dimensions + 1)[0]
    facts = f'{FACTS}units = "{units}"\n'
    if suffix == ".npy":
        np.save(tmp_path / "a.npy", values)
    else:
        np.savetxt(tmp_path / "a.csv", values.reshape(6, -1), "%.9g", ",")
    found = sequence(tmp_path, f"a{suffix}", facts)
    np.testing.assert_array_equal(found.keypoint[0], values[..., :-1])
    np.testing.assert_array_equal(found.score[0], values[..., -1])


def test_joints_that_are_no_numbers_are_missing(tmp_path):
    keypoint, score = some(), some()[..., 0]
    keypoint[0, 2, 5] = np.nan
    keypoint[0, 3] = np.nan
    score[0, 2, 5] = np.nan
    np.savez(tmp_path / "a.npz", keypoint=keypoint, score=score)
    found = sequence(tmp_path, "a.npz")
    assert (found.keypoint[0, 2, 5] == 0).all()
    assert found.score[0, 2, 5] == 0
    assert found.present.tolist() == [[True, True, True, False, True, True]]
    assert (found.score[0, 3] == 0).all()
    others = np.isfinite(keypoint)
    np.testing.assert_array_equal(found.keypoint[others], keypoint[others])


def changed(values: np.ndarray, value: float) -> np.ndarray:
    values = values.copy()
    values[0, 4, 7, 1] = value
    return values


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"keypoint": changed(some(), np.nan)}, "frame 4, HandLeft: a coordinate is not finite"),
        ({"keypoint": changed(some(persons=2), np.inf)}, "person 0, frame 4, HandLeft"),
        ({"keypoint": some().astype(np.float64) * 1e300}, "not finite"),
        ({"keypoint": some(joints=19)}, "19 joints, but layout kinect_v1 has 20"),
        ({"keypoint": some(coordinates=2)}, "2 coordinates; 3 are expected, or 4"),
        ({"keypoint": some()[0, 0]}, "an array (20, 3); (T, V, C) or (M, T, V, C)"),
        ({"keypoint": some()[:, :0]}, "an array (1, 0, 20, 3)"),
        ({"keypoint": some(persons=101)}, "too large for one recording"),
        ({"points": some()}, "`keypoint` is missing"),
        ({"keypoint": some(), "score": np.zeros((1, 5, 20))}, "`score` is (1, 5, 20)"),
        ({"keypoint": some(), "score": np.full((6, 20), np.nan)}, "the confidence is not finite"),
        ({"keypoint": some(), "present": np.full(6, 2)}, "other than 0 and 1"),
    ],
)
def test_arrays_of_other_content_are_rejected(tmp_path, arrays, said):
    np.savez(tmp_path / "a.npz", **arrays)
    assert said in reason(tmp_path, "a.npz")


def table(keypoint: np.ndarray, *, header: str = "", number: bool = False) -> str:
    rows = keypoint.reshape(len(keypoint), -1).tolist()
    lines = [[2 * t, *row] if number else row for t, row in enumerate(rows)]
    return header + "".join(",".join(f"{v:.9g}" for v in line) + "\n" for line in lines)


@pytest.mark.parametrize("header", ["", "x,y,z\n"])
@pytest.mark.parametrize("number", [False, True])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_tables(tmp_path, header, number, newline):
    keypoint = some()
    text = table(keypoint[0], header=header, number=number)
    (tmp_path / "a.csv").write_bytes(text.replace("\n", newline).encode())
    found = sequence(tmp_path, "a.csv")
    np.testing.assert_array_equal(found.keypoint, keypoint)
    assert found.frame_index.tolist() == [2 * t if number else t for t in range(6)]


def test_tables_with_empty_cells_and_with_other_columns(tmp_path):
    keypoint = some()
    lines = [line.split(",") for line in table(keypoint[0]).splitlines()]
    lines[1][3:6] = ["", " ", "nan"]
    text = "\n".join(",".join(["sensor 1", *line, "9", "9"]) for line in lines)
    (tmp_path / "a.csv").write_text(f"who,x,y,z\n{text}")
    found = sequence(tmp_path, "a.csv", f'{FACTS}columns = "1:61"\n')
    keypoint[0, 1, 1] = 0
    np.testing.assert_array_equal(found.keypoint, keypoint)


GOOD = table(some()[0])
LINES = GOOD.splitlines()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty"),
        ("x,y,z\n", "there are no lines after the header"),
        (GOOD.replace(LINES[3], LINES[3] + ",1"), "4: 61 values, but line 1 has 60"),
        (f"x,y\n{GOOD}".replace(LINES[3], "1,2"), "5: 2 values, but line 2 has 60"),
        (f"x,y\n{GOOD}".replace(LINES[4], f"a{LINES[4]}"), "6: 'a"),
        (f"x,y\n{GOOD}".replace(LINES[2].split(",")[4], "inf"), "4: frame 2, Spine: a coordinate"),
        ("1,2,3\n4,5,6\n", "1: 3 columns; 60 or 80 are expected for layout kinect_v1"),
        (table(some()[0], number=True).replace("\n4,", "\n2,"), "3: the first column is not"),
        (table(some()[0], number=True).replace("\n4,", "\n4.5,"), "3: the first column is not"),
    ],
)
def test_tables_that_are_none_are_rejected_with_the_line(tmp_path, text, said):
    (tmp_path / "a.csv").write_text(text)
    assert said in reason(tmp_path, "a.csv")


def test_an_endless_line_rejects_its_file_and_its_row_alone(tmp_path, monkeypatch):
    """A hundred megabytes in one line were gigabytes of cells, and the end of `prepare`."""
    sound = table(some()[0])
    (tmp_path / "a.csv").write_text(sound)
    (tmp_path / "b.csv").write_text(sound + "1," * 70_000)
    (tmp_path / "c.csv").write_text("1" * 140_000 + "\n" + sound)
    index = "id,file,label\na,a.csv,x\n" + "y" * 140_000 + "\nb,b.csv,x\nc,c.csv,x\n"
    source = open_raw(get_dataset("custom"), write(tmp_path, index))
    items, rejections = source.scan()
    assert [(r.path, r.line) for r in rejections] == [("index.csv", 3)]
    assert "140,001 characters" in rejections[0].reason
    a, b, c = map(source.read, items)
    assert isinstance(a, SkeletonSequence)
    assert (b.line, c.line) == (7, 1)
    assert "140,000 characters" in b.reason
    assert "140,000 characters" in c.reason
    monkeypatch.setattr(pose_table, "MAX_CELLS", 100)
    assert "more than 100 cells" in source.read(items[0]).reason


def test_recordings_agree_about_confidences(tmp_path):
    np.savez(tmp_path / "a.npz", keypoint=some(), score=some()[..., 0])
    np.save(tmp_path / "b.npy", some())
    write(tmp_path, "id,file,label\na,a.npz,x\nb,b.npy,x\n")
    source = open_raw(get_dataset("custom"), tmp_path)
    first, second = map(source.read, source.scan()[0])
    assert isinstance(first, SkeletonSequence)
    assert second.reason == "it has no confidences, but other recordings have"


def test_mediapipe_in_pixels_needs_the_size_of_the_image(tmp_path):
    shares = some(joints=33, coordinates=4)[0] / 2
    keys = ("x", "y", "z", "visibility")
    frames = [[dict(zip(keys, row, strict=True)) for row in frame] for frame in shares.tolist()]
    (tmp_path / "a.json").write_text(json.dumps(frames))
    facts = 'units = "px"\n'
    assert "`width` and `height` in index.csv, or in dataset.toml for all" in reason(
        tmp_path, "a.json", facts
    )
    index = "id,file,label,width,height\na,a.json,x,640,480\n"
    source = open_raw(get_dataset("custom"), write(tmp_path, index, dataset_toml=facts))
    found = source.read(source.scan()[0][0])
    np.testing.assert_allclose(found.keypoint[0], shares[..., :2] * [640, 480], rtol=1e-6)
    np.testing.assert_allclose(found.score[0], shares[..., 3], rtol=1e-6)


@pytest.mark.slow
def test_real_gait_recordings_are_read(real_data, prepare_raw, tmp_path):
    """UCalgary's files: 18 joints of a Kinect, then eight columns that are no coordinates."""
    rows = []
    for file in sorted((real_data / "ucalgary_gait").glob("*.csv")):
        subject, _, run, _, sex, _, condition = file.stem.split("_")
        (tmp_path / file.name).symlink_to(file)
        number = subject.removeprefix("subject")
        side = "train" if int(run) % 2 else "test"
        rows.append([file.stem, file.name, condition, number, run, sex, side])
    with (tmp_path / "index.csv").open("w", newline="") as stream:
        columns = ["id", "file", "label", "subject", "replication", "condition", "split"]
        csv.writer(stream).writerows([columns, *rows])
    (tmp_path / "dataset.toml").write_text('layout = "kinect18"\ncolumns = "0:54"\n')
    report = prepare_raw(tmp_path, tmp_path / "gait.zarr", dataset="custom")
    assert (report.samples, dict(report.rejections)) == (167, {"damaged": 1})
    assert "subject21_Seq_4" in report.examples[0]
    assert {c.side: c.found for c in report.counts} == {"own/train": 84, "own/test": 83}
    store = Store(tmp_path / "gait.zarr")
    assert list(store.class_names) == ["AL", "AR", "N"]
    name = rows[0][0]
    values = np.genfromtxt(tmp_path / f"{name}.csv", delimiter=",", skip_header=1)[:, :54]
    joints = values.reshape(120, 18, 3).astype(np.float32)
    spine = joints[0, get_layout("kinect18").joints.index("SpineMid")]
    np.testing.assert_allclose(store.sequence(name).keypoint[0], joints - spine, atol=1e-6)
    head, foot = (
        joints[:, get_layout("kinect18").joints.index(n), 1] for n in ("Head", "FootLeft")
    )
    assert (head > foot).all()
