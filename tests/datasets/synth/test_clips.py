"""Made-up Kinetics and FineGYM: as their formats want them, and through the whole of prepare."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aclnet.datasets.registry import get_dataset, open_raw
from aclnet.datasets.spec import AclnetError
from aclnet.datasets.spec.layouts import get_layout
from aclnet.datasets.store.store import Store
from aclnet.datasets.synth import Request, get_generator
from aclnet.pipelines.prepare.check import check
from aclnet.pipelines.prepare.executor import open_executor
from aclnet.pipelines.prepare.options import PrepareOptions

COUNT = 40


def write(folder: Path, dataset: str, form: str, damage: float = 0.0) -> Any:
    steps: list[tuple[int, int]] = []
    told = get_generator(dataset, form)(
        folder,
        Request(sequences=COUNT, subjects=4, seed=4, damage=damage),
        lambda _, *step: steps.append(step),
    )
    assert steps[-1] == (COUNT, COUNT)
    assert told.sequences == COUNT
    return told


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("json")
    assert not write(folder, "kinetics", "json").damaged
    return folder


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed")
    write(folder, "kinetics", "pyskl")
    return folder


@pytest.fixture(scope="module")
def gym(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gym")
    write(folder, "finegym", "pyskl")
    return folder


def load(path: Path) -> Any:
    return pickle.loads(path.read_bytes())  # noqa: S301


@pytest.mark.slow
def test_json_is_what_st_gcn_released(clips: Path):
    files = sorted(clips.glob("kinetics_*/*.json"))
    assert len({file.name for file in files}) == COUNT
    labels = {
        side: json.loads((clips / f"kinetics_{side}_label.json").read_text())
        for side in ("train", "val")
    }
    persons: Counter[int] = Counter()
    largest, without = 0.0, 0
    for file in files:
        assert len(file.stem) == 11
        clip = json.loads(file.read_text())
        told = labels[file.parent.name.removeprefix("kinetics_")][file.stem]
        assert (clip["label"], clip["label_index"]) == (told["label"], told["label_index"])
        frames = clip["data"]
        assert [frame["frame_index"] for frame in frames] == list(range(1, 1 + len(frames)))
        assert len(frames) <= 300
        found = [one for frame in frames for one in frame["skeleton"]]
        assert bool(found) == told["has_skeleton"]
        without += not found
        persons.update(len(frame["skeleton"]) for frame in frames)
        for one in found:
            pose, score = np.array(one["pose"]).reshape(18, 2), np.array(one["score"])
            assert (pose.round(3) == pose).all()
            assert (score.round(3) == score).all()
            assert (pose.any(axis=1) == (score > 0)).all()
            assert pose.max() <= 1.1
            largest = max(largest, score.max())
    assert without == 2
    assert 1 < largest <= 1.2
    assert persons[0]
    assert max(persons) > 2


def test_packed_annotations_are_what_pyskl_released(packed: Path):
    content = load(packed / "k400_hrnet.pkl")
    files = {file.name: load(file) for file in packed.glob("kpfiles/*.pkl")}
    assert len(files) == COUNT / 8
    crowded = 0
    for entry in content["annotations"]:
        assert "keypoint" not in entry
        joints = files[Path(entry["raw_file"]).name][entry["frame_dir"]]["keypoint"]
        frames, boxes = entry["frame_inds"], entry["box_score"].astype(float)
        assert (joints.dtype, frames.dtype, entry["box_score"].dtype) == (
            np.float16,
            np.int16,
            np.float16,
        )
        assert joints.shape == (len(frames), 17, 3)
        assert np.isfinite(joints).all()
        assert (frames % 2 == 1).all()
        assert (np.diff(frames) >= 0).all()
        assert frames[-1] in (entry["total_frames"], entry["total_frames"] - 1)
        assert (np.diff(boxes)[np.diff(frames) == 0] <= 0).all()
        assert boxes.min() >= 0.5
        for least, count in entry["valid"].items():
            assert count == len(set(frames[boxes >= least].tolist()))
        assert entry["valid"][0.5] <= (entry["total_frames"] + 1) // 2
        assert min(entry["img_shape"]) == 320
        crowded += np.bincount(frames).max() > 2
    assert crowded > 5


def test_gym_annotations_are_what_pyskl_released(gym: Path):
    content = load(gym / "gym_hrnet.pkl")
    persons = Counter(len(entry["keypoint"]) for entry in content["annotations"])
    assert persons[1] > persons[2] > 0
    for entry in content["annotations"]:
        video, rest = entry["frame_dir"][:11], entry["frame_dir"][11:].split("_")
        assert len(video) == 11
        assert rest[1] == "E"
        assert rest[4] == "A"
        assert [len(word) for word in rest[2:4] + rest[5:]] == [6, 6, 4, 4]
        keypoint, score = entry["keypoint"], entry["keypoint_score"]
        assert keypoint.dtype == score.dtype == np.float16
        assert keypoint.shape == (len(keypoint), entry["total_frames"], 17, 2)
        assert score.shape == keypoint.shape[:3]


def test_a_single_person_cannot_be_on_both_sides(tmp_path: Path):
    for dataset in ("kinetics", "finegym"):
        with pytest.raises(AclnetError, match="subjects is 1: give a number from"):
            get_generator(dataset)(tmp_path, Request(sequences=2, subjects=1, seed=0))


# Through prepare


def sides(store: Store) -> dict[str, set[str]]:
    return {name: set(store.column("id")[mask]) for name, mask in store.splits.items()}


@pytest.mark.slow
def test_json_through_prepare(clips: Path, prepare_raw, tmp_path: Path):
    """Against a loop over the files: the two surest of each frame."""
    report = prepare_raw(clips, tmp_path / "j.zarr", dataset="kinetics")
    assert report.samples == COUNT - 2
    assert report.rejections == {"listed as unusable": 2}
    store = Store(tmp_path / "j.zarr")
    assert store.layout.name == "openpose"
    used = {}
    for file in clips.glob("kinetics_*/*.json"):
        clip = json.loads(file.read_text())
        if any(frame["skeleton"] for frame in clip["data"]):
            used[file.stem] = file.parent.name
            sequence = store.sequence(file.stem)
            assert sequence.label == clip["label_index"]
            for t, frame in enumerate(clip["data"]):
                people = sorted(frame["skeleton"], key=lambda one: -np.float32(one["score"]).sum())
                assert sequence.present[:, t].sum() == min(2, len(people))
                for m, one in enumerate(people[:2]):
                    pose = np.array(one["pose"]).reshape(18, 2) * [340, 256]
                    np.testing.assert_allclose(sequence.keypoint[m, t], pose, rtol=1e-6)
                    np.testing.assert_allclose(sequence.score[m, t], one["score"], rtol=1e-6)
    assert sides(store) == {
        "own/train": {name for name, folder in used.items() if folder == "kinetics_train"},
        "own/test": {name for name, folder in used.items() if folder == "kinetics_val"},
    }


@pytest.mark.slow
def test_packed_through_prepare(packed: Path, prepare_raw, tmp_path: Path):
    prepare_raw(packed, tmp_path / "p.zarr", dataset="kinetics")
    store = Store(tmp_path / "p.zarr")
    content = load(packed / "k400_hrnet.pkl")
    assert {name.removeprefix("own/"): ids for name, ids in sides(store).items()} == {
        "train": set(content["split"]["train"]),
        "test": set(content["split"]["val"]),
    }
    for entry in content["annotations"]:
        rows = load(packed / entry["raw_file"].removeprefix("data/k400/"))[entry["frame_dir"]]
        sequence = store.sequence(entry["frame_dir"])
        assert sequence.label == entry["label"]
        for t, number in enumerate(sorted(set(entry["frame_inds"].tolist()))):
            assert sequence.frame_index[t] == number - 1
            of_frame = rows["keypoint"][entry["frame_inds"] == number][:2]
            for m, row in enumerate(of_frame.astype(np.float32)):
                assert (sequence.keypoint[m, t, :17] == row[:, :2]).all()
                assert (sequence.score[m, t, :17] == row[:, 2]).all()


@pytest.mark.slow
@pytest.mark.parametrize("form", ["json", "pyskl"])
def test_tracks_are_joined_on_demand(form: str, clips: Path, packed: Path, aclnet_track):
    store = aclnet_track({"json": clips, "pyskl": packed}[form])
    assert store.attributes.cleaning == "two-tracks"
    assert store.attributes.options["track"] is True
    steps = []
    for name in store.column("id"):
        sequence = store.sequence(name)
        assert len(sequence.present) <= 2
        sums = [np.float64(one.sum()) for one in sequence.score]
        if form == "json":  # elsewhere joints have been added since
            assert sums == sorted(sums, reverse=True)
        neck = sequence.keypoint[0, sequence.present[0], 5]
        neck = neck[neck.any(axis=1)]
        steps.append(np.linalg.norm(np.diff(neck, axis=0), axis=1).max(initial=0))
    assert np.median(steps) < 30


@pytest.fixture
def aclnet_track(prepare_raw, tmp_path: Path):
    def do(raw: Path) -> Store:
        prepare_raw(raw, tmp_path / "t.zarr", dataset="kinetics", track=True)
        return Store(tmp_path / "t.zarr")

    return do


def test_who_is_one_person_anyway_is_not_tracked(gym: Path, people, prepare_raw, tmp_path: Path):
    for raw, dataset in ((gym, "finegym"), (people, "ntu60")):
        with pytest.raises(AclnetError, match="leave out --track"):
            prepare_raw(raw, tmp_path / "t.zarr", dataset=dataset, track=True)
        source, options = open_raw(get_dataset(dataset), raw), PrepareOptions(track=True)
        with open_executor() as run, pytest.raises(AclnetError, match="leave out --track"):
            check(source, options, run, lambda *_: None)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_damage_is_rejected_and_nothing_else(prepare_raw, tmp_path: Path):
    for dataset, form in (("kinetics", "json"), ("kinetics", "pyskl"), ("finegym", "pyskl")):
        raw = tmp_path / f"{dataset}-{form}"
        told = write(raw, dataset, form, damage=0.3)
        assert len(told.damaged) == 12
        report = prepare_raw(raw, tmp_path / f"{dataset}-{form}.zarr", dataset=dataset)
        left = COUNT - report.rejections["listed as unusable"]
        ids = set(Store(report.path).column("id"))
        damaged = {Path(name).stem for name in told.damaged}
        assert (
            len(ids)
            == report.samples
            == left - sum(report.rejections[k] for k in ("damaged", "no person"))
        )
        assert not ids & damaged


@pytest.mark.slow
@pytest.mark.parametrize(("form", "layout"), [("json", "openpose"), ("gym", "coco_new")])
def test_stored_mirror_images(
    form: str, layout: str, clips: Path, gym: Path, prepare_raw, tmp_path
):
    """x taken from the width where a joint is seen, left and right exchanged."""
    raw, dataset = (clips, "kinetics") if form == "json" else (gym, "finegym")
    out = tmp_path / "v.zarr"
    report = prepare_raw(raw, out, dataset=dataset, augment="mirror=0.5", variants=1)
    store = Store(out)
    names = get_layout(layout).joints
    exchanged = [names.index(_other_side(name)) for name in names]
    train = [name for name in store.column("id")[store.splits["own/train"]] if "@" not in name]
    assert report.variants == len(train)
    mirrored = 0
    for name in train:
        before, after = store.sequence(name), store.sequence(f"{name}@1")
        assert (before.present == after.present).all()
        if (before.keypoint == after.keypoint).all():
            assert (before.score == after.score).all()
            continue
        mirrored += 1
        x, y = np.moveaxis(before.keypoint[:, :, exchanged], -1, 0)
        np.testing.assert_allclose(
            after.keypoint[..., 0], np.where(x != 0, before.width - x, 0), atol=1e-3
        )
        assert (after.keypoint[..., 1] == y).all()
        assert (after.score == before.score[:, :, exchanged]).all()
        assert not after.keypoint[~after.present].any()
    assert 0.2 < mirrored / len(train) < 0.8


def _other_side(joint: str) -> str:
    sides = {"R": "L", "L": "R"}
    is_sided = joint[0] in sides and joint[1:2].isupper()
    return sides[joint[0]] + joint[1:] if is_sided else joint
