"""Generated folders of custom recordings: read as written, in archives, with changed indexes."""

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

from aclnet.datasets.registry import get_dataset, open_raw
from aclnet.datasets.spec import AclnetError, Item, Rejection, SkeletonSequence
from aclnet.datasets.spec.layouts import get_layout
from aclnet.datasets.store.store import Store
from tests.datasets.readers.custom_folder import generate, some, write

if TYPE_CHECKING:
    from pathlib import Path

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
