"""Scores of detections, parts of recordings, recordings without a label, and units."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from aclnet.datasets.registry import get_dataset, open_raw
from aclnet.datasets.spec import UNLABELLED, AclnetError, Rejection, SkeletonSequence
from aclnet.datasets.store.store import Store
from aclnet.exchange.export_store import export_store
from aclnet.pipelines.prepare.options import PrepareOptions
from aclnet.pipelines.prepare.samples import clean_sequence
from tests.datasets.readers.custom_folder import FACTS, indexed, sequence, some, write

if TYPE_CHECKING:
    from pathlib import Path

# Scores of detections


def ghost_form(tool: str, people: list[list[tuple[float, float]]]) -> object:
    """Frames of (place in x, score) as a tool writes them; joints of a bad detection are worse."""
    joints = np.random.default_rng(3).uniform(10, 90, (17, 2))

    def person(x: float, score: float) -> np.ndarray:
        return np.column_stack([joints + np.array([x, 0]), np.full(17, score**3)])

    if tool == "MMPose":
        return [
            {
                "frame_id": t,
                "instances": [
                    {
                        "keypoints": person(*of)[:, :2].tolist(),
                        "keypoint_scores": person(*of)[:, 2].tolist(),
                        "bbox_score": of[1],
                    }
                    for of in frame
                ],
            }
            for t, frame in enumerate(people)
        ]
    image = "{}.jpg" if tool == "AlphaPose" else None
    return [
        {
            "image_id": image.format(t) if image else t,
            "category_id": 1,
            "keypoints": person(*of).ravel().tolist(),
            "score": of[1],
        }
        for t, frame in enumerate(people)
        for of in frame
    ]


WALK = [(100 + t, 0.9) for t in range(12)]
GHOSTS = [[(600, 0.3), at] if t in (4, 9) else [at] for t, at in enumerate(WALK)]
"""Case 39: in two frames a detection of a low score is listed before the walker."""


def walker(folder: Path, tool: str, **options) -> SkeletonSequence | Rejection:
    write(folder, "id,file,label\na,a.json,walk\n", dataset_toml="")
    (folder / "a.json").write_text(json.dumps(ghost_form(tool, GHOSTS)))
    chosen = PrepareOptions(**options)
    source = chosen.choose_boxes(open_raw(get_dataset("custom"), folder))
    ((item,), _) = source.scan()
    return clean_sequence(source.read(item), source, source.spec, chosen)


@pytest.mark.parametrize("tool", ["MMPose", "AlphaPose", "COCO results"])
@pytest.mark.parametrize(
    ("options", "persons"),
    [({}, 2), ({"box_thr": 0.5}, 1), ({"persons": 1}, 1), ({"track": True}, 1)],
)
def test_a_ghost_is_not_the_first_person(tool, options, persons, tmp_path):
    found = walker(tmp_path, tool, **options)
    assert len(found.present) == persons
    assert found.present[0].all()
    np.testing.assert_allclose(np.diff(found.keypoint[0, :, 0, 0]), 1, atol=1e-3)


def test_too_few_frames_with_a_sure_detection(tmp_path):
    people = [[(0, 0.9 if t < 3 else 0.2)] for t in range(12)]
    write(tmp_path, "id,file,label\na,a.json,walk\n", dataset_toml="")
    (tmp_path / "a.json").write_text(json.dumps(ghost_form("MMPose", people)))
    source = open_raw(get_dataset("custom"), tmp_path)
    ((item,), _) = source.scan()
    assert source.with_boxes(0.5, 0.25).read(item).present.sum() == 3
    rejected = source.with_boxes(0.5, 0.26).read(item)
    assert (rejected.reason, rejected.kind) == (
        "3 of 12 frames have a box of score 0.5",
        "no person",
    )


def test_without_scores_of_detections_none_can_be_asked_for(tmp_path):
    np.save(tmp_path / "a.npy", some()[0])
    write(tmp_path, "id,file,label\na,a.npy,walk\n")
    source = open_raw(get_dataset("custom"), tmp_path)
    with pytest.raises(AclnetError, match="has no scores of boxes; leave out --box-thr"):
        source.with_boxes(0.5, 0)


# Parts of recordings (cases 14 and 29 of the public cases)


def parts(folder: Path, rows: str, header: str = "id,file,label,start,end,fps,person"):
    """Sequences or reasons by id; day.npy has 40 frames of two persons, numbers.csv 10 to 28."""
    folder.mkdir(exist_ok=True)
    np.save(folder / "day.npy", some(40, persons=2))
    rows_of = some(10).reshape(10, -1)
    lines = [",".join(map(str, [10 + 2 * t, *row])) for t, row in enumerate(rows_of)]
    (folder / "numbers.csv").write_text("\n".join(lines))
    source = open_raw(get_dataset("custom"), write(folder, f"{header}\n{rows}"))
    items, rejections = source.scan()
    return source, {item.sample_id: source.read(item) for item in items}, rejections


def test_rows_of_one_file_are_cut_out_of_it(tmp_path):
    """Both ends belong to a part, as PKU-MMD's actions have it."""
    rows = "a,day.npy,sit,0,12,,\nb,day.npy,stand,13,39,,\nc,day.npy,sit,5,,,\nd,day.npy,sit,,3,,\n"
    _, found, rejections = parts(tmp_path, rows)
    assert [r.path for r in rejections] == ["numbers.csv"]
    for name, first, last in (("a", 0, 12), ("b", 13, 39), ("c", 5, 39), ("d", 0, 3)):
        assert found[name].frame_index.tolist() == list(range(first, last + 1))
        np.testing.assert_array_equal(
            found[name].keypoint, some(40, persons=2)[:, first : last + 1]
        )


def test_parts_are_counted_in_the_numbers_of_the_file_or_in_seconds(tmp_path):
    rows = (
        "a,numbers.csv,sit,14,19,,\nb,numbers.csv,sit,0.5s,0.9s,30,\n"
        "c,numbers.csv,sit,1.0s,1.4s,20,\nd,numbers.csv,sit,0.34s,0.61s,29.97,\n"
    )
    _, found, _ = parts(tmp_path, rows)
    assert found["a"].frame_index.tolist() == [14, 16, 18]
    assert found["b"].frame_index.tolist() == [16, 18, 20, 22, 24, 26]  # frames 15 to 27
    assert found["c"].frame_index.tolist() == [20, 22, 24, 26, 28]
    assert found["d"].frame_index.tolist() == [12, 14, 16, 18]  # 10.2 to 18.3
    assert (found["b"].fps, found["a"].fps) == (30, 0)
    np.testing.assert_array_equal(found["a"].keypoint, some(10)[:, 2:5])


def test_a_person_of_a_recording(tmp_path):
    _, found, _ = parts(
        tmp_path, "a,day.npy,sit,,,,0\nb,day.npy,stand,3,9,,1\nc,day.npy,sit,,,,2\n"
    )
    np.testing.assert_array_equal(found["a"].keypoint, some(40, persons=2)[:1])
    np.testing.assert_array_equal(found["b"].keypoint, some(40, persons=2)[1:, 3:10])
    assert found["c"].reason == "`person` is 2, but the recording has 0 to 1"


def test_parts_that_make_no_sense_are_rejected_with_their_reason(tmp_path):
    rows = (
        "a,day.npy,sit,30,40,,\nb,day.npy,sit,9,5,,\nc,day.npy,sit,1.5,3,,\nd,day.npy,sit,1s,2s,,\n"
        "e,day.npy,sit,,,fast,\nf,day.npy,sit,,,0,\ng,day.npy,sit,,,,left\n"
        "h,day.npy,sit,0,5,,\ni,day.npy,sit,0,5,,\nj,numbers.csv,sit,0,9,,\n"
    )
    _, found, rejections = parts(tmp_path, rows)
    reasons = {r.line: r.reason for r in rejections}
    assert reasons[3] == "`end` is frame 5, before `start`, which is frame 9"
    assert reasons[4] == (
        "`start` is '1.5'; write a frame number such as 45, or seconds such as 1.5s"
    )
    assert reasons[5] == "`start` is '1s', but seconds need the column `fps`"
    assert reasons[6].startswith("`fps` is 'fast'")
    assert reasons[7].startswith("`fps` is '0'")
    assert reasons[8].startswith("`person` is 'left'")
    assert reasons[10].startswith("day.npy is already the recording of line 9; use the columns")
    assert found["a"].reason == "the index asks for frames 30 to 40, but the recording has 0 to 39"
    assert found["j"].reason == "the index asks for frames 0 to 9, but the recording has 10 to 28"


def test_damage_outside_a_part_is_no_matter_and_inside_it_has_its_line(tmp_path):
    _, _, _ = parts(tmp_path, "a,day.npy,sit,,,,\n")
    lines = (tmp_path / "numbers.csv").read_text().splitlines()
    lines[7] = lines[7].replace(lines[7].split(",")[5], "inf")  # frame 24
    (tmp_path / "numbers.csv").write_text("\n".join(lines))
    index = "id,file,label,start,end\na,numbers.csv,sit,10,22\nb,numbers.csv,sit,20,28\n"
    source = open_raw(get_dataset("custom"), write(tmp_path, index))
    first, second = map(source.read, source.scan()[0])
    assert isinstance(first, SkeletonSequence)
    assert (second.line, "not finite" in second.reason) == (8, True)


def test_persons_of_pose_estimators_cannot_be_chosen_by_number(tmp_path):
    write(tmp_path, "id,file,label,person\na,a.json,walk,0\n", dataset_toml="")
    (tmp_path / "a.json").write_text(json.dumps(ghost_form("MMPose", GHOSTS)))
    source = open_raw(get_dataset("custom"), tmp_path)
    assert "leave `person` empty and use --track" in source.read(source.scan()[0][0]).reason


def test_recordings_of_several_rates_are_told_or_brought_to_one(tmp_path, prepare_raw):
    rows = "a,day.npy,sit,0,19,30,\nb,day.npy,sit,20,39,15,\nc,numbers.csv,rest,,,60,\n"
    source, _, _ = parts(tmp_path / "raw", rows)
    assert source.rates() == (15, 30, 60)
    said = "recordings have 15, 30 and 60 frames per second (column fps)"
    plain = prepare_raw(tmp_path / "raw", tmp_path / "plain.zarr", dataset="custom")
    assert any(doubt.startswith(said) for doubt in plain.doubts)
    report = prepare_raw(tmp_path / "raw", tmp_path / "s.zarr", dataset="custom", fps=15)
    assert not any("frames per second" in doubt for doubt in report.doubts)
    store = Store(tmp_path / "s.zarr")
    assert store.attributes.options["fps"] == 15
    assert store.sequence("a").frame_index.tolist() == list(range(10))
    assert store.sequence("b").frame_index.tolist() == list(range(20, 40))
    assert store.sequence("c").frame_index.tolist() == [3, 4, 5, 6, 7]
    (tmp_path / "raw" / "index.csv").write_text("id,file,label\na,day.npy,sit\n")
    with pytest.raises(AclnetError, match="its frame rate is not known; give it in the column"):
        prepare_raw(tmp_path / "raw", tmp_path / "n.zarr", dataset="custom", fps=15)


# Recordings without a label, and units of length (cases 10 and 31 of the public cases)


def test_recordings_without_a_label_are_read(tmp_path):
    index = "id,file,label,split\na,a.npy,,\nb,b.npy,walk,train\nc,c.npy,,test\n"
    source, items, rejections = indexed(tmp_path, index)
    assert source.spec.class_names == ("walk",)
    assert [source.read(item).label for item in items] == [UNLABELLED, 0]
    assert source.splits() == {"train": ["b"]}
    (rejection,) = rejections
    assert rejection.line == 4
    assert rejection.reason.startswith("`label` is empty, but `split` is 'test'; give a label, or")


def test_without_any_label_the_classes_are_those_of_the_file(tmp_path):
    index = "id,file,label\na,a.npy,\nb,b.npy,\nc,c.npy,\n"
    assert indexed(tmp_path, index)[0].spec.class_names == ()
    source, items, _ = indexed(tmp_path, index, classes_txt="sit\nwalk\n")
    assert source.spec.class_names == ("sit", "walk")
    assert {source.read(item).label for item in items} == {UNLABELLED}


@pytest.mark.parametrize("form", ["pkl", "h5"])
def test_a_store_of_unlabelled_recordings_goes_out_and_comes_back(form, tmp_path, prepare_raw):
    index = "id,file,label,split\na,a.npy,,\nb,b.npy,walk,train\nc,c.npy,run,test\n"
    indexed(tmp_path / "raw", index)
    report = prepare_raw(tmp_path / "raw", tmp_path / "s.zarr", dataset="custom")
    store = Store(report.path)
    assert store.sequence("a").label == UNLABELLED
    unlabelled = store.column("label") == UNLABELLED
    assert unlabelled.sum() == 1
    assert not any((mask & unlabelled).any() for mask in store.splits.values())
    export = tmp_path / f"s.{form}"
    export_store(store, {"pkl": "pyskl", "h5": "hdf5"}[form], export)
    again = Store(prepare_raw(export, tmp_path / "again.zarr", dataset="custom").path)
    assert again.sequence("a").label == UNLABELLED
    assert {name: mask.sum() for name, mask in again.splits.items()} == {
        "own/train": 1,
        "own/test": 1,
    }


@pytest.mark.parametrize(("units", "length"), [("mm", 1000), ("cm", 100), ("m", 1)])
@pytest.mark.parametrize("scored", [False, True])
def test_lengths_are_stored_in_metres(units, length, scored, tmp_path):
    keypoint = some(coordinates=4 if scored else 3)[0]
    raw = keypoint.copy()
    raw[..., :3] *= length
    np.save(tmp_path / "a.npy", raw)
    found = sequence(tmp_path, "a.npy", FACTS + f'units = "{units}"')
    np.testing.assert_allclose(found.keypoint[0], keypoint[..., :3], rtol=1e-5)
    if scored:
        np.testing.assert_array_equal(found.score[0], keypoint[..., 3])


def test_millimetres_that_are_called_metres_are_told_by_prepare(tmp_path, prepare_raw):
    indexed(tmp_path, "id,file,label\na,a.npy,sit\nb,b.npy,walk\nc,c.npy,walk\n")
    np.save(tmp_path / "b.npy", 1000 * some()[0])
    report = prepare_raw(tmp_path, tmp_path / "s.zarr", dataset="custom")
    (example,) = report.examples
    assert "these may be millimetres" in example
    assert 'units = "mm"' in example
