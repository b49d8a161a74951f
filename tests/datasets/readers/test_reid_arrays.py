"""Windows for re-identification in arrays."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest

import aclnet
from aclnet.datasets.registry import get_dataset, open_raw
from aclnet.datasets.spec import AclnetError, Rejection, SkeletonSequence
from aclnet.datasets.spec.layouts import get_layout
from aclnet.datasets.synth import Request, get_generator
from aclnet.datasets.synth.reid import recording, takes

if TYPE_CHECKING:
    from pathlib import Path

    from aclnet.datasets.spec import Source

TRAIN = "Datasets/BIWI/6/train_npy_data"


def some_windows(count: int = 3, frames: int = 6, joints: int = 20) -> np.ndarray:
    return np.random.default_rng(2).normal(size=(count, frames, joints, 3))


def save(
    root: Path,
    windows: np.ndarray,
    labels: object,
    *,
    folder: str = TRAIN,
    name: str = "BIWI",
    prefix: str = "",
) -> None:
    """As the usual code writes them: one row a frame, an array a coordinate."""
    where = root / folder
    where.mkdir(parents=True, exist_ok=True)
    frames = windows.shape[1]
    for axis, letter in enumerate("xyz"):
        rows = windows[..., axis].reshape(-1, windows.shape[2])
        np.save(where / f"{prefix}source_{letter}_{name}_{frames}.npy", rows)
    np.save(where / f"frame_id_{name}_{frames}.npy", np.array(labels))
    np.save(where / f"ids_{name}_{frames}.npy", np.array({0: [0]}, dtype=object))


def read_all(source: Source) -> tuple[dict[str, SkeletonSequence | Rejection], list[Rejection]]:
    items, rejections = source.scan()
    return {item.sample_id: source.read(item) for item in items}, rejections


def test_each_window_is_a_sequence(tmp_path: Path):
    windows = some_windows()
    save(tmp_path, windows, [0, 49, 7])
    still = "Datasets/BIWI/6/test_npy_data/Still"
    save(tmp_path, windows[:1] + 1, [7], folder=still, prefix="t_")
    found, rejections = read_all(open_raw(get_dataset("biwi"), tmp_path))
    assert sorted(found) == ["still/000000", "train/000000", "train/000001", "train/000002"]
    assert rejections == []
    # the official way of putting them together
    x, y, z = (np.load(tmp_path / TRAIN / f"source_{c}_BIWI_6.npy") for c in "xyz")
    together = np.concatenate([x, y, z], axis=-1).reshape(-1, 6, 3, 20).transpose(0, 1, 3, 2)
    for number, (subject, label) in enumerate([(0, 0), (49, 2), (7, 1)]):
        sequence = found[f"train/{number:06}"]
        assert isinstance(sequence, SkeletonSequence)
        np.testing.assert_array_equal(sequence.keypoint[0], together[number].astype(np.float32))
        assert (sequence.label, sequence.subject, sequence.condition) == (label, subject, "train")
        assert sequence.frame_index.tolist() == list(range(6))
    other = found["still/000000"]
    assert isinstance(other, SkeletonSequence)
    assert (other.label, other.subject, other.condition) == (1, 7, "still")


def test_arrays_of_kgbd_have_the_order_of_its_files(tmp_path: Path):
    # Head first, then the right limb before the left one; y tells the place
    windows = np.ones((1, 6, 20, 3))
    windows[..., 1] = np.arange(20)
    save(tmp_path, windows, [3], folder="KGBD/6/test_npy_data/probe", name="KGBD", prefix="t_")
    (sequence,) = read_all(open_raw(get_dataset("kgbd"), tmp_path))[0].values()
    assert isinstance(sequence, SkeletonSequence)
    joints = get_layout("kinect_v1").joints
    place = dict(zip(joints, sequence.keypoint[0, 0, :, 1].tolist(), strict=True))
    assert [place[j] for j in ("Head", "ShoulderCenter", "Spine", "HipCenter")] == [0, 1, 10, 11]
    rows = {"Shoulder": 2, "Elbow": 4, "Wrist": 6, "Hand": 8}
    rows |= {"Hip": 12, "Knee": 14, "Ankle": 16, "Foot": 18}
    for joint, right in rows.items():
        assert (place[f"{joint}Right"], place[f"{joint}Left"]) == (right, right + 1)


def test_windows_that_make_no_sense_are_rejected_alone(tmp_path: Path):
    windows = some_windows(5)
    windows[1, 2, 3, 1] = np.inf
    windows[2] = 0
    windows[4, 3] = 0
    save(tmp_path, windows, [0, 0, 0, 50, 1])
    found, _ = read_all(open_raw(get_dataset("biwi"), tmp_path))
    reasons = [r.reason if isinstance(r, Rejection) else "" for r in found.values()]
    assert reasons == [
        "",
        "window 1 has values that are not finite",
        "window 2: no person in any frame",
        "",
        "",
    ]
    last = found["train/000004"]
    assert isinstance(last, SkeletonSequence)
    assert last.present.tolist() == [[True, True, True, False, True, True]]


@pytest.mark.parametrize(
    ("file", "values", "reason"),
    [
        ("source_y_BIWI_6.npy", np.zeros((17, 20)), "(17, 20); (18, 20) is expected for 3 windows"),
        ("source_y_BIWI_6.npy", np.zeros((20, 18)), "(20, 18); (18, 20) is expected"),
        (
            "source_z_BIWI_6.npy",
            np.zeros((18, 20), complex),
            "z_BIWI_6.npy: an array of complex128",
        ),
        ("source_z_BIWI_6.npy", np.zeros((18, 20), object), "_z_BIWI_6.npy: an array of object"),
        ("frame_id_BIWI_6.npy", np.zeros(4), "(24, 20) is expected for 4 windows"),
        ("frame_id_BIWI_6.npy", np.array([0, 0.5, 1]), "not whole"),
        ("frame_id_BIWI_6.npy", np.array([0, np.nan, 1]), "not finite"),
        ("frame_id_BIWI_6.npy", np.array([0, 1e300, 1]), "out of range"),
        ("frame_id_BIWI_6.npy", np.array([0, -1, 1]), "out of range"),
        ("frame_id_BIWI_6.npy", np.zeros((3, 1)), "a row of identities"),
        ("frame_id_BIWI_6.npy", np.zeros(0), "a row of identities"),
        ("frame_id_BIWI_6.npy", np.array(["a", "b", "c"]), "numbers are expected"),
    ],
)
def test_arrays_that_do_not_fit_are_rejected(
    tmp_path: Path, file: str, values: np.ndarray, reason: str
):
    save(tmp_path, some_windows(), [0, 1, 2])
    np.save(tmp_path / TRAIN / file, values)
    found, rejections = read_all(open_raw(get_dataset("biwi"), tmp_path))
    assert found == {}
    assert rejections[0].path == f"{TRAIN}/source_x_BIWI_6.npy"
    assert reason in rejections[0].reason


@pytest.mark.parametrize("cut", [0, 5, 60, 200, -1])
def test_cut_and_missing_files_are_rejected(tmp_path: Path, cut: int):
    save(tmp_path, some_windows(), [0, 1, 2])
    file = tmp_path / TRAIN / "source_z_BIWI_6.npy"
    file.write_bytes(file.read_bytes()[:cut])
    found, rejections = read_all(open_raw(get_dataset("biwi"), tmp_path))
    assert (found, len(rejections)) == ({}, 1)
    file.unlink()
    found, rejections = read_all(open_raw(get_dataset("biwi"), tmp_path))
    assert "cannot be read" in rejections[0].reason


def test_several_lengths_of_windows_are_the_users_to_choose_from(tmp_path: Path):
    save(tmp_path, some_windows(), [0, 1, 2])
    eight = "Datasets/BIWI/8/train_npy_data"
    save(tmp_path, some_windows(2, 8), [0, 1], folder=eight)
    save(tmp_path, some_windows(), [0, 1, 2], folder="Datasets/KGBD/6/train_npy_data", name="KGBD")
    with pytest.raises(AclnetError, match=r"windows of 6, 8 frames; give the folder of one"):
        open_raw(get_dataset("biwi"), tmp_path)
    found, _ = read_all(open_raw(get_dataset("biwi"), tmp_path / "Datasets" / "BIWI" / "8"))
    assert len(found) == 2


def test_folders_that_are_no_side_are_told(tmp_path: Path):
    save(tmp_path, some_windows(), [0, 1, 2])
    odd = "Datasets/BIWI/6/test_npy_data/view_018"
    save(tmp_path, some_windows(), [0, 1, 2], folder=odd, prefix="t_")
    _, rejections = read_all(open_raw(get_dataset("biwi"), tmp_path))
    assert [(r.path, r.kind) for r in rejections] == [
        (f"{odd}/t_source_x_BIWI_6.npy", "unknown name")
    ]
    assert "{still, walking}" in rejections[0].reason


def test_casia_b_in_space_has_no_other_form(tmp_path: Path):
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(AclnetError, match=r"no recordings of CASIA-B re-ID.*CASIA_B_match"):
        open_raw(get_dataset("casia-b-3d"), tmp_path)


SETS = {
    "biwi": ("walking", "still"),
    "ias-lab": ("a", "b"),
    "kgbd": ("probe", "gallery"),
    "ks20": ("probe", "gallery"),
    "casia-b-3d": ("nm", "nm"),
}


@pytest.mark.slow
@pytest.mark.parametrize("dataset", SETS)
def test_a_made_up_set_through_prepare_out_of_a_zip(dataset: str, prepare_raw, tmp_path: Path):
    raw = tmp_path / "raw"
    request = Request(sequences=6, subjects=2, seed=1, damage=0.25)
    summary = get_generator(dataset, "arrays")(raw, request)
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for file in sorted(raw.rglob("*.npy")):
            archive.write(file, file.relative_to(raw))
    report = prepare_raw(tmp_path / "set.zip", tmp_path / "r.zarr", dataset=dataset)
    assert sum(report.rejections.values()) == len(summary.damaged) > 0
    store = aclnet.open_store(tmp_path / "r.zarr")
    written = takes(dataset, request)
    meant = [(take, recording(dataset, take, 1)) for take in written]
    frames = 40 if dataset == "casia-b-3d" else 6
    centre = store.layout.normalise_centre
    for name in store.column("id")[::5]:
        stored = store.sequence(name)
        assert stored.keypoint.shape[1] == frames
        windows = [
            joints[begin : begin + frames] - joints[begin, centre]
            for take, joints in meant
            if (take.subject, take.side) == (stored.label, stored.condition)
            and stored.subject == take.subject + (dataset == "kgbd")
            for begin in range(len(joints) - frames + 1)
        ]
        assert sum(np.abs(window - stored.keypoint[0]).max() < 1e-5 for window in windows) == 1
    probe, gallery = SETS[dataset]
    conditions, protocol = store.column("condition"), store.protocols[0]
    for side, wanted in (("train", "train"), ("probe", probe), ("gallery", gallery)):
        np.testing.assert_array_equal(store.mask(f"{protocol}/{side}"), conditions == wanted)
    assert store.mask(f"{protocol}/train").any()


def test_settings_of_casia_b_in_space(prepare_raw, tmp_path: Path):
    get_generator("casia-b-3d")(tmp_path / "raw", Request(sequences=20, subjects=4, seed=0))
    prepare_raw(tmp_path / "raw", tmp_path / "c.zarr", dataset="casia-b-3d")
    store = aclnet.open_store(tmp_path / "c.zarr")
    assert store.protocols == ["n-n", "b-b", "c-c", "c-n", "b-n"]
    condition = store.column("condition")
    for name in store.protocols:
        probe, gallery = ({"n": "nm", "b": "bg", "c": "cl"}[c] for c in name.split("-"))
        assert set(condition[store.mask(f"{name}/probe")]) == {probe}
        assert set(condition[store.mask(f"{name}/gallery")]) == {gallery}
    labels = store.column("label")
    trained = set(labels[store.mask("n-n/train")])
    assert not trained & set(labels[store.mask("n-n/probe")])
