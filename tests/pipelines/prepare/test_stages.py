"""Prepare end to end, against the public steps done one file at a time."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import zarr

import aclnet
from aclnet.datasets.registry import get_dataset, open_raw
from aclnet.datasets.spec.layouts import get_layout
from aclnet.datasets.store.verify import verify
from aclnet.pipelines.prepare.executor import open_executor
from aclnet.pipelines.prepare.options import PrepareOptions
from aclnet.pipelines.prepare.stages import prepare
from aclnet.pipelines.steps.clean import clean_ntu
from aclnet.pipelines.steps.convert import convert
from aclnet.pipelines.steps.normalise import denormalise, normalise

if TYPE_CHECKING:
    from pathlib import Path

    from aclnet.datasets.spec import SkeletonSequence

LAYOUT = get_layout("nturgb+d")


def cleaned(raw: Path) -> dict[str, SkeletonSequence]:
    """Each recording by id, read and cleaned on its own."""
    source = open_raw(get_dataset("ntu60"), raw)
    items, _ = source.scan()
    return {item.sample_id: clean_ntu(source.read(item)) for item in items}


@pytest.fixture(scope="module")
def recordings(people: Path) -> dict[str, SkeletonSequence]:
    return cleaned(people)


def test_every_sequence_is_what_the_steps_give_for_its_file_alone(people_store, recordings):
    store = aclnet.open_store(people_store)
    assert sorted(store.column("id")) == sorted(recordings)
    for row, sample_id in enumerate(store.column("id")):
        raw = recordings[sample_id]
        expected = normalise(raw.keypoint, raw.present, LAYOUT)
        there = expected.present.any(axis=1)
        stored = store.sequence(sample_id)
        np.testing.assert_array_equal(stored.keypoint, expected.keypoint[there])
        np.testing.assert_array_equal(stored.present, expected.present[there])
        np.testing.assert_array_equal(stored.frame_index, raw.frame_index[expected.kept])
        np.testing.assert_array_equal(store.column("centre")[row], expected.centre)
        camera_space = denormalise(
            stored.keypoint,
            stored.present,
            store.column("centre")[row],
            store.column("rotation")[row],
        )
        main_first = raw.keypoint[expected.order[there]][:, expected.kept]
        np.testing.assert_allclose(camera_space, main_first, atol=2e-6)


def test_labels_and_numbers_are_those_of_the_names(people_store):
    samples = aclnet.open_store(people_store).samples.set_index("id")
    for sample_id, row in samples.iterrows():
        assert sample_id == (
            f"S{row.setup:03}C{row.camera:03}P{row.subject:03}"
            f"R{row.replication:03}A{row.label + 1:03}"
        )
        assert row.source == f"{sample_id}.skeleton"
        assert (row.original, row.variant) == (sample_id, 0)


def test_sides_follow_the_protocols(people_store):
    store = aclnet.open_store(people_store)
    assert store.protocols == ["xsub", "xview"]
    np.testing.assert_array_equal(store.mask("xsub/train"), store.column("subject") != 3)
    np.testing.assert_array_equal(store.mask("xview/test"), store.column("camera") == 1)
    for protocol in store.protocols:
        train, test = store.mask(f"{protocol}/train"), store.mask(f"{protocol}/test")
        np.testing.assert_array_equal(train, ~test)
        assert not set(store.shard_of[train]) & set(store.shard_of[test])


def test_the_store_opens_with_plain_zarr_and_all_columns_are_as_long(people_store):
    # pytest makes an error of any warning
    group = zarr.open_group(people_store, mode="r")
    start, n_frames, n_persons = (
        group[f"samples/{n}"][:] for n in ("start", "n_frames", "n_persons")
    )
    assert len(start) == 72
    assert (np.diff(start) > 0).all()
    for name, column in group["samples"].arrays():
        assert column.shape[0] == 72, name
    for protocol, sides in group["splits"].groups():
        for name, mask in sides.arrays():
            assert mask.shape == (72,), (protocol, name)
            assert mask.dtype == bool
    rows = np.zeros(group["frames/keypoint"].shape[0], dtype=bool)
    for first, frames, persons in zip(start, n_frames, n_persons, strict=True):
        rows[first : first + frames * persons] = True
    keypoint = group["frames/keypoint"][:]
    assert keypoint.shape[1:] == (25, 3)
    assert np.isfinite(keypoint[rows]).all()
    assert np.isnan(keypoint[~rows]).all()
    np.testing.assert_array_equal(group["frames/index"][:] >= 0, rows)
    assert not group["frames/present"][:][~rows].any()


def test_joints_of_absent_persons_are_zero_and_only_theirs(people_store):
    group = zarr.open_group(people_store, mode="r")
    keypoint, present = group["frames/keypoint"][:], group["frames/present"][:]
    np.testing.assert_array_equal((np.nan_to_num(keypoint) != 0).any(axis=(1, 2)), present)


def test_attributes_say_what_was_done(people_store):
    attributes = aclnet.open_store(people_store).attributes
    assert attributes.dataset == "ntu60"
    assert attributes.layout.name == "nturgb+d"
    assert attributes.units == "m"
    assert len(attributes.class_names) == 60
    assert attributes.cleaning == "ntu"
    assert attributes.normalisation == "centre-first-frame/1"
    assert attributes.protocols == {
        "xsub": {"train": 54, "test": 18},
        "xview": {"train": 48, "test": 24},
    }
    assert attributes.rejected == {}


@pytest.mark.slow
def test_aligned_stores_say_so_and_lead_back_to_camera_space(
    people, tmp_path, prepare_raw, recordings
):
    prepare_raw(people, tmp_path / "a.zarr", align=True)
    store = aclnet.open_store(tmp_path / "a.zarr")
    assert store.attributes.normalisation == "centre-first-frame-aligned/1"
    row = 7
    sequence = store.sequence(row)
    raw = recordings[sequence.sample_id]
    expected = normalise(raw.keypoint, raw.present, LAYOUT, align=True)
    back = denormalise(
        sequence.keypoint,
        sequence.present,
        store.column("centre")[row],
        store.column("rotation")[row],
    )
    kept = raw.keypoint[expected.order][: len(back), expected.kept]
    np.testing.assert_allclose(back, kept, atol=1e-5)
    assert not np.allclose(store.column("rotation")[row], np.eye(3))


# int16


@pytest.mark.slow
def test_int16_keeps_its_recorded_bound_and_missing_joints(
    people, people_store, tmp_path, prepare_raw
):
    prepare_raw(people, tmp_path / "i.zarr", dtype="int16")
    exact, fixed = aclnet.open_store(people_store), aclnet.open_store(tmp_path / "i.zarr")
    array = zarr.open_group(tmp_path / "i.zarr", mode="r")["frames/keypoint"]
    assert array.dtype == np.int16
    assert array.attrs["scale"] == pytest.approx(2e-4)
    worst = 0.0
    for sample_id in exact.column("id"):
        a, b = exact.sequence(sample_id).keypoint, fixed.sequence(sample_id).keypoint
        assert b.dtype == np.float32
        worst = max(worst, float(np.abs(a - b).max()))
        np.testing.assert_array_equal((a == 0).all(axis=-1), (b == 0).all(axis=-1))
    assert worst == pytest.approx(array.attrs["max_error"], rel=1e-6)
    assert 0 < worst <= array.attrs["scale"]
    assert list(verify(tmp_path / "i.zarr")) == []
    block, _ = fixed.read_shard(0)
    np.testing.assert_array_equal(np.isnan(block), np.isnan(exact.read_shard(0)[0]))


# Stored augmentation


@pytest.fixture(scope="module")
def augmented(people, tmp_path_factory, prepare_raw):
    out = tmp_path_factory.mktemp("augmented") / "a.zarr"
    prepare_raw(people, out, augment="rotate=0.3,jitter=0.01,mirror=0.5", variants=2, seed=4)
    return aclnet.open_store(out)


@pytest.mark.slow
def test_variants_are_of_training_samples_and_only_train(augmented):
    variant, original = augmented.column("variant"), augmented.column("original")
    trains = augmented.mask("xsub/train") | augmented.mask("xview/train")
    assert set(original[variant == 1]) == set(original[trains & (variant == 0)])
    assert (variant > 0).sum() == 2 * (trains & (variant == 0)).sum()
    for name, mask in augmented.splits.items():
        if name.endswith("/test"):
            assert not variant[mask].any()
        else:
            _, counts = np.unique(original[mask], return_counts=True)
            assert (counts == 3).all(), name
    assert augmented.mask("xsub/test").sum() == 18


@pytest.mark.slow
def test_a_variant_is_what_augmenting_the_sample_gives(augmented, assert_alike):
    import torch

    from aclnet.datasets.store import keyed_random
    from aclnet.pipelines.inputs.augment import AugmentSpec, augment

    spec = AugmentSpec(rotate=0.3, jitter=0.01, mirror=0.5)
    for row in np.flatnonzero(augmented.column("variant") == 2)[::9]:
        moved = augmented.sequence(row)
        sample_id = augmented.column("original")[row]
        assert moved.sample_id == f"{sample_id}@2"
        base = augmented.sequence(str(sample_id))
        persons, frames = base.present.shape
        key = keyed_random.fold(keyed_random.sample_keys([sample_id]), 4, 2, 4)
        expected = augment(
            torch.from_numpy(base.keypoint),
            torch.zeros(persons, dtype=torch.int64),
            torch.from_numpy(key),
            spec,
            LAYOUT,
            frame=torch.arange(frames).expand(persons, -1),
            present=torch.from_numpy(base.present),
        )
        assert_alike(moved.keypoint, expected)
        np.testing.assert_array_equal(moved.present, base.present)
        assert not np.array_equal(moved.keypoint, base.keypoint)


def test_variants_of_one_sample_differ(augmented):
    sample_id = augmented.column("original")[augmented.column("variant") == 1][0]
    first, second = (augmented.sequence(f"{sample_id}@{n}").keypoint for n in (1, 2))
    assert not np.array_equal(first, second)


# Real recordings


@pytest.mark.slow
def test_real_ntu_files(real_data, tmp_path, prepare_raw):
    report = prepare_raw(real_data / "ntu_raw", tmp_path / "n.zarr", dataset="ntu120")
    store = aclnet.open_store(tmp_path / "n.zarr")
    assert report.samples == len(store) == 7
    assert (
        set(report.empty)
        == {name for name, mask in store.splits.items() if not mask.any()}
        != set()
    )
    assert store.protocols == ["xsub", "xset", "ntu60-xsub", "ntu60-xview", "one-shot"]
    for name, raw in cleaned(real_data / "ntu_raw").items():
        expected = normalise(raw.keypoint, raw.present, LAYOUT).keypoint
        np.testing.assert_array_equal(store.sequence(name).keypoint, expected)


def test_real_utd_mhad(real_data, tmp_path):
    source = open_raw(get_dataset("utd-mhad"), real_data / "utd_mhad")
    with open_executor() as run:
        report = prepare(source, tmp_path / "u.zarr", PrepareOptions(), run, lambda *_: None)
    assert {c.side: (c.found, c.verdict) for c in report.counts} == {
        "xsub/train": (431, "complete"),
        "xsub/test": (430, "complete"),
    }
    store = aclnet.open_store(tmp_path / "u.zarr")
    assert store.layout.name == "utd_mhad"
    train = store.mask("xsub/train")
    assert set(store.column("subject")[train]) == {1, 3, 5, 7}
    assert 8 <= len(np.unique(store.shard_of[train])) <= 20
    item = source.scan()[0][100]
    raw = source.read(item)
    expected = normalise(raw.keypoint, raw.present, store.layout)
    np.testing.assert_array_equal(store.sequence(item.sample_id).keypoint, expected.keypoint)


@pytest.mark.slow
def test_torch_stays_out_where_nothing_is_augmented(people, tmp_path):
    program = """
import json, sys
from aclnet.cli.main import main
main(sys.argv[1:])
print(json.dumps([name for name in sys.modules if name.partition(".")[0] in ("torch", "pandas")]))
"""
    command = [sys.executable, "-c", program, "prepare", "ntu60", "--raw", str(people)]
    command += ["--out", str(tmp_path / "t.zarr")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == []


# Pixels


def test_a_store_of_pixels_is_what_the_steps_give(pixel_pickle, pixel_store):
    store = pixel_store
    source = open_raw(get_dataset("finegym"), pixel_pickle)
    assert (store.layout.name, store.coordinates, store.has_score) == ("coco_new", 2, True)
    assert store.attributes.normalisation == "none/1"
    assert store.protocols == ["own"]
    assert (store.mask("own/train").sum(), store.mask("own/test").sum()) == (8, 4)
    for item in source.scan()[0]:
        raw = convert(source.read(item), "coco", "coco_new")
        sequence = store.sequence(item.sample_id)
        persons = min(2, len(raw.keypoint))
        np.testing.assert_array_equal(sequence.keypoint, raw.keypoint[:persons])
        np.testing.assert_array_equal(sequence.score, raw.score[:persons])
        np.testing.assert_array_equal(sequence.present, raw.present[:persons])
        assert (sequence.width, sequence.height) == (raw.width, raw.height)
    assert {3, 2, 1} <= {len(source.read(item).keypoint) for item in source.scan()[0]}


def test_stored_variants_of_pixels_keep_their_scores(pixel_pickle, tmp_path, prepare_raw):
    prepare_raw(
        pixel_pickle, tmp_path / "v.zarr", dataset="finegym", augment="mirror=1", variants=1
    )
    store = aclnet.open_store(tmp_path / "v.zarr")
    mirror = list(store.layout.mirror)
    variants = np.flatnonzero(store.column("variant") == 1)
    assert len(variants) == 8
    for row in variants:
        moved, base = store.sequence(row), store.sequence(str(store.column("original")[row]))
        np.testing.assert_array_equal(moved.score, base.score[:, :, mirror])
        across = base.keypoint[:, :, mirror, 0]
        expected = np.where(across != 0, base.width - across, 0)
        np.testing.assert_array_equal(moved.keypoint[..., 0], expected)
