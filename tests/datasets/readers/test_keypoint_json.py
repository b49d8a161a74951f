"""JSON of pose estimators, each as its documentation shows it."""

from __future__ import annotations

import contextlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aclnet.datasets.readers import keypoint_json
from aclnet.datasets.readers.poses import Asked, Poses
from aclnet.datasets.spec import DamageError

NAN = float("nan")


def person(joints: int, seed: int = 0) -> list[float]:
    """x, y, confidence, x, y, ..."""
    return np.random.default_rng([joints, seed]).uniform(1, 9, 3 * joints).round(3).tolist()


def parse(content: object, **asked) -> Poses:
    return keypoint_json.parse(json.dumps(content).encode(), Asked(**asked))


def expect(poses, tool: str, persons: dict[tuple[int, int], list[float]], frames: list[int]):
    """persons: (place in a frame, place of the frame) -> its numbers; all others are absent."""
    assert poses.tool == tool
    assert poses.frames.tolist() == frames
    for m, t in np.ndindex(*poses.keypoint.shape[:2]):
        found = np.column_stack([poses.keypoint[m, t], poses.score[m, t]]).ravel()
        if (m, t) in persons:
            assert found.tolist() == persons[m, t]
        else:
            assert np.isnan(found).all()
    joints = len(next(iter(persons.values()))) // (poses.keypoint.shape[-1] + 1)
    assert poses.keypoint.shape[2] == joints


def test_coco_results_are_sorted_into_frames():
    a, b, c = (person(17, seed) for seed in range(3))
    entries = [
        {"image_id": 12, "category_id": 1, "keypoints": a, "score": 0.9},
        {"image_id": 10, "category_id": 1, "keypoints": b, "score": 0.8},
        {"image_id": 12, "category_id": 1, "keypoints": c, "score": 0.7},
    ]
    expect(parse(entries), "COCO results", {(0, 0): b, (0, 1): a, (1, 1): c}, [10, 12])


def test_numbers_of_a_database_that_are_too_large_count_from_the_first():
    entries = [{"image_id": n, "keypoints": person(17)} for n in (9 * 10**11, 9 * 10**11 + 4)]
    assert parse(entries).frames.tolist() == [0, 4]


def test_alphapose_names_images():
    a, b = person(26, 1), person(26, 2)
    entries = [
        {"image_id": "10.jpg", "category_id": 1, "keypoints": b, "score": 3.1, "idx": 1},
        {"image_id": "9.jpg", "category_id": 1, "keypoints": a, "score": 2.9, "idx": 1},
    ]
    expect(parse(entries), "AlphaPose", {(0, 0): a, (0, 1): b}, [9, 10])


@pytest.mark.parametrize(("people", "joints"), keypoint_json._PERSON.items())
def test_alphapose_by_image(people, joints):
    a, b = person(18, 1), person(18, 2)
    content = {
        "frame_0002.png": {"version": "AlphaPose v0.3", people: []},
        "frame_0001.png": {"version": "AlphaPose v0.3", people: [{joints: a}, {joints: b}]},
    }
    expect(parse(content), "AlphaPose by image", {(0, 0): a, (1, 0): b}, [1, 2])


def test_openpose_has_a_file_a_frame():
    a = person(25)
    frames = [
        (3, {"version": 1.3, "people": [{"person_id": [-1], "pose_keypoints_2d": a}]}),
        (2, {"version": 1.3, "people": []}),
    ]
    poses = keypoint_json.frames_of_files(
        (n, json.dumps(content).encode()) for n, content in frames
    )
    expect(poses, "OpenPose", {(0, 1): a}, [2, 3])


@pytest.mark.parametrize("wrapped", [False, True])
def test_mmpose_of_a_video(wrapped):
    a = person(17)
    values = np.reshape(a, (17, 3))
    instance = {
        "keypoints": values[:, :2].tolist(),
        "keypoint_scores": values[:, 2].tolist(),
        "bbox": [[0, 0, 9, 9]],
        "bbox_score": 0.9,
    }
    frames = [{"frame_id": 1, "instances": [instance]}, {"frame_id": 2, "instances": []}]
    content = {"meta_info": {}, "instance_info": frames} if wrapped else frames
    expect(parse(content), "MMPose", {(0, 0): a}, [1, 2])


def landmarks(values: list[float]) -> list[dict[str, float]]:
    keys = ("x", "y", "z", "visibility")
    return [dict(zip(keys, row, strict=True)) for row in np.reshape(values, (-1, 4)).tolist()]


def test_mediapipe_frames_are_a_person_several_or_none():
    a, b = (np.random.default_rng(n).uniform(size=132).tolist() for n in (0, 1))
    content = [None, landmarks(a), [landmarks(b), landmarks(a)], []]
    persons = {(0, 1): a, (0, 2): b, (1, 2): a}
    expect(parse(content), "MediaPipe", persons, [0, 1, 2, 3])


def test_mediapipe_in_pixels_and_in_metres():
    a, b = (np.random.default_rng(n).uniform(size=132).tolist() for n in (0, 1))
    content = [{"pose_landmarks": [landmarks(a)], "pose_world_landmarks": [landmarks(b)]}]
    expect(parse(content, units="m"), "MediaPipe", {(0, 0): b}, [0])
    flat = np.reshape(a, (33, 4))[:, [0, 1, 3]].ravel().tolist()
    expect(parse(content, units="px"), "MediaPipe", {(0, 0): flat}, [0])


ENTRY = {"image_id": 1, "keypoints": person(17)}
INSTANCE = {"keypoints": [[1, 2]], "keypoint_scores": [1]}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([], "no person"),
        ([None, []], "no person"),
        ([{"pose_world_landmarks": []}], "no person"),
        (
            {},
            "an object with the keys none; this is not the form of any of these tools: COCO "
            "results",
        ),
        (1, "a int; this is not"),
        ([1], "a list of 1, the first a int; this is not"),
        ([{"a": 1, "b": 2}], "a list of 1, the first an object with the keys a, b; this is not"),
        ({"people": []}, "one frame of OpenPose"),
        (
            {"version": "v0.3", "bodies": [{"joints": [1, 2, 1]}]},
            "OpenPose or AlphaPose; the index",
        ),
        ([ENTRY, {"keypoints": []}], "entry 1: `image_id` is missing"),
        ([ENTRY, {"image_id": "a", "keypoints": []}], "entry 1: `image_id` has another type"),
        ([{"image_id": "a.jpg", "keypoints": []}], "a.jpg has no frame number"),
        ([ENTRY, {"image_id": 2, "keypoints": person(16)}], "frame 2: a person has 16 joints"),
        ([{"image_id": 1, "keypoints": [1, 2]}], "2 numbers; 3 per joint are expected"),
        ([{"image_id": 1, "keypoints": [True, 2, 3]}], "a list of numbers is expected"),
        ([{"image_id": 1, "keypoints": [10**400, 2, 3]}], "out of range"),
        ([ENTRY, {"image_id": 2**40, "keypoints": person(17)}], "too far apart for one recording"),
        ([ENTRY] * 101, "101 persons in a frame"),
        ({"instance_info": 3}, "`instance_info` is not a list"),
        ({"instance_info": [{"instances": []}]}, "`frame_id` is missing"),
        ([{"frame_id": 1, "instances": [{**INSTANCE, "keypoint_scores": []}]}], "0 scores do not"),
        ([{"frame_id": 1, "instances": [{**INSTANCE, "keypoints": [[1]]}]}], "two coordinates"),
        ([{"frame_id": 1, "instances": []}] * 2, "not a unique frame number"),
        ([landmarks([1, 2, 3, 4])[:1], "text"], "frame 1 is not a list of landmarks"),
        ([[{"x": 1, "y": 2, "visibility": 1}]], "frame 0: `z` is missing"),
        ([[{"x": 1, "y": 2, "z": "3"}]], "a list of numbers is expected"),
        ({"1.jpg": {"bodies": 1}}, "1.jpg has no list of persons"),
        (
            {"1.jpg": {"people": []}, "01.jpg": {"people": []}},
            "1.jpg and 01.jpg both have the frame number 1",
        ),
    ],
)
def test_other_content_is_damage(content, reason):
    with pytest.raises(DamageError) as caught:
        parse(content)
    assert reason in caught.value.reason


def test_damage_of_a_file_names_the_line():
    with pytest.raises(DamageError, match="not JSON") as caught:
        keypoint_json.parse(b"[\n1,\n2")
    assert caught.value.line == 3
    with pytest.raises(DamageError, match="not JSON"):
        keypoint_json.parse(b"[" * 100_000)


KEYS = [
    "image_id", "keypoints", "instances", "frame_id", "x",
    "y", "z", "visibility", "keypoint_scores", "pose_landmarks",
    "pose_world_landmarks", "1.jpg", "instance_info", "people", "bodies",
    "joints", "pose_keypoints_2d", "annotations", "images", "id", "file_name", "data",
    "skeleton", "pose", "score", "frame_index", "frames", "joint_names", "joint_positions",
    "landmark", "worldLandmarks", "left_hand_landmarks", "idx", "visible", "0",
]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(KEYS),
            inner,
            max_size=5,
        )
    ),
    max_leaves=30,
)


@pytest.mark.slow
@given(content=JSON, units=st.sampled_from(["m", "px"]))
def test_any_content_is_poses_or_damage(content, units):
    data = json.dumps(content).encode()
    for read in (
        lambda: keypoint_json.parse(data, Asked(units)),
        lambda: keypoint_json.frames_of_files([(0, data)]),
    ):
        with contextlib.suppress(DamageError):
            assert read().keypoint.ndim == 4


# Who is who


def tracked(*frames: dict[object, int], key: str = "idx") -> Poses:
    """AlphaPose's persons of each frame: identities, and seeds of their joints."""
    entries = [
        {"image_id": f"{t}.jpg", "keypoints": person(17, seed), key: identity}
        for t, people in enumerate(frames)
        for identity, seed in people.items()
    ]
    return parse(entries)


@pytest.mark.parametrize("key", ["idx", "track_id", "tracking_id", "person_id"])
def test_identities_give_everybody_a_row(key):
    """Two who change places in the list, and one who is seen once."""
    poses = tracked({1: 10, 2: 20}, {2: 21, 1: 11}, {7: 30, 2: 22, 1: 12}, key=key)
    assert sorted(poses.identities) == ["1", "2", "7"]
    rows = dict(zip(poses.identities, poses.keypoint, strict=True))
    for identity, seeds in {"1": (10, 11, 12), "2": (20, 21, 22)}.items():
        expected = [np.reshape(person(17, seed), (17, 3))[:, :2] for seed in seeds]
        np.testing.assert_array_equal(rows[identity], expected)
    assert np.isnan(rows["7"][:2]).all()
    sums = np.nansum(poses.score, axis=(1, 2))
    assert (np.diff(sums) <= 0).all()


@pytest.mark.parametrize(
    "identities",
    [
        [[0.0], [0.0]],  # AlphaPose without tracking
        [[[0.0], [0.0]], [[0.0], [0.0]]],
        [-1, -1],
        [[-1], [-1]],
        [None, None],
        [1, None],
        [float("nan"), 1],
        [True, False],
    ],
)
def test_identities_that_tell_nobody_apart_are_none(identities):
    entries = [
        {"image_id": t, "keypoints": person(17, 2 * t + m), "idx": identity}
        for t in range(2)
        for m, identity in enumerate(identities)
    ]
    poses = parse(entries)
    assert poses.identities == ()
    for t, m in np.ndindex(2, 2):
        expected = np.reshape(person(17, 2 * t + m), (17, 3))[:, :2]
        np.testing.assert_array_equal(poses.keypoint[m, t], expected)


def test_a_new_number_for_every_detection_is_no_identity():
    assert tracked({1: 1, 2: 2}, {3: 3, 4: 4}).identities == ()


def test_identities_can_be_ignored():
    entries = [
        {"image_id": t, "keypoints": person(17, m), "track_id": m}
        for t, order in enumerate([(1, 2), (2, 1)])
        for m in order
    ]
    assert parse(entries).identities
    assert parse(entries, identities=False).identities == ()


# What was not found


def test_who_or_what_was_not_found_is_missing_in_that_frame():
    a = person(17)
    lost = [*a]
    lost[3:6] = [None, None, None]
    lost[8] = None
    entries = [
        {"image_id": 0, "keypoints": a},
        {"image_id": 1, "keypoints": []},
        {"image_id": 2, "keypoints": lost},
        {"image_id": 3, "keypoints": None},
    ]
    poses = parse(entries)
    assert poses.frames.tolist() == [0, 1, 2, 3]
    missing = np.isnan(poses.keypoint[0]).all(axis=-1)
    assert missing.any(axis=1).tolist() == [False, True, True, True]
    assert np.flatnonzero(missing[2]).tolist() == [1, 2]
    found = np.column_stack([poses.keypoint[0, 2], poses.score[0, 2]])[3:]
    np.testing.assert_array_equal(found.ravel(), a[9:])


def test_an_openpose_person_without_numbers_is_nobody():
    a, empty = {"pose_keypoints_2d": person(25)}, {"pose_keypoints_2d": []}
    contents = enumerate([{"people": [a]}, {"people": [empty]}, {"people": [empty, a]}])
    poses = keypoint_json.frames_of_files((n, json.dumps(c).encode()) for n, c in contents)
    assert poses.keypoint.shape == (1, 3, 25, 2)
    assert np.isnan(poses.keypoint[0, 1]).all()
    np.testing.assert_array_equal(poses.keypoint[0, 0], poses.keypoint[0, 2])


def test_a_landmark_without_visibility_is_missing_unless_none_has_any():
    frame = landmarks(np.random.default_rng(0).uniform(size=132).tolist())
    del frame[4]["visibility"]
    frame[7] = None
    poses = parse([frame])
    assert np.flatnonzero(np.isnan(poses.keypoint[0, 0, :, 0])).tolist() == [4, 7]
    bare = [{axis: landmark[axis] for axis in "xyz"} for landmark in frame if landmark]
    poses = parse([bare])
    assert poses.score is None
    assert np.isfinite(poses.keypoint).all()
