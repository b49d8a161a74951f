"""Problems that people reported about files of pose estimators, with inputs of ours."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.cli.case_folder import Files, folder

if TYPE_CHECKING:
    from collections.abc import Callable

BODY = np.random.default_rng(0).uniform(-40, 40, (137, 2)).round(2)
"""Joints about the middle of a person, in pixels."""


def joints(x: float, count: int = 17, y: float = 200) -> np.ndarray:
    """(count, 2) of a person whose middle is at x."""
    return (BODY[:count] + np.array([x, y])).round(2)


def triples(x: float, count: int = 17, y: float = 200) -> list[float]:
    return np.column_stack([joints(x, count, y), np.full(count, 0.9)]).ravel().tolist()


def middle(store, sample: str, person: int = 0) -> list[float]:
    """x of a person in each frame; NaN where they are not there."""
    found = store.sequence(sample)
    x = found.keypoint[person, :, :, 0].mean(axis=1) - BODY[: found.keypoint.shape[2], 0].mean()
    return np.where(found.present[person], x, np.nan).round().tolist()


def test_01_an_openpose_person_without_numbers(tmp_path, stored):
    def frames(name: str, empty: int | None = None) -> Files:
        people = [
            [{"pose_keypoints_2d": [] if t == empty else triples(300 + t, 25)}] for t in range(6)
        ]
        return Files(
            {f"{name}/{name}_{t:012}_keypoints.json": {"people": p} for t, p in enumerate(people)}
        )

    contents = {"a": frames("a"), "b": frames("b", empty=3), "c": frames("c")}
    store = stored(folder(tmp_path, contents))
    assert store.layout.name == "openpose25"
    np.testing.assert_array_equal(middle(store, "b"), [300, 301, 302, np.nan, 304, 305])


def crossing(order: Callable[[int], list[int]], key: str = "idx") -> list[dict[str, Any]]:
    """Person 1 goes from 200 to 400 and person 2 the other way; `order` of the list in a frame."""
    where = {1: lambda t: 200 + 20 * t, 2: lambda t: 400 - 20 * t}
    return [
        {"image_id": f"{t}.jpg", "keypoints": triples(where[who](t)), "score": 2.0, key: who}
        for t in range(11)
        for who in order(t)
    ]


@pytest.mark.parametrize("track", [False, True])
def test_02_identities_of_alphapose(tmp_path, stored, track):
    """With --track, two who cross were exchanged."""
    swapping = crossing(lambda t: [1, 2] if t % 2 else [2, 1])
    contents = dict.fromkeys(["a.json", "b.json"], swapping)
    store = stored(folder(tmp_path, contents), *(["--track"] if track else []))
    paths = sorted(middle(store, "a", person) for person in (0, 1))
    assert paths == [[200 + 20 * t for t in range(11)], [400 - 20 * t for t in range(11)]]


def test_02_identities_and_scores_of_detections_go_together(tmp_path, stored):
    """A person whose detections are unsure is gone; the other one keeps the row."""
    entries = crossing(lambda t: [1, 2] if t % 2 else [2, 1])
    for entry in entries:
        entry["score"] = 2.0 if entry["idx"] == 1 else 0.1
    store = stored(folder(tmp_path, {"a.json": entries, "b.json": entries}), "--box-thr", 0.5)
    assert len(store.sequence("a").keypoint) == 1
    assert middle(store, "a") == [200 + 20 * t for t in range(11)]


def test_02_a_row_may_be_one_identified_person_of_a_file(tmp_path, stored):
    """`person` counts the persons that the file identifies; `start` and `end` cut their frames."""
    entries = crossing(lambda t: [1, 2] if t % 2 else [2, 1])
    (tmp_path / "all.json").write_text(json.dumps(entries))
    (tmp_path / "index.csv").write_text(
        "id,file,label,person,start,end,split\n"
        "a,all.json,x,0,2,4,train\nb,all.json,y,1,2,4,test\nc,all.json,y,1,5,,test\n"
    )
    store = stored(tmp_path)
    found = sorted(middle(store, name) for name in "ab")
    assert found == [[240, 260, 280], [360, 340, 320]]
    assert store.sequence("c").frame_index.tolist() == [5, 6, 7, 8, 9, 10]


def test_02_identities_can_be_ignored(tmp_path, stored):
    swapping = crossing(lambda t: [1, 2] if t % 2 else [2, 1])
    raw = folder(tmp_path, {"a.json": swapping, "b.json": swapping}, toml="identities = false")
    assert middle(stored(raw), "a")[:2] == [400, 220]


def instances(x: float, count: int = 17) -> list[dict[str, Any]]:
    return [{"keypoints": joints(x, count).tolist(), "keypoint_scores": [0.9] * count}]


def test_03_mmpose_has_a_file_an_image(tmp_path, stored):
    contents = {
        name: Files({f"{name}/{t:06}.json": instances(300 + t) for t in range(5)}) for name in "ab"
    }
    contents["b"]["b/000002.json"] = []
    store = stored(folder(tmp_path, contents))
    assert store.layout.name == "coco"
    assert middle(store, "a") == [300, 301, 302, 303, 304]
    np.testing.assert_array_equal(middle(store, "b"), [300, 301, np.nan, 303, 304])


def stgcn(x: float) -> dict[str, Any]:
    def person(t: int) -> dict[str, Any]:
        shares = joints(x + t, 18) / [640, 480]
        return {"pose": shares.ravel().tolist(), "score": [0.8] * 18}

    data = [{"frame_index": t + 1, "skeleton": [person(t)]} for t in range(4)]
    return {"data": data, "label": "hit", "label_index": 0}


def test_04_clips_of_stgcn_with_classes_of_ones_own(tmp_path, stored):
    raw = folder(tmp_path, {"a.json": stgcn(300), "b.json": stgcn(200)}, "width,height=640,480")
    store = stored(raw)
    assert (store.layout.name, store.class_names) == ("openpose", ["class 0", "class 1"])
    assert middle(store, "a") == [300, 301, 302, 303]


def test_07_azure_kinect(tmp_path, stored):
    body = np.random.default_rng(1).uniform(-900, 900, (32, 3))

    def bodies(t: int) -> list[dict[str, Any]]:
        moves = {1: np.array([10 * t, 0, 2000]), 2: np.array([0, 10 * t, 3000])}
        order = [1, 2] if t % 2 else [2, 1]
        return [{"body_id": n, "joint_positions": (body + moves[n]).tolist()} for n in order]

    frames = [{"frame_id": t, "timestamp_usec": t * 33333, "bodies": bodies(t)} for t in range(4)]
    content = {"joint_names": ["PELVIS"], "bone_list": [], "frames": frames}
    store = stored(folder(tmp_path, {"a.json": content, "b.json": content}))
    assert (store.layout.name, store.attributes.units) == ("azure_kinect", "m")
    found = store.sequence("a")
    assert found.score is None
    pelvis = found.keypoint[:, :, store.layout.joints.index("Pelvis")]
    moved = np.sort((pelvis[:, 3] - pelvis[:, 0]).round(4).tolist(), axis=0)
    np.testing.assert_allclose(moved, [[0, 0, 0], [0.03, 0.03, 0]], atol=1e-4)


def test_08_openpose_keeps_the_numbers_of_frames_that_are_there(tmp_path, stored):
    """OpenPose writes twelve digits, and no file of a frame without anybody."""
    shown = [0, 1, 2, 300, 301, 302]

    def frames(name: str) -> Files:
        people = {t: [{"pose_keypoints_2d": triples(100 + t, 25)}] for t in shown}
        return Files(
            {f"{name}/{name}_{t:012}_keypoints.json": {"people": p} for t, p in people.items()}
        )

    store = stored(folder(tmp_path, {name: frames(name) for name in "abc"}))
    assert store.sequence("a").frame_index.tolist() == shown
    np.testing.assert_array_equal(middle(store, "a"), [100 + t for t in shown])


def test_13_one_frame_nobody_and_ten_people(tmp_path, problems, stored):
    def clip(people: list[list[float]]) -> dict[str, Any]:
        frames = [
            {"frame_id": t, "instances": [i for x in xs for i in instances(x)]}
            for t, xs in enumerate(people)
        ]
        return {"meta_info": {}, "instance_info": frames}

    ten = clip([[100.0 + 50 * n + t for n in range(10)] for t in range(6)])
    two = clip([[100.0 + t] for t in range(6)])
    contents = {"ok.json": two, "one.json": clip([[100.0]]), "none.json": clip([[]] * 6)}
    raw = folder(tmp_path, {**contents, "ten.json": ten})
    said = problems(raw)
    assert said["none.json"] == "no person in any frame"
    assert "only one frame" in said["one.json"]
    assert not {"ok.json", "ten.json"} & said.keys()
    assert len(stored(raw).sequence("ten").keypoint) == 10


@pytest.mark.slow
def test_18_wholebody_says_its_joints_and_is_read(tmp_path, stored, problems):
    def video(x: float) -> dict[str, Any]:
        frames = [{"frame_id": t, "instances": instances(x + t, 133)} for t in range(1, 5)]
        return {"meta_info": {"dataset_name": "coco_wholebody"}, "instance_info": frames}

    raw = folder(tmp_path, {"a.json": video(300), "b.json": video(200)})
    assert stored(raw).layout.name == "coco_wholebody"
    body = stored(raw, "--layout", "coco")
    assert body.layout.name == "coco"
    np.testing.assert_allclose(body.sequence("a").keypoint[0, 0], joints(301), atol=1e-3)
    (raw / "dataset.toml").write_text('layout = "coco"')
    assert problems(raw)["a.json"] == (
        "133 joints, but layout coco has 17; layouts with 133 joints: coco_wholebody"
    )


def annotations(x: float, prefix: str = "frame_") -> dict[str, Any]:
    images = [
        {"id": 10 - t, "file_name": f"{prefix}{t:06}.PNG", "width": 640, "height": 480}
        for t in range(5)
    ]
    seen = [
        {"id": 50 + t, "image_id": 10 - t, "category_id": 1, "keypoints": values(x, t)}
        for t in (0, 1, 3, 4)
    ]
    return {"images": images, "annotations": seen, "categories": [{"id": 1, "name": "person"}]}


def values(x: float, t: int) -> list[float]:
    """x, y, visibility; the second joint is not labelled in frame 1."""
    flags = np.full(17, 2)
    flags[1] = 0 if t == 1 else 2
    return np.column_stack([joints(x + t), flags]).ravel().tolist()


def test_22_annotations_of_coco(tmp_path, stored):
    raw = folder(tmp_path, {"a.json": annotations(300), "b.json": annotations(200)})
    store = stored(raw)
    found = store.sequence("a")
    assert (store.layout.name, found.frame_index.tolist()) == ("coco", [0, 1, 2, 3, 4])
    assert found.present.tolist() == [[True, True, False, True, True]]
    assert found.score[0, :, 1].tolist() == [1, 0, 0, 1, 1]
    assert not found.keypoint[0, 1, 1].any()
    assert middle(store, "a")[3:] == [303, 304]


def test_30_several_videos_in_one_file(aclnet, tmp_path, stored, problems):
    results = [
        {"image_id": 1000 * video + t, "keypoints": triples(100 * video + t), "score": 0.9}
        for video in (1, 2)
        for t in range(4)
    ]
    (tmp_path / "all.json").write_text(json.dumps(results))
    index = tmp_path / "index.csv"
    index.write_text("id,file,label\nv1,all.json,kick\nv2,all.json,jump\n")
    said = problems(tmp_path)["index.csv"]
    assert "lines 2, 3 name all.json; a column `images` must select" in said
    index.write_text(
        "id,file,label,images,split\n"
        "v1,all.json,kick,1000:2000,train\nv2,all.json,jump,2000:3000,test\n"
    )
    store = stored(tmp_path)
    assert [middle(store, name) for name in ("v1", "v2")] == [
        [100, 101, 102, 103],
        [200, 201, 202, 203],
    ]


def walker(names: list[str]) -> list[dict[str, Any]]:
    return [
        {"image_id": name, "keypoints": triples(300 + 10 * t), "score": 3.0, "box": [0, 0, 9, 9]}
        for t, name in enumerate(names)
    ]


def test_33_times_in_names_of_images(tmp_path, stored):
    micro = [700000, 800000, 900000, 0, 100000, 200000]
    names = [f"2020-01-01T10_00_{1 + (t > 2):02}.{us:06}.png" for t, us in enumerate(micro)]
    store = stored(folder(tmp_path, {"a.json": walker(names), "b.json": walker(names)}))
    assert middle(store, "a") == [300, 310, 320, 330, 340, 350]


def message_to_dict(key: str) -> list[dict[str, Any]]:
    points = np.random.default_rng(3).uniform(0.1, 0.9, (4, 33, 3))
    axes = ("x", "y", "z")
    return [
        {key: {"landmark": [dict(zip(axes, p, strict=True), visibility=0.9) for p in frame]}}
        for frame in points.tolist()
    ]


@pytest.mark.parametrize("key", ["pose_world_landmarks", "pose_landmarks"])
def test_34_landmarks_of_message_to_dict(tmp_path, stored, key):
    content = message_to_dict(key)
    store = stored(folder(tmp_path, {"a.json": content, "b.json": content}))
    assert (store.layout.name, store.sequence("a").keypoint.shape) == ("mediapipe", (1, 4, 33, 3))


def test_34_landmarks_of_the_image_in_pixels(tmp_path, stored):
    content = message_to_dict("pose_landmarks")
    contents = {"a.json": content, "b.json": content}
    raw = folder(tmp_path, contents, "width,height=640,480", 'units = "px"')
    point = content[2]["pose_landmarks"]["landmark"][5]
    found = stored(raw).sequence("a").keypoint[0, 2, 5]
    np.testing.assert_allclose(found, [640 * point["x"], 480 * point["y"]], rtol=1e-5)


def test_37_one_image_of_mmpose_is_one_frame(tmp_path, stored):
    content = {"meta_info": {}, "instance_info": instances(300)}
    store = stored(folder(tmp_path, {"a.json": content, "b.json": content}))
    assert middle(store, "a") == [300]


@pytest.mark.parametrize(
    "names",
    [
        [f"cam{cam}_{t:04}.jpg" for cam in (1, 2) for t in range(4)],
        [f"cam{cam}/{t:04}.jpg" for cam in (1, 2) for t in range(4)],
        ["frame_1.jpg", "frame_2.jpg", "frame_2 (1).jpg"],
    ],
)
def test_40_two_videos_in_one_file_are_refused_with_both_names(tmp_path, problems, stored, names):
    raw = folder(tmp_path, {"a.json": walker(names), "b.json": walker(names)})
    said = problems(raw)["a.json"]
    assert len([name for name in names if name in said]) == 2
    if names[0].startswith("cam"):
        index = (raw / "index.csv").read_text().splitlines()
        rows = ["a,a.json,x,1,train,cam1", "b,a.json,y,2,test,cam2"]
        (raw / "index.csv").write_text("\n".join([f"{index[0]},images", *rows]))
        store = stored(raw)
        assert middle(store, "b") == [340, 350, 360, 370]
