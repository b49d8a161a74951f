from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import aclnet
from aclnet.datasets.readers.nw_ucla import NwUclaSource
from aclnet.datasets.registry import get_dataset
from aclnet.datasets.spec import Item, Rejection, SkeletonSequence
from aclnet.datasets.spec.protocols import sides
from aclnet.datasets.synth import Request, get_generator
from aclnet.datasets.synth.nw_ucla import recording

if TYPE_CHECKING:
    from pathlib import Path

ID = "a08_s10_e00_v03"
FILE = f"{ID}.json"


def read(folder: Path) -> SkeletonSequence | Rejection:
    return NwUclaSource(get_dataset("nw-ucla"), folder).read(Item(ID, FILE, 0))


def content(**changes: Any) -> dict[str, Any]:
    """A file of two frames, the joints numbered through."""
    skeletons = (np.arange(120) / 8).reshape(2, 20, 3).tolist()
    return {"file_name": ID, "skeletons": skeletons, "label": 7} | changes


def test_a_recording_becomes_a_sequence(tmp_path: Path):
    (tmp_path / FILE).write_text(json.dumps(content()))
    sequence = read(tmp_path)
    assert isinstance(sequence, SkeletonSequence)
    assert sequence.keypoint.dtype == np.float32
    assert sequence.keypoint.shape == (1, 2, 20, 3)
    assert sequence.keypoint[0, 1, 3].tolist() == [69 / 8, 70 / 8, 71 / 8]
    assert sequence.present.tolist() == [[True, True]]
    assert sequence.frame_index.tolist() == [0, 1]
    assert (sequence.label, sequence.subject, sequence.camera) == (6, 10, 3)
    assert (sequence.replication, sequence.sample_id, sequence.source) == (0, ID, FILE)


def test_labels_leave_out_the_numbers_that_names_leave_out(tmp_path: Path):
    labels = {}
    for action in (1, 2, 3, 4, 5, 6, 8, 9, 11, 12):
        name = f"a{action:02}_s01_e00_v01"
        (tmp_path / f"{name}.json").write_text(json.dumps({"skeletons": content()["skeletons"]}))
        sequence = NwUclaSource(get_dataset("nw-ucla"), tmp_path).read(
            Item(name, f"{name}.json", 0)
        )
        assert isinstance(sequence, SkeletonSequence)
        labels[action] = get_dataset("nw-ucla").class_names[sequence.label]
    assert [labels[8], labels[9], labels[11], labels[12]] == [
        "donning",
        "doffing",
        "throw",
        "carry",
    ]
    assert len(set(labels.values())) == 10


def test_frames_of_zeros_are_without_the_person(tmp_path: Path):
    skeletons = np.array(content()["skeletons"])
    skeletons[0] = 0
    (tmp_path / FILE).write_text(json.dumps(content(skeletons=skeletons.tolist())))
    sequence = read(tmp_path)
    assert isinstance(sequence, SkeletonSequence)
    assert sequence.present.tolist() == [[False, True]]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ([], "an object with `skeletons`"),
        ({"label": 7}, "an object with `skeletons`"),
        (content(skeletons={}), "an object with `skeletons`"),
        (content(skeletons=[]), "is (0,); (T, 20, 3)"),
        (content(skeletons=content()["skeletons"][0]), "is (20, 3); (T, 20, 3)"),
        (content(skeletons=[frame[:19] for frame in content()["skeletons"]]), "is (2, 19, 3)"),
        (content(skeletons=[[[1, 2, 3]] * 20, [[1, 2, 3]] * 19]), "ragged"),
        (content(skeletons=[[["1", 2, 3]] * 20]), "values that are not numbers"),
        (content(skeletons=[[[None, 2, 3]] * 20]), "values that are not numbers"),
        (content(skeletons=[[[True, True, True]] * 20]), "values that are not numbers"),
        (content(skeletons=[[[10**30, 2, 3]] * 20]), "values that are not numbers"),
        (content(skeletons=[[[float("nan"), 2, 3]] * 20]), "not finite"),
        (content(skeletons=[[[1e300, 2, 3]] * 20]), "not finite"),
        (content(skeletons=[[[0, 0, 0]] * 20]), "no person"),
        (content(label=8), "`label` is 8, but the name says 7"),
        (content(label="7"), "`label` is 7"),
    ],
)
def test_other_content_is_rejected(tmp_path: Path, changed: object, reason: str):
    (tmp_path / FILE).write_text(json.dumps(changed))
    rejection = read(tmp_path)
    assert isinstance(rejection, Rejection)
    assert reason in rejection.reason
    assert rejection.path == FILE


@pytest.mark.parametrize("data", [b"", b"[" * 10**6, b'{"skeletons": [', b" " * 2**23])
def test_what_is_no_json_is_rejected(tmp_path: Path, data: bytes):
    (tmp_path / FILE).write_bytes(data)
    assert isinstance(read(tmp_path), Rejection)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ucla")


@pytest.mark.slow
@given(data=st.binary(max_size=50) | st.recursive(st.none() | st.integers(), st.lists))
def test_any_content_is_a_sequence_or_a_rejection(folder: Path, data: object):
    raw = data if isinstance(data, bytes) else json.dumps(content(skeletons=data)).encode()
    (folder / FILE).write_bytes(raw)
    assert isinstance(read(folder), SkeletonSequence | Rejection)


def test_scan_sorts_the_folder_out(tmp_path: Path):
    for path in (f"all_sqe/{FILE}", f"copy/{FILE}", "a07_s01_e00_v01.json", "a01_s11_e00_v01.json",
                 "a01_s01_e00_v04.json", "notes.json", "README.txt"):  # fmt: skip
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(b"")
    items, rejections = NwUclaSource(get_dataset("nw-ucla"), tmp_path).scan()
    assert items == [Item(ID, f"all_sqe/{FILE}", 0)]
    assert {r.path: r.kind for r in rejections} == {
        f"copy/{FILE}": "there twice",
        "a07_s01_e00_v01.json": "unknown name",
        "a01_s11_e00_v01.json": "unknown name",
        "a01_s01_e00_v04.json": "unknown name",
        "notes.json": "unknown name",
    }


def test_the_third_view_is_tested():
    columns = {"camera": np.array([1, 2, 3]), "label": np.zeros(3, int)}
    masks = sides(get_dataset("nw-ucla").protocols, columns)
    assert masks["xview/train"].tolist() == [True, True, False]
    assert masks["xview/test"].tolist() == [False, False, True]


@pytest.mark.slow
def test_made_up_recordings_arrive_in_the_store(tmp_path: Path, prepare_raw):
    summary = get_generator("nw-ucla")(
        tmp_path / "raw", Request(sequences=40, subjects=2, seed=4, damage=0.25)
    )
    with zipfile.ZipFile(tmp_path / "all_sqe.zip", "w") as archive:
        for file in (tmp_path / "raw" / "all_sqe").iterdir():
            archive.write(file, f"all_sqe/{file.name}")
    report = prepare_raw(tmp_path / "all_sqe.zip", tmp_path / "u.zarr", dataset="nw_ucla")
    store = aclnet.open_store(tmp_path / "u.zarr")
    damaged = {path.split("/")[-1].removesuffix(".json") for path in summary.damaged}
    names = {file.stem for file in (tmp_path / "raw" / "all_sqe").iterdir()}
    assert (summary.sequences, len(damaged), report.rejections["damaged"]) == (40, 10, 10)
    assert set(store.column("id")) == names - damaged
    assert store.splits["xview/test"].tolist() == [i.endswith("v03") for i in store.column("id")]
    for row, sample_id in enumerate(store.column("id")[:5]):
        found = store.sequence(sample_id).keypoint[0] + store.column("centre")[row]
        np.testing.assert_allclose(found, recording(4, sample_id), atol=2e-6)
