"""The rule of small sets: what it looks at, what it chooses, and who follows it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aclnet.datasets.spec import AclnetError
from aclnet.runs.config import build_config
from aclnet.runs.recipes import follows_rule, recipe_for
from aclnet.runs.small_sets import SmallSet
from aclnet.runs.splits import protocol_splits
from aclnet.training.launch import TrainingRequest

UTD = SmallSet(431, 27, 68, other_cameras=False, in_space=True, has_sides=True)


@pytest.mark.parametrize(
    ("small", "settings"),
    [
        # 8,000 steps of 16 samples are 297 epochs of 431
        (UTD, {"data.frames": 32, "optim.epochs": 297}),
        (replace(UTD, samples=1960), {"data.frames": 32, "optim.epochs": 65}),
        (replace(UTD, samples=9_000), {"data.frames": 32, "optim.epochs": 60}),
        (replace(UTD, samples=100), {"data.frames": 32, "optim.epochs": 300}),
        (replace(UTD, median_frames=98), {"data.frames": 48, "optim.epochs": 297}),
        (replace(UTD, median_frames=900), {"data.frames": 64, "optim.epochs": 297}),
        (
            replace(UTD, samples=1_020, other_cameras=True),
            {
                "data.frames": 32,
                "optim.epochs": 251,
                "augment.rotate": 1.05,
                "augment.scale": 0.5,
            },
        ),
        (
            replace(UTD, other_cameras=True, in_space=False),
            {"data.frames": 32, "optim.epochs": 297},
        ),
        (replace(UTD, has_sides=False), {"data.frames": 32, "optim.epochs": 297}),
        (
            replace(UTD, in_space=False, has_sides=False),
            {"data.frames": 32, "optim.epochs": 297, "augment.mirror": 0},
        ),
    ],
)
def test_what_the_rule_chooses(small, settings):
    assert small.settings(batch=16) == settings


def test_larger_batches_take_more_epochs():
    assert replace(UTD, samples=4_000).settings(batch=64)["optim.epochs"] == 128


def test_repeated_samples_take_fewer_epochs():
    assert UTD.settings(batch=16, repeats=3)["optim.epochs"] == 99


def test_facts_are_those_of_the_training_side(store):
    splits = protocol_splits(store, "xsub", hold_out=False, seed=0)
    small = SmallSet.of(store, splits)
    train = store.mask("xsub/train")
    assert small.samples == train.sum()
    assert small.classes == len(np.unique(store.column("label")[train]))
    assert small.median_frames == int(np.median(store.column("n_frames")[train]))
    assert small.in_space
    assert small.has_sides


@pytest.mark.parametrize(
    ("train", "test", "other"),
    [([1, 2], [3], True), ([1, 2], [2, 3], False), ([1, 2], [-1], False), ([1, 2], [], False)],
)
def test_other_cameras(train, test, other, store, monkeypatch):
    splits = protocol_splits(store, "xsub", hold_out=False, seed=0)
    cameras = np.zeros(len(splits.train), np.int64)
    cameras[splits.train] = np.resize(train, splits.train.sum())
    splits = replace(splits, test=splits.test & bool(test))
    cameras[splits.test] = np.resize(test or [0], splits.test.sum())
    column = store.column
    monkeypatch.setattr(store, "column", lambda name: cameras if name == "camera" else column(name))
    assert SmallSet.of(store, splits).other_cameras is other


@pytest.fixture
def nameless(store, monkeypatch):
    """A store of a dataset that has no recipe."""
    monkeypatch.setattr(type(store), "name", property(lambda _: "mine"))
    return store


def test_a_small_store_without_a_recipe_follows_it(nameless):
    assert recipe_for(nameless, None) == "small"
    request = TrainingRequest.of(nameless)
    samples = int(nameless.mask("xsub/train").sum())
    assert request.config.optim.epochs == 300
    assert request.reason.startswith(f"small set of {samples} training samples")
    assert "optim.epochs=300" in request.reason
    given = TrainingRequest.of(nameless, settings=["optim.epochs=7"]).config
    assert given.optim.epochs == 7
    assert given.data.frames == request.config.data.frames
    repeated = TrainingRequest.of(nameless, settings=["data.repeats=40"]).config
    draws = samples * 40 * repeated.optim.epochs
    assert draws / repeated.optim.batch_size == pytest.approx(8_000, rel=0.01)
    large = TrainingRequest.of(nameless, recipe="default")
    assert large.reason == ""
    assert large.config.optim.epochs == 150


def test_values_of_a_recipe_that_extends_it_count(nameless, tmp_path):
    mine = tmp_path / "mine.toml"
    mine.write_text('extends = "small"\n[optim]\nepochs = 30\n')
    request = TrainingRequest.of(nameless, recipe=str(mine))
    by_rule = TrainingRequest.of(nameless, recipe="small").config
    assert by_rule.optim.epochs == 300
    assert request.config.optim.epochs == 30
    assert request.config.data.frames == by_rule.data.frames
    assert "optim.epochs" not in request.reason
    assert f"data.frames={by_rule.data.frames}" in request.reason


def test_a_large_store_does_not(nameless, monkeypatch):
    sides = nameless.attributes.protocols
    monkeypatch.setitem(sides, "xsub", {"train": 10_000, "test": 10})
    assert recipe_for(nameless, None, "xsub") == "default"
    monkeypatch.setitem(sides, "xsub", {"train": 9_999, "test": 10})
    assert recipe_for(nameless, None, "xsub") == "small"


def test_recipes_of_the_user_inherit_the_rule(tmp_path):
    mine, other = tmp_path / "mine.toml", tmp_path / "other.toml"
    mine.write_text('extends = "small"\n[optim]\nlr = 0.2\n')
    assert follows_rule(str(mine))
    assert not follows_rule("ntu60-xsub")
    other.write_text('rule = "large set"\n')
    with pytest.raises(AclnetError, match="rule is 'large set', not 'small set'"):
        follows_rule(str(other))


def test_networks_of_joints_in_space_and_in_pixels_train_alike():
    space, pixels = (build_config(recipe) for recipe in ("small", "small-2d"))
    assert space.model == pixels.model
    assert space.optim == pixels.optim
