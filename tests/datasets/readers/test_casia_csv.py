"""CASIA-B in GaitGraph's tables, and what all forms of CASIA-B share."""

from __future__ import annotations

import csv
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest

import aclnet
from aclnet.datasets.readers.casia_b import parse_id
from aclnet.datasets.registry import get_dataset, open_raw
from aclnet.datasets.spec import AclnetError, Rejection, SkeletonSequence
from aclnet.datasets.synth import Request, get_generator
from aclnet.datasets.synth.gait import recording

if TYPE_CHECKING:
    from pathlib import Path

SPEC = get_dataset("casia-b")
HEADER = ",".join(["image_name", *(f"c{i}" for i in range(51))])
FIRST, SECOND = "001-nm-01-090", "124-cl-02-180"


def row(name: str, frame: int, *, values: object = None) -> str:
    numbers = values if isinstance(values, list) else [frame + i / 100 for i in range(51)]
    return ",".join([f"./{name}/{frame:06}.jpg", *map(str, numbers)])


def write(folder: Path, lines: list[str], file: str = "poses.csv") -> None:
    (folder / file).write_text("\n".join([HEADER, *lines]) + "\n")


def read_all(root: Path) -> tuple[dict[str, SkeletonSequence | Rejection], list[Rejection]]:
    source = open_raw(SPEC, root)
    items, rejections = source.scan()
    return {item.sample_id: source.read(item) for item in items}, rejections


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (FIRST, (1, "nm", 1, 90)),
        (SECOND, (124, "cl", 2, 180)),
        ("075-nm-06-000", (75, "nm", 6, 0)),
        *((name, None) for name in ("125-nm-01-000", "000-nm-01-000", "001-nm-07-000")),
        *((name, None) for name in ("001-bg-03-000", "001-nm-00-000", "001-nm-01-017")),
        *((name, None) for name in ("001-nm-01-198", "1-nm-01-000", "001-NM-01-000", "")),
    ],
)
def test_names_of_recordings(name: str, expected: tuple[int, str, int, int] | None):
    assert parse_id(name) == expected


def test_rows_become_sequences(tmp_path: Path):
    write(tmp_path, [row(FIRST, 3), row(FIRST, 4), row(SECOND, 0)])
    found, rejections = read_all(tmp_path / "poses.csv")
    assert (list(found), rejections) == ([FIRST, SECOND], [])
    sequence = found[FIRST]
    assert isinstance(sequence, SkeletonSequence)
    assert sequence.keypoint.shape == (1, 2, 17, 2)
    assert sequence.frame_index.tolist() == [3, 4]
    # joint 5 of frame 4: columns 15, 16 and 17 of 51
    assert sequence.keypoint[0, 1, 5].tolist() == [np.float32(4.15), np.float32(4.16)]
    assert sequence.score is not None
    assert sequence.score[0, 1, 5] == np.float32(4.17)
    assert (sequence.width, sequence.height, sequence.source) == (320, 240, "poses.csv")
    other = found[SECOND]
    assert isinstance(other, SkeletonSequence)
    assert (other.label, other.subject, other.condition) == (123, 124, "cl")
    assert (other.replication, other.camera) == (2, 180)


def test_rows_in_any_order_and_several_tables(tmp_path: Path):
    (tmp_path / "deep").mkdir()
    mixed = [row(FIRST, 7), row(SECOND, 1), row(FIRST, 5), row(SECOND, 0), row(FIRST, 6)]
    write(tmp_path, mixed, "all.csv")
    third = "002-bg-01-018"
    write(tmp_path / "deep", [row(third, 0), row(SECOND, 0)], "more.csv")
    found, rejections = read_all(tmp_path)
    assert sorted(found) == [FIRST, third, SECOND]
    for name, frames in ((FIRST, [5, 6, 7]), (SECOND, [0, 1])):
        sequence = found[name]
        assert isinstance(sequence, SkeletonSequence)
        assert sequence.frame_index.tolist() == frames
        assert sequence.keypoint[0, :, 0, 0].tolist() == frames
    assert [(r.path, r.kind, r.reason) for r in rejections] == [
        ("deep/more.csv", "there twice", "the same recording is at all.csv")
    ]


BAD_ROWS = {
    row(FIRST, 1, values=[""] * 51): "the values are not 51 numbers",
    row(FIRST, 1, values=[1.0] * 50): "50 values; 51 are expected",
    row(FIRST, 1, values=[1.0] * 52): "52 values; 51 are expected",
    row(FIRST, 1, values=[1.0] * 50 + ["nan"]): "not finite",
    row(FIRST, 1, values=[1.0] * 50 + ["-inf"]): "not finite",
    row(FIRST, 1, values=[1.0] * 50 + ["1_0"]): "not finite",
    row("001-nm-01-091", 1): "image_name is not",
    row(FIRST, 1).removeprefix("./" + FIRST): "image_name is not",
    "garbage": "image_name is not",
    "x" * 20_000: "image_name is not",
    "\x00\x01": "image_name is not",
}


@pytest.mark.parametrize("bad", BAD_ROWS, ids=range(len(BAD_ROWS)))
def test_a_bad_row_is_rejected_with_its_line_and_the_sequence_goes_on(tmp_path: Path, bad: str):
    write(tmp_path, [row(FIRST, 0), bad, "", row(FIRST, 2), row(SECOND, 0)])
    found, rejections = read_all(tmp_path)
    assert {r.line for r in rejections} == {3}
    assert BAD_ROWS[bad] in rejections[0].reason
    sequence = found[FIRST]
    assert isinstance(sequence, SkeletonSequence)
    assert sequence.frame_index.tolist() == [0, 2]
    assert isinstance(found[SECOND], SkeletonSequence)


@pytest.mark.parametrize(
    ("rows", "line", "reason"),
    [
        ([row(FIRST, 0), row(SECOND, 0), row(FIRST, 0)], 4, "frame 0 occurs twice"),
        ([row(FIRST, 0), row(FIRST, 1, values=["1e39"] * 51)], 3, "not finite"),
        ([row(FIRST, 0, values=["1e9"] * 51)], None, "frame 0 has a value that is not finite or"),
        ([row(FIRST, 9, values=[0] * 51)], None, "no person"),
    ],
)
def test_sequences_that_make_no_sense_are_rejected(
    tmp_path: Path, rows: list[str], line: int | None, reason: str
):
    write(tmp_path, rows)
    found, rejections = read_all(tmp_path)
    assert rejections == []
    rejection = found[FIRST]
    assert isinstance(rejection, Rejection)
    assert rejection.line == line
    assert rejection.reason.startswith(f"sequence {FIRST}: ")
    assert reason in rejection.reason


def test_frames_without_a_person_are_absent(tmp_path: Path):
    write(tmp_path, [row(FIRST, 1), row(FIRST, 2, values=[0, 0, 0.3] * 17), row(FIRST, 3)])
    sequence = read_all(tmp_path)[0][FIRST]
    assert isinstance(sequence, SkeletonSequence)
    assert sequence.present.tolist() == [[True, False, True]]
    assert sequence.score is not None
    assert not sequence.score[0, 1].any()


def test_so_many_bad_rows_are_told_and_no_more(tmp_path: Path):
    write(tmp_path, [row(FIRST, 0), *["bad"] * 1500])
    _, rejections = read_all(tmp_path)
    assert len(rejections) == 1001
    assert rejections[-1].reason == "500 more rows are damaged"


def test_tables_of_another_kind_and_in_archives(tmp_path: Path):
    (tmp_path / "labels.csv").write_text("id,label\n1,2\n")
    (tmp_path / "empty.csv").write_text("")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("inside.csv", HEADER)
    write(tmp_path, [row(FIRST, 0)])
    found, rejections = read_all(tmp_path)
    assert list(found) == [FIRST]
    assert [(r.path, r.reason[:13]) for r in rejections] == [
        ("a.zip/inside.csv", "is in an arch"),
        ("empty.csv", "the header is"),
        ("labels.csv", "the header is"),
    ]


def test_a_table_that_changes_meanwhile_is_no_other_sequence(tmp_path: Path):
    write(tmp_path, [row(FIRST, 0), row(SECOND, 0)])
    source = open_raw(SPEC, tmp_path)
    items, _ = source.scan()
    write(tmp_path, [row(SECOND, 0), row(FIRST, 0)])
    for item in items:
        result = source.read(item)
        assert isinstance(result, Rejection)
        assert "has changed" in result.reason
    (tmp_path / "poses.csv").unlink()
    with pytest.raises(FileNotFoundError):
        source.read(items[0])


def test_a_folder_without_any_form_is_the_users_mistake(tmp_path: Path):
    (tmp_path / "readme.txt").write_text("")
    with pytest.raises(AclnetError, match="has no recordings of CASIA-B gait; give GaitGraph's"):
        open_raw(SPEC, tmp_path)


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[str, ...]]:
    folder = tmp_path_factory.mktemp("casia")
    generate = get_generator("casia-b", "csv")
    summary = generate(folder, Request(sequences=48, subjects=6, seed=4, damage=0.1))
    return folder, summary.damaged


@pytest.mark.slow
def test_a_made_up_set_through_prepare(made_up, prepare_raw, tmp_path: Path):
    folder, damaged = made_up
    report = prepare_raw(folder, tmp_path / "c.zarr", dataset="casia-b")
    store = aclnet.open_store(tmp_path / "c.zarr")
    assert report.samples == len(store) == 48
    assert sum(report.rejections.values()) == len(damaged) == 5
    table = store.samples.set_index("id")
    assert (table["label"] == table["subject"] - 1).all()
    for name, sample in table.iterrows():
        subject, condition, take, view = str(name).split("-")
        assert (sample["subject"], sample["condition"]) == (int(subject), condition)
        assert (sample["replication"], sample["camera"]) == (int(take), int(view))
        meant = recording(str(name), 4).astype(np.float32)
        stored = store.sequence(str(name))
        kept = stored.frame_index
        assert len(kept) == len(meant) - (name in damaged)
        np.testing.assert_array_equal(stored.keypoint[0], meant[kept][..., :2])
        np.testing.assert_array_equal(stored.score[0], meant[kept][..., 2])
    sides = {side: set(store.column("id")[mask]) for side, mask in store.splits.items()}
    assert {int(n[:3]) for n in sides["gait/train"]} == {1, 2, 3, 4}
    assert {int(n[:3]) for n in sides["gait/test"]} == {75, 76}
    gallery = {n for n in sides["gait/test"] if n[4:6] == "nm" and int(n[7:9]) <= 4}
    assert sides["gait/gallery"] == gallery
    assert sides["gait/probe"] == sides["gait/test"] - gallery
    assert gallery
    assert sides["gait/probe"]


def test_the_table_is_as_another_reader_has_it(made_up):
    folder, damaged = made_up
    with (folder / "casia-b_pose_coco.csv").open(newline="") as stream:
        rows = list(csv.reader(stream))
    assert len(rows[0]) == 52
    expected: dict[str, list[list[float]]] = {}
    for name, *values in rows[1:]:
        try:
            numbers = [float(v) for v in values]
        except ValueError:
            continue
        if len(numbers) == 51 and np.isfinite(numbers).all():
            expected.setdefault(name.split("/")[1], []).append(numbers)
    found, rejections = read_all(folder)
    assert sorted(found) == sorted(expected)
    assert len(rejections) == len(damaged)
    for name, sequence in found.items():
        assert isinstance(sequence, SkeletonSequence)
        whole = np.concatenate([sequence.keypoint[0], sequence.score[0][..., None]], axis=-1)
        flat = np.array(expected[name], np.float32)
        np.testing.assert_array_equal(whole.reshape(len(flat), 51), flat)


def test_published_numbers_are_those_of_the_names():
    names = [
        (subject, condition, take)
        for subject in range(1, 125)
        for condition, takes in (("nm", 6), ("bg", 2), ("cl", 2))
        for take in range(1, takes + 1)
        for _ in range(11)
    ]
    columns = {
        "subject": np.array([n[0] for n in names]),
        "condition": np.array([n[1] for n in names]),
        "replication": np.array([n[2] for n in names]),
    }
    (protocol,) = SPEC.protocols
    masks = protocol.divide(columns)
    assert {side: int(mask.sum()) for side, mask in masks.items()} == protocol.published
