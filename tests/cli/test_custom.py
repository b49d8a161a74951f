"""Custom data on the command line."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import aclnet as package
from aclnet.datasets.spec.layouts import get_layout


@pytest.fixture
def folder(aclnet, tmp_path) -> Path:
    raw = tmp_path / "mine"
    options = ("--form", "csv", "--sequences", 24, "--subjects", 4)
    assert aclnet("synth", "custom", raw, *options).code == 0
    return raw


def test_a_check_that_finds_nothing_makes_nothing(aclnet, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = aclnet("prepare", "custom", "--raw", folder, "--check")
    assert result.code == 0
    assert "24 of 24 recordings can be used; problems: none" in result.err
    assert "own/test" in result.out
    assert list(tmp_path.iterdir()) == [folder]


def test_a_check_says_all_that_is_wrong_at_once(aclnet, folder):
    index = folder / "index.csv"
    lines = index.read_text().splitlines()
    lines[2] = lines[2].replace("train", "tset").replace("test", "tset")
    lines[4] = lines[4].replace("clip_00003.csv", "gone.csv")
    index.write_text("\n".join(lines))
    (folder / "clip_00007.csv").write_text("1,2\n")
    result = aclnet("prepare", "custom", "--raw", folder, "--check")
    assert result.code == 1
    assert "damaged (3):" in result.out
    assert "  index.csv:3: `split` is 'tset'" in result.out
    assert "  index.csv:5: gone.csv does not exist" in result.out
    assert "  clip_00007.csv:1: 2 columns" in result.out
    assert "  clip_00003.csv: no row of index.csv names it" in result.out
    assert "21 of 22 recordings can be used; problems: 4" in result.err
    as_json = aclnet("prepare", "custom", "--raw", folder, "--check", "--json")
    assert as_json.code == 1
    problems = json.loads(as_json.out)["problems"]
    assert [(p["path"], p["line"]) for p in problems] == [
        ("clip_00003.csv", None),
        ("clip_00007.csv", 1),
        ("index.csv", 3),
        ("index.csv", 5),
    ]


def test_many_problems_of_a_kind_are_cut_short(aclnet, folder):
    for file in folder.glob("clip_*.csv"):
        file.write_text("")
    result = aclnet("prepare", "custom", "--raw", folder, "--check")
    assert "damaged (24):" in result.out
    assert "  and 4 more, which --json lists" in result.out


@pytest.mark.slow
def test_the_layout_of_the_option_is_that_of_files_that_tell_none(aclnet, folder, tmp_path):
    (folder / "dataset.toml").unlink()
    out = tmp_path / "s.zarr"
    nothing = aclnet("prepare", "custom", "--raw", folder, "--out", out)
    assert nothing.code == 2
    assert "clip_00000.csv has 20 joints, and their layout is not known" in nothing.words
    assert "kinect_v1" in nothing.words
    told = aclnet("prepare", "custom", "--raw", folder, "--out", out, "--layout", "kinect_v1")
    assert told.code == 0
    assert package.open_store(out).layout.name == "kinect_v1"
    assert "converted" not in told.err


@pytest.mark.slow
def test_a_layout_file_of_the_option(aclnet, folder, tmp_path, monkeypatch):
    layout = get_layout("kinect_v1").model_dump(mode="json", exclude={"name"})
    (tmp_path / "mine.json").write_text(json.dumps(layout))
    (folder / "dataset.toml").unlink()
    monkeypatch.chdir(tmp_path)
    options = ("--out", "s.zarr", "--layout", "mine.json")
    assert aclnet("prepare", "custom", "--raw", folder, *options).code == 0
    assert package.open_store(tmp_path / "s.zarr").layout.name == "mine"


def test_a_layout_file_with_another_content_is_another_option(aclnet, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    aclnet("synth", "custom", "raw", "--form", "csv", "--sequences", 8, "--subjects", 4)
    Path("raw/dataset.toml").unlink()
    layout = get_layout("kinect_v1").model_dump(mode="json", exclude={"name"})
    Path("mine.json").write_text(json.dumps(layout))
    command = ("prepare", "custom", "--raw", "raw", "--out", "s.zarr", "--layout", "mine.json")
    assert aclnet(*command).code == 0
    assert "nothing to do" in aclnet(*command).err
    Path("mine.json").write_text(json.dumps(layout | {"normalise_centre": 3}))
    assert "made from other files or options" in aclnet(*command).words


def test_another_layout_is_a_conversion_that_is_told_and_recorded(aclnet, tmp_path):
    options = ("--form", "coco", "--sequences", 8, "--subjects", 4)
    aclnet("synth", "custom", tmp_path / "raw", *options)
    out = tmp_path / "s.zarr"
    result = aclnet(
        "prepare", "custom", "--raw", tmp_path / "raw", "--out", out, "--layout", "openpose"
    )
    assert "joints converted, coco -> openpose; approximated: Neck" in result.err
    assert package.open_store(out).attributes.conversion == {
        "layouts": ["coco", "openpose"],
        "approximated": ["Neck"],
    }
    conversion = json.loads(aclnet("info", out, "--json").out)["conversion"]
    assert conversion == {"layouts": ["coco", "openpose"], "approximated": ["Neck"]}
    assert "coco -> openpose, approximated: Neck" in aclnet("info", out).out
    impossible = ("--out", tmp_path / "t.zarr", "--layout", "nturgb+d")
    result = aclnet("prepare", "custom", "--raw", tmp_path / "raw", *impossible)
    assert result.code == 2
    assert "possible layouts: coco_new, openpose, openpose_new" in result.words


READER = """
from dataclasses import replace
from pathlib import Path

from aclnet.datasets.registry import get_dataset, open_raw


def open_mine(raw: Path):
    return open_raw(replace(get_dataset("custom"), title="Mine"), raw)
"""


RENAMED = """

def open_upper(raw: Path, opened=open_mine):
    source = opened(raw)
    names = tuple(name.upper() for name in source.spec.class_names)
    return replace(source, spec=replace(source.spec, class_names=names))


open_mine = open_upper
"""


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_a_reader_of_the_working_folder(aclnet, folder, tmp_path, monkeypatch, workers):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "my_reader", raising=False)
    (tmp_path / "my_reader.py").write_text(READER)
    (folder / "dataset.toml").write_text('layout = "kinect_v1"\n')
    options = ("--reader", "my_reader:open_mine", "--workers", workers)
    result = aclnet("prepare", "custom", "--raw", "mine", "--out", "s.zarr", *options)
    assert result.code == 0, result.err
    assert package.open_store(tmp_path / "s.zarr").attributes.title == "Mine"


@pytest.mark.parametrize("change", ["function", "classes"])
def test_another_reader_makes_another_store(change, aclnet, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (folder / "dataset.toml").write_text('layout = "kinect_v1"\n')

    def prepare(code: str, reader: str):
        monkeypatch.delitem(sys.modules, "my_reader", raising=False)
        Path("my_reader.py").write_text(code)
        return aclnet("prepare", "custom", "--raw", folder, "--out", "s.zarr", "--reader", reader)

    assert prepare(READER, "my_reader:open_mine").code == 0
    assert "nothing to do" in prepare(READER, "my_reader:open_mine").err
    if change == "function":
        answer = prepare(READER.replace("open_mine", "open_other"), "my_reader:open_other")
    else:
        answer = prepare(READER + RENAMED, "my_reader:open_mine")
    assert "made from other files or options" in answer.words


def test_the_reader_of_the_documentation_reads(aclnet, tmp_path, monkeypatch):
    page = Path(__file__).parents[2] / "docs" / "custom.md"
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "my_reader", raising=False)
    (tmp_path / "my_reader.py").write_text(code)
    (tmp_path / "texts").mkdir()
    values = np.random.default_rng(0).uniform(0.1, 2, (4, 5, 60))
    for rows, name in zip(values, ("walk_1_1", "run_1_1", "walk_4_1", "run_4_1"), strict=True):
        np.savetxt(tmp_path / "texts" / f"{name}.txt", rows)
    command = ("prepare", "custom", "--reader", "my_reader:open_texts", "--raw", "texts")
    assert aclnet(*command, "--check").code == 0
    (tmp_path / "texts" / "run_1_1.txt").write_text("1 2\n")
    result = aclnet(*command, "--check")
    assert result.code == 1
    assert "run_1_1.txt:1: 2 values; 60 are expected" in result.out


def test_a_reader_is_for_data_of_ones_own(aclnet, folder):
    result = aclnet("prepare", "ntu60", "--raw", folder, "--reader", "a:b")
    assert result.code == 2
    assert "--reader opens data of your own: `aclnet prepare custom" in result.words


# Classes (case 12 of the public cases)


def labelled(folder: Path, labels: dict[str, str]) -> Path:
    """A folder whose recordings show these labels, each two trained ones and a tested one.

    labels: `train` and `test`, names joined by commas.
    """
    folder.mkdir(exist_ok=True)
    rows = ["id,file,label,subject,split"]
    rng = np.random.default_rng(0)
    for side, names in labels.items():
        for n, name in enumerate(names.split(",")):
            np.save(folder / f"{side}{n}.npy", rng.uniform(0.1, 2, (20, 20, 3)))
            rows.append(f"{side}{n},{side}{n}.npy,{name},{n},{side}")
    (folder / "index.csv").write_text("\n".join(rows))
    (folder / "dataset.toml").write_text('layout = "kinect_v1"')
    return folder


@pytest.mark.parametrize(
    ("train", "test", "said"),
    [
        ("walk,run,walk,run", "walk,fall", "tests a class without training recordings"),
        ("fall,fall,fall", "fall", "trains one class (fall)"),
        ("Walk,walk,run", "walk", "'Walk' and 'walk' are different classes"),
        ("01,1,02", "01", "'01' and '1' are different classes"),
        ("-1,0,1", "0", "'-1' is a class like any other label"),
    ],
)
def test_doubtful_classes_are_told_by_check_and_by_prepare(aclnet, tmp_path, train, test, said):
    raw = labelled(tmp_path / "raw", {"train": train, "test": test})
    checked = aclnet("prepare", "custom", "--raw", raw, "--check")
    assert checked.code == 1
    assert said in checked.out
    prepared = aclnet("prepare", "custom", "--raw", raw, "--out", tmp_path / "s.zarr")
    assert prepared.code == 0
    assert f"warning: {said}" in prepared.err or f"warning: protocol own {said}" in prepared.err


def test_training_refuses_one_class(aclnet, tmp_path):
    raw = labelled(tmp_path / "raw", {"train": "fall,fall,fall", "test": "fall"})
    store = tmp_path / "one.zarr"
    assert aclnet("prepare", "custom", "--raw", raw, "--out", store).code == 0
    refused = aclnet("train", store, "--protocol", "own", "--accelerator", "cpu")
    assert refused.code == 2
    assert "all training samples of own are of one class (fall)" in refused.err


def test_a_missing_side_is_told_by_prepare(aclnet, tmp_path):
    raw = labelled(tmp_path / "raw", {"train": "walk,run"})
    prepared = aclnet("prepare", "custom", "--raw", raw, "--out", tmp_path / "s.zarr")
    assert "warning: protocol own has no side test" in prepared.err


def test_recordings_without_labels_are_prepared_without_a_complaint(aclnet, tmp_path):
    raw = labelled(tmp_path / "raw", {"": ",,"})
    checked = aclnet("prepare", "custom", "--raw", raw, "--check")
    assert (checked.code, checked.out) == (0, "")
    prepared = aclnet("prepare", "custom", "--raw", raw, "--out", tmp_path / "s.zarr")
    assert "warning" not in prepared.err
    found = json.loads(aclnet("info", tmp_path / "s.zarr", "--json").out)
    assert (found["samples"], found["unlabelled"]) == (3, 3)
    trained = aclnet("train", tmp_path / "s.zarr", "--accelerator", "cpu")
    assert trained.code == 2
    assert "has no protocol" in trained.err


def test_a_sample_without_a_label_neither_trains_nor_is_tested(aclnet, tmp_path):
    raw = labelled(tmp_path / "raw", {"": ",,"})
    assert aclnet("prepare", "custom", "--raw", raw, "--out", tmp_path / "s.zarr").code == 0
    (tmp_path / "f.csv").write_text("id,split\n0,train\n")
    trained = aclnet("train", tmp_path / "s.zarr", "--split", tmp_path / "f.csv")
    assert "f.csv:2: '0' has no label, so it can neither train nor be tested" in trained.err


# Pixels (case 27 of the public cases)


QUICK = ("--set", "optim.epochs=1", "--set", "model.size=8", "--set", "data.clips=1")


@pytest.fixture(scope="module")
def pixels(tmp_path_factory) -> Path:
    """COCO results of two classes: two rows train, two are tested; no row tells the width."""
    raw = tmp_path_factory.mktemp("pixels")
    rng = np.random.default_rng(0)
    rows = ["id,file,label,split"]
    for n, name in enumerate(("walk", "run") * 2):
        joints = rng.uniform(10, 90, (17, 3))
        entries = [
            {"image_id": t, "keypoints": (joints + rng.normal(0, 1, (17, 3))).ravel().tolist()}
            for t in range(8)
        ]
        (raw / f"{n}.json").write_text(json.dumps(entries))
        rows.append(f"{n},{n}.json,{name},{'train' if n < 2 else 'test'}")
    (raw / "index.csv").write_text("\n".join(rows))
    return raw


@pytest.mark.slow
def test_the_demo_recipe_trains_on_pixels(aclnet, pixels, tmp_path):
    store = tmp_path / "s.zarr"
    assert aclnet("prepare", "custom", "--raw", pixels, "--out", store).code == 0
    trained = aclnet("train", store, "--recipe", "demo", "--accelerator", "cpu", *QUICK, "--json")
    assert trained.code == 0, trained.err
    assert "recipe demo-2d instead of demo" in trained.err
    assert json.loads(trained.out)["runs"][0]["samples"] == 2
    for settings, said in (
        (("augment.mirror=0.5",), "switch it off (--set augment.mirror=0, or"),
        (("augment.rotate=0.2", "augment.jitter=1"), "--set augment.rotate=0 --set augment.jitter"),
    ):
        chosen = [word for setting in settings for word in ("--set", setting)]
        refused = aclnet(
            "train", store, "--recipe", "demo", "--accelerator", "cpu", *QUICK, *chosen
        )
        assert refused.code == 2
        assert said in refused.err.replace("\n", " ")


def test_a_width_that_is_missing_is_told(aclnet, pixels, tmp_path):
    said = "4 of 4 recordings have no width of the image"
    checked = aclnet("prepare", "custom", "--raw", pixels, "--check")
    assert checked.code == 0
    assert said in checked.out
    prepared = aclnet("prepare", "custom", "--raw", pixels, "--out", tmp_path / "s.zarr")
    assert f"warning: {said}" in prepared.err
    sizeless = aclnet("prepare", "custom", "--raw", pixels, "--check", "--normalise", "height")
    assert (sizeless.code, said in sizeless.out) == (0, False)


# Names in the place of an index


def test_a_folder_without_an_index_is_prepared_by_its_names(aclnet, tmp_path):
    rng = np.random.default_rng(0)
    for subject in (1, 2):
        for view in ("000", "090"):
            path = tmp_path / "raw" / str(subject) / f"{subject:03}_{view}_fwd_1_nm.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, rng.uniform(0.1, 2, (9, 20, 3)))
    pattern = ("--pattern", "{subject}_{view}_{direction}_{run}_{cond}")
    raw = ("--raw", tmp_path / "raw")
    prepared = aclnet(
        "prepare", "custom", *raw, *pattern, "--layout", "kinect_v1", "--out", tmp_path / "s.zarr"
    )
    assert prepared.code == 0, prepared.err
    store = package.open_store(tmp_path / "s.zarr")
    assert sorted(zip(store.column("subject"), store.column("camera"), strict=True)) == [
        (1, 0),
        (1, 90),
        (2, 0),
        (2, 90),
    ]
    assert store.class_names == ["001", "002"]
    refused = aclnet("prepare", "ntu60", *raw, *pattern)
    assert refused.code == 2
    assert "--pattern is for data of your own" in refused.err
