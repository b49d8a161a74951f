"""Forms that `--raw` of NTU RGB+D may be: the reader that opens it, and the result."""

from __future__ import annotations

import pickle
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest

import aclnet
from aclnet.datasets.readers.agcn_npy import AgcnSource
from aclnet.datasets.readers.ctr_npz import CtrNpzSource
from aclnet.datasets.readers.ntu import NtuSource
from aclnet.datasets.readers.pyskl import PysklSource
from aclnet.datasets.registry import get_dataset, open_raw
from aclnet.datasets.spec import AclnetError
from aclnet.datasets.synth import Request, all_forms, get_generator
from aclnet.datasets.synth.ntu import encode, synthesise, synthesise_tracks

if TYPE_CHECKING:
    from pathlib import Path

FILES = {
    "pyskl": "{}_3danno.pkl",
    "hrnet": "{}_hrnet.pkl",
    "ctr": {"ntu60": "NTU60_CS.npz", "ntu120": "NTU120_CSub.npz"},
    "agcn": "",
    "skeleton": "",
}
READERS = {
    "pyskl": PysklSource,
    "hrnet": PysklSource,
    "ctr": CtrNpzSource,
    "agcn": AgcnSource,
    "skeleton": NtuSource,
}


def made_up(folder: Path, dataset: str, form: str, damage: float = 0.0, seed: int = 1) -> Path:
    request = Request(sequences=10, subjects=4, seed=seed, damage=damage)
    summary = get_generator(dataset, form)(folder, request)
    assert (summary.sequences, len(summary.damaged)) == (10, round(10 * damage))
    name = FILES[form]
    return folder / (name[dataset] if isinstance(name, dict) else name.format(dataset))


@pytest.mark.parametrize("dataset", ["ntu60", "ntu120"])
@pytest.mark.parametrize("form", list(FILES))
def test_every_form_is_opened_by_its_reader(tmp_path: Path, dataset: str, form: str):
    source = open_raw(get_dataset(dataset), made_up(tmp_path, dataset, form))
    assert type(source) is READERS[form]
    assert len(source.scan()[0]) == 10
    assert list(all_forms()[dataset]) == ["skeleton", "pyskl", "hrnet", "ctr", "agcn"]


@pytest.mark.parametrize("form", ["pyskl", "hrnet", "ctr", "agcn"])
def test_the_same_seed_makes_the_same_bytes(tmp_path: Path, form: str):
    first, again, other = (
        {
            file.relative_to(folder): file.read_bytes()
            for file in made_up_folder(folder, form, seed).rglob("*")
            if file.is_file()
        }
        for folder, seed in ((tmp_path / "a", 1), (tmp_path / "b", 1), (tmp_path / "c", 2))
    )
    assert first == again
    assert first.keys() == other.keys()
    assert first != other


def made_up_folder(folder: Path, form: str, seed: int) -> Path:
    made_up(folder, "ntu60", form, damage=0.3, seed=seed)
    return folder


@pytest.mark.parametrize("name", ["notes.txt", "x.h5z", "x"])
def test_a_file_of_no_form_is_told_them_all(tmp_path: Path, name: str):
    (tmp_path / name).write_bytes(b"")
    for dataset, file in (("ntu60", "NTU60_CS"), ("ntu120", "NTU120_CSet")):
        forms = rf"{name} has none of the forms of .*skeleton.*_hrnet\.pkl.*{file}.*joint\.npy"
        with pytest.raises(AclnetError, match=forms):
            open_raw(get_dataset(dataset), tmp_path / name)


def test_a_pickle_in_space_through_prepare(tmp_path: Path, prepare_raw):
    report = prepare_raw(made_up(tmp_path, "ntu60", "pyskl", damage=0.4), tmp_path / "p.zarr")
    assert (report.samples, report.rejections) == (6, {"damaged": 4})
    store = aclnet.open_store(tmp_path / "p.zarr")
    assert (store.layout.name, store.coordinates) == ("nturgb+d", 3)
    for sample_id, centre in zip(store.column("id"), store.column("centre"), strict=True):
        found = store.sequence(sample_id).keypoint + centre
        tracks = synthesise_tracks(sample_id, seed=1)
        np.testing.assert_allclose(found, tracks.astype(np.float16), atol=1e-6)


def test_a_pickle_in_pixels_through_prepare(tmp_path: Path, prepare_raw):
    raw = made_up(tmp_path, "ntu60", "hrnet", damage=0.4)
    report = prepare_raw(raw, tmp_path / "h.zarr")
    assert (report.samples, report.rejections) == (6, {"damaged": 4})
    assert report.conversion["layouts"] == ["coco", "coco_new"]
    store = aclnet.open_store(tmp_path / "h.zarr")
    assert (store.layout.name, store.coordinates, store.has_score) == ("coco_new", 2, True)
    assert store.attributes.normalisation == "none/1"
    assert store.protocols == ["xsub", "xview"]
    content = pickle.loads(raw.read_bytes())  # noqa: S301 - written here
    kept = 0
    for annotation in content["annotations"]:
        name = annotation["frame_dir"]
        if name not in store.column("id"):
            continue
        kept += 1
        sequence = store.sequence(name)
        np.testing.assert_array_equal(sequence.keypoint[..., :17, :], annotation["keypoint"])
        np.testing.assert_array_equal(sequence.score[..., :17], annotation["keypoint_score"])
        assert (sequence.width, sequence.height) == (1920, 1080)
        assert sequence.label == int(name[17:]) - 1
        for protocol, column, train in (("xsub", 9, (1, 2, 4)), ("xview", 5, (2, 3))):
            side = "train" if int(name[column : column + 3]) in train else "val"
            assert name in content["split"][f"{protocol}_{side}"]
            mask = store.mask(f"{protocol}/{side.replace('val', 'test')}")
            assert name in store.column("id")[mask]
    assert kept == 6


def test_of_a_crowd_in_pixels_the_first_two_are_kept(tmp_path: Path, prepare_raw):
    raw = made_up(tmp_path, "ntu60", "hrnet")
    content = pickle.loads(raw.read_bytes())  # noqa: S301 - written here
    first = content["annotations"][0]
    for key in ("keypoint", "keypoint_score"):
        first[key] = np.concatenate([first[key][:1]] * 3)
    (tmp_path / "other.pickle").write_bytes(pickle.dumps(content))
    prepare_raw(tmp_path / "other.pickle", tmp_path / "h.zarr")
    assert len(aclnet.open_store(tmp_path / "h.zarr").sequence(first["frame_dir"]).keypoint) == 2


# Both archives of NTU 120

SMALL = ("S001C001P001R001A001", "S001C002P003R001A050", "S017C003P007R002A010")
LARGE = "S018C001P041R001A061"


def content(name: str) -> bytes:
    """Recordings of actions without a generator are recordings of another action."""
    return encode(synthesise(name if name != LARGE else SMALL[0], seed=0))


def zipped(path: Path, folder: str, names: tuple[str, ...], method: int) -> None:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name in names:
            archive.writestr(f"{folder}/{name}.skeleton", content(name))
        archive.writestr(f"__MACOSX/{folder}/notes.txt", b"x")


def unpacked(path: Path, names: tuple[str, ...]) -> None:
    path.mkdir(parents=True)
    for name in names:
        (path / f"{name}.skeleton").write_bytes(content(name))


@pytest.mark.slow
@pytest.mark.parametrize("packed", [True, False])
def test_both_archives_below_one_folder(tmp_path: Path, prepare_raw, packed: bool):
    root = tmp_path / "raw"
    (root / "deep").mkdir(parents=True)
    if packed:
        first = root / "nturgbd_skeletons_s001_to_s017.zip"
        zipped(first, "nturgb+d_skeletons", SMALL, zipfile.ZIP_DEFLATED)
        second = root / "deep" / "nturgbd_skeletons_s018_to_s032.zip"
        zipped(second, "nturgb+d_skeletons120/a/b", (LARGE,), zipfile.ZIP_STORED)
    else:
        unpacked(root / "nturgb+d_skeletons", SMALL)
        unpacked(root / "deep" / "nturgb+d_skeletons120", (LARGE,))
    report = prepare_raw(root, tmp_path / "n.zarr", dataset="ntu120")
    assert (report.samples, report.rejections, report.outside) == (4, {}, 0)
    store = aclnet.open_store(tmp_path / "n.zarr")
    assert sorted(store.column("id")) == sorted([*SMALL, LARGE])
    assert sorted(store.column("id")[store.mask("xset/train")]) == [LARGE]
    # the smaller set in the larger one's store
    small = store.mask("ntu60-xview/train") | store.mask("ntu60-xview/test")
    assert sorted(store.column("id")[small]) == sorted(SMALL)
    assert store.classes_of("ntu60-xview") == store.class_names[:60]
    report = prepare_raw(root, tmp_path / "60.zarr", dataset="ntu60")
    assert (report.samples, report.outside) == (3, 1)
    for name in SMALL:
        both = (aclnet.open_store(tmp_path / f"{s}.zarr").sequence(name) for s in ("n", "60"))
        np.testing.assert_array_equal(*(sequence.keypoint for sequence in both))


@pytest.mark.slow
def test_one_archive_alone(tmp_path: Path, prepare_raw):
    archive = tmp_path / "nturgbd_skeletons_s001_to_s017.zip"
    zipped(archive, "nturgb+d_skeletons", SMALL, zipfile.ZIP_DEFLATED)
    report = prepare_raw(archive, tmp_path / "n.zarr")
    assert (report.samples, report.rejections) == (3, {})
    unpacked(tmp_path / "raw", SMALL)
    prepare_raw(tmp_path / "raw", tmp_path / "again.zarr")
    for name in SMALL:
        both = (aclnet.open_store(tmp_path / f"{s}.zarr").sequence(name) for s in ("n", "again"))
        np.testing.assert_array_equal(*(sequence.keypoint for sequence in both))
