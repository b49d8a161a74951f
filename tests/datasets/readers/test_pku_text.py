from __future__ import annotations

import pickle
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import aclnet
from aclnet.datasets.readers import pku_text
from aclnet.datasets.readers.pku_text import PkuTextSource
from aclnet.datasets.registry import get_dataset, open_raw
from aclnet.datasets.spec import AclnetError, Item, Rejection, SkeletonSequence
from aclnet.datasets.spec.protocols import sides
from aclnet.datasets.synth import Request, get_generator
from aclnet.datasets.synth.pkummd import recording, video

if TYPE_CHECKING:
    from pathlib import Path

NAME = "0291-R"
RECORDING = f"Data/PKU_Skeleton_Renew/{NAME}.txt"
LIST = f"Label/Train_Label_PKU_final/{NAME}.txt"
SPLIT = "Split/cross-subject.txt"


def write(folder: Path, path: str, content: str | bytes) -> None:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    (folder / path).write_bytes(data)


def text(frames: np.ndarray) -> str:
    return "\n".join(" ".join(f"{v:g}" for v in row) for row in frames.reshape(len(frames), -1))


def some_frames() -> np.ndarray:
    """(9, 2, 25, 3): the frame's number from 1 everywhere; the second person comes in frame 4."""
    frames = np.ones((9, 2, 25, 3)) * np.arange(1, 10).reshape(9, 1, 1, 1)
    frames[:3, 1] = 0
    return frames


def opened(folder: Path, frames: np.ndarray | str, actions: str) -> PkuTextSource:
    write(folder, RECORDING, frames if isinstance(frames, str) else text(frames))
    write(folder, LIST, actions)
    source = open_raw(get_dataset("pkummd"), folder)
    assert isinstance(source, PkuTextSource)
    return source


def read(source: PkuTextSource, number: int) -> SkeletonSequence | Rejection:
    return source.read(Item(f"{NAME}-{number:03}", RECORDING, 0))


def test_each_action_of_a_list_is_an_item(tmp_path: Path):
    source = opened(tmp_path, some_frames(), "51,1,3,2\n12, 3, 9, 1\r\n")
    size = (tmp_path / RECORDING).stat().st_size
    items, rejections = pickle.loads(pickle.dumps(source)).scan()  # noqa: S301
    assert items == [Item(f"{NAME}-00{n}", RECORDING, size // 2) for n in (1, 2)]
    assert not rejections


def test_frames_count_from_one_and_both_ends_belong_to_the_action(tmp_path: Path):
    source = opened(tmp_path, some_frames(), "51,1,1,2\n12,3,9,1\n")
    first, second = read(source, 1), read(source, 2)
    assert isinstance(first, SkeletonSequence)
    assert isinstance(second, SkeletonSequence)
    assert first.keypoint.shape == (2, 1, 25, 3)
    assert (first.label, first.camera, first.subject) == (50, 3, -1)
    assert second.keypoint.shape == (2, 7, 25, 3)
    assert second.keypoint[0, :, 24, 2].tolist() == [3, 4, 5, 6, 7, 8, 9]
    assert second.present.tolist() == [[True] * 7, [False, *[True] * 6]]
    assert not second.keypoint[~second.present].any()
    assert second.frame_index.tolist() == [2, 3, 4, 5, 6, 7, 8]
    assert (second.label, second.sample_id) == (11, f"{NAME}-002")


def test_columns_are_persons_joints_coordinates(tmp_path: Path):
    source = opened(tmp_path, np.arange(1, 151).reshape(1, 150), "1,1,1,1")
    sequence = read(source, 1)
    assert isinstance(sequence, SkeletonSequence)
    assert sequence.keypoint[0, 0, 24].tolist() == [73, 74, 75]
    assert sequence.keypoint[1, 0, 1].tolist() == [79, 80, 81]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("0,1,3,1", "label 0; 1 to 51"),
        ("52,1,3,1", "label 52; 1 to 51"),
        ("1,0,3,1", "from frame 0 to 3"),
        ("1,3,2,1", "from frame 3 to 2"),
        ("1,1,-3,1", "whole numbers"),
        ("1,1,3", "whole numbers"),
        ("1,1,3,1,5", "whole numbers"),
        ("1,1,3.5,1", "whole numbers"),
        ("a,1,3,1", "whole numbers"),
        ("", "whole numbers"),
    ],
)
def test_lines_that_tell_no_action_are_rejected(tmp_path: Path, line: str, reason: str):
    source = opened(tmp_path, some_frames(), f"1,1,3,1\n{line}\n1,4,9,2\n")
    items, rejections = source.scan()
    assert [item.sample_id for item in items] == [f"{NAME}-001", f"{NAME}-003"]
    assert [(r.path, r.line) for r in rejections] == [(LIST, 2)]
    assert reason in rejections[0].reason
    result = read(source, 2)
    assert isinstance(result, Rejection)
    assert (result.path, result.line) == (LIST, 2)


def test_actions_beyond_the_end_are_rejected(tmp_path: Path):
    source = opened(tmp_path, some_frames(), "1,1,9,1\n1,8,10,1\n")
    assert isinstance(read(source, 1), SkeletonSequence)
    rejection = read(source, 2)
    assert isinstance(rejection, Rejection)
    assert (rejection.path, rejection.line) == (LIST, 2)
    assert "ends at frame 10, but there are 9 frames" in rejection.reason
    assert isinstance(read(source, 3), Rejection)


def test_actions_of_nobody_are_rejected(tmp_path: Path):
    frames = some_frames()
    frames[4:] = 0
    source = opened(tmp_path, frames, "1,1,9,1\n2,5,9,1\n")
    assert isinstance(read(source, 1), SkeletonSequence)
    rejection = read(source, 2)
    assert isinstance(rejection, Rejection)
    assert (rejection.path, rejection.line, rejection.kind) == (RECORDING, 5, "no person")


@pytest.mark.parametrize(
    ("spoil", "line", "reason"),
    [
        (lambda lines: [*lines[:3], lines[3][:-2]], 4, "149 values; 150"),
        (lambda lines: [*lines[:3], "", lines[3]], 4, "0 values; 150"),
        (lambda lines: [lines[0], "x" + lines[1]], 2, "'x2' is not a number"),
        (lambda lines: [lines[0], "nan" + lines[1][1:]], 2, "not finite"),
        (lambda _: [], None, "empty"),
    ],
)
def test_a_damaged_recording_loses_its_actions(tmp_path: Path, spoil, line: int, reason: str):
    damaged = "\n".join(spoil(text(some_frames()).split("\n")))
    source = opened(tmp_path, damaged, "1,1,2,1\n1,1,1,1\n")
    items, _ = source.scan()
    results = [source.read(item) for item in items]
    assert all(isinstance(result, Rejection) for result in results)
    assert {(r.path, r.line) for r in results} == {(RECORDING, line)}
    assert reason in results[0].reason
    assert results[0].reason != results[1].reason


def test_a_recording_is_parsed_once_for_all_its_actions(tmp_path: Path, monkeypatch):
    parsed = []
    parse = pku_text.parse_rows
    monkeypatch.setattr(pku_text, "parse_rows", lambda *a: parsed.append(1) or parse(*a))
    source = opened(tmp_path, some_frames(), "1,1,2,1\n2,3,4,1\n3,5,6,1\n")
    assert all(isinstance(source.read(item), SkeletonSequence) for item in source.scan()[0])
    assert len(parsed) == 1
    write(tmp_path, RECORDING, text(some_frames()[:5]))
    assert isinstance(read(source, 3), Rejection)  # another version of the file
    assert len(parsed) == 2


def test_scan_sorts_the_folder_out(tmp_path: Path):
    source = opened(tmp_path, some_frames(), "1,1,2,1")
    for path in (f"old/{NAME}.txt", "Data/0007-L.txt", "Data/A01N01-L.txt", "Split/cross-view.txt",
                 f"{LIST[:-10]}0009-M.txt", "Split/Actions.xlsx"):  # fmt: skip
        write(tmp_path, path, "")
    items, rejections = source.scan()
    assert [item.sample_id for item in items] == [f"{NAME}-001"]
    found = {r.path: r.reason for r in rejections}
    assert "same recording" in found.pop(f"old/{NAME}.txt")
    assert "cannot be read" in found.pop(f"{LIST[:-10]}0007-L.txt")
    assert "does not fit PKU-MMD" in found.pop("Data/A01N01-L.txt")
    assert "recording is missing" in found.pop(f"{LIST[:-10]}0009-M.txt")
    assert not found


def test_without_lists_or_with_two_folders_of_them_it_cannot_be_opened(tmp_path: Path):
    write(tmp_path, RECORDING, text(some_frames()))
    with pytest.raises(AclnetError, match=r"lists of actions are missing.*Train_Label_PKU_final"):
        open_raw(get_dataset("pkummd"), tmp_path)
    write(tmp_path, LIST, "1,1,2,1")
    write(tmp_path, f"other/{LIST}", "1,1,2,1")
    with pytest.raises(AclnetError, match="are in Label/Train_Label_PKU_final and other/Label"):
        open_raw(get_dataset("pkummd"), tmp_path)


def masks_of(source: PkuTextSource, names: list[str]) -> dict[str, list[str]]:
    columns = {"original": np.array([f"{n}-001" for n in names]), "label": np.zeros(len(names))}
    masks = sides(source.spec.protocols, columns)
    return {side: np.array(names)[mask].tolist() for side, mask in masks.items()}


def test_the_published_lists_hold_without_split_files(tmp_path: Path):
    source = opened(tmp_path, some_frames(), "1,1,2,1")
    names = [f"{v:04}-{c}" for v in (1, 2, 247, 290, 291, 334, 335, 364, 365) for c in "LMR"]
    found = masks_of(source, names)
    known = [n for n in names if n[:4] not in ("0001", "0247", "0365")]
    assert found["xsub/test"] == [n for n in known if n[:4] in ("0291", "0334")]
    assert found["xsub/train"] == [n for n in known if n[:4] not in ("0291", "0334")]
    assert found["xview/test"] == [n for n in known if n.endswith("M")]
    assert found["xview/train"] == [n for n in known if not n.endswith("M")]
    published = {p.name: p.published for p in source.spec.protocols}
    assert published == {"xsub": {"test": 2704}, "xview": {"test": 7188}}


def test_split_files_decide(tmp_path: Path):
    write(
        tmp_path,
        SPLIT,
        "Training videos: \n0002-L, 0291-R, \nValidataion videos: \r\n0002-M,0003-L,\n\n",
    )
    for name in ("0002-L", "0002-M", "0002-R", "0003-L"):
        write(tmp_path, RECORDING.replace(NAME, name), "")
        write(tmp_path, LIST.replace(NAME, name), "1,1,2,1\n1,2,3,1\n")
    source = opened(tmp_path, some_frames(), "1,1,2,1")
    assert pickle.loads(pickle.dumps(source)).splits() == {  # noqa: S301
        "xsub_train": ["0002-L-001", "0002-L-002", "0291-R-001"],
        "xsub_val": ["0002-M-001", "0002-M-002", "0003-L-001", "0003-L-002"],
    }
    published = {p.name: p.published for p in source.spec.protocols}
    assert published == {"xsub": {}, "xview": {"test": 7188}}  # the file's split is another one


def test_the_split_files_of_the_set_are_compared_with_the_published_counts(tmp_path: Path):
    get_generator("pkummd")(tmp_path, Request(sequences=3, subjects=1, seed=0))
    source = open_raw(get_dataset("pkummd"), tmp_path)
    assert source.splits()["xview_val"] == ["0002-M-001"]
    published = {p.name: p.published for p in source.spec.protocols}
    assert published == {"xsub": {"test": 2704}, "xview": {"test": 7188}}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "0002-L, 0003-L",
        "Training videos:\n0002-L\n",
        "Training videos:\n0002-L\nValidation videos:\n0002-L\n",
        "Training videos:\n0002-X\nValidation videos:\n0003-L\n",
        "Training videos:\n0002-L\n<html>\n",
        b"\xff\xfe\x00",
    ],
)
def test_a_damaged_split_file_is_told(tmp_path: Path, content: str | bytes):
    write(tmp_path, SPLIT, content)
    write(tmp_path, LIST, "1,1,2,1")
    with pytest.raises(AclnetError, match=r"cross-subject\.txt.* remove it"):
        open_raw(get_dataset("pkummd"), tmp_path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pku")


@given(data=st.data())
def test_any_bytes_are_sequences_or_rejections(folder: Path, data: st.DataObject):
    whole = {"recording": text(some_frames()).encode(), "list": b"1,1,2,1\n2,4,9,1\n"}
    spoilt = data.draw(st.sampled_from(sorted(whole)))
    content = whole[spoilt]
    cut = data.draw(st.integers(0, len(content)))
    junk = data.draw(st.binary(max_size=4))
    whole[spoilt] = junk + data.draw(st.sampled_from([content[:cut], content[cut:], b""]))
    write(folder, RECORDING, whole["recording"])
    write(folder, LIST, whole["list"])
    source = open_raw(get_dataset("pkummd"), folder)
    items, rejections = source.scan()
    assert items or rejections
    assert all(isinstance(source.read(item), SkeletonSequence | Rejection) for item in items)


@pytest.mark.slow
def test_made_up_recordings_arrive_in_the_store(tmp_path: Path, prepare_raw):
    summary = get_generator("pkummd")(
        tmp_path / "raw", Request(sequences=38, subjects=2, seed=6, damage=0.15)
    )
    archives = tmp_path / "archives"
    archives.mkdir()
    for part in ("Data", "Label", "Split"):
        with zipfile.ZipFile(archives / f"{part}.zip", "w") as archive:
            for file in sorted((tmp_path / "raw" / part).rglob("*.txt")):
                archive.write(file, file.relative_to(tmp_path / "raw"))
    report = prepare_raw(archives, tmp_path / "p.zarr", dataset="pkummd")
    store = aclnet.open_store(tmp_path / "p.zarr")
    assert summary.sequences == 38
    assert len(summary.damaged) == 1
    assert report.rejections == {"damaged": 6}
    assert {c.side: c.verdict for c in report.counts}["xsub/test"] == "subset"
    ids = store.column("id")
    assert store.splits["xsub/test"].tolist() == [i.startswith("0291") for i in ids]
    assert store.splits["xview/test"].tolist() == ["-M-" in i for i in ids]
    row, sample_id = 0, str(ids[0])
    scene, actions = video(6, int(sample_id[:4]), 2, 6)
    action = actions[int(sample_id[-3:]) - 1]
    meant = recording(6, scene, sample_id[:6])[action.start - 1 : action.end]
    meant = meant.reshape(-1, 2, 25, 3).swapaxes(0, 1)
    found = store.sequence(sample_id)
    there = meant[: len(found.keypoint)]
    np.testing.assert_allclose(found.keypoint + store.column("centre")[row], there, atol=2e-6)
    assert found.frame_index.tolist() == list(range(action.start - 1, action.end))
    assert store.column("label")[row] == action.label - 1


@pytest.mark.slow
def test_the_made_up_pickle_has_the_same_actions(tmp_path: Path, prepare_raw):
    request = Request(sequences=20, subjects=2, seed=6)
    get_generator("pkummd", "text")(tmp_path / "text", request)
    get_generator("pkummd", "pyskl")(tmp_path / "pyskl", request)
    prepare_raw(tmp_path / "text", tmp_path / "t.zarr", dataset="pkummd")
    prepare_raw(tmp_path / "pyskl", tmp_path / "p.zarr", dataset="pkummd")
    of_text, of_pickle = (aclnet.open_store(tmp_path / f"{n}.zarr") for n in "tp")
    assert set(of_text.column("id")) == set(of_pickle.column("id"))
    assert set(of_text.splits) == set(of_pickle.splits)
    for sample_id in of_text.column("id")[:6]:
        one, other = of_text.sequence(sample_id), of_pickle.sequence(sample_id)
        assert one.label == other.label
        np.testing.assert_allclose(one.keypoint, other.keypoint, atol=5e-3)  # float16
    for side, mask in of_text.splits.items():
        other = of_pickle.column("id")[of_pickle.splits[side]]
        assert set(of_text.column("id")[mask]) == set(other)


def test_spoilt_entries_of_the_made_up_pickle_are_rejected(tmp_path: Path, prepare_raw):
    summary = get_generator("pkummd", "pyskl")(
        tmp_path, Request(sequences=20, subjects=2, seed=6, damage=0.2)
    )
    report = prepare_raw(tmp_path, tmp_path / "p.zarr", dataset="pkummd")
    assert report.rejections == {"damaged": 4}
    store = aclnet.open_store(tmp_path / "p.zarr")
    assert len(summary.damaged) == 4
    assert not set(summary.damaged) & set(store.column("id"))
