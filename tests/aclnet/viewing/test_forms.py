"""Forms of a recording against what the store and the layout have."""

from __future__ import annotations

import numpy as np
import pytest

import aclnet
from aclnet.datasets.spec import AclnetError
from aclnet.viewing.forms import ViewSettings, view_file, view_sample
from aclnet.viewing.groups import groups_of

SAMPLE = "S001C001P001R001A050"
"""Two persons."""


@pytest.fixture(scope="module")
def store(made_up_store):
    return aclnet.open_store(made_up_store)


def test_recorded_and_stored(store, made_up_store):
    view = view_sample(store, SAMPLE)
    stored = store.sequence(SAMPLE)
    recorded, seen = view.forms
    np.testing.assert_array_equal(seen.joints, stored.keypoint)
    np.testing.assert_array_equal(seen.frame, stored.frame_index)
    # what was recorded is one vector away from what is stored
    there = stored.present[..., None] & (stored.keypoint != 0).any(-1)
    moved = (recorded.joints - seen.joints)[there]
    np.testing.assert_allclose(moved, np.broadcast_to(moved[0], moved.shape), atol=1e-5)
    assert not recorded.joints[~there].any()
    assert view.facts["class"] == store.class_names[49]
    assert (view.title, view.facts["persons"]) == (SAMPLE, "2")
    assert (view.fps, view.timed) == (30, False)
    file = made_up_store.parent / "raw" / f"{SAMPLE}.skeleton"
    raw = view_file(file, dataset="ntu60")
    np.testing.assert_allclose(raw.forms[1].joints, stored.keypoint, atol=1e-6)
    assert raw.facts["class"] == view.facts["class"]
    assert [len(form.joints) for form in view_file(file).forms] == [2, 2], "custom reads it too"


def test_missing_joints(store):
    settings = ViewSettings(drop=("hands", "parts-v1/left_leg", "frames-v1/every-4"))
    plain, hands, leg, every = view_sample(store, SAMPLE, settings).forms[1:]
    for form, part in ((hands, "hands"), (leg, "left_leg")):
        gone = np.isin(np.arange(25), store.layout.parts[part])
        assert not form.joints[:, :, gone].any()
        np.testing.assert_array_equal(form.joints[:, :, ~gone], plain.joints[:, :, ~gone])
        assert form.behind == 1
    np.testing.assert_array_equal(every.frame, plain.frame[::4])
    np.testing.assert_array_equal(every.joints, plain.joints[:, ::4])


def test_a_held_joint_stays(store):
    settings = ViewSettings(drop=("frames-v1/block-0.5",), missing="hold")
    plain, form = view_sample(store, "S001C001P001R001A001", settings).forms[1:]
    (changed,) = np.nonzero((form.joints != plain.joints).any(axis=(0, 2, 3)))
    assert len(changed) > 5
    start = changed[0] - 1
    assert (form.joints[:, changed] == plain.joints[:, [max(start, 0)]]).all() or changed[0] == 0


def test_augmentation_of_a_recipe(store, tmp_path):
    recipe = tmp_path / "turn.toml"
    recipe.write_text('extends = "default"\n[augment]\nrotate = 3.0\nlimb_mask = 0.0\n')
    found = [
        view_sample(store, SAMPLE, ViewSettings(augment=True, recipe=str(recipe), seed=seed)).forms
        for seed in (0, 0, 1)
    ]
    (_, plain, first), (*_, again), (*_, other) = found
    np.testing.assert_array_equal(first.joints, again.joints)
    assert not np.allclose(first.joints, other.joints)
    assert not np.allclose(first.joints, plain.joints)
    # a rotation keeps all lengths
    lengths = [np.linalg.norm(form.joints, axis=-1) for form in (plain, first)]
    np.testing.assert_allclose(lengths[1], lengths[0], atol=1e-5)
    assert "rotate=3.0" in first.note
    assert first.camera == plain.camera, "the same size"
    places = first.camera.project(first.joints[(first.joints != 0).any(-1)])
    assert np.mean(np.abs(places) <= 1) > 0.98
    still = tmp_path / "still.toml"
    still.write_text('extends = "turn.toml"\n[augment]\nrotate = 0.0\nmirror = 0.0\n')
    with pytest.raises(AclnetError, match=r"has no augmentation; choose another one with --recipe"):
        view_sample(store, SAMPLE, ViewSettings(augment=True, recipe=str(still)))


def test_frames_by_their_numbers(store):
    view = view_sample(store, SAMPLE, ViewSettings(frames=(5, 9), fps=15))
    assert view.frames.tolist() == [5, 6, 7, 8]
    whole = view_sample(store, SAMPLE)
    np.testing.assert_array_equal(view.forms[1].joints, whole.forms[1].joints[:, 5:9])
    assert (view.fps, view.timed) == (15, True)
    with pytest.raises(AclnetError, match=r"--frames 900:999: there are no such frames; .* has 0"):
        view_sample(store, SAMPLE, ViewSettings(frames=(900, 999)))


def test_a_wrong_id_suggests_another_one(store, made_up_store):
    with pytest.raises(AclnetError, match=rf"did you mean {SAMPLE}\?\); its ids are S00"):
        view_sample(store, SAMPLE + "0")
    with pytest.raises(AclnetError, match=r"no recording 'A050'.* it has S001C001P001R001A001"):
        view_file(made_up_store.parent / "raw", "A050", dataset="ntu60")


def test_a_protocol_that_is_not_possible(store):
    with pytest.raises(AclnetError, match="'hat' is not a part or joint"):
        view_sample(store, SAMPLE, ViewSettings(drop=("hat",)))
    alone = ViewSettings(drop=("persons-v1/lost",))
    with pytest.raises(AclnetError, match="no sequence has two persons"):
        view_sample(store, "S001C001P001R001A001", alone)


def test_what_prepare_leaves_out_can_be_seen(tmp_path):
    joints = np.full((4, 25, 3), 1e7, np.float32) + np.arange(25)[:, None]
    np.save(tmp_path / "far.npy", joints)
    view = view_file(tmp_path / "far.npy", layout="nturgb+d")
    assert [form.title for form in view.forms] == ["recorded"]
    np.testing.assert_array_equal(view.forms[0].joints[0], joints)
    assert "`aclnet prepare` leaves this recording out" in view.remarks[0]
    with pytest.raises(AclnetError, match="--drop and --augment need it"):
        view_file(tmp_path / "far.npy", None, ViewSettings(drop=("hands",)), layout="nturgb+d")


def test_colours_by_side_and_by_finger(store):
    colour, names = groups_of(store.layout)
    for j, name in enumerate(store.layout.joints):
        side = next((s for s in ("left", "right") if s in name.lower()), "middle")
        assert colour[j] == names[side], name
    from aclnet.datasets.spec.layouts import get_layout

    hand = get_layout("hand22")
    colour, names = groups_of(hand)
    assert [*names] == ["palm", "thumb", "index", "middle", "ring", "pinky"]
    assert colour[hand.joints.index("Ring4")] == colour[hand.joints.index("Ring1")] == names["ring"]
