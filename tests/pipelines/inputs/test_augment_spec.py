"""Texts of augmentation: what they are parsed to, and how mistakes in them are told."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aclnet.datasets.spec import AclnetError
from aclnet.pipelines.inputs.augment import AugmentSpec
from tests.pipelines.inputs.tracks import PARTS


@given(
    values=st.fixed_dictionaries(
        {},
        optional={
            "rotate": st.floats(0, math.pi),
            "mirror": st.floats(0, 1),
            "swap_sides": st.floats(0, 1),
            "limb_mask": st.floats(0, 1),
            "parts": st.lists(st.sampled_from(PARTS), min_size=1).map(tuple),
            "joint_mask": st.floats(0, 1),
            "time_mask": st.floats(0, 1),
            "confidence": st.floats(0, 1),
            "jitter": st.floats(0, 1e3),
            "scale": st.floats(0, 1, exclude_max=True),
        },
    )
)
def test_a_spec_is_what_its_text_parses_to(values):
    spec = AugmentSpec(**values)
    assert AugmentSpec.parse(str(spec)) == spec


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("", "none"),
        ("none", "none"),
        ("rotate=0", "none"),
        ("limb-mask=0.2,rotate=.20", "rotate=0.2,limb-mask=0.2"),
        (" swap_sides = 1 , scale=1e-1", "swap-sides=1.0,scale=0.1"),
        ("limb-mask=1,parts=legs/Head+Neck", "limb-mask=1.0,parts=legs/Head+Neck"),
        ("limb-mask=1,parts=", "limb-mask=1.0,parts="),
        (
            "rotate=0.2,mirror=0.5,swap-sides=0.5,limb-mask=0.2,jitter=0.01,scale=0.1",
            "rotate=0.2,mirror=0.5,swap-sides=0.5,limb-mask=0.2,jitter=0.01,scale=0.1",
        ),
    ],
)
def test_specs_have_one_canonical_text(text, canonical):
    assert str(AugmentSpec.parse(text)) == canonical


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rotat=0.2", "'rotat=0.2'.*rotate, mirror, swap-sides, limb-mask, parts, joint-mask"),
        ("ramp=0.2", "'ramp=0.2' is not name=value"),
        ("rotate", "'rotate' is not name=value"),
        ("rotate=0.2,", "'' is not name=value"),
        ("rotate=", "rotate: .*number"),
        ("rotate=much", "rotate: .*number"),
        ("jitter=nan", "jitter: .*finite"),
        ("mirror=1.5", "mirror: .*less than or equal to 1"),
        ("scale=1", "scale: .*less than 1"),
        ("limb-mask=-1,mirror=2", "mirror: .*limb-mask: .*greater than or equal to 0"),
        ("mirror=0.1,mirror=0.2", "mirror is given twice"),
    ],
)
def test_mistakes_in_a_spec_are_told(text, message):
    with pytest.raises(AclnetError, match=message):
        AugmentSpec.parse(text)
