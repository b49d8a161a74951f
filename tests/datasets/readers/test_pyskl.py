from __future__ import annotations

import os
import pickle
import shutil
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from aclnet.datasets.formats.unpickle import load_pickle
from aclnet.datasets.readers.pyskl import PysklSource
from aclnet.datasets.registry import get_dataset, open_raw
from aclnet.datasets.spec import AclnetError, Item, Rejection, SkeletonSequence

if TYPE_CHECKING:
    from pathlib import Path

STEM = "S001C002P003R002A013"


def annotation(frame_dir: str = STEM, **changes: Any) -> dict[str, Any]:
    keypoint = np.random.default_rng(0).normal(size=(2, 6, 25, 3)).astype(np.float16)
    keypoint[1, 2:4] = 0
    return {"frame_dir": frame_dir, "label": 12, "total_frames": 6, "keypoint": keypoint} | changes


def source(folder: Path, content: object) -> PysklSource:
    path = folder / "own.pkl"
    path.write_bytes(pickle.dumps(content))
    return PysklSource(get_dataset("ntu60"), path)


def only(folder: Path, entry: object) -> SkeletonSequence | Rejection:
    opened = source(folder, [entry])
    items, rejections = opened.scan()
    assert not rejections
    return opened.read(items[0])


def test_an_annotation_becomes_a_sequence(tmp_path: Path):
    sequence = only(tmp_path, annotation())
    assert isinstance(sequence, SkeletonSequence)
    assert sequence.keypoint.dtype == np.float32
    assert (sequence.keypoint == annotation()["keypoint"]).all()
    assert sequence.present.tolist() == [[True] * 6, [True, True, False, False, True, True]]
    assert sequence.frame_index.tolist() == list(range(6))
    assert (sequence.label, sequence.setup, sequence.camera) == (12, 1, 2)
    assert (sequence.subject, sequence.replication, sequence.source) == (3, 2, "own.pkl")


def test_values_of_rounding_size_are_nobody(tmp_path: Path):
    keypoint = annotation()["keypoint"].astype(np.float32)
    keypoint[1] = 1e-8
    keypoint[0, 0] = 0
    keypoint[0, 0, 3, 1] = 2e-8
    sequence = only(tmp_path, annotation(keypoint=keypoint))
    assert isinstance(sequence, SkeletonSequence)
    assert sequence.present.tolist() == [[True] * 6, [False] * 6]
    assert not sequence.keypoint[1].any()


def test_names_of_other_sets_carry_no_metadata(tmp_path: Path):
    sequence = only(tmp_path, annotation("my_walk_07"))
    assert isinstance(sequence, SkeletonSequence)
    assert (sequence.sample_id, sequence.subject, sequence.camera) == ("my_walk_07", -1, -1)


def keypoint_with(value: float) -> np.ndarray:
    keypoint = annotation()["keypoint"].astype(np.float64)
    keypoint[0, 3, 5, 1] = value
    return keypoint


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"keypoint": None}, "`keypoint` is missing"),
        ({"keypoint": [[0.0]]}, "not an array of numbers"),
        ({"keypoint": np.array([["a"]])}, "not an array of numbers"),
        ({"keypoint": np.zeros((2, 6, 17, 3))}, "(2, 6, 17, 3)"),
        ({"keypoint": np.zeros((6, 25, 3))}, "(6, 25, 3)"),
        ({"keypoint": np.zeros((0, 6, 25, 3))}, "(0, 6, 25, 3)"),
        ({"keypoint": np.zeros((2, 6, 25, 3))}, "no person"),
        ({"keypoint": keypoint_with(np.nan)}, "not finite"),
        ({"keypoint": keypoint_with(1e300)}, "not finite"),
        ({"keypoint_score": np.ones((2, 6, 25))}, "not 3-D"),
        ({"total_frames": 7}, "`total_frames` is 7, but `keypoint` has 6"),
        ({"total_frames": None}, "`total_frames` is None"),
        ({"label": 60}, "`label` is 60; 0 to 59"),
        ({"label": -1}, "`label` is -1"),
        ({"label": None}, "`label` is None"),
        ({"label": True}, "`label` is True"),
    ],
)
def test_damage_is_rejected(tmp_path: Path, changes: dict[str, Any], reason: str):
    opened = source(tmp_path, [annotation("sound"), annotation(**changes)])
    items, _ = opened.scan()
    rejection = opened.read(items[0])
    assert isinstance(rejection, Rejection)
    assert rejection.path == "own.pkl"
    assert reason in rejection.reason
    assert STEM in rejection.reason
    assert isinstance(opened.read(items[1]), SkeletonSequence)


def test_annotations_without_an_id_of_their_own_are_rejected(tmp_path: Path):
    entries = [annotation("b"), None, annotation("a"), annotation("b", label=3), {"label": 1}]
    opened = source(tmp_path, entries)
    items, rejections = opened.scan()
    assert [item.sample_id for item in items] == ["a", "b"]
    assert [r.reason for r in rejections] == [
        "annotation 1 (counting from 0) is NoneType, not a dict",
        "annotation 3 (counting from 0) has the same `frame_dir` as an earlier annotation, 'b'",
        "annotation 4 (counting from 0) has no `frame_dir`",
    ]
    first = opened.read(items[1])
    assert isinstance(first, SkeletonSequence)
    assert first.label == 12
    assert isinstance(opened.read(Item("c", "", 0)), Rejection)


def test_filename_is_the_id_where_the_first_annotation_has_one(tmp_path: Path):
    opened = source(tmp_path, [annotation("x") | {"filename": "y"}])
    assert [item.sample_id for item in opened.scan()[0]] == ["y"]


def test_splits_are_kept(tmp_path: Path):
    splits = {"xsub_train": ["a"], "xsub_val": ["b", "c"]}
    content = {"split": splits, "annotations": [annotation("a")]}
    assert source(tmp_path, content).splits() == splits
    assert source(tmp_path, [annotation("a")]).splits() == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"split": {}}, "not a PYSKL pickle"),
        ("text", "not a PYSKL pickle"),
        ({"annotations": [], "split": {"train": "abc"}}, "`split` must map"),
        ({"annotations": [], "split": {"train": [1]}}, "`split` must map"),
        ([annotation(keypoint=np.zeros((1, 6, 17, 2)), keypoint_score=0)], "_3danno"),
    ],
)
def test_whole_files_of_another_kind_are_the_users_mistake(
    tmp_path: Path, content: object, message: str
):
    with pytest.raises(AclnetError, match=message):
        source(tmp_path, content).scan()


def test_a_file_that_is_gone_or_replaced_is_noticed(tmp_path: Path):
    opened = source(tmp_path, [annotation("a")])
    items, _ = opened.scan()
    source(tmp_path, [annotation("b")])
    os.utime(opened.root, ns=(1, 1))
    assert [item.sample_id for item in opened.scan()[0]] == ["b"]
    opened.root.unlink()
    with pytest.raises(FileNotFoundError):
        opened.read(items[0])
    with pytest.raises(AclnetError, match=r"own\.pkl cannot be read"):
        opened.scan()


def test_the_pickle_of_the_real_recordings(goldens: Path):
    opened = open_raw(get_dataset("ntu60"), goldens / "ntu_pyskl.pkl")
    assert opened.cleaned
    opened = pickle.loads(pickle.dumps(opened))  # noqa: S301
    items, rejections = opened.scan()
    expected = np.load(goldens / "ntu_preprocess.npz")
    assert not rejections
    assert sorted({name.split("/")[0] for name in expected.files}) == [i.sample_id for i in items]
    for item in items:
        sequence = opened.read(item)
        assert isinstance(sequence, SkeletonSequence)
        raw = expected[f"{item.sample_id}/raw"]
        assert (sequence.keypoint == raw.astype(np.float16)).all()
        assert sequence.label == int(item.sample_id[-3:]) - 1
    assert {id_ for ids in opened.splits().values() for id_ in ids} == {i.sample_id for i in items}


# Pixels


def pixels(**changes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    keypoint = rng.uniform(50, 600, size=(3, 6, 17, 2)).astype(np.float16)
    keypoint[1, 2:4] = 0
    score = rng.random((3, 6, 17)).astype(np.float16)
    entry = {"frame_dir": "gym", "label": 3, "total_frames": 6, "img_shape": (480, 640)}
    return {**entry, "keypoint": keypoint, "keypoint_score": score, **changes}


def packed(persons: list[int], first: int = 1, **changes: Any) -> dict[str, Any]:
    """Frames, two apart, of so many persons each; row r has r everywhere in x."""
    frames = np.repeat(first + 2 * np.arange(len(persons)), persons)
    rows = np.random.default_rng(2).random((len(frames), 17, 3)).astype(np.float16)
    rows[..., 0] = np.arange(len(frames))[:, None]
    entry = {"frame_dir": "k400", "label": 3, "total_frames": 2 * len(persons)}
    entry |= {"img_shape": (320, 570), "frame_inds": frames.astype(np.int16), "keypoint": rows}
    return {**entry, **changes}


def read_pixels(folder: Path, entry: dict[str, Any]) -> SkeletonSequence | Rejection:
    path = folder / "own.pkl"
    path.write_bytes(pickle.dumps([entry]))
    opened = PysklSource(get_dataset("finegym"), path)
    items, rejections = opened.scan()
    assert not rejections
    return opened.read(items[0])


def test_pixels_come_with_scores_and_the_size_of_the_image(tmp_path: Path):
    entry = pixels()
    sequence = read_pixels(tmp_path, entry)
    assert isinstance(sequence, SkeletonSequence)
    assert (sequence.keypoint == entry["keypoint"]).all()
    assert sequence.present.tolist() == [
        [True] * 6,
        [True] * 2 + [False] * 2 + [True] * 2,
        [True] * 6,
    ]
    score = entry["keypoint_score"].copy()
    score[1, 2:4] = 0
    assert sequence.score is not None
    assert (sequence.score == score).all()
    assert (sequence.width, sequence.height) == (640, 480)


def test_packed_rows_fill_the_persons_of_their_frames_in_order(tmp_path: Path):
    persons = [2, 1, 3, 1]
    entry = packed(persons)
    sequence = read_pixels(tmp_path, entry)
    assert isinstance(sequence, SkeletonSequence)
    assert sequence.keypoint.shape == (3, 4, 17, 2)
    assert sequence.frame_index.tolist() == [0, 2, 4, 6]
    row = 0
    for t, count in enumerate(persons):
        for m in range(3):
            assert sequence.present[m, t] == (m < count)
            if m < count:
                assert (sequence.keypoint[m, t] == entry["keypoint"][row, :, :2]).all()
                assert (sequence.score[m, t] == entry["keypoint"][row, :, 2]).all()
                row += 1
            else:
                assert not sequence.keypoint[m, t].any()
                assert not sequence.score[m, t].any()


def test_packed_rows_may_be_in_any_order_of_frames(tmp_path: Path):
    entry = packed([1, 1, 1])
    turned = packed(
        [1, 1, 1], frame_inds=entry["frame_inds"][::-1], keypoint=entry["keypoint"][::-1]
    )
    first, second = (read_pixels(tmp_path, e).keypoint for e in (entry, turned))
    assert (first == second).all()


def test_in_crowds_the_highest_scores_come_first(tmp_path: Path):
    """As DecompressPose: only if some frame has more than ten persons, and then in all frames."""
    for crowd, by_score in (([11, 3], True), ([10, 3], False)):
        entry = packed(crowd)
        sequence = read_pixels(tmp_path, entry)
        rows = entry["keypoint"].astype(np.float32)
        for t, (start, count) in enumerate(((0, crowd[0]), (crowd[0], 3))):
            order = list(range(start, start + count))
            if by_score:
                order.sort(key=lambda r: -rows[r, :, 2].sum())
            assert sequence.keypoint[:count, t, 0, 0].tolist() == [float(r) for r in order]


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (pixels(keypoint_score=None), "`keypoint_score` is missing"),
        (pixels(keypoint_score=np.ones((3, 5, 17))), "`keypoint_score` is (3, 5, 17); (3, 6, 17)"),
        (pixels(keypoint_score=np.full((3, 6, 17), np.inf)), "not finite"),
        (pixels(keypoint=np.ones((3, 6, 25, 2))), "(M, T, 17, 2)"),
        (pixels(total_frames=5), "`total_frames` is 5"),
        (packed([1, 2], frame_inds=np.arange(2)), "2 `frame_inds` for 3 rows"),
        (packed([1, 2], frame_inds=np.arange(3) / 2), "not an array of whole numbers"),
        (packed([1, 2], frame_inds=np.arange(3) - 1), "negative frame -1"),
        (packed([1, 2], keypoint=np.ones((3, 17, 2))), "(N, 17, 3)"),
        (packed([1], keypoint=np.ones((0, 17, 3)), frame_inds=np.arange(0)), "(0, 17, 3)"),
    ],
)
def test_damaged_pixels_are_rejected(tmp_path: Path, entry: dict[str, Any], reason: str):
    rejection = read_pixels(tmp_path, entry)
    assert isinstance(rejection, Rejection)
    assert reason in rejection.reason


def test_an_image_of_unknown_size(tmp_path: Path):
    for shape in (None, (480,), ("a", "b"), 3):
        sequence = read_pixels(tmp_path, pixels(img_shape=shape))
        assert (sequence.width, sequence.height) == (0, 0)


def test_files_of_other_dimensions_are_refused(tmp_path: Path):
    path = tmp_path / "own.pkl"
    for entry, dataset, message in (
        (annotation(), "finegym", r"3-D joints; give the file of 2-D keypoints .*_hrnet\.pkl"),
        (pixels(), "ntu60", r"2-D joints; give the file of 3-D skeletons .*_3danno\.pkl"),
    ):
        path.write_bytes(pickle.dumps([entry]))
        with pytest.raises(AclnetError, match=message):
            PysklSource(get_dataset(dataset), path).scan()


# Joints in files of their own


@pytest.fixture
def kinetics(tmp_path: Path) -> dict[str, np.ndarray]:
    """`k400_hrnet.pkl` with four clips, whose joints lie in two files; one more has none."""
    joints, annotations = {}, []
    files: dict[str, dict[str, Any]] = {"one.pkl": {}, "two.pkl": {}}
    for number, (name, file) in enumerate(
        (("d", "one.pkl"), ("a", "two.pkl"), ("c", "one.pkl"), ("b", "two.pkl"), ("e", "three.pkl"))
    ):
        entry = packed([1 + number % 2, 1, 2], frame_dir=name)
        joints[name] = entry.pop("keypoint") + number
        annotations.append({**entry, "raw_file": f"data/k400/kp\\{file}"})
        files.get(file, {})[name] = {"keypoint": joints[name]}
    (tmp_path / "kpfiles" / "deep").mkdir(parents=True)
    for file, content in files.items():
        (tmp_path / "kpfiles" / "deep" / file).write_bytes(pickle.dumps(content))
    content = {"annotations": annotations, "split": {"train": ["a", "b"], "val": ["c", "d", "e"]}}
    (tmp_path / "k400_hrnet.pkl").write_bytes(pickle.dumps(content))
    return joints


def test_joints_are_found_in_their_files(kinetics: dict[str, np.ndarray], tmp_path: Path):
    opened = open_raw(get_dataset("kinetics"), tmp_path)
    items, rejections = opened.scan()
    # those of one file together
    assert [item.sample_id for item in items] == ["c", "d", "a", "b"]
    assert items[0].path == "kpfiles/deep/one.pkl"
    (rejection,) = rejections
    assert "annotation 'e': there is no three.pkl beside this file" in rejection.reason
    for item in items:
        sequence = opened.read(item)
        assert isinstance(sequence, SkeletonSequence)
        rows = kinetics[item.sample_id].astype(np.float32)
        assert (sequence.keypoint[0, 0] == rows[0, :, :2]).all()
        assert (sequence.keypoint[1, 2] == rows[-1, :, :2]).all()


def test_joints_that_are_not_where_they_should_be(kinetics: dict[str, np.ndarray], tmp_path: Path):
    opened = open_raw(get_dataset("kinetics"), tmp_path / "k400_hrnet.pkl")
    items, _ = opened.scan()
    file = tmp_path / items[0].path
    file.write_bytes(pickle.dumps({"d": {"keypoint": kinetics["d"][:1]}}))
    reasons = [opened.read(item).reason for item in items[:2]]
    assert "one.pkl has no `keypoint` for this annotation" in reasons[0]
    assert "`frame_inds` for 1 rows" in reasons[1]
    file.write_bytes(b"nonsense")
    assert "is not a complete pickle" in opened.read(items[0]).reason
    file.unlink()
    with pytest.raises(FileNotFoundError):
        opened.read(items[0])
    (tmp_path / "kpfiles" / "deep" / "two.pkl").unlink()
    with pytest.raises(AclnetError, match=r"in 3 other files, for example one\.pkl, but none"):
        opened.scan()


def test_a_changed_kpfile_is_another_size(kinetics: dict[str, np.ndarray], tmp_path: Path):
    opened = open_raw(get_dataset("kinetics"), tmp_path)
    items, _ = opened.scan()
    first = {item.path: item for item in reversed(items)}
    for path, item in first.items():
        assert item.size == (tmp_path / path).stat().st_size
    others = [item for item in items if item is not first[item.path]]
    assert [item.size for item in others] == [kinetics[i.sample_id].size * 2 for i in others]
    file = tmp_path / items[0].path
    file.write_bytes(file.read_bytes() + b" ")
    assert opened.scan()[0] != items


@pytest.mark.parametrize("name", ["d", "part/d"])
def test_joints_in_a_file_a_clip(tmp_path: Path, name: str):
    """MMAction2's kpfiles: called after the clip, with no id within."""
    entry = packed([2, 1], frame_dir=name)
    joints = entry.pop("keypoint")
    (tmp_path / "kpfiles").mkdir()
    (tmp_path / "kpfiles" / "d.pkl").write_bytes(pickle.dumps({"keypoint": joints}))
    (tmp_path / "k400_hrnet.pkl").write_bytes(pickle.dumps([entry]))
    opened = open_raw(get_dataset("kinetics"), tmp_path)
    ((item,), rejections) = opened.scan()
    assert not rejections
    sequence = opened.read(item)
    assert isinstance(sequence, SkeletonSequence)
    assert (sequence.keypoint[1, 0] == joints[1, :, :2]).all()


def test_kpfiles_in_an_archive_are_to_be_unpacked(kinetics: dict[str, np.ndarray], tmp_path: Path):
    folder = tmp_path / "kpfiles"
    with zipfile.ZipFile(tmp_path / "kpfiles.zip", "w") as archive:
        for file in folder.rglob("*.pkl"):
            archive.write(file, file.name)
    assert all(
        ".zip" not in item.path for item in open_raw(get_dataset("kinetics"), tmp_path).scan()[0]
    )
    shutil.rmtree(folder)
    with pytest.raises(AclnetError, match="unpack the kpfiles there"):
        open_raw(get_dataset("kinetics"), tmp_path).scan()


def test_packed_rows_are_places_in_frames_lists(tmp_path: Path):
    for entry, is_tracked in ((packed([1, 2]), False), (pixels(), True)):
        path = tmp_path / "own.pkl"
        path.write_bytes(pickle.dumps([pixels(), entry]))
        assert PysklSource(get_dataset("finegym"), path).tracked() is is_tracked


def test_a_real_clip(real_data: Path, tmp_path: Path):
    """One of UCF101's; the class it has there is one of FineGYM's by its number."""
    entry = load_pickle(real_data / "pyskl" / "example_UCF101_skeleton.pkl")
    sequence = read_pixels(tmp_path, entry)
    assert isinstance(sequence, SkeletonSequence)
    assert sequence.keypoint.shape == (2, 163, 17, 2)
    there = sequence.present
    assert (sequence.keypoint[there] == entry["keypoint"][there]).all()
    assert (sequence.score[there] == entry["keypoint_score"][there]).all()
    assert not entry["keypoint"][~there].any()
    assert (sequence.height, sequence.width) == entry["img_shape"]


# Scores of boxes


def boxed(**changes: Any) -> dict[str, Any]:
    """Frames 1, 3, 5, 7 of eight; the second of two persons, and all of frame 5, unsure."""
    scores = np.array([0.9, 0.55, 0.8, 0.6, 0.95], np.float16)
    return packed([2, 1, 1, 1], box_score=scores, **changes)


def read_boxes(
    folder: Path, entry: dict[str, Any], **options: float
) -> SkeletonSequence | Rejection:
    path = folder / "own.pkl"
    path.write_bytes(pickle.dumps([entry]))
    opened = PysklSource(get_dataset("finegym"), path).with_boxes(**options)
    return opened.read(opened.scan()[0][0])


def test_unsure_boxes_are_left_out(tmp_path: Path):
    found = read_boxes(tmp_path, boxed(), box_thr=0.7, valid_ratio=0)
    assert isinstance(found, SkeletonSequence)
    assert found.frame_index.tolist() == [0, 2, 6]
    assert found.keypoint[0, :, 0, 0].tolist() == [0, 2, 4]
    assert len(found.keypoint) == 1
    whole = read_boxes(tmp_path, boxed(), box_thr=0.5, valid_ratio=0.5)
    assert isinstance(whole, SkeletonSequence)
    assert whole.present.tolist() == [[True] * 4, [True, False, False, False]]


@pytest.mark.parametrize(
    ("entry", "options", "reason"),
    [
        (boxed(), {"box_thr": 0.7, "valid_ratio": 0.5}, "3 of 8 frames have a box of score 0.7"),
        (boxed(), {"box_thr": 1.0, "valid_ratio": 0}, "0 of 8 frames"),
        (packed([1, 1]), {"box_thr": 0.7, "valid_ratio": 0}, "`box_score` is missing"),
        (boxed(total_frames=None), {"box_thr": 0.7, "valid_ratio": 0}, "`total_frames` is None"),
    ],
)
def test_too_few_or_unknown_boxes_are_rejected(tmp_path: Path, entry, options, reason):
    rejection = read_boxes(tmp_path, entry, **options)
    assert isinstance(rejection, Rejection)
    assert reason in rejection.reason


def test_data_without_boxes_refuse_the_options(tmp_path: Path):
    with pytest.raises(AclnetError, match="no scores of boxes; leave out --box-thr"):
        source(tmp_path, [annotation()]).with_boxes(0.5, 0)
