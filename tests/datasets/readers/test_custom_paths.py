"""Paths of own recordings (public case 15), and their names in the place of an index."""

from __future__ import annotations

import pickle
import shutil
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from aclnet.datasets.registry import get_dataset, open_raw
from aclnet.datasets.spec import AclnetError, SkeletonSequence
from tests.datasets.readers.custom_folder import FACTS, generate, some, write

if TYPE_CHECKING:
    from pathlib import Path


def test_paths_that_lead_outside_say_so_and_others_work(tmp_path):
    folder, outside = tmp_path / "in", tmp_path / "outside"
    rows = {
        "a": "sub/../a.npy",
        "b": str(folder / "b.npy"),
        "c": "sub\\деревня 村.npy",
        "d": "link.npy",
        "e": "folder/f.npy",
        "x": "../x.npy",
        "y": "D:\\data\\y.npy",
        "z": "/data/z.npy",
        "w": "w.npy",
    }
    for place in (folder / "sub", outside):
        place.mkdir(parents=True)
    for path in (folder / "a.npy", folder / "b.npy", folder / "sub" / "деревня 村.npy"):
        np.save(path, some()[0])
    for path in (outside / "f.npy", outside / "one.npy", tmp_path / "x.npy"):
        np.save(path, some()[0])
    (folder / "link.npy").symlink_to(outside / "one.npy")
    (folder / "folder").symlink_to(outside)
    lines = [f"{name},{path},walk" for name, path in rows.items()]
    source = open_raw(get_dataset("custom"), write(folder, "\n".join(["id,file,label", *lines])))
    items, rejections = source.scan()
    assert [item.sample_id for item in items] == ["a", "b", "c", "d", "e"]
    assert all(isinstance(source.read(item), SkeletonSequence) for item in items)
    reasons = [r.reason for r in rejections if r.path == "index.csv"]
    for reason, path in zip(reasons[:3], ("../x.npy", "D:/data/y.npy", "/data/z.npy"), strict=True):
        assert reason.startswith(f"{path} lies outside the folder; paths are relative to index.csv")
    assert reasons[3].startswith(
        "w.npy does not exist; give the path of a file or of a folder of frames"
    )


def named(folder: Path, pattern: str, *paths: str, facts: str = FACTS):
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        np.save(folder / path, some()[0])
    (folder / "dataset.toml").write_text(facts)
    source = open_raw(replace(get_dataset("custom"), pattern=pattern), folder)
    items, rejections = source.scan()
    return source, {item.sample_id: source.read(item) for item in items}, rejections


def test_gait_folders_are_read_by_their_names(tmp_path):
    """PsyMo's names: ID_view_direction_run_condition; people are the classes."""
    pattern = "{subject}_{view}_{direction}_{run}_{cond}"
    paths = ("7/007_090_fwd_2_nm.npy", "7/007_000_back_1_bag-left.npy", "12/012_018_fwd_1_nm.npy")
    source, found, rejections = named(
        tmp_path, pattern, *paths, "7/notes.npy", "7/x_1_fwd_1_nm.npy"
    )
    assert source.spec.class_names == ("007", "012")
    first, second = (found[path.removesuffix(".npy")] for path in paths[:2])
    assert (first.label, first.subject, first.camera, first.replication) == (0, 7, 90, 2)
    assert (first.condition, second.condition, second.camera) == ("nm", "bag-left", 0)
    assert found["12/012_018_fwd_1_nm"].label == 1
    assert {(r.path, r.line): r.reason for r in rejections} == {
        ("7/notes.npy", None): f"it does not match {pattern}",
        ("7/x_1_fwd_1_nm.npy", None): "`subject` is 'x'; a whole number is expected",
    }
    sent = pickle.loads(pickle.dumps(source))  # noqa: S301 - made here
    assert sent.scan()[0] == source.scan()[0]


def test_folders_tell_side_and_class(tmp_path):
    paths = ("train/walk/1.npy", "train/run/2.npy", "test/walk/3.npy", "test/walk/1.npy", "4.npy")
    facts = FACTS + 'pattern = "{split}/{label}/{id}"'
    source, found, rejections = named(tmp_path, "", *paths, facts=facts)
    assert source.spec.class_names == ("run", "walk")
    assert source.splits() == {"train": ["2"], "test": ["1", "3"]}
    assert {name: sequence.label for name, sequence in found.items()} == {"1": 1, "2": 0, "3": 1}
    assert [str(r) for r in rejections] == [
        "train/walk/1.npy: id '1' is also the id of test/walk/1.npy",
        "4.npy: it does not match {split}/{label}/{id}",
    ]


def test_an_archive_has_names_too(tmp_path):
    """Whatever the archive is called is not a part of the names in it."""
    facts = FACTS + 'pattern = "{split}/{label}/{id}"'
    named(tmp_path / "in", "", "train/walk/1.npy", "test/run/2.npy", facts=facts)
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for path in (tmp_path / "in").rglob("*.*"):
            archive.write(path, path.relative_to(tmp_path / "in"))
    source = open_raw(get_dataset("custom"), tmp_path / "all.zip")
    items, rejections = source.scan()
    assert not rejections
    assert source.splits() == {"train": ["1"], "test": ["2"]}
    assert all(isinstance(source.read(item), SkeletonSequence) for item in items)


@pytest.mark.parametrize("form", ["openpose", "mmpose-images", "alphapose-images", "yolo"])
@pytest.mark.parametrize("pattern", ["{label}_{subject}", "{split}/{label}_{subject}"])
def test_folders_of_frames_have_names_too(tmp_path, form, pattern):
    """The names of the frames match the first pattern as well. Nobody is in the first frame."""
    made = generate(tmp_path / "made", form, sequences=2) / "clip_00000"
    folder = tmp_path / "raw" / "train" / "walk_3"
    folder.mkdir(parents=True)
    for number, file in enumerate(sorted(made.iterdir(), key=lambda file: (len(file.name), file))):
        end = "_keypoints.json" if form == "openpose" else file.suffix
        shutil.copy(file, folder / f"walk_{number}{end}")
    if form != "yolo":
        (folder / f"walk_0{end}").write_text("[]")
    (tmp_path / "raw" / "dataset.toml").write_text("width = 1280\nheight = 720\n")
    source = open_raw(replace(get_dataset("custom"), pattern=pattern, layout=""), tmp_path / "raw")
    ((item,), rejections) = source.scan()
    assert not rejections
    sequence = source.read(item)
    assert isinstance(sequence, SkeletonSequence), sequence
    assert (sequence.width, sequence.height) == (1280, 720)
    assert (item.path, sequence.subject) == ("train/walk_3", 3)
    assert source.spec.class_names == ("walk",)
    assert len(sequence.frame_index) == number + 1


@pytest.mark.parametrize("form", ["coco", "mmpose", "mediapipe", "alphapose"])
def test_a_folder_of_recordings_is_no_recording(tmp_path, form):
    made = generate(tmp_path / "made", form, sequences=4)
    for n, file in enumerate(sorted(made.glob("clip_*.json"))):
        place = tmp_path / "raw" / ("walk_1", "run_2")[n % 2]
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place / f"walk_{n}.json")
    (place / "notes.txt").write_text("12 3\n")
    source = open_raw(replace(get_dataset("custom"), pattern="{label}_{subject}"), tmp_path / "raw")
    assert len(source.scan()[0]) == 4


def test_a_point_in_the_name_of_a_folder_is_no_ending(tmp_path):
    made = generate(tmp_path / "made", "yolo", sequences=2)
    for n, speed in enumerate(("0.5", "0.7")):
        shutil.copytree(made / f"clip_0000{n}", tmp_path / "raw" / f"walk_{speed}")
    facts = 'pattern = "{label}_{condition}"\nwidth = 1280\nheight = 720'
    (tmp_path / "raw" / "dataset.toml").write_text(facts)
    source = open_raw(get_dataset("custom"), tmp_path / "raw")
    found = [source.read(item) for item in source.scan()[0]]
    assert {sequence.sample_id: sequence.condition for sequence in found} == {
        "walk_0.5": "0.5", "walk_0.7": "0.7"
    }  # fmt: skip


@pytest.mark.parametrize(
    "pattern", ["{subject}_{subject}", "{view}_{run}", "plain", "{label}_{file}", "{view}_{camera}"]
)
def test_patterns_that_cannot_be(pattern, tmp_path):
    with pytest.raises(AclnetError, match=r"it must have \{label\} or \{subject\}"):
        named(tmp_path, pattern, "a_1.npy")


def test_a_pattern_and_an_index_are_one_too_many(tmp_path):
    write(tmp_path, "id,file,label\n")
    with pytest.raises(AclnetError, match=r"has both index\.csv and the pattern"):
        named(tmp_path, "{label}_{id}", "a_1.npy")
