from __future__ import annotations

import json
import pickle
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aclnet.datasets.readers.kinetics_json import KineticsJsonSource
from aclnet.datasets.registry import get_dataset, open_raw
from aclnet.datasets.spec import AclnetError, Rejection, SkeletonSequence

if TYPE_CHECKING:
    from pathlib import Path

ID = "-0BvUV52_cM"


def person(seed: int = 0, **changes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    pose, score = rng.uniform(0.1, 1.1, 36).round(3), rng.uniform(0.1, 1.2, 18).round(3)
    return {"pose": pose.tolist(), "score": score.tolist(), **changes}


def nobody() -> dict[str, Any]:
    return {"pose": [0.0] * 36, "score": [0] * 18}


CLASSES = get_dataset("kinetics").class_names


def clip(*frames: list[Any], label_index: Any = 370, **changes: Any) -> dict[str, Any]:
    data = [{"frame_index": i, "skeleton": people} for i, people in enumerate(frames, start=1)]
    known = label_index in range(400)
    name = CLASSES[label_index] if known else "unknown"
    return {"data": data, "label": name, "label_index": label_index, **changes}


def write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())


def only(folder: Path, content: object) -> SkeletonSequence | Rejection:
    write(folder / f"kinetics_val/{ID}.json", content)
    source = open_raw(get_dataset("kinetics"), folder)
    assert isinstance(source, KineticsJsonSource)
    ((item,), rejections) = source.scan()
    assert not rejections
    return source.read(item)


@pytest.mark.parametrize("label", ["Tying  tie", None, 370])
def test_a_name_that_says_nothing_else_is_no_matter(tmp_path: Path, label: object):
    found = only(tmp_path, clip([person()], label=label))
    assert isinstance(found, SkeletonSequence)
    assert found.label == 370


def test_a_clip_becomes_a_sequence_of_all_persons(tmp_path: Path):
    lost = person(2)
    lost["score"][4] = 0
    found_at_zero = person(3)
    found_at_zero["pose"][10:12] = 0.0, 0.0
    people = [[], [person(0)], [person(1), lost, nobody(), found_at_zero]]
    sequence = only(tmp_path, clip(*people))
    assert isinstance(sequence, SkeletonSequence)
    assert sequence.keypoint.shape == (4, 3, 18, 2)
    assert sequence.present.tolist() == [
        [False, True, True],
        [False, False, True],
        [False, False, False],
        [False, False, True],
    ]
    for t, frame in enumerate(people):
        for m, one in enumerate(frame):
            for v in range(18):
                x, y = one["pose"][2 * v : 2 * v + 2] if one["score"][v] else (0, 0)
                assert sequence.keypoint[m, t, v].tolist() == pytest.approx([x * 340, y * 256])
                assert sequence.score[m, t, v] == np.float32(one["score"][v])
    assert not sequence.keypoint[~sequence.present].any()
    assert not sequence.keypoint[1, 2, 4].any()
    assert sequence.frame_index.tolist() == [0, 1, 2]
    assert (sequence.sample_id, sequence.label) == (ID, 370)
    assert (sequence.width, sequence.height) == (340, 256)
    assert sequence.source == f"kinetics_val/{ID}.json"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"[" + b"1" * 5000 + b"]", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        ([], "a list; an object is expected"),
        ({"data": {}}, "`data` is missing or not a list"),
        (clip(), "`data` has no frame"),
        (clip([]), "no person in any frame"),
        (clip([nobody()]), "no person in any frame"),
        (clip([person()], label_index=400), "`label_index` is 400; 0 to 399"),
        (clip([person()], label_index=-1), "`label_index` is -1"),
        (
            clip([person()], label="jumping into pool", label_index=0),
            "`label` is 'jumping into pool', but `label_index` 0 is 'abseiling' of Kinetics",
        ),
        (clip([person()], label="pick up", label_index=0), "`label` is 'pick up', but"),
        (clip([person()], label_index=True), "`label_index` is True"),
        (clip([person()], data=[{"frame_index": 0, "skeleton": []}]), "`frame_index` is 0"),
        (clip([person()], data=[{"frame_index": 2**40, "skeleton": []}]), "`frame_index` is 1099"),
        (clip([person()], data=[{"frame_index": 7, "skeleton": []}] * 2), "7 follows 7"),
        (clip([person()], data=[7]), "frame 1: `frame_index` is None"),
        (clip(None), "frame 1: `skeleton` is missing"),
        (clip([person()], [7]), "frame_index 2: `pose` is missing"),
        (clip([person(pose=[0.5] * 35)]), "frame_index 1: `pose` has 35 numbers; 36 are expected"),
        (
            clip([person(score=[0.5] * 19)]),
            "frame_index 1: `score` has 19 numbers; 18 are expected",
        ),
        (clip([person(score=["0.5"] * 18)]), "not a list of numbers"),
        (clip([person(score=[True] * 18)]), "not a list of numbers"),
        (clip([person(score=[[0.5]] * 18)]), "not a list of numbers"),
        (clip([], [person(pose=[float("nan")] * 36)]), "frame_index 2: `pose` has values that"),
        (clip([person(pose=[1e300] * 36)]), "out of range"),
        (clip([person(pose=[10**400] * 36)]), "out of range"),
        (clip([person(pose=[-(2**63)] * 36)]), "out of range"),
        (clip([person(score=[-0.5] * 18)]), "-0.5, which is negative"),
        (clip([[]] * 400, *[[]] * 200), "201 frames with up to 400 persons"),
    ],
)
def test_other_content_is_rejected(tmp_path: Path, content: object, reason: str):
    rejection = only(tmp_path, content)
    assert isinstance(rejection, Rejection)
    assert reason in rejection.reason
    assert rejection.path == f"kinetics_val/{ID}.json"
    assert (rejection.kind == "no person") == ("no person" in reason or "no frame" in reason)


def test_broken_json_is_told_with_its_line(tmp_path: Path):
    rejection = only(tmp_path, json.dumps(clip([person()]), indent=1).encode()[:-300])
    assert isinstance(rejection, Rejection)
    assert rejection.line > 10


def some_set(folder: Path) -> None:
    """Seven clips: two in train, four in val, one in neither."""
    for name, label in (("train/aaaaaaaaaaa", 1), ("train/aaaaaaaaaab", 2)):
        write(folder / f"kinetics_{name}.json", clip([person()], label_index=label))
    for name, label in (("a", 3), ("b", 4), ("c", 5), ("d", 6)):
        write(folder / f"val/bbbbbbbbbb{name}.json", clip([person()], label_index=label))
    write(folder / "ccccccccccc.json", clip([person()]))
    told = {
        "bbbbbbbbbba": {"has_skeleton": True, "label": "?", "label_index": 3},
        "bbbbbbbbbbb": {"has_skeleton": False, "label": "?", "label_index": 4},
        "bbbbbbbbbbc": {"has_skeleton": True, "label": "?", "label_index": 7},
        "aaaaaaaaaaa": {"has_skeleton": False, "label": "?", "label_index": 1},
    }
    write(folder / "keintics_val_label.json", told)
    write(folder / "package.json", {})


def check_set(source: KineticsJsonSource, prefix: str = "") -> None:
    items, rejections = source.scan()
    found = {item.sample_id: source.read(item) for item in items}
    read = {name: s.label for name, s in found.items() if isinstance(s, SkeletonSequence)}
    assert read == {
        "aaaaaaaaaaa": 1,  # the label file of the other side says nothing of it
        "aaaaaaaaaab": 2,
        "bbbbbbbbbba": 3,
        "bbbbbbbbbbd": 6,
        "ccccccccccc": 370,
    }
    wrong = found["bbbbbbbbbbc"]
    assert isinstance(wrong, Rejection)
    assert wrong.reason == "`label_index` is 5, but the label file says 7"
    assert {(r.path, r.kind) for r in rejections} == {
        (f"{prefix}val/bbbbbbbbbbb.json", "listed as unusable"),
        (f"{prefix}package.json", "unknown name"),
    }
    splits = {side: sorted(ids) for side, ids in source.splits().items()}
    assert splits == {
        "train": ["aaaaaaaaaaa", "aaaaaaaaaab"],
        "val": ["bbbbbbbbbba", "bbbbbbbbbbc", "bbbbbbbbbbd"],
    }


def test_label_files_and_folders_decide(tmp_path: Path):
    some_set(tmp_path)
    source = open_raw(get_dataset("kinetics"), tmp_path)
    check_set(pickle.loads(pickle.dumps(source)))  # noqa: S301
    assert (source.spec.layout, source.spec.raw_layout, source.tracked()) == (
        "openpose",
        None,
        False,
    )


def test_an_archive_is_read_in_place(tmp_path: Path):
    some_set(tmp_path / "set")
    with zipfile.ZipFile(tmp_path / "set.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in (tmp_path / "set").rglob("*.json"):
            archive.write(file, file.relative_to(tmp_path / "set"))
    check_set(open_raw(get_dataset("kinetics"), tmp_path / "set.zip"), "set.zip/")


def test_archives_of_one_side_each(tmp_path: Path):
    some_set(tmp_path)
    for folder, name in (("kinetics_train", "kinetics_train"), ("val", "kinetics_val")):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            for file in (tmp_path / folder).iterdir():
                archive.write(file, file.name)
                file.unlink()
    source = open_raw(get_dataset("kinetics"), tmp_path)
    assert {side: len(ids) for side, ids in source.splits().items()} == {"train": 2, "val": 3}
    one = open_raw(get_dataset("kinetics"), tmp_path / "kinetics_val.zip")
    assert {side: len(ids) for side, ids in one.splits().items()} == {"val": 4}
    assert isinstance(one.read(one.scan()[0][0]), SkeletonSequence)


def test_what_is_there_says_which_form_it_is(tmp_path: Path):
    write(tmp_path / "both" / "k400_hrnet.pkl", b"")
    write(tmp_path / "both" / f"val/{ID}.json", clip([person()]))
    write(tmp_path / "json" / f"val/{ID}.json", clip([person()]))
    write(tmp_path / "own.pickle", b"")
    spec = get_dataset("kinetics")
    for name, is_json in (("both", False), ("json", True), ("own.pickle", False)):
        assert isinstance(open_raw(spec, tmp_path / name), KineticsJsonSource) is is_json
    with pytest.raises(
        AclnetError,
        match=r"\.json is not a folder or a zip of a folder; give the folder or zip",
    ):
        open_raw(spec, tmp_path / f"json/val/{ID}.json")


def test_an_id_that_is_there_twice(tmp_path: Path):
    for folder in ("kinetics_train", "val"):
        write(tmp_path / f"{folder}/{ID}.json", clip([person()]))
    items, rejections = open_raw(get_dataset("kinetics"), tmp_path).scan()
    assert [item.path for item in items] == [f"kinetics_train/{ID}.json"]
    assert [r.kind for r in rejections] == ["there twice"]


@pytest.mark.parametrize(
    "content",
    [b"{", [], {ID: []}, {ID: {"label_index": 3}}, {ID: {"has_skeleton": True, "label_index": ""}}],
)
def test_a_broken_label_file_is_the_users_matter(tmp_path: Path, content: object):
    some_set(tmp_path)
    write(tmp_path / "kinetics_train_label.json", content)
    with pytest.raises(AclnetError, match=r"kinetics_train_label\.json.*; download it again"):
        open_raw(get_dataset("kinetics"), tmp_path).scan()


def test_a_new_opening_sees_what_has_changed(tmp_path: Path):
    some_set(tmp_path)
    spec = get_dataset("kinetics")
    before = open_raw(spec, tmp_path)
    assert len(before.scan()[0]) == 6
    labels = before.fingerprint()
    (tmp_path / "keintics_val_label.json").unlink()
    after = open_raw(spec, tmp_path)
    assert len(after.scan()[0]) == 7
    assert {r.path for r in after.scan()[1]} == {"package.json"}
    assert labels != after.fingerprint() == open_raw(spec, tmp_path).fingerprint()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kinetics")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@given(data=st.data())
def test_any_json_in_place_of_a_part_is_a_sequence_or_a_rejection(
    folder: Path, data: st.DataObject
):
    content: Any = clip([person(0)], [], [person(1), person(2)])
    part = content
    for _ in range(data.draw(st.integers(0, 4))):
        keys = range(len(part)) if isinstance(part, list) else sorted(part)
        child = part[data.draw(st.sampled_from(keys))] if keys else None
        if not isinstance(child, list | dict) or not child:
            break
        part = child
    keys = range(len(part)) if isinstance(part, list) else sorted(part)
    part[data.draw(st.sampled_from(keys))] = data.draw(_JSON)
    assert isinstance(only(folder, content), SkeletonSequence | Rejection)


def test_real_clips(real_data: Path):
    source = open_raw(get_dataset("kinetics"), real_data / "kinetics_json")
    items, rejections = source.scan()
    assert not rejections
    assert {side: len(ids) for side, ids in source.splits().items()} == {"train": 3, "val": 2}
    for item in items:
        sequence = source.read(item)
        assert isinstance(sequence, SkeletonSequence)
        clip = json.loads((source.root / item.path).read_bytes())
        assert source.spec.class_names[sequence.label] == clip["label"]
        assert sequence.frame_index.tolist() == [f["frame_index"] - 1 for f in clip["data"]]
        assert sequence.present.sum() == sum(len(f["skeleton"]) for f in clip["data"])
        for t, frame in enumerate(clip["data"]):
            for m, one in enumerate(frame["skeleton"]):
                pose = np.array(one["pose"]).reshape(18, 2) * [340, 256]
                np.testing.assert_allclose(sequence.keypoint[m, t], pose, rtol=1e-6)
                np.testing.assert_allclose(sequence.score[m, t], one["score"], rtol=1e-6)
