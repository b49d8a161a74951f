from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest

import aclnet
from aclnet.datasets.readers.sbu import SbuSource
from aclnet.datasets.registry import get_dataset
from aclnet.datasets.spec import Item, Rejection, SkeletonSequence
from aclnet.datasets.spec.layouts import get_layout
from aclnet.datasets.spec.protocols import sides
from aclnet.datasets.synth import Request, get_generator
from aclnet.datasets.synth.sbu import recording

if TYPE_CHECKING:
    from pathlib import Path

ID = "s05s02-07-002"
FILE = "s05s02/07/002/skeleton_pos.txt"


def read(folder: Path) -> SkeletonSequence | Rejection:
    return SbuSource(get_dataset("sbu"), folder).read(Item(ID, FILE, 0))


def write(folder: Path, data: bytes) -> None:
    (folder / FILE).parent.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_bytes(data)


def text(values: np.ndarray) -> bytes:
    """Lines of (T, 90)."""
    lines = (",".join([str(t), *(f"{v:g}" for v in row)]) for t, row in enumerate(values, start=1))
    return "\n".join(lines).encode()


def test_a_recording_becomes_a_sequence(tmp_path: Path):
    values = np.full((2, 90), 0.5)
    values[1, 45 + 3 * 8 :][:3] = 0.25, 0.75, 0.125  # the second person's right hand
    write(tmp_path, text(values))
    sequence = read(tmp_path)
    assert isinstance(sequence, SkeletonSequence)
    assert sequence.keypoint.shape == (2, 2, 15, 3)
    assert sequence.keypoint.dtype == np.float32
    hand = get_layout("sbu").joints.index("HandRight")
    # 1280 - 2560 / 4, 960 - 1920 * 3 / 4 and 10000 / 7.8125 / 8 millimetres
    np.testing.assert_allclose(sequence.keypoint[1, 1, hand], [0.64, -0.48, 0.16], rtol=1e-6)
    np.testing.assert_allclose(sequence.keypoint[0, 1, hand], [0, 0, 0.64], atol=1e-7)
    assert sequence.present.all()
    assert sequence.frame_index.tolist() == [0, 1]
    assert (sequence.label, sequence.subject, sequence.condition) == (6, 5, "s05s02")
    assert (sequence.replication, sequence.sample_id) == (2, ID)
    assert get_dataset("sbu").class_names[sequence.label] == "shaking hands"


def test_zeros_stay_zeros(tmp_path: Path):
    values = np.full((3, 90), 0.5)
    values[0, :45] = 0
    values[1, 48:51] = 0
    write(tmp_path, text(values))
    sequence = read(tmp_path)
    assert isinstance(sequence, SkeletonSequence)
    assert sequence.present.tolist() == [[False, True, True], [True, True, True]]
    assert not sequence.keypoint[0, 0].any()
    assert not sequence.keypoint[1, 1, 1].any()
    write(tmp_path, text(np.zeros((3, 90))))
    rejection = read(tmp_path)
    assert isinstance(rejection, Rejection)
    assert rejection.kind == "no person"


@pytest.mark.parametrize(
    ("data", "line", "reason"),
    [
        (b"", None, "empty"),
        (text(np.ones((3, 89))), 1, "90 values; 91"),
        (text(np.ones((3, 90))) + b",", 3, "more than 91 values"),
        (text(np.ones((3, 90))).replace(b",", b" "), 1, "1 values; 91"),
        (text(np.diag([1, np.inf, 2]).repeat(30, axis=1)), 2, "not finite"),
        (text(np.full((1, 90), 3e38)), None, "too large"),
    ],
)
def test_damage_is_told_with_its_line(tmp_path: Path, data: bytes, line: int, reason: str):
    write(tmp_path, data)
    rejection = read(tmp_path)
    assert isinstance(rejection, Rejection)
    assert (rejection.path, rejection.line) == (FILE, line)
    assert reason in rejection.reason


def test_scan_sorts_the_folder_out(tmp_path: Path):
    for path in (FILE, f"s05s02/{FILE}", FILE.replace("/07/", "/09/"), "skeleton_pos.txt",
                 FILE.replace("/07/", "/00/"), "s05s02/07/002/depth_000001.png"):  # fmt: skip
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"")
    items, rejections = SbuSource(get_dataset("sbu"), tmp_path).scan()
    assert items == [Item(ID, FILE, 0)]
    assert {r.path: r.kind for r in rejections} == {
        f"s05s02/{FILE}": "there twice",
        FILE.replace("/07/", "/09/"): "unknown name",
        FILE.replace("/07/", "/00/"): "unknown name",
        "skeleton_pos.txt": "unknown name",
    }


def test_each_set_is_tested_in_one_fold_and_trains_in_the_others():
    partners = {1: (2, 3, 7), 2: (1, 3, 6, 7), 3: (2, 4, 5, 6), 4: (2, 3, 6), 5: (2, 3)}
    partners |= {6: (2, 3, 4), 7: (1, 3), 9: (9,)}  # the last is not a set of the dataset
    pairs = [f"s{first:02}s{second:02}" for first in partners for second in partners[first]]
    columns = {"condition": np.array(pairs), "label": np.zeros(22, int)}
    masks = sides(get_dataset("sbu").protocols, columns)
    tested = np.array([masks[f"fold{n}/test"] for n in range(1, 6)])
    trains = np.array([masks[f"fold{n}/train"] for n in range(1, 6)])
    assert tested.sum(axis=1).tolist() == [4, 4, 4, 4, 5]
    assert tested.sum(axis=0).tolist() == [1] * 21 + [0]
    assert (trains ^ tested)[:, :21].all()
    assert not trains[:, 21].any()
    assert np.array(pairs)[tested[2]].tolist() == ["s01s03", "s01s07", "s07s01", "s07s03"]


@pytest.mark.slow
def test_made_up_recordings_arrive_in_the_store(tmp_path: Path, prepare_raw):
    summary = get_generator("sbu")(
        tmp_path / "raw", Request(sequences=30, subjects=3, seed=2, damage=1 / 6)
    )
    archives = tmp_path / "archives"
    archives.mkdir()
    files = [file for file in (tmp_path / "raw").rglob("*") if file.is_file()]
    ids = {"-".join(file.relative_to(tmp_path / "raw").parts[:3]) for file in files}
    for pair in {sample_id[:6] for sample_id in ids}:
        with zipfile.ZipFile(archives / f"{pair}.zip", "w") as archive:
            for file in files:
                path = file.relative_to(tmp_path / "raw")
                if path.parts[0] == pair:
                    archive.write(file, path)
    report = prepare_raw(archives, tmp_path / "s.zarr", dataset="sbu")
    assert report.rejections == {"damaged": 5}
    store = aclnet.open_store(tmp_path / "s.zarr")
    damaged = {"-".join(path.split("/")[:3]) for path in summary.damaged}
    assert set(store.column("id")) == ids - damaged
    for row, sample_id in enumerate(store.column("id")[:5]):
        found = store.sequence(sample_id).keypoint + store.column("centre")[row]
        meant = recording(2, sample_id.replace("-", "/")).reshape(-1, 2, 15, 3).swapaxes(0, 1)
        np.testing.assert_allclose(found, meant, atol=2e-6)
