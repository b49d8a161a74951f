"""Stores of gait without body size: prepared, mirrored, exported and taken back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import aclnet
from aclnet.datasets.exports.forms import STORE_FORMS
from aclnet.datasets.registry import get_dataset, open_raw
from aclnet.datasets.spec import AclnetError
from aclnet.datasets.store.summary import summarise
from aclnet.datasets.synth import Request, get_generator
from aclnet.exchange.export_store import export_store
from aclnet.pipelines.inputs.augment import AugmentSpec
from aclnet.pipelines.inputs.corruptions.joints import Drop
from aclnet.pipelines.inputs.sampling import ClipSampling
from aclnet.pipelines.steps.normalise import normalise
from aclnet.runs.config import DataConfig
from aclnet.runs.inputs import MakeInputs, image_width

NAMES = {"height": "height-centre/1", "directions": "bone-directions/1"}
each = pytest.mark.parametrize("by", NAMES)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def gait(tmp_path_factory: pytest.TempPathFactory):
    """Twelve recordings of three walkers; one walker is tested."""
    folder = tmp_path_factory.mktemp("gait")
    generate = get_generator("casia-b", "csv")
    generate(folder, Request(sequences=12, subjects=3, seed=1))
    return folder


@pytest.fixture(scope="module")
def stores(gait, prepare_raw, tmp_path_factory: pytest.TempPathFactory):
    """By recipe, with a mirrored variant of every training sequence."""
    folder = tmp_path_factory.mktemp("stores")
    for by in NAMES:
        out = folder / f"{by}.zarr"
        prepare_raw(gait, out, dataset="casia-b", normalise=by, augment="mirror=1", variants=1)
    return {by: aclnet.open_store(folder / f"{by}.zarr") for by in NAMES}


def inputs(store, **options):
    make = MakeInputs(store, DataConfig(modality="j", frames=8), CPU, **options)
    sampling = ClipSampling(8, 1)
    for batch in store.stream("gait/test", batch_size=4, sampling=sampling, score=True):
        yield batch.keypoint, make(batch).tracks.numpy()


@pytest.mark.slow
@each
def test_a_store_is_what_the_rule_gives(by, gait, stores):
    store = stores[by]
    assert store.attributes.normalisation == NAMES[by]
    assert summarise(store)["normalisation"] == NAMES[by]
    source = open_raw(get_dataset("casia-b"), gait)
    items = source.scan()[0]
    assert len(items) == 12
    for item in items:
        raw, found = source.read(item), store.sequence(item.sample_id)
        expected = normalise(raw.keypoint, raw.present, store.layout, by=by).keypoint
        np.testing.assert_array_equal(found.keypoint, expected)
        np.testing.assert_array_equal(found.score, raw.score)
        assert raw.width > 0
        assert (found.width, found.height) == (0, 0)


@each
def test_stored_mirror_images_are_about_the_origin(by, stores):
    store = stores[by]
    mirror = list(store.layout.mirror)
    variants = np.flatnonzero(store.column("variant") == 1)
    assert len(variants) > 0
    for row in variants:
        moved, base = store.sequence(row), store.sequence(str(store.column("original")[row]))
        expected = base.keypoint[:, :, mirror] * np.float32([-1, 1])
        np.testing.assert_array_equal(moved.keypoint, expected)
        np.testing.assert_array_equal(moved.score, base.score[:, :, mirror])


@each
def test_mirror_images_in_training_are_about_the_origin(by, stores):
    mirror = list(stores[by].layout.mirror)
    for before, after in inputs(stores[by], spec=AugmentSpec(mirror=1.0)):
        expected = before[:, :, mirror] * np.float32([-1, 1, 1])
        np.testing.assert_array_equal(after, expected)


@pytest.mark.slow
def test_pixels_of_unknown_width_are_still_not_mirrored(gait, prepare_raw, tmp_path, monkeypatch):
    from aclnet.datasets.readers import casia_b

    monkeypatch.setattr(casia_b, "WIDTH", 0)
    prepare_raw(gait, tmp_path / "p.zarr", dataset="casia-b")
    store = aclnet.open_store(tmp_path / "p.zarr")
    assert image_width(store) is None
    with pytest.raises(AclnetError, match="needs the width of the image"):
        next(inputs(store, spec=AugmentSpec(mirror=1.0)))


@each
def test_nothing_leads_back_to_the_camera(by, stores):
    store = stores[by]
    with pytest.raises(
        AclnetError, match="choose another --missing, for example centre or feature"
    ):
        next(inputs(store, corruption=Drop.of("legs", store.layout, "camera")))
    drop = Drop.of("legs", store.layout, "centre")
    for before, after in inputs(store, corruption=drop):
        gone = list(drop.joints)
        assert not after[:, :, gone].any()
        assert before[:, :, gone].any()


@pytest.mark.slow
@each
@pytest.mark.parametrize("form", STORE_FORMS)
def test_exports_keep_the_recipe(by, form, stores, prepare_raw, tmp_path):
    store, file = stores[by], tmp_path / f"e{STORE_FORMS[form][0]}"
    export_store(store, form, file)
    prepare_raw(file, tmp_path / "back.zarr", dataset="casia-b")
    back = aclnet.open_store(tmp_path / "back.zarr")
    assert back.attributes.normalisation == NAMES[by]
    for row in np.flatnonzero(store.column("variant") == 0):
        sequence = store.sequence(row)
        np.testing.assert_array_equal(back.sequence(sequence.sample_id).keypoint, sequence.keypoint)
    assert image_width(back).tolist() == [0] * len(back)
    with pytest.raises(AclnetError, match=r"are not changed; use --layout, .*--norm"):
        prepare_raw(file, tmp_path / "n.zarr", dataset="casia-b", normalise=by)


@pytest.mark.slow
def test_the_choice_is_part_of_the_plan(gait, prepare_raw, tmp_path):
    out = tmp_path / "s.zarr"
    prepare_raw(gait, out, dataset="casia-b", normalise="height")
    assert prepare_raw(gait, out, dataset="casia-b", normalise="height").existed
    with pytest.raises(AclnetError, match="made from other files or options"):
        prepare_raw(gait, out, dataset="casia-b", normalise="directions")


def test_what_makes_no_sense_is_refused_before_anything_is_written(
    gait, people, prepare_raw, tmp_path
):
    with pytest.raises(AclnetError, match="turns 3-D bodies"):
        prepare_raw(gait, tmp_path / "s.zarr", dataset="casia-b", normalise="height", align=True)
    with pytest.raises(AclnetError, match="use --normalise directions"):
        prepare_raw(people, tmp_path / "s.zarr", normalise="height")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_bodies_in_space_have_directions_too(people, prepare_raw, tmp_path):
    prepare_raw(people, tmp_path / "d.zarr", normalise="directions", align=True, dtype="int16")
    store = aclnet.open_store(tmp_path / "d.zarr")
    assert store.attributes.normalisation == "bone-directions-aligned/1"
    sequence = store.sequence(0)
    bones = sequence.keypoint - sequence.keypoint[:, :, list(store.layout.bone_parent)]
    length = np.linalg.norm(bones, axis=-1)[sequence.present]
    root = store.layout.centre
    np.testing.assert_allclose(np.delete(length, root, axis=1), 1, atol=1e-3)
