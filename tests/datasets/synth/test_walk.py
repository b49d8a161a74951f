"""Made-up walkers: bodies hold together, feet stand, and people can be told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from aclnet.datasets.spec import AclnetError
from aclnet.datasets.synth import Request, get_generator
from aclnet.datasets.synth.acting import person
from aclnet.datasets.synth.body import PARENT, solve
from aclnet.datasets.synth.gait import recording as filmed_walk
from aclnet.datasets.synth.reid import recording, takes
from aclnet.datasets.synth.seeding import rng_for
from aclnet.datasets.synth.walk import gait, walk

if TYPE_CHECKING:
    from pathlib import Path

LEFT_ANKLE, RIGHT_ANKLE, LEFT_HAND, RIGHT_HAND = 14, 18, 7, 11


def joints_of(who: str, burden: str = "", seed: int = 0) -> np.ndarray:
    """Four seconds."""
    someone = person(seed, who)
    pose = walk(someone, gait(seed, who), 100, 25, rng_for(seed, who, burden), burden)
    return solve(someone.body, pose)


@pytest.mark.parametrize("burden", ["", "bag", "coat"])
def test_bones_keep_their_lengths_and_a_foot_stands_while_the_other_steps(
    burden: str, bone_lengths
):
    for who in "abc":
        joints, body = joints_of(who, burden), person(0, who).body
        bones = np.linalg.norm(joints - joints[:, PARENT], axis=-1)
        np.testing.assert_allclose(bones, np.tile(bone_lengths(body), (100, 1)), atol=1e-6)
        steps = np.linalg.norm(np.diff(joints[:, [LEFT_ANKLE, RIGHT_ANKLE]], axis=0), axis=-1)
        assert steps.min(axis=1).max() < 0.03  # metres in 40 ms, at a speed of one in a second
        assert joints[:, [LEFT_ANKLE, RIGHT_ANKLE], 1].min() > body.ankle - 1e-6
        assert 0.6 < (joints[0, 0, 2] - joints[-1, 0, 2]) / 4 < 2.0


def test_arms_swing_against_the_legs():
    joints = joints_of("a")
    swing = joints[:, [LEFT_HAND, RIGHT_HAND], 2] - joints[:, [4, 8], 2]
    step = joints[:, [LEFT_ANKLE, RIGHT_ANKLE], 2] - joints[:, [12, 16], 2]
    assert np.corrcoef(swing[:, 0], step[:, 0])[0, 1] < -0.5
    assert np.corrcoef(swing[:, 0], step[:, 1])[0, 1] > 0.5


def test_a_bag_holds_an_arm_still_and_a_coat_slows():
    for who in "abc":
        swings = {}
        for burden in ("", "bag", "coat"):
            joints = joints_of(who, burden)
            hands = joints[:, [LEFT_HAND, RIGHT_HAND], 2] - joints[:, [4, 8], 2]
            swings[burden] = np.ptp(hands, axis=0)
        assert swings["bag"].min() < 0.4 * swings[""].min()
        assert (swings["coat"] < swings[""]).all()


def signature(walked: np.ndarray) -> np.ndarray:
    """Mean lengths of some bones in pixels, the hips' breadth apart, and how far the hands swing.

    walked: (T, 17, 2) of COCO's joints, from the side.
    """
    seen = np.where(walked == 0, np.nan, walked)
    pairs = ((5, 7), (7, 9), (6, 8), (8, 10), (11, 13), (13, 15), (12, 14), (14, 16), (0, 11))
    lengths = [np.linalg.norm(seen[:, a] - seen[:, b], axis=-1) for a, b in pairs]
    swing = [np.abs(seen[:, hand, 0] - seen[:, hip, 0]) for hand, hip in ((9, 11), (10, 12))]
    return np.array([np.nanmean(x) for x in (*lengths, *swing)])


def test_people_are_found_again_by_how_they_are_built_and_walk():
    people = range(1, 13)
    gallery, probe = (
        np.array([signature(filmed_walk(f"{p:03}-nm-{take}-090", 0)[..., :2]) for p in people])
        for take in ("01", "05")
    )
    spread = gallery.std(axis=0)
    distance = np.linalg.norm((probe[:, None] - gallery) / spread, axis=-1)
    hits = (distance.argmin(axis=1) == np.arange(len(people))).mean()
    assert hits > 0.6  # by chance 0.08


def test_views_turn_the_walker():
    breadth = {}
    for view in ("000", "090", "180"):
        seen = filmed_walk(f"001-nm-01-{view}", 0)
        known = (seen[:, [5, 6], 0] != 0).all(axis=1)
        breadth[view] = (seen[known, 5, 0] - seen[known, 6, 0]).mean()
    # from in front the left shoulder is on the right of the image
    assert breadth["000"] > 5 > abs(breadth["090"])
    assert breadth["180"] < -5


@pytest.mark.parametrize("dataset", ["biwi", "ias-lab", "kgbd", "ks20", "casia-b-3d"])
def test_few_recordings_are_shared_out_over_people_and_sides(dataset: str):
    few = takes(dataset, Request(sequences=9, subjects=4, seed=0))
    assert len(few) == len(set(few)) == 9
    assert {take.subject for take in few} == {0, 1, 2, 3}
    assert len({take.side for take in few}) >= 3
    other = recording(dataset, few[0], 0)
    assert np.isfinite(other).all()
    assert (other[..., 2] > 0.5).all()  # before the sensor


def test_numbers_out_of_range(tmp_path: Path):
    for dataset, subjects in (("casia-b", 125), ("casia-b", 1), ("biwi", 51), ("ks20", 0)):
        with pytest.raises(AclnetError, match=f"subjects is {subjects}: give a number"):
            get_generator(dataset)(tmp_path, Request(sequences=3, subjects=subjects, seed=0))
