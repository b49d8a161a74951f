"""Recordings for re-identification as text: BIWI, IAS-Lab, KGBD, KS20."""

from __future__ import annotations

import tarfile
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest

import aclnet
from aclnet.datasets.registry import get_dataset, open_raw
from aclnet.datasets.spec import Rejection, SkeletonSequence
from aclnet.datasets.spec.layouts import get_layout
from aclnet.datasets.synth import Request, get_generator
from aclnet.datasets.synth.reid import recording, takes

if TYPE_CHECKING:
    from pathlib import Path

    from aclnet.datasets.spec import Source

KGBD_LINES = (
    *("Head", "Shoulder-Center", "Shoulder-Right", "Shoulder-Left", "Elbow-Right", "Elbow-Left"),
    *("Wrist-Right", "Wrist-Left", "Hand-Right", "Hand-Left", "Spine", "Hip-Center", "Hip-Right"),
    *("Hip-Left", "Knee-Right", "Knee-Left", "Ankle-Right", "Ankle-Left", "Foot-Right"),
    "Foot-Left",
)


def kinect_frame(frame: float, *, state: int = 2, joints: int = 20) -> str:
    """A row a joint j: x, y, z are frame + j / 100, - that, and 2."""
    lines = []
    for j in range(joints):
        x = frame + j / 100
        lines.append(f"{j},{x},{-x},2,1,1,{state if j == 3 else 2},0,0,{j},0,0,0,1")
    return "\n".join(lines) + "\n"


def ks20_frame(frame: float) -> str:
    return "".join(f"{j},{frame + j / 100},{j},2\n" for j in range(25))


def kgbd_frame(frame: float) -> str:
    return "".join(f"{name};{frame};{place};2\n" for place, name in enumerate(KGBD_LINES))


def save(root: Path, files: dict[str, str]) -> None:
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)


def read_all(source: Source) -> tuple[dict[str, SkeletonSequence | Rejection], list[Rejection]]:
    items, rejections = source.scan()
    return {item.sample_id: source.read(item) for item in items}, rejections


def test_frames_of_biwi_in_their_order_without_those_that_are_not_tracked(tmp_path: Path):
    frames = {f"Testing/Still/007/f{n}_skel.txt": kinect_frame(n) for n in (9, 10, 12, 100)}
    frames["Testing/Still/007/f11_skel.txt"] = kinect_frame(11, state=0)
    frames["Training/049/1_skel.txt"] = kinect_frame(1) + kinect_frame(2)  # a second body
    save(tmp_path, frames)
    found, rejections = read_all(open_raw(get_dataset("biwi"), tmp_path))
    assert (sorted(found), rejections) == (["still/007", "train/049"], [])
    still, train = found["still/007"], found["train/049"]
    assert isinstance(still, SkeletonSequence)
    assert isinstance(train, SkeletonSequence)
    assert still.keypoint[0, :, 0, 0].tolist() == [9, 10, 12, 100]
    assert still.frame_index.tolist() == [0, 1, 3, 4]
    expected = np.float32([12.19, -12.19, 2])
    np.testing.assert_array_equal(still.keypoint[0, 2, 19], expected)
    assert (still.label, still.subject, still.condition) == (0, 7, "still")
    assert (train.label, train.keypoint.shape, train.condition) == (1, (1, 1, 20, 3), "train")


def test_people_of_ias_lab_are_numbered_in_the_order_of_their_names(tmp_path: Path):
    paths = ["Training/p10", "Training/p9", "TestingB/p9", "TestingA/p10", "TestingA/p2"]
    save(tmp_path, {f"{p}/1-skel.txt": kinect_frame(1) for p in paths})
    source = open_raw(get_dataset("ias-lab"), tmp_path)
    found, _ = read_all(source)
    assert source.spec.class_names == ("p2", "p9", "p10")
    labels = {name: sequence.label for name, sequence in found.items()}
    assert labels == {"a/p2": 0, "a/p10": 2, "b/p9": 1, "train/p10": 2, "train/p9": 1}


def test_left_limbs_of_kgbd_lie_in_left_slots(tmp_path: Path):
    save(tmp_path, {"Person164/12.txt": kgbd_frame(0.5) + kgbd_frame(1.5)})
    (sequence,) = read_all(open_raw(get_dataset("kgbd"), tmp_path))[0].values()
    assert isinstance(sequence, SkeletonSequence)
    assert (sequence.sample_id, sequence.label) == ("Person164/12", 163)
    assert sequence.replication == 12
    assert sequence.keypoint[0, :, 0, 0].tolist() == [0.5, 1.5]
    for slot, joint in enumerate(get_layout("kinect_v1").joints):
        # y is the number of the line, whose name is spelt Shoulder-Right for ShoulderRight
        line = int(sequence.keypoint[0, 0, slot, 1])
        assert KGBD_LINES[line].replace("-", "") == joint


def test_a_real_walk_of_kgbd_has_its_left_on_the_left(real_data: Path, tmp_path: Path):
    with tarfile.open(real_data / "kgbd.tar.xz") as archive:
        member = next(entry for entry in archive if entry.isfile())  # unpacks no more than needed
        archive.extract(member, tmp_path, filter="data")
    (sequence,) = read_all(open_raw(get_dataset("kgbd"), tmp_path))[0].values()
    assert isinstance(sequence, SkeletonSequence)
    lines = (tmp_path / member.name).read_text().split()
    joints = dict(
        zip(get_layout("kinect_v1").joints, sequence.keypoint[0].swapaxes(0, 1), strict=True)
    )
    for place, name in enumerate(KGBD_LINES):
        expected = [line.split(";")[1:] for line in lines[place::20]]
        np.testing.assert_array_equal(joints[name.replace("-", "")], np.float32(expected))
    # feet point ahead, and y is up: their product is the walker's right
    feet = sum(joints[f"Foot{side}"] - joints[f"Ankle{side}"] for side in ("Left", "Right"))
    to_the_right = np.cross(feet, [0, 1, 0])
    across = joints["ShoulderRight"] - joints["ShoulderLeft"]
    assert ((across * to_the_right).sum(axis=-1) > 0).mean() > 0.8


def test_a_gait_cycle_of_ks20_has_all_its_frames_and_no_others(tmp_path: Path):
    files = {}
    for view in ("frontal", "right_lateral"):
        for cycle, body in ((1, 24), (2, 24), (10, 24), (1, 5)):
            for time in (90, 100):
                content = ks20_frame(cycle + time / 1000)
                files[f"{view}/gc{cycle}_body{body}_{time}_x.txt"] = content
    save(tmp_path, files)
    found, rejections = read_all(open_raw(get_dataset("ks20"), tmp_path))
    assert sorted(found) == sorted(f"{v}/gc{c}_body24" for v in ("frontal", "right_lateral")
                                   for c in (1, 2, 10))  # fmt: skip
    assert {(r.path, r.kind) for r in rejections} == {
        ("frontal/gc1_body5_90_x.txt", "unknown name"),
        ("right_lateral/gc1_body5_90_x.txt", "unknown name"),
    }
    sequence = found["right_lateral/gc10_body24"]
    assert isinstance(sequence, SkeletonSequence)
    np.testing.assert_array_equal(sequence.keypoint[0, :, 0, 0], np.float32([10.09, 10.1]))
    assert sequence.keypoint[0, 0, :, 1].tolist() == list(range(25))
    assert (sequence.label, sequence.camera, sequence.replication) == (19, 4, 10)


@pytest.mark.parametrize(
    ("dataset", "path", "content", "line", "reason"),
    [
        ("biwi", "Training/001/1_skel.txt", "", None, "is empty"),
        ("biwi", "Training/001/1_skel.txt", kinect_frame(1, joints=19), 19, "19 joints; 20"),
        ("biwi", "Training/001/1_skel.txt", kinect_frame(1).replace("2,1", "x,1", 1), 1, "'x'"),
        ("biwi", "Training/001/1_skel.txt", kinect_frame(1) [:300], 9, "14 are expected"),
        ("biwi", "Training/001/1_skel.txt", kinect_frame(float("nan")), 1, "not finite"),
        ("biwi", "Training/001/1_skel.txt", kinect_frame(1, state=0), None, "has all joints"),
        ("ks20", "frontal/gc1_1_1.txt", ks20_frame(1)[:-13], 24, "24 joints; 25"),
        ("ks20", "frontal/gc1_1_1.txt", ks20_frame(1).replace("7,", "8,", 1), None, "numbered"),
        ("kgbd", "Person001/1.txt", kgbd_frame(1)[:-20], 19, "are expected"),
        ("kgbd", "Person001/1.txt", kgbd_frame(1).removesuffix("Foot-Left;1;19;2\n"), 19, "19 j"),
        ("kgbd", "Person001/1.txt", kgbd_frame(1).replace("Left", "Right"), 4, "shoulder left"),
        ("kgbd", "Person001/1.txt", kgbd_frame(1).split("\n", 1)[1], 1, "in place of head"),
    ],
)  # fmt: skip
def test_damage_is_told_with_file_and_line(
    tmp_path: Path, dataset: str, path: str, content: str, line: int | None, reason: str
):
    save(tmp_path, {path: content})
    (rejection,) = read_all(open_raw(get_dataset(dataset), tmp_path))[0].values()
    assert isinstance(rejection, Rejection)
    assert (rejection.path, rejection.line) == (path, line)
    assert reason in rejection.reason


def test_a_damaged_frame_is_named_and_spares_other_recordings(tmp_path: Path):
    frames = {f"Training/00{p}/{n}_skel.txt": kinect_frame(n) for p in (1, 2) for n in range(3)}
    save(tmp_path, frames | {"Training/001/1_skel.txt": "garbage"})
    found, _ = read_all(open_raw(get_dataset("biwi"), tmp_path))
    rejection = found["train/001"]
    assert isinstance(rejection, Rejection)
    assert rejection.path == "Training/001/1_skel.txt"
    assert isinstance(found["train/002"], SkeletonSequence)


def test_odd_paths_are_told(tmp_path: Path):
    names = ("Training/x/1_skel.txt", "Training/1000/1_skel.txt", "Other/001/1_skel.txt")
    kept = {"a/Training/001/1_skel.txt", "b/Training/001/1_skel.txt"}
    save(tmp_path, dict.fromkeys([*names, *kept, "Training/001/1_depth.txt"], kinect_frame(1)))
    found, rejections = read_all(open_raw(get_dataset("biwi"), tmp_path))
    assert list(found) == ["train/001"]
    kinds = {rejection.path: rejection.kind for rejection in rejections}
    assert kinds == dict.fromkeys(names, "unknown name") | {
        "b/Training/001/1_skel.txt": "there twice"
    }


def sides_of(source: Source) -> dict[str, set[str]]:
    return {name: set(ids) for name, ids in source.splits().items()}


def test_sides_of_kgbd_are_drawn_by_names_alone(tmp_path: Path):
    counts = {"Person001": 5, "Person002": 5, "Person003": 5, "Person015": 3, "Person016": 2}
    paths = [f"{who}/{n}.txt" for who, count in counts.items() for n in range(1, 1 + count)]
    save(tmp_path / "all", dict.fromkeys(paths, kgbd_frame(1)))
    sides = sides_of(open_raw(get_dataset("kgbd"), tmp_path / "all"))
    for who, expected in (("Person002", (2, 2, 1)), ("Person015", (1, 1, 1))):
        found = tuple(
            sum(name.startswith(who) for name in sides[f"drawn_{side}"])
            for side in ("train", "gallery", "probe")
        )
        assert found == expected
    assert {"Person016/1", "Person016/2"} <= sides["drawn_train"]
    assert sum(map(len, sides.values())) == len(set().union(*sides.values())) == len(paths)
    drawn = {name[-1] for name in sides["drawn_probe"]}
    assert len(drawn) > 1  # not the same take of everybody
    some = [path for path in paths if path.startswith("Person002")]
    save(tmp_path / "some", dict.fromkeys(some, kgbd_frame(2)))
    alone = sides_of(open_raw(get_dataset("kgbd"), tmp_path / "some"))
    assert all(alone[name] <= sides[name] for name in sides)


def test_a_cycle_of_ks20_is_on_one_side_in_all_views(tmp_path: Path):
    views = ("frontal", "left_lateral")
    files = [f"{v}/gc{c}_{b}_1.txt" for v in views for c in (1, 2, 3, 4) for b in (1, 2)]
    save(tmp_path, dict.fromkeys(files, ks20_frame(1)))
    sides = sides_of(open_raw(get_dataset("ks20"), tmp_path))
    assert {name: len(ids) for name, ids in sides.items()} == {
        "drawn_gallery": 4,
        "drawn_probe": 4,
        "drawn_train": 8,
    }
    for ids in sides.values():
        names = [{i.split("/")[1] for i in ids if i.startswith(view)} for view in views]
        assert names[0] == names[1]


WHOLE = {
    "biwi": ("Training/001/1_skel.txt", kinect_frame(1)),
    "ks20": ("frontal/gc1_1_1.txt", ks20_frame(1)),
    "kgbd": ("Person001/1.txt", kgbd_frame(1)),
}


PROTOCOLS = {
    "biwi": {"walking": ("walking", "still"), "still": ("still", "walking")},
    "ias-lab": {"a": ("a", "b"), "b": ("b", "a")},
}


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["biwi", "ias-lab", "kgbd", "ks20"])
def test_a_made_up_set_through_prepare_out_of_a_zip(dataset: str, prepare_raw, tmp_path: Path):
    raw, count = tmp_path / "raw", 12
    request = Request(sequences=count, subjects=3, seed=1, damage=0.2)
    summary = get_generator(dataset, "text")(raw, request)
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for file in sorted(raw.rglob("*.txt")):
            archive.write(file, f"set/{file.relative_to(raw)}")
    report = prepare_raw(tmp_path / "set.zip", tmp_path / "r.zarr", dataset=dataset)
    written = takes(dataset, request)
    assert summary.sequences == len(written)
    assert report.samples == len(written) - len(summary.damaged)
    store = aclnet.open_store(tmp_path / "r.zarr")
    meant = [recording(dataset, take, 1).astype(np.float32) for take in written]
    centre = store.layout.normalise_centre
    assert centre is not None
    for name in store.column("id"):
        stored = store.sequence(name)
        candidates = [
            (take, joints - joints[stored.frame_index[0], centre])
            for take, joints in zip(written, meant, strict=True)
            if take.subject == stored.label and len(joints) > stored.frame_index[-1]
        ]
        near = [
            take
            for take, joints in candidates
            if np.abs(stored.keypoint[0] - joints[stored.frame_index]).max() < 1e-5
        ]
        assert len(near) == 1
        if dataset in PROTOCOLS:
            assert stored.condition == near[0].side
    for protocol, (probe, gallery) in PROTOCOLS.get(dataset, {}).items():
        conditions = store.column("condition")
        wanted = {"train": "train", "probe": probe, "gallery": gallery}
        for side, condition in wanted.items():
            mask = store.mask(f"{protocol}/{side}")
            np.testing.assert_array_equal(mask, conditions == condition)
    if dataset not in PROTOCOLS:
        assert store.protocols == ["drawn"]
        assert sum(mask.sum() for mask in store.splits.values()) == len(store)
