"""CASIA-B's poses a file a recording: OpenGait's pickles and pose estimators' JSON."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

import aclnet
from aclnet.datasets.registry import get_dataset, open_raw
from aclnet.datasets.spec import Rejection, SkeletonSequence
from aclnet.datasets.synth import Request, get_generator
from aclnet.datasets.synth.gait import recording

SPEC = get_dataset("casia-b")
ID, PICKLE, JSON = "080-bg-02-018", "080/bg-02/018/018.pkl", "080-bg-02-018.json"


def poses(frames: int = 4) -> np.ndarray:
    return np.random.default_rng(1).uniform(1, 9, (frames, 17, 3)).round(3)


def person(frame: object, values: np.ndarray, score: object = 1.0, **other: object) -> dict:
    return {"image_id": frame, "keypoints": values.ravel().tolist(), "score": score, **other}


def save(root: Path, path: str, content: bytes) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(content)


def read(root: Path) -> SkeletonSequence | Rejection:
    source = open_raw(SPEC, root)
    ((item,), _) = source.scan()
    return source.read(item)


def saved_json(root: Path, content: object) -> SkeletonSequence | Rejection:
    save(root, JSON, json.dumps(content).encode())
    return read(root)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", ">f4"])
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_pickle_becomes_a_sequence(tmp_path: Path, dtype: str, protocol: int):
    values = poses().astype(dtype)
    save(tmp_path, PICKLE, pickle.dumps(values, protocol=protocol))
    sequence = read(tmp_path)
    assert isinstance(sequence, SkeletonSequence)
    assert (sequence.sample_id, sequence.label, sequence.subject) == (ID, 79, 80)
    assert (sequence.condition, sequence.replication, sequence.camera) == ("bg", 2, 18)
    assert sequence.frame_index.tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(sequence.keypoint[0], values[..., :2].astype(np.float32))
    np.testing.assert_array_equal(sequence.score[0], values[..., 2].astype(np.float32))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (poses()[:, :16], "(4, 16, 3); (T, 17, 3) is expected"),
        (poses()[0], "(17, 3)"),
        (poses()[:0], "(0, 17, 3)"),
        (poses() * np.nan, "frame 0 has a value that is not finite"),
        (poses() * 1e9, "out of range"),
        (poses() * 0, "no person"),
        (poses().tolist(), "holds a list"),
        (np.full((4, 17, 3), "1"), "an array of numbers is expected"),
        (Path("x"), "which skeleton data never needs; it was not run"),
    ],
)
def test_other_pickles_are_rejected(tmp_path: Path, content: object, reason: str):
    save(tmp_path, PICKLE, pickle.dumps(content))
    rejection = read(tmp_path)
    assert isinstance(rejection, Rejection)
    assert reason in rejection.reason
    assert rejection.path == PICKLE


def test_the_folder_of_pickles_is_sorted_out(tmp_path: Path):
    content = pickle.dumps(poses())
    for path in (PICKLE, f"copy/{PICKLE}", "001/nm-01/090/000.pkl", "125/nm-01/090/090.pkl"):
        save(tmp_path, path, content)
    save(tmp_path, "CASIA-B.json", b"{}")
    save(tmp_path, "080/bg-02/018/mapping.txt", b"")
    items, rejections = open_raw(SPEC, tmp_path).scan()
    assert [(item.sample_id, item.path) for item in items] == [(ID, PICKLE)]
    assert sorted((r.path, r.kind) for r in rejections) == [
        ("001/nm-01/090/000.pkl", "unknown name"),
        ("125/nm-01/090/090.pkl", "unknown name"),
        (f"copy/{PICKLE}", "there twice"),
    ]


@pytest.mark.parametrize("path", [JSON, f"x/{ID}/alphapose-results.json", "080/bg-02/018/p.json"])
def test_the_person_of_the_highest_score_in_each_frame(tmp_path: Path, path: str):
    values = poses(3)
    content = [
        person("out/000007.jpg", values[2], 2.5, box=[1, 2, 3, 4]),
        person("out/000003.png", values[0], 0.9),
        person("out/000003.png", values[0] / 2, 0.4),
        person(5, values[1] / 2, 1),
        person(5, values[1], 3, idx=1),
    ]
    save(tmp_path, path, json.dumps(content).encode())
    sequence = read(tmp_path)
    assert isinstance(sequence, SkeletonSequence)
    assert sequence.sample_id == ID
    assert sequence.frame_index.tolist() == [3, 5, 7]
    np.testing.assert_array_equal(sequence.keypoint[0], values[..., :2].astype(np.float32))
    np.testing.assert_array_equal(sequence.score[0], values[..., 2].astype(np.float32))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([], "no person"),
        ({"annotations": []}, "a list of persons is expected"),
        ([3], "entry 0 is not an object"),
        ([person("1.jpg", poses(1)), {}], "entry 1: `image_id`"),
        ([person("frame.jpg", poses(1))], "frame.jpg has no frame number"),
        ([person(True, poses(1))], "`image_id` is not a number or name"),
        ([person(-1, poses(1))], "`image_id` is not a number or name"),
        ([person("1.jpg", poses(1), None)], "`score` is missing"),
        ([person("1.jpg", poses(1), float("nan"))], "`score` is missing or not a number"),
        ([person("1.jpg", poses(1)[:, :16])], "48 numbers; 51 are expected"),
        ([person("1.jpg", poses(1), keypoints=["1"] * 51)], "not a list of numbers"),
        ([person("1.jpg", poses(1), keypoints=[10**400] * 51)], "out of range"),
        ([person("4.jpg", poses(1) * np.inf)], "frame 4 has a value that is not finite"),
    ],
)
def test_other_json_is_rejected(tmp_path: Path, content: object, reason: str):
    rejection = saved_json(tmp_path, content)
    assert isinstance(rejection, Rejection)
    assert reason in rejection.reason


@pytest.mark.parametrize("data", [b"", b"[", b"[" * 100_000, b"\xff\xfe", b"[1,\n2,\n"])
def test_what_is_no_json_is_rejected(tmp_path: Path, data: bytes):
    save(tmp_path, JSON, data)
    rejection = read(tmp_path)
    assert isinstance(rejection, Rejection)
    assert ("not JSON" if data else "the file is empty") in rejection.reason


def test_json_under_other_names_is_told(tmp_path: Path):
    saved_json(tmp_path, [person("1.jpg", poses(1))])
    save(tmp_path, "001-nm-09-000.json", b"[]")
    _, rejections = open_raw(SPEC, tmp_path).scan()
    assert [(r.path, r.kind) for r in rejections] == [("001-nm-09-000.json", "unknown name")]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["opengait", "json"])
def test_a_made_up_set_through_prepare_out_of_a_zip(form: str, prepare_raw, tmp_path: Path):
    raw = tmp_path / "raw"
    summary = get_generator("casia-b", form)(
        raw, Request(sequences=24, subjects=3, seed=2, damage=0.25)
    )
    with zipfile.ZipFile(tmp_path / "poses.zip", "w") as archive:
        for file in sorted(raw.rglob("*.*")):
            if file.is_file():
                archive.write(file, f"CASIA-B/{file.relative_to(raw)}")
    report = prepare_raw(tmp_path / "poses.zip", tmp_path / "g.zarr", dataset="casia-b")
    assert report.samples == 18
    assert sum(report.rejections.values()) == len(summary.damaged) == 6
    store = aclnet.open_store(tmp_path / "g.zarr")
    for name in store.column("id"):
        meant = recording(name, 2).astype(np.float32)
        stored = store.sequence(name)
        np.testing.assert_array_equal(stored.keypoint[0], meant[..., :2])
        np.testing.assert_array_equal(stored.score[0], meant[..., 2])
