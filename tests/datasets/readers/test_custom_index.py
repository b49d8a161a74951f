"""Folders of custom recordings: their index and the files beside it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from aclnet.datasets.registry import get_dataset, open_raw
from aclnet.datasets.spec import AclnetError, SkeletonSequence
from aclnet.datasets.store.store import Store
from tests.datasets.readers.custom_folder import FACTS, indexed, sequence, some, write


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
