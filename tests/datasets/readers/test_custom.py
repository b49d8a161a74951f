"""Folders of custom recordings: their index, the files beside it, and every form of file."""

from __future__ import annotations

import csv
import json
import pickle
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aclnet.datasets.readers import pose_table
from aclnet.datasets.registry import get_dataset, open_raw
from aclnet.datasets.spec import AclnetError, Item, Rejection, SkeletonSequence
from aclnet.datasets.spec.layouts import get_layout
from aclnet.datasets.store.store import Store
from tests.datasets.readers.custom_folder import (
    FACTS,
    generate,
    indexed,
    reason,
    sequence,
    some,
    write,
)

if TYPE_CHECKING:
    from pathlib import Path


# The index


def test_columns_become_facts_of_the_sequences(tmp_path):
    index = (
        "file,ID,label,subject,camera,setup,replication,condition,split,width,height,notes\n"
        "a.npy, one ,walk,3,1,2,4,bag,Train,640,480,nothing\n"
        '"b.npy",two,"run, fast",,,,,,val,,,\n'
        ",,,,,,,,,,,\n"
        "c.npy,three,walk,0,,,,,,,,\n"
    )
    source, items, rejections = indexed(tmp_path, index)
    assert not rejections
    assert [item.sample_id for item in items] == ["one", "three", "two"]
    assert source.spec.class_names == ("run, fast", "walk")
    assert source.splits() == {"train": ["one"], "val": ["two"]}
    first, third, second = (source.read(item) for item in items)
    facts = (first.label, first.subject, first.camera, first.setup, first.replication)
    assert facts == (1, 3, 1, 2, 4)
    assert (first.condition, first.width, first.height, first.source) == ("bag", 640, 480, "a.npy")
    assert (second.label, second.subject, second.camera, second.width) == (0, -1, -1, 0)
    assert third.subject == 0


def test_rows_that_are_wrong_are_rejected_each_with_its_line(tmp_path):
    index = (
        "id,file,label,subject,split\n"
        "a,a.npy,walk,1,train\n"
        "a,b.npy,walk,1,train\n"
        "d,gone.npy,walk,1,train\n"
        "e,a.npy,walk,one,train\n"
        "f,a.npy,walk,1,tset\n"
        "g,a.npy,,1,test\n"
        '"h\nh",a.npy,walk,1\n'
        "i,../a.npy,walk,1,test\n"
        "j,/etc/hostname,walk,1,test\n"
        "k,a.npy,walk,-1,test\n"
        "l,a.npy,walk,1,test\n"
    )
    _, items, rejections = indexed(tmp_path, index)
    assert [item.sample_id for item in items] == ["a"]
    of_rows = {r.line: r for r in rejections if r.path == "index.csv"}
    assert sorted(of_rows) == [3, 4, 5, 6, 7, 9, 10, 11, 12, 13]
    for line, said in {
        3: "id 'a' is also the id of line 2",
        4: "gone.npy does not exist",
        5: "`subject` is 'one'",
        6: "`split` is 'tset'; it may be train, val, test",
        7: "`label` is empty",
        9: "4 cells, but the header has 5 columns",
        10: "../a.npy lies outside the folder",
        11: "/etc/hostname lies outside the folder",
        12: "`subject` is '-1'",
        13: "a.npy is already the recording of line 2",
    }.items():
        assert said in of_rows[line].reason
    assert of_rows[3].kind == "there twice"
    assert [str(r) for r in rejections if r.path != "index.csv"] == [
        "c.npy: no row of index.csv names it"
    ]


def test_an_index_may_be_an_excel_file(tmp_path):
    """Numbers come back as they are seen, and wrong rows are told by the lines of the sheet."""
    openpyxl = pytest.importorskip("openpyxl")
    workbook = openpyxl.Workbook()
    for row in [
        ["id", "file", "label", "subject", "split"],
        ["one", "a.npy", "walk, fast", 3, "train"],
        [],
        ["two", "b.npy", 7, 4.0, "tset"],
        ["three", "c.npy", 7, None, "test"],
    ]:
        workbook.active.append(row)
    workbook.save(tmp_path / "index.xlsx")
    for name in "abc":
        np.save(tmp_path / f"{name}.npy", some()[0])
    (tmp_path / "dataset.toml").write_text(FACTS)
    source = open_raw(get_dataset("custom"), tmp_path)
    items, rejections = source.scan()
    assert [item.sample_id for item in items] == ["one", "three"]
    assert [(r.path, r.line) for r in rejections] == [("index.xlsx", 4)]
    assert source.spec.class_names == ("7", "walk, fast")
    assert source.read(items[0]).subject == 3
    assert source.splits() == {"train": ["one"], "test": ["three"]}
    for content in (b"", b"PK", (tmp_path / "index.xlsx").read_bytes()[:900]):
        (tmp_path / "index.xlsx").write_bytes(content)
        with pytest.raises(AclnetError, match=r"index\.xlsx: not a readable Excel file"):
            open_raw(get_dataset("custom"), tmp_path)


def test_a_recording_may_be_on_two_sides(tmp_path):
    index = "id,file,label,split\na,a.npy,ann,Train+Gallery\nb,b.npy,ann,probe\nc,c.npy,bo,train\n"
    source, _, rejections = indexed(tmp_path, index)
    assert not rejections
    assert source.splits() == {"train": ["a", "c"], "gallery": ["a"], "probe": ["b"]}


@pytest.mark.parametrize(
    "sides", ["train+", "+gallery", "train+galery", "train,gallery", "train gallery"]
)
def test_sides_that_are_none(tmp_path, sides):
    index = f'id,file,label,split\na,a.npy,ann,"{sides}"\nb,b.npy,ann,train\n'
    _, items, rejections = indexed(tmp_path, index)
    assert [item.sample_id for item in items] == ["b"]
    assert f"`split` is {sides!r}; it may be train, val, test, gallery, probe" in str(rejections[0])


def test_a_store_of_people_has_the_sides_of_its_index(tmp_path, prepare_raw):
    folder = tmp_path / "raw"
    index = "id,file,label,split\na,a.npy,ann,train+gallery\nb,b.npy,ann,probe\nc,c.npy,bo,train\n"
    indexed(folder, index)
    prepare_raw(folder, tmp_path / "s.zarr", dataset="custom")
    store = Store(tmp_path / "s.zarr")
    sides = {name: sorted(store.column("id")[mask]) for name, mask in store.splits.items()}
    assert sides == {"own/train": ["a", "c"], "own/gallery": ["a"], "own/probe": ["b"]}
    assert store.default_protocol == "own"


@pytest.mark.parametrize(
    ("labels", "names", "found"),
    [
        (["10", "9", "10"], ("9", "10"), [1, 0, 1]),
        (["b", "10", "9"], ("10", "9", "b"), [2, 0, 1]),
    ],
)
def test_classes_are_sorted(tmp_path, labels, names, found):
    rows = [f"{name},{name}.npy,{label}" for name, label in zip("abc", labels, strict=True)]
    source, items, _ = indexed(tmp_path, "\n".join(["id,file,label", *rows]))
    assert source.spec.class_names == names
    assert [source.read(item).label for item in items] == found


def test_classes_of_a_file_are_named_or_counted_from_zero(tmp_path):
    index = "id,file,label\na,a.npy,run\nb,b.npy,0\nc,c.npy,3\n"
    source, items, rejections = indexed(tmp_path, index, classes_txt="walk\nrun\nsit\n")
    assert source.spec.class_names == ("walk", "run", "sit")
    assert [source.read(item).label for item in items] == [1, 0]
    assert [(r.line, r.reason) for r in rejections] == [(4, "the label is not in classes.txt")]


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ({"index_csv": "id;file;label\n"}, "index.csv:1: there is no column id, file, label"),
        ({"index_csv": ""}, "index.csv:1: there is no column"),
        ({"index_csv": "id,file,label,subjct\n"}, "'subjct'; if you mean 'subject'"),
        ({"index_csv": "id,file,label,id\n"}, "column id occurs twice"),
        ({"index_csv": 'id,file,label\na,"b"c,d\n'}, "index.csv:2: not a table"),
        ({"dataset_toml": "layout ="}, "dataset.toml: "),
        (
            {"dataset_toml": 'layuot = "coco"'},
            "the possible keys are title, layout, units, columns",
        ),
        ({"dataset_toml": 'units = "inch"'}, "units: Input should be 'm', 'cm', 'mm' or 'px'"),
        ({"dataset_toml": 'layout = "mine.json"'}, "layout mine.json is not in the same folder"),
        ({"dataset_toml": 'layout = "kinect"'}, "unknown layout 'kinect'"),
        ({"dataset_toml": 'columns = "9:3"'}, 'not a range such as "0:54"'),
        ({"classes_txt": "a\na\n"}, "names a class twice"),
    ],
)
def test_what_cannot_be_understood_stops_it(tmp_path, texts, said):
    with pytest.raises(AclnetError) as caught:
        indexed(tmp_path, **{"index": texts.pop("index_csv", "id,file,label\n"), **texts})
    assert said in str(caught.value)
    assert str(tmp_path) in str(caught.value) or "unknown layout" in said


def test_no_index_is_answered_with_an_example(tmp_path):
    np.save(tmp_path / "hop.npy", some()[0])
    with pytest.raises(AclnetError, match=r"has no index\.csv") as caught:
        open_raw(get_dataset("custom"), tmp_path)
    header, example = str(caught.value).splitlines()[-2:]
    index = f"{header}\n{example}\n"
    source = open_raw(get_dataset("custom"), write(tmp_path, index))
    assert isinstance(source.read(source.scan()[0][0]), SkeletonSequence)


def test_a_layout_of_ones_own_lies_beside_the_index(tmp_path):
    layout = {
        "joints": ["Neck", "LHand", "RHand"],
        "center": 0,
        "inward": [[1, 0], [2, 0]],
        "bone_parent": [0, 0, 0],
        "kbone_partner": [0, 1, 2],
        "mirror": [0, 2, 1],
    }
    (tmp_path / "mine.json").write_text(json.dumps(layout))
    np.save(tmp_path / "a.npy", some(joints=3)[0])
    found = sequence(tmp_path, "a.npy", 'layout = "mine.json"\ntitle = "Mine"\n')
    assert found.keypoint.shape == (1, 6, 3, 3)


# The recordings


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


# Generated sets


FORM = {
    "npy": ("nturgb+d", "m", False),
    "csv": ("kinect_v1", "m", False),
    "openpose": ("openpose25", "px", True),
    "mediapipe": ("mediapipe", "m", True),
    "coco": ("coco", "px", True),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """A generated folder of each form; tests leave them as they are."""
    base = tmp_path_factory.mktemp("forms")
    return {form: generate(base / form, form) for form in FORM}


@pytest.mark.parametrize("form", FORM)
def test_a_generated_folder_becomes_a_store(folders, prepare_raw, tmp_path, form):
    report = prepare_raw(folders[form], tmp_path / "s.zarr", dataset="custom")
    layout, units, scored = FORM[form]
    assert (report.samples, report.rejections) == (12, {})
    store = Store(tmp_path / "s.zarr")
    assert (store.layout.name, store.attributes.units) == (layout, units)
    assert store.attributes.title == "Synthetic people"
    assert (store.sequence("clip_00000").score is not None) == scored
    rows = list(csv.DictReader((folders[form] / "index.csv").read_text().splitlines()))
    for row in rows:
        sample = list(store.column("id")).index(row["id"])
        assert store.class_names[store.column("label")[sample]] == row["label"]
        assert store.column("subject")[sample] == int(row["subject"])
        assert store.splits[f"own/{row['split']}"][sample]
    assert sum(mask.sum() for mask in store.splits.values()) == 12


def read_all(folder: Path):
    source = open_raw(get_dataset("custom"), folder)
    return source, {item.sample_id: source.read(item) for item in source.scan()[0]}


def test_generated_people_are_read_as_they_are_written(folders):
    """The same movement in two forms; and each form by other means than the reader's."""
    _, tables = read_all(folders["csv"])
    _, arrays = read_all(folders["npy"])
    for name in ("clip_00000", "clip_00005"):
        array = np.load(folders["npy"] / f"{name}.npy")
        np.testing.assert_array_equal(arrays[name].keypoint[0], array)
        numbers = np.loadtxt(folders["csv"] / f"{name}.csv", delimiter=",", skiprows=1)
        np.testing.assert_allclose(
            tables[name].keypoint[0].reshape(len(numbers), 60), numbers[:, 1:]
        )
        spine_mid, spine = arrays[name].keypoint[0, :, 1], tables[name].keypoint[0, :, 1]
        assert np.abs(spine_mid - spine).max() < 0.1  # another path, other noise
    _, poses = read_all(folders["openpose"])
    frames = sorted((folders["openpose"] / "clip_00000").iterdir())
    for t, frame in enumerate(frames):
        (person,) = json.loads(frame.read_text())["people"]
        values = np.reshape(person["pose_keypoints_2d"], (25, 3)).astype(np.float32)
        np.testing.assert_array_equal(poses["clip_00000"].keypoint[0, t], values[:, :2])
        np.testing.assert_array_equal(poses["clip_00000"].score[0, t], values[:, 2])


@pytest.mark.parametrize("form", ["openpose", "mediapipe"])
def test_made_up_joints_stand_where_their_names_say(folders, form):
    """Left and right are apart, heads above feet: joints are not in another's place."""
    source, found = read_all(folders[form])
    layout = get_layout(source.spec.layout)
    for recording in found.values():
        middle = np.median(recording.keypoint[0], axis=0)
        height = {name: -middle[j, 1] for j, name in enumerate(layout.joints)}  # y points down
        for side in "LR":
            order = [f"{side}{name}" for name in ("Eye", "Shoulder", "Hip", "Knee", "Ankle")]
            heights = [height[name] for name in order]
            assert heights == sorted(heights, reverse=True)
        for name in ("Ear", "Shoulder", "Hip"):
            left, right = (middle[layout.joints.index(s + name), 0] for s in "LR")
            shoulders = [middle[layout.joints.index(f"{s}Shoulder"), 0] for s in "LR"]
            assert (left > right) == (shoulders[0] > shoulders[1])


@pytest.mark.parametrize("form", FORM)
@pytest.mark.parametrize("nested", [False, True])
def test_zips_are_read_in_place(folders, tmp_path, form, nested):
    """The whole folder in an archive, or recordings in archives inside the folder."""
    folder = folders[form]
    _, expected = read_all(folder)
    outside = ("index.csv", "dataset.toml")
    archive = tmp_path / "all.zip"
    with zipfile.ZipFile(archive, "w") as target:
        for file in sorted(folder.rglob("*")):
            if file.is_file() and not (nested and file.name in outside):
                target.write(file, file.relative_to(folder.parent))
    if nested:
        rows = list(csv.reader((folder / "index.csv").read_text().splitlines()))
        for row in rows[1:]:
            row[1] = f"all.zip/{form}/{row[1]}"
        with (tmp_path / "index.csv").open("w", newline="") as target:
            csv.writer(target).writerows(rows)
        (tmp_path / "dataset.toml").write_text((folder / "dataset.toml").read_text())
    source, found = read_all(tmp_path if nested else archive)
    assert found.keys() == expected.keys()
    assert not source.scan()[1]
    for name, recording in found.items():
        np.testing.assert_array_equal(recording.keypoint, expected[name].keypoint)


@pytest.mark.parametrize("form", ["npy", "openpose"])
def test_a_source_is_small_and_can_be_sent(folders, form):
    source, found = read_all(folders[form])
    sent = pickle.dumps(source)
    assert len(sent) < 5000
    again = pickle.loads(sent)  # noqa: S301
    item = again.scan()[0][0]
    np.testing.assert_array_equal(again.read(item).keypoint, found[item.sample_id].keypoint)
    assert source.tracked() == (form == "npy")
    gone = Item("nobody", "nobody.npy", 0)
    assert "no row of the index" in again.read(gone).reason


def test_another_label_makes_another_store(folders, prepare_raw, tmp_path):
    folder = generate(tmp_path / "raw", "npy")
    prepare_raw(folder, tmp_path / "s.zarr", dataset="custom")
    assert prepare_raw(folder, tmp_path / "s.zarr", dataset="custom").existed
    index = folder / "index.csv"
    index.write_text(index.read_text().replace(",1,", ",7,"))
    with pytest.raises(AclnetError, match="made from other files or options"):
        prepare_raw(folder, tmp_path / "s.zarr", dataset="custom")


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("spoilt")
    return {form: generate(base / form, form, sequences=2, subjects=2) for form in FORM}


@given(content=st.binary(max_size=300), name=st.sampled_from(["index.csv", "dataset.toml"]))
def test_any_index_is_understood_or_refused(spoilt, refusal_of, content, name):
    folder = spoilt["npy"].parent / "index"
    folder.mkdir(exist_ok=True)
    write(folder, "id,file,label\na,a.npy,x\n")
    np.save(folder / "a.npy", some()[0])
    (folder / name).write_bytes(content)
    with refusal_of(str(folder)):
        source = open_raw(get_dataset("custom"), folder)
        for item in source.scan()[0]:
            assert isinstance(source.read(item), SkeletonSequence | Rejection)


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
